//! What needs CAP_NET_ADMIN, CAP_NET_RAW or CAP_BPF: as tpad does it, and as a
//! process that is not root has it from there.

use std::os::fd::{FromRawFd, OwnedFd};
use std::{fs, io};

use nix::sys::resource::{Resource, getrlimit};

use super::OpenError;
use super::program::{self, Program};
use crate::host;
use crate::privilege::Helper;

/// Left of the limit for what else the user's processes lock, in bytes.
const LOCKED_ELSEWHERE: u64 = 512 << 10;

/// The steering program of an interface, as tpad has loaded or joined it.
pub(super) fn steering(helper: &Helper, interface: &str) -> Result<Program, OpenError> {
    let fds = helper.steering(interface).map_err(OpenError::Helper)?;
    Program::from_shared(fds).ok_or_else(|| OpenError::Steering("tpad sent no maps".into()))
}

/// Packet memory, in bytes, that this process may lock, which AF_XDP does
/// (getrlimit(2), `RLIMIT_MEMLOCK`); without an end under CAP_IPC_LOCK.
pub(super) fn lockable_memory() -> u64 {
    if may_lock_memory().unwrap_or(false) {
        return u64::MAX;
    }
    let soft = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(u64::MAX, |(soft, _)| soft);
    soft.saturating_sub(LOCKED_ELSEWHERE)
}

/// Whether the process has CAP_IPC_LOCK, as proc_pid_status(5) tells.
fn may_lock_memory() -> Option<bool> {
    const CAP_IPC_LOCK: u32 = 14;
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    Some(u64::from_str_radix(effective.trim(), 16).ok()? & 1 << CAP_IPC_LOCK != 0)
}

/// tpad's side of the steering program: the descriptors to pass on.
///
/// # Errors
///
/// As when a device is opened.
pub fn share_steering(interface: &host::Interface) -> Result<Vec<OwnedFd>, OpenError> {
    program::share(&interface.name, interface.index)
}

/// tpad's side of a socket: a new one.
///
/// # Errors
///
/// socket(2).
pub fn make_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_told_apart() {
        // The tests run as root, or as somebody with a limit.
        assert!(may_lock_memory().is_some());
        assert!(lockable_memory() > 0);
    }
}
