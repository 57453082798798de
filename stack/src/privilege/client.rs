//! The program's side.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};

use once_cell::sync::OnceCell;

use super::channel;
use super::memory::Region;
use super::protocol::{Refusal, Reply, Request};
use super::unheard::without_sigchld;
use crate::descriptor::move_high;
use crate::fork;

/// The program, which stands beside the library.
const TPAD: &str = "tpad";

/// The door of the tpad that this process, or the one that it was forked from,
/// has started.
static DOOR: OnceCell<OwnedFd> = OnceCell::new();

/// The connection of this process with it.
static HELPER: OnceCell<Option<Helper>> = OnceCell::new();

/// Starts tpad, once for this process and its children. To be called while the
/// process still has its privileges; returns when tpad runs on its own, as
/// nobody's child.
///
/// # Errors
///
/// Why it could not be started.
pub fn start() -> io::Result<()> {
    DOOR.get_or_try_init(|| {
        let tpad = dpdk_sys::beside(TPAD)
            .ok_or_else(|| io::Error::other("there is no program `tpad` beside the library"))?;
        let (ours, theirs) = channel::pair()?;
        // tpad forks and its first process ends at once.
        let mut command = Command::new(&tpad);
        command
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match without_sigchld(|| command.status()) {
            Ok(status) if !status.success() => {
                return Err(io::Error::other(format!("{}: {status}", tpad.display())));
            }
            // A program that ignores SIGCHLD, or was quicker to wait.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", tpad.display())));
            }
            Ok(_) => {}
        }
        let ours = move_high(ours)?;
        fork::note(ours.as_raw_fd());
        Ok(ours)
    })
    .map(|_| ())
}

/// The tpad to ask; `None` when there is none, or when the process is root and
/// needs none.
pub fn helper() -> Option<&'static Helper> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let knock =
        |door| Helper::knock(door).inspect_err(|error| log::warn!("tpad does not answer: {error}")).ok();
    HELPER.get_or_init(|| DOOR.get().and_then(knock)).as_ref()
}

/// An AF_XDP socket for a process that may not make one: what socket(2) would
/// return. `None` when the kernel can be asked as well.
pub fn xdp_socket() -> Option<io::Result<OwnedFd>> {
    helper().map(|helper| helper.xdp_socket().map_err(io_error))
}

/// Registers memory for an AF_XDP socket, as setsockopt(2) with `XDP_UMEM_REG` and
/// this `struct xdp_umem_reg`: by tpad, since what it locks counts against the limit
/// of nobody (getrlimit(2), `RLIMIT_MEMLOCK`; all processes of a user share theirs).
/// `None` when the kernel has to be asked: there is no tpad, or the memory is not of
/// a file that tpad could map.
pub fn register_memory(socket: RawFd, registration: &[u8]) -> Option<io::Result<()>> {
    let helper = helper()?;
    let (region, options) = Region::of_registration(registration)?;
    let request = Request::Memory { offset: region.offset, length: region.length, options: options.to_vec() };
    Some(helper.ask(&request, &[socket, region.file]).map(drop).map_err(io_error))
}

fn io_error(refusal: Refusal) -> io::Error {
    match refusal.errno {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(refusal),
    }
}

/// A connection with tpad.
#[derive(Debug)]
pub struct Helper(OwnedFd);

impl Helper {
    fn knock(door: &OwnedFd) -> io::Result<Self> {
        let (ours, theirs) = channel::pair()?;
        channel::send(door.as_fd(), b"knock", &[theirs.as_raw_fd()])?;
        let ours = move_high(ours)?;
        fork::note(ours.as_raw_fd());
        Ok(Self(ours))
    }

    /// Asks, with descriptors that belong to the request, and waits for the answer.
    pub fn ask(&self, request: &Request, fds: &[RawFd]) -> Result<Vec<OwnedFd>, Refusal> {
        let bytes = serde_json::to_vec(request).map_err(Refusal::new)?;
        channel::send(self.0.as_fd(), &bytes, fds)?;
        let answer = channel::receive(self.0.as_fd())?;
        if answer.bytes.is_empty() {
            return Err(Refusal::new("tpad has gone"));
        }
        let reply: Reply = serde_json::from_slice(&answer.bytes).map_err(Refusal::new)?;
        reply.map(|()| answer.fds)
    }

    /// The link of the steering program of an interface, and its maps.
    pub fn steering(&self, interface: &str) -> Result<Vec<OwnedFd>, Refusal> {
        self.ask(&Request::Steer { interface: interface.to_owned() }, &[])
    }

    fn xdp_socket(&self) -> Result<OwnedFd, Refusal> {
        self.ask(&Request::Socket, &[])?.pop().ok_or_else(|| Refusal::new("tpad sent no socket"))
    }

    /// Has the folder of this process's counters made.
    pub fn make_folder(&self) -> Result<(), Refusal> {
        self.ask(&Request::Folder, &[]).map(drop)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        fork::forget(self.0.as_raw_fd());
    }
}
