//! memif: frames through memory that two processes of one host share.
//!
//! This is memif 2.0 as FD.io's libmemif, VPP and DPDK's driver speak it, in
//! copy mode: every received frame is copied out of shared memory before
//! anything looks at it, so a peer that dies, stalls or lies costs its own
//! connection and nothing else.
//!
//! The server listens on a Unix socket; the client connects, makes the shared
//! memory and describes it. Then frames flow through rings without system
//! calls, and the socket only tells when the peer is gone. Each end may die
//! and come back; the link then comes up anew with fresh rings.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `message`, `channel` | control messages, and the socket that carries them |
//! | `listener`, `handshake`, `control` | the socket's file, how a link comes up, who is connected |
//! | `region`, `ring`, `link` | shared memory, its rings, and what a connection has of them |
//! | `queue`, `face` | bursts, the `Device` |
//! | `fds` | descriptors that a forked child must close |

mod channel;
mod control;
mod face;
mod fds;
mod handshake;
mod link;
mod listener;
mod message;
mod queue;
mod region;
mod ring;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

pub(crate) use fds::Listed;
pub use listener::ListenError;

use control::Shared;
use face::Face;
use handshake::Terms;
use link::client_region_len;
use listener::Listener;
use message::SECRET_LEN;
use queue::Pools;
use region::MAX_REGION_LEN;

use super::{Device, DeviceInfo, Opened};

/// Bytes of an Ethernet header.
const ETHERNET_HEADER_LEN: u32 = 14;
/// Small packet buffers per worker, for frames up to 2 KiB.
const SMALL_BUFFERS: usize = 8192;
/// Memory for a worker's large packet buffers, in bytes; taken as it is used.
const LARGE_BUFFERS_LEN: usize = 128 << 20;
/// Bounds of the number of a worker's large packet buffers.
const LARGE_BUFFERS: (usize, usize) = (512, 8192);

/// Which end of a memif we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Listens on the socket; "master" in the protocol's old words.
    Server,
    /// Connects to it and makes the shared memory; "slave" in the old words.
    Client,
}

/// What a memif device is to be.
#[derive(Debug, Clone)]
pub struct MemifOptions {
    /// Path of the control socket; never an abstract one, since those do not
    /// cross network namespaces.
    pub socket: PathBuf,
    /// Our end.
    pub role: Role,
    /// Number of the interface; both ends name the same.
    pub id: u32,
    /// Secret of at most 24 bytes that both ends name; `None`: no secret.
    pub secret: Option<String>,
    /// Our hardware address; `None`: a locally administered one made from
    /// path, id and role, the same after every start.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the largest frame, 128 to 65535. The MTU is 14 less. A client
    /// makes the slots of both directions this large.
    pub buffer_size: u32,
    /// Slots of a ring, a power of two from 32 to 16384; the client's counts.
    pub ring_size: u32,
    /// Ring pairs, at least the workers' number; the smaller of both ends'
    /// numbers counts. `None`: one a worker.
    pub queues: Option<u16>,
    /// How long [`open`] waits for a client's link to come up, in
    /// milliseconds; it succeeds without.
    pub connect_wait_ms: u32,
}

impl MemifOptions {
    /// The defaults: interface 0, no secret, frames up to 65535 bytes, 256
    /// slots a ring, two seconds' wait.
    pub fn new(socket: impl Into<PathBuf>, role: Role) -> Self {
        Self {
            socket: socket.into(),
            role,
            id: 0,
            secret: None,
            mac: None,
            buffer_size: 65535,
            ring_size: 256,
            queues: None,
            connect_wait_ms: 2000,
        }
    }
}

/// Why a memif device cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An option is out of range.
    #[error("memif: {what} is {value}, allowed: {allowed}")]
    Option {
        /// The option.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// Rings, slots and queues together exceed what descriptors can address.
    #[error("memif: {0} bytes of shared memory, more than 4 GiB: fewer queues, slots or smaller buffers")]
    TooLarge(usize),
    /// The server cannot listen.
    #[error("memif: socket {path}: {error}")]
    Listen {
        /// The socket's path.
        path: PathBuf,
        /// What went wrong.
        error: ListenError,
    },
    /// Memory or descriptors are lacking.
    #[error("memif: {what}: {error}")]
    System {
        /// What was to be made.
        what: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

/// Opens a memif device with a face for each of `workers`.
///
/// A client whose server is not there yet waits for it up to
/// [`MemifOptions::connect_wait_ms`], then succeeds with the link down; it
/// connects when the server comes.
pub fn open(options: &MemifOptions, workers: usize) -> Result<Opened, OpenError> {
    let terms = check(options, workers)?;
    let info = info_of(options);
    let shared = Arc::new(share(options, terms, workers, info.name.clone())?);
    let mut faces = (0..workers)
        .map(|number| Ok(Face::new(info.clone(), shared.clone(), number, pools(options)?)))
        .collect::<Result<Vec<_>, OpenError>>()?;
    if options.role == Role::Client {
        wait_for_link(&mut faces[0], Duration::from_millis(options.connect_wait_ms.into()));
    }
    let workers = faces.into_iter().map(|face| Box::new(face) as Box<dyn Device>).collect();
    Ok(Opened { workers, steering: None, ifindex: None })
}

fn check(options: &MemifOptions, workers: usize) -> Result<Terms, OpenError> {
    let within = |what, value: u64, range: std::ops::RangeInclusive<u64>, allowed| {
        let fits = range.contains(&value);
        fits.then_some(()).ok_or(OpenError::Option { what, value, allowed })
    };
    within("number of workers", workers as u64, 1..=64, "1 to 64")?;
    within("buffer size", options.buffer_size.into(), 128..=65535, "128 to 65535 bytes")?;
    let log2_ring_size = log2_ring_size(options.ring_size)?;
    let pairs = options.queues.unwrap_or(workers as u16);
    within("number of queues", pairs.into(), workers as u64..=64, "the number of workers to 64")?;
    let secret = options.secret.as_deref().unwrap_or_default().as_bytes();
    within("secret's length", secret.len() as u64, 0..=SECRET_LEN as u64, "at most 24 bytes")?;
    let len = client_region_len(pairs, log2_ring_size, options.buffer_size);
    if len as u64 > MAX_REGION_LEN {
        return Err(OpenError::TooLarge(len));
    }
    let mut padded = [0; SECRET_LEN];
    padded[..secret.len()].copy_from_slice(secret);
    Ok(Terms { id: options.id, secret: padded, pairs, log2_ring_size, slot_size: options.buffer_size })
}

fn log2_ring_size(size: u32) -> Result<u8, OpenError> {
    let fits = size.is_power_of_two() && (32..=16384).contains(&size);
    let allowed = "powers of two from 32 to 16384";
    fits.then(|| size.ilog2() as u8).ok_or(OpenError::Option {
        what: "ring size",
        value: size.into(),
        allowed,
    })
}

fn info_of(options: &MemifOptions) -> DeviceInfo {
    DeviceInfo {
        name: format!("memif:{}:{}", options.socket.display(), options.id),
        mac: options.mac.unwrap_or_else(|| derive_mac(options)),
        mtu: (options.buffer_size - ETHERNET_HEADER_LEN) as usize,
        partial_checksums: false,
        own_neighbours: true,
        tx_checksum: false,
        lossless_memory: true,
    }
}

/// A locally administered unicast address; the two ends of a memif differ.
fn derive_mac(options: &MemifOptions) -> [u8; 6] {
    let state = foldhash::quality::FixedState::with_seed(0);
    let [.., b, c, d, e, f] = state.hash_one((&options.socket, options.id)).to_be_bytes();
    let end = match options.role {
        Role::Server => 0,
        Role::Client => 1,
    };
    [0x02, b, c, d, e, f & 0xFE | end]
}

fn share(options: &MemifOptions, terms: Terms, workers: usize, name: String) -> Result<Shared, OpenError> {
    let shared = match options.role {
        Role::Server => {
            let path = options.socket.clone();
            let listener = Listener::bind(&path).map_err(|error| OpenError::Listen { path, error })?;
            Shared::serve(name, terms, listener, workers)
        }
        Role::Client => Shared::join(name, terms, options.socket.clone(), workers),
    };
    shared.map_err(|error| OpenError::System { what: "descriptors", error })
}

fn pools(options: &MemifOptions) -> Result<Pools, OpenError> {
    let size = options.buffer_size;
    let large = (LARGE_BUFFERS_LEN / size as usize).clamp(LARGE_BUFFERS.0, LARGE_BUFFERS.1);
    Pools::new(SMALL_BUFFERS, large, size)
        .map_err(|error| OpenError::System { what: "packet buffers", error })
}

/// Runs the control side until the link is up or the time is over.
fn wait_for_link(face: &mut Face, wait: Duration) {
    let deadline = Instant::now() + wait;
    loop {
        face.on_control();
        let left = deadline.saturating_duration_since(Instant::now());
        if face.link_up() || left.is_zero() {
            return;
        }
        let mut fds = Vec::new();
        face.control_fds(&mut fds);
        wait_readable(&fds, left);
    }
}

fn wait_readable(fds: &[(RawFd, i16)], wait: Duration) {
    let mut fds: Vec<PollFd> = fds
        .iter()
        .map(|&(fd, events)| {
            // SAFETY: the descriptors belong to the face, which stays open and unused during the call.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            PollFd::new(fd, PollFlags::from_bits_truncate(events))
        })
        .collect();
    let wait = PollTimeout::try_from(wait.as_millis()).unwrap_or(PollTimeout::MAX);
    // An interrupted wait only comes back sooner.
    let _ = poll(&mut fds, wait);
}
