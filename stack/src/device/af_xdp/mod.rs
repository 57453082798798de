//! AF_XDP on a kernel interface: DPDK's driver for the queues, our own XDP
//! program for what comes to them.
//!
//! The kernel keeps the interface, its addresses, its neighbours, and every
//! frame that was not asked for. An AF_XDP socket receives from one queue
//! alone, so whoever serves an interface takes all its receive queues, or
//! shares them with other processes that do.

mod abi;
mod privileged;
mod program;
mod steering;
mod turn;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dpdk_sys::eal::{self, EalConfig};
use dpdk_sys::{Capabilities, Dpdk, Layout, Pool, Port, PortConfig, Queue, Xsk};
use tpa_tcp::wire::IpAddress;

use crate::device::dpdk::{DpdkPort, Signal};
use crate::device::{Device, DeviceInfo, Opened, ethtool};
use crate::{host, privilege};
pub use privileged::{make_socket, register_memory, share_steering};
use program::Program;
pub use steering::{Addresses, SteeringCounts, XdpSteering};
use turn::Turn;

/// Largest MTU: of a page, which a buffer cannot exceed, DPDK's headers take
/// 320 bytes, the kernel 256, and Ethernet 14.
pub const MAX_MTU: u32 = 4096 - BUFFER_HEADERS - XDP_HEADROOM - ETHERNET_HEADER;

/// DPDK's in front of a frame: the pool's header of an object (64), the mbuf
/// (128), and the headroom (128).
const BUFFER_HEADERS: u32 = 64 + 128 + 128;

/// The kernel keeps as many bytes free in front of a frame (`XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;

const ETHERNET_HEADER: u32 = 14;

/// Smallest buffer that the kernel accepts, less its headers (`XDP_UMEM_MIN_CHUNK_SIZE`).
const MIN_ROOM: u32 = 2048 - BUFFER_HEADERS;

/// Buffers that the driver keeps in the kernel's hands, to receive into.
const FILL_RING: u32 = 2048;

/// Smallest ring, in descriptors.
const SMALLEST_RING: u32 = 64;

/// Memory that is not for packet buffers: EAL's own.
const EAL_MEMORY_MB: u32 = 8;

/// Packets that a burst may handle inside `recvfrom` in zero-copy mode.
const BUSY_BUDGET: u32 = 64;

/// Whether this process has tried to open an interface before.
static TRIED: AtomicBool = AtomicBool::new(false);

/// How often free queues are looked for before there are none, and how long between.
const BUSY_TRIES: u32 = 3;
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// How an AF_XDP device is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfXdpOptions {
    /// Receive queues to take, at most; `None`: all that are free.
    pub queues: Option<u16>,
    /// Descriptors per ring, a power of two.
    pub ring_size: u16,
    /// Let the driver of the interface use our memory, where it can.
    pub zero_copy: bool,
    /// Addresses for the stack alone; none: it shares the interface's.
    pub own_addresses: Vec<IpAddress>,
    /// DPDK's environment, if it does not run yet.
    pub eal: EalConfig,
}

impl Default for AfXdpOptions {
    fn default() -> Self {
        Self {
            queues: None,
            ring_size: 2048,
            zero_copy: true,
            own_addresses: Vec::new(),
            eal: EalConfig::default(),
        }
    }
}

/// Why an interface cannot be opened for AF_XDP.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel does not let us.
    #[error("AF_XDP needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF (root)")]
    Permission,
    /// Frames would not fit a buffer.
    #[error("{interface}: AF_XDP takes an MTU of at most {MAX_MTU}, not {mtu}")]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
    },
    /// The interface has no address to serve.
    #[error("{0} has no address, and the configuration gives none")]
    NoAddress(String),
    /// Other sockets have all queues.
    #[error("{interface}: other processes have all of its {queues} receive queues")]
    NoFreeQueue {
        /// The interface.
        interface: String,
        /// Its queues.
        queues: u32,
    },
    /// A program that is not ours.
    #[error("{0}: another XDP program is attached (see `ip link`); it has to go first")]
    Occupied(String),
    /// A program of ours that we do not understand.
    #[error("the steering program on the interface has version {found}, this library has {wanted}")]
    OtherVersion {
        /// Its version.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// The steering program or its maps failed.
    #[error("XDP steering: {0}")]
    Steering(String),
    /// tpad, which was asked because this process is not root, could not do it.
    #[error("{0} (asked by tpad)")]
    Helper(crate::privilege::Refusal),
    /// DPDK does not run.
    #[error(transparent)]
    Eal(#[from] eal::StartError),
    /// DPDK's driver, or the kernel's AF_XDP socket.
    #[error("{interface}, queue {queue}: {source}")]
    Queue {
        /// The interface.
        interface: String,
        /// The receive queue.
        queue: u32,
        /// What failed.
        source: dpdk_sys::Error,
    },
    /// The memory limit leaves too little for each queue.
    #[error(
        "{needed} MiB of DPDK memory are needed for {queues} receive queues, the limit is {limit}, and that of locked memory (RLIMIT_MEMLOCK) counts where the process lacks CAP_IPC_LOCK"
    )]
    Memory {
        /// MiB that are needed.
        needed: u32,
        /// Queues that are to be opened.
        queues: u32,
        /// MiB that are allowed.
        limit: u32,
    },
    /// The interface did not answer.
    #[error("{interface}: {source}")]
    Interface {
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Opens an interface: its free queues, dealt out to at most `workers` faces
/// (fewer where there are fewer queues), and the steering for them.
///
/// # Errors
///
/// [`OpenError`], each a line that says what to do.
pub fn open(
    interface: &host::Interface,
    options: &AfXdpOptions,
    workers: usize,
) -> Result<Opened, OpenError> {
    open_steered(interface, options, workers).map(|(opened, _)| opened)
}

/// [`open`], with the steering once more as what it is, for its counts.
///
/// # Errors
///
/// [`OpenError`].
pub fn open_steered(
    interface: &host::Interface,
    options: &AfXdpOptions,
    workers: usize,
) -> Result<(Opened, XdpSteering), OpenError> {
    let name = &interface.name;
    if interface.mtu > MAX_MTU {
        return Err(OpenError::Mtu { interface: name.clone(), mtu: interface.mtu });
    }
    let addresses = addresses(interface, options)?;
    let queues = ethtool::rx_queues(name)
        .map_err(|source| OpenError::Interface { interface: name.clone(), source })?
        .min(abi::TPA_MAX_QUEUES);
    let own_neighbours = matches!(addresses, Addresses::Own(_));
    let plan = Plan::new(interface, options, queues)?;
    // What is cheap and likely to fail comes first: EAL takes a tenth of a second.
    let dpdk = Dpdk::open().map_err(eal::StartError::from)?;
    // Who waits for a queue comes again and again, and must not be kept each time.
    let is_first = !TRIED.swap(true, Ordering::Relaxed);
    let turn = Turn::take(interface.index, if is_first { turn::PATIENCE } else { Duration::ZERO });
    if turn.is_none() && !is_first {
        return Err(OpenError::NoFreeQueue { interface: name.clone(), queues });
    }
    let program = match privilege::helper() {
        Some(helper) => privileged::steering(helper, name)?,
        None => Program::open(name, interface.index)?,
    };
    let steering = XdpSteering::new(name, addresses, program, queues);
    let free = free_queues(dpdk, &plan, queues, if is_first { BUSY_TRIES } else { 1 })?;
    let dpdk = eal::start(&options.eal)?;
    let opened = open_queues(dpdk, &plan, &free, &steering)?;
    let info = device_info(interface, own_neighbours);
    log::info!(
        "{}: queues {:?} of {queues}",
        info.name,
        opened.iter().map(|(queue, ..)| queue).collect::<Vec<_>>()
    );
    let faces = deal(opened, workers)
        .into_iter()
        .map(|queues| Box::new(DpdkPort::new(dpdk, info.clone(), queues, FILL_RING)) as Box<dyn Device>)
        .collect();
    let opened =
        Opened { workers: faces, steering: Some(Box::new(steering.clone())), ifindex: Some(interface.index) };
    Ok((opened, steering))
}

fn addresses(interface: &host::Interface, options: &AfXdpOptions) -> Result<Addresses, OpenError> {
    if !options.own_addresses.is_empty() {
        return Ok(Addresses::Own(options.own_addresses.clone()));
    }
    if interface.addresses.is_empty() {
        return Err(OpenError::NoAddress(interface.name.clone()));
    }
    Ok(Addresses::Shared(interface.addresses.iter().map(|&(address, _)| address).collect()))
}

fn device_info(interface: &host::Interface, own_neighbours: bool) -> DeviceInfo {
    DeviceInfo {
        name: format!("af_xdp:{}", interface.name),
        mac: interface.mac,
        mtu: interface.mtu as usize,
        partial_checksums: ethtool::has_partial_checksums(interface),
        own_neighbours,
        tx_checksum: false,
        lossless_memory: false,
    }
}

/// Fewest buffers with which a queue runs: one for each place of the fill ring,
/// and for what is on its way in and out.
fn fewest_buffers(ring: u32) -> u32 {
    FILL_RING + ring + ring / 2
}

/// The ring that as many buffers allow: the wanted one, or the next smaller
/// powers of two.
fn fitting_ring(buffers: u64, wanted: u32) -> u32 {
    let mut ring = wanted;
    while ring > SMALLEST_RING && buffers < u64::from(fewest_buffers(ring)) {
        ring /= 2;
    }
    ring
}

/// What each queue is opened with.
#[derive(Debug)]
struct Plan {
    interface: String,
    ifindex: u32,
    mtu: u16,
    room: u32,
    buffers: u32,
    ring_size: u16,
    zero_copy: bool,
    /// Queues to take at most.
    take: usize,
}

impl Plan {
    /// Divides the memory among the queues.
    fn new(interface: &host::Interface, options: &AfXdpOptions, queues: u32) -> Result<Self, OpenError> {
        let take = options.queues.map_or(queues, |most| queues.min(most.into()));
        let room = (interface.mtu + ETHERNET_HEADER + XDP_HEADROOM).max(MIN_ROOM);
        let buffer = u64::from((room + BUFFER_HEADERS).next_multiple_of(64) + size_of::<usize>() as u32);
        let limit = options.eal.memory_mb;
        let memory = u64::from(limit.saturating_sub(EAL_MEMORY_MB)) << 20;
        let share = memory.min(privileged::lockable_memory(&options.eal)) / u64::from(take) / buffer;
        let ring = fitting_ring(share, options.ring_size.into());
        // What the rings can hold, and as much again for what is in sockets.
        let least = 2 * (FILL_RING + 2 * ring);
        let buffers = share.min(4 * u64::from(least)) as u32;
        if buffers < fewest_buffers(ring) {
            let needed = ((u64::from(least) * buffer * u64::from(take)) >> 20) as u32 + 1 + EAL_MEMORY_MB;
            return Err(OpenError::Memory { needed, queues: take, limit });
        }
        if ring < options.ring_size.into() {
            log::info!("{}: rings of {ring} descriptors, for want of memory", interface.name);
        }
        Ok(Self {
            interface: interface.name.clone(),
            ifindex: interface.index,
            mtu: interface.mtu as u16,
            room,
            buffers: buffers.min(least),
            ring_size: ring as u16,
            zero_copy: options.zero_copy,
            take: take as usize,
        })
    }

    fn failed(&self, queue: u32) -> impl Fn(dpdk_sys::Error) -> OpenError {
        move |source| match source.errno {
            libc::EPERM | libc::EACCES => OpenError::Permission,
            _ => OpenError::Queue { interface: self.interface.clone(), queue, source },
        }
    }
}

/// Queues that nobody has, in order, as many as planned and one at least. The kernel
/// frees a queue a moment after its socket was closed.
fn free_queues(dpdk: &Dpdk, plan: &Plan, queues: u32, tries: u32) -> Result<Vec<u32>, OpenError> {
    for _ in 0..tries {
        let free = free_queues_now(dpdk, plan, queues)?;
        if !free.is_empty() {
            return Ok(free);
        }
        std::thread::sleep(BUSY_WAIT);
    }
    Err(OpenError::NoFreeQueue { interface: plan.interface.clone(), queues })
}

fn free_queues_now(dpdk: &Dpdk, plan: &Plan, queues: u32) -> Result<Vec<u32>, OpenError> {
    let mut free = Vec::new();
    for queue in 0..queues {
        match dpdk.probe_xsk(&plan.interface, queue) {
            Err(error) if error.errno == libc::EBUSY => {}
            outcome => outcome.map(|()| free.push(queue)).map_err(plan.failed(queue))?,
        }
        if free.len() == plan.take {
            break;
        }
    }
    Ok(free)
}

/// Opens the queues and has them steered to.
fn open_queues(
    dpdk: &'static Dpdk,
    plan: &Plan,
    free: &[u32],
    steering: &XdpSteering,
) -> Result<Vec<(u32, Queue, Xsk)>, OpenError> {
    let mut opened = Vec::new();
    for &queue in free {
        let (device, xsk) = match open_queue(dpdk, plan, queue) {
            // Another process was faster.
            Err(error) if error.errno == libc::EBUSY => continue,
            outcome => outcome.map_err(plan.failed(queue))?,
        };
        steering.add_queue(queue, xsk.fd).map_err(|error| OpenError::Steering(error.to_string()))?;
        opened.push((queue, device, xsk));
    }
    if opened.is_empty() {
        return Err(OpenError::NoFreeQueue { interface: plan.interface.clone(), queues: free.len() as u32 });
    }
    Ok(opened)
}

/// Opens one queue. Busy polling saves nothing where frames are copied anyway,
/// and is needed where they are not; which one it is shows when the socket is
/// there.
fn open_queue(dpdk: &'static Dpdk, plan: &Plan, queue: u32) -> Result<(Queue, Xsk), dpdk_sys::Error> {
    let (device, xsk) = start_queue(dpdk, plan, queue, 0)?;
    if !xsk.zero_copy {
        return Ok((device, xsk));
    }
    let pool = device.close();
    // SAFETY: the queue is closed, and no frame was received or sent on it.
    unsafe { pool.destroy() };
    start_queue(dpdk, plan, queue, BUSY_BUDGET)
}

fn start_queue(
    dpdk: &'static Dpdk,
    plan: &Plan,
    queue: u32,
    busy_budget: u32,
) -> Result<(Queue, Xsk), dpdk_sys::Error> {
    let pool = Pool::create(dpdk, plan.buffers, plan.room, Layout::Dense)?;
    let port = Port::create(
        dpdk,
        &format!("net_af_xdp_{}_{queue}", plan.ifindex),
        &format!(
            "iface={},start_queue={queue},queue_count=1,busy_budget={busy_budget},force_copy={}",
            plan.interface,
            u8::from(!plan.zero_copy)
        ),
    )?;
    let config = PortConfig {
        mtu: plan.mtu,
        rx_descriptors: plan.ring_size,
        tx_descriptors: plan.ring_size,
        capabilities: Capabilities::default(),
        interrupts: false,
    };
    let started = port.start(&config, vec![pool]).map_err(|error| with_reason(dpdk, error))?;
    let device = started.into_iter().next();
    let xsk = dpdk.xsk(&plan.interface, queue);
    device.zip(xsk).ok_or(dpdk_sys::Error { what: "AF_XDP socket", errno: libc::ENOENT, detail: None })
}

/// The driver says EINVAL whatever the kernel said.
fn with_reason(dpdk: &Dpdk, error: dpdk_sys::Error) -> dpdk_sys::Error {
    match dpdk.xsk_error() {
        0 => error,
        errno => dpdk_sys::Error { errno, ..error },
    }
}

/// Deals queues out to faces, one each in turn.
fn deal(queues: Vec<(u32, Queue, Xsk)>, workers: usize) -> Vec<Vec<(Queue, Signal)>> {
    let count = workers.clamp(1, queues.len().max(1));
    let mut faces: Vec<Vec<(Queue, Signal)>> = (0..count).map(|_| Vec::new()).collect();
    for (place, (_, queue, xsk)) in queues.into_iter().enumerate() {
        faces[place % count].push((queue, Signal::Level(xsk.fd)));
    }
    faces
}
