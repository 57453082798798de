//! What needs CAP_NET_ADMIN, CAP_NET_RAW or CAP_BPF: as tpad does it, and as a
//! process that is not root has it from there.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{fs, io, ptr};

use dpdk_sys::eal::EalConfig;
use nix::sys::resource::{Resource, getrlimit};

use super::OpenError;
use super::program::{self, Program};
use crate::host;
use crate::privilege::{self, Helper};

/// Left of the limit for what else the user's processes lock, in bytes.
const LOCKED_ELSEWHERE: u64 = 512 << 10;

/// The steering program of an interface, as tpad has loaded or joined it.
pub(super) fn steering(helper: &Helper, interface: &str) -> Result<Program, OpenError> {
    let fds = helper.steering(interface).map_err(OpenError::Helper)?;
    Program::from_shared(fds).ok_or_else(|| OpenError::Steering("tpad sent no maps".into()))
}

/// Packet memory, in bytes, that this process may lock, which AF_XDP does
/// (getrlimit(2), `RLIMIT_MEMLOCK`); without an end under CAP_IPC_LOCK, its own or
/// tpad's, which can register all but hugepages: each of them is a file of its own.
pub(super) fn lockable_memory(eal: &EalConfig) -> u64 {
    let is_tpads = privilege::helper().is_some() && !eal.takes_hugepages();
    if is_tpads || may_lock_memory().unwrap_or(false) {
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

/// Longest memory that tpad registers at a time, in bytes.
const MOST_MEMORY: u64 = 1 << 30;

/// Longest `struct xdp_umem_reg` less the address and length, in bytes: more than
/// any kernel has.
const MOST_OPTIONS: usize = 48;

/// tpad's side of a socket's memory: registers a part of a file that the asking
/// process has mapped too. The kernel pins the pages, so that tpad's own mapping can
/// go at once.
///
/// # Errors
///
/// `EINVAL` for a request beyond bounds, those of mmap(2) and setsockopt(2).
pub fn register_memory(
    socket: &OwnedFd,
    file: &OwnedFd,
    offset: u64,
    length: u64,
    options: &[u8],
) -> io::Result<()> {
    let (Ok(start), true, true) = (offset.try_into(), length <= MOST_MEMORY, options.len() <= MOST_OPTIONS)
    else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (access, length) = (libc::PROT_READ | libc::PROT_WRITE, length as usize);
    // SAFETY: a new mapping of a file, at an address of the kernel's choice.
    let memory =
        unsafe { libc::mmap(ptr::null_mut(), length, access, libc::MAP_SHARED, file.as_raw_fd(), start) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let mut registration = Vec::from((memory as u64).to_ne_bytes());
    registration.extend((length as u64).to_ne_bytes());
    registration.extend(options);
    // SAFETY: a live struct and its length; the kernel reads no memory of ours through it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_UMEM_REG,
            registration.as_ptr().cast(),
            registration.len() as libc::socklen_t,
        )
    };
    let outcome = if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the mapping is ours, and nobody has a pointer into it.
    unsafe { libc::munmap(memory, length) };
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_told_apart() {
        // The tests run as root, or as somebody with a limit.
        assert!(may_lock_memory().is_some());
        assert!(lockable_memory(&EalConfig::default()) > 0);
    }
}
