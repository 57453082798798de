//! Keeps the stack's own descriptors out of the program's way.
//!
//! POSIX hands out the lowest free number, and programs rely on it (`close(0)`
//! then `open`, `select` with its 1024 descriptors, `dup2` onto a fixed one).
//! What the stack opens for itself therefore moves up.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit};

use crate::fork;

/// Highest number that we move up to: the kernel's descriptor table grows to
/// the highest number in use, and `fork` copies it.
const CEILING: u64 = 4096;

/// Moves a descriptor to a number of at least half of the soft
/// `RLIMIT_NOFILE` (but never asks for more than 4096), close-on-exec set.
///
/// # Errors
///
/// `fcntl(2)`: `EMFILE` when every number up there is taken.
pub fn move_high(fd: OwnedFd) -> io::Result<OwnedFd> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let floor = (soft / 2).min(CEILING) as RawFd;
    if fd.as_raw_fd() >= floor {
        return Ok(fd);
    }
    let moved = fcntl(fd.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(floor))?;
    // SAFETY: fcntl has just made this number, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(moved) })
}

/// An eventfd(2) that is always readable and never closed, but in a forked child.
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
pub fn always_readable() -> io::Result<RawFd> {
    let eventfd = EventFd::from_value_and_flags(1, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let fd = move_high(eventfd.into())?.into_raw_fd();
    fork::note(fd);
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_moves_up_and_closes_on_exec() {
        let low: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let high = move_high(low).unwrap();
        assert!(high.as_raw_fd() as u64 >= (soft / 2).min(CEILING));
        let flags = fcntl(high.as_fd(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
