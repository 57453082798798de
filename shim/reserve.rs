//! The kernel descriptor that keeps an accelerated number.
//!
//! A number that was connected is kept by the kernel socket that it was. One
//! that was accepted is kept by an eventfd, which costs a third of a socket and
//! carries the same descriptor flags. Most programs never see the difference.
//! When one looks (fstat(2), a socket ioctl(2), an option that the stack does not
//! act upon), a kernel socket takes the eventfd's place, and answers.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;

use crate::boundary::check;
use crate::stream::Stream;
use crate::table::{self, Flag, Slot};
use crate::{options, real};

/// Held while numbers get another descriptor, and while one of several numbers
/// of a socket is closed: a number must not be given out again in between.
static CHANGING: Mutex<()> = Mutex::new(());

/// Takes the lock; held over fork(2). Who holds it may take that of the watches.
pub fn lock() -> MutexGuard<'static, ()> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number for an accepted connection, with the flags of accept4(2).
///
/// # Errors
///
/// `EMFILE`, `ENFILE`.
pub fn take(flags: i32) -> Result<RawFd, Errno> {
    let close_on_exec = if flags & libc::SOCK_CLOEXEC != 0 { libc::EFD_CLOEXEC } else { 0 };
    let nonblocking = if flags & libc::SOCK_NONBLOCK != 0 { libc::EFD_NONBLOCK } else { 0 };
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::eventfd(0, close_on_exec | nonblocking) })?;
    if table::covers(fd) {
        return Ok(fd);
    }
    release(fd);
    Err(Errno::EMFILE)
}

/// Gives a number back that nobody else knows.
pub fn release(fd: RawFd) {
    // SAFETY: by the above.
    unsafe { real::close(fd) };
}

/// Makes sure that a kernel socket stands behind every number of a connection.
///
/// # Errors
///
/// Those of socket(2).
#[cold]
pub fn make_socket(stream: Stream) -> Result<(), Errno> {
    let _alone = lock();
    if options::is_tcp(stream.fd) {
        return Ok(());
    }
    let domain = if stream.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: no pointers.
    let socket = check(unsafe { real::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    let made = copy_status(stream.fd, socket).and_then(|()| {
        let slot = Slot::stream(stream.handle);
        if table::flag(stream.fd, Flag::SHARED) {
            table::numbers_of(slot).try_for_each(|fd| put_behind(fd, socket))
        } else {
            put_behind(stream.fd, socket)
        }
    });
    release(socket);
    made
}

/// Gives one descriptor the status flags and the owner (fcntl(2)) of another.
fn copy_status(from: RawFd, to: RawFd) -> Result<(), Errno> {
    for (ask, set) in [(libc::F_GETFL, libc::F_SETFL), (libc::F_GETOWN, libc::F_SETOWN), (F_GETSIG, F_SETSIG)]
    {
        // SAFETY: integers only.
        let value = check(unsafe { real::fcntl(from, ask, 0) })?;
        // SAFETY: as above.
        check(unsafe { real::fcntl(to, set, value as usize) })?;
    }
    Ok(())
}

// From <linux/fcntl.h>; the libc crate lacks them.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;

/// The number keeps its close-on-exec flag.
fn put_behind(fd: RawFd, socket: RawFd) -> Result<(), Errno> {
    // SAFETY: F_GETFD only asks.
    let flags = check(unsafe { real::fcntl(fd, libc::F_GETFD, 0) })?;
    let flags = if flags & libc::FD_CLOEXEC != 0 { libc::O_CLOEXEC } else { 0 };
    // SAFETY: no pointers.
    check(unsafe { real::dup3(socket, fd, flags) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpa_stack::Handle;

    fn fcntl(fd: RawFd, command: i32) -> i32 {
        // SAFETY: only asks.
        unsafe { libc::fcntl(fd, command) }
    }

    #[test]
    fn a_socket_takes_the_place_behind_every_number_and_keeps_the_flags() {
        let handle = Handle::from_bits(0xbeef);
        let fd = take(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC).unwrap();
        // SAFETY: no pointers.
        let other = unsafe { libc::dup(fd) };
        for number in [fd, other] {
            table::set(number, Slot::stream(handle));
            table::set_flag(number, Flag::SHARED, true);
        }
        assert!(!options::is_tcp(fd));
        let before = [fcntl(fd, libc::F_GETFL), fcntl(fd, libc::F_GETFD), fcntl(other, libc::F_GETFD)];
        make_socket(Stream { fd, handle }).unwrap();
        assert!(options::is_tcp(fd) && options::is_tcp(other));
        let after = [fcntl(fd, libc::F_GETFL), fcntl(fd, libc::F_GETFD), fcntl(other, libc::F_GETFD)];
        assert_eq!(before, after);
        for number in [fd, other] {
            table::set(number, Slot::KERNEL);
            table::clear_flags(number);
            release(number);
        }
    }
}
