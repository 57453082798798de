//! Options that the stack does not act upon and that do no harm so. They live in
//! the kernel socket behind the number, so that their values, lengths and errors
//! are Linux's own.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use libc::socklen_t;
use nix::errno::Errno;

use super::value::{Input, Output};
use crate::boundary::check;
use crate::stream::Stream;
use crate::table::{self, Flag};
use crate::{real, reserve};

/// Those that an accepted connection has of its listener.
const INHERITED: &[(i32, i32)] = &[
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_FREEBIND),
    (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
    (libc::IPPROTO_IP, libc::IP_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
];

/// Those that it has not.
const OWN: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_BINDTODEVICE),
    (libc::SOL_SOCKET, libc::SO_DEBUG),
    (libc::SOL_SOCKET, libc::SO_INCOMING_CPU),
    (libc::SOL_SOCKET, libc::SO_SNDLOWAT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
];

/// Whether an option lives in the kernel socket. Levels that mean nothing to the
/// socket are left to the kernel, which refuses them.
pub fn is_carried(stream: Stream, level: i32, name: i32) -> bool {
    match level {
        libc::SOL_SOCKET | libc::IPPROTO_TCP | libc::IPPROTO_IP => {}
        libc::IPPROTO_IPV6 if stream.is_ipv6() => {}
        _ => return true,
    }
    INHERITED.contains(&(level, name)) || OWN.contains(&(level, name))
}

/// setsockopt(2) on the kernel socket behind a connection.
///
/// # Errors
///
/// The kernel's.
pub fn set(stream: Stream, level: i32, name: i32, value: Input<'_>) -> Result<(), Errno> {
    if (level, name) == (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) && stream.is_ipv6() {
        // The kernel socket has no port, and would take it.
        return value.int().and(Err(Errno::EINVAL));
    }
    reserve::make_socket(stream)?;
    let bytes = value.bytes();
    let length = bytes.len() as socklen_t;
    // SAFETY: a live value of that length.
    check(unsafe { real::setsockopt(stream.fd, level, name, bytes.as_ptr().cast(), length) }).map(drop)
}

/// getsockopt(2) on the kernel socket behind a connection.
///
/// # Errors
///
/// The kernel's.
pub fn get(stream: Stream, level: i32, name: i32, out: &mut Output<'_>) -> Result<(), Errno> {
    reserve::make_socket(stream)?;
    let (room, length) = out.parts();
    // SAFETY: room of that length.
    check(unsafe { real::getsockopt(stream.fd, level, name, room.as_mut_ptr().cast(), length) }).map(drop)
}

fn int(fd: RawFd, (level, name): (i32, i32)) -> Option<i32> {
    let mut value = MaybeUninit::<i32>::zeroed();
    let mut length = size_of::<i32>() as socklen_t;
    // SAFETY: room for an int.
    let result = unsafe { real::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    // SAFETY: zeroed before the call.
    (result == 0).then(|| unsafe { value.assume_init() })
}

/// Whether a listener has other values than a new socket.
pub fn is_changed(listener: RawFd) -> bool {
    let domain = if table::flag(listener, Flag::IPV6) { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: no pointers.
    let fresh = unsafe { real::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    let changed = INHERITED.iter().any(|&option| int(listener, option) != int(fresh, option));
    reserve::release(fresh);
    changed
}

/// Gives an accepted connection its listener's values.
pub fn inherit(listener: RawFd, connection: Stream) {
    if let Err(errno) = reserve::make_socket(connection) {
        log::warn!("an accepted connection has not the options of its listener: {errno}");
        return;
    }
    for &(level, name) in INHERITED {
        let value = int(listener, (level, name));
        if value == int(connection.fd, (level, name)) {
            continue;
        }
        if let Some(value) = value {
            set_int(connection.fd, (level, name), value);
        }
    }
    // `IP_TOS` has set it; Linux does not inherit it (`sk_clone`).
    set_int(connection.fd, (libc::SOL_SOCKET, libc::SO_PRIORITY), 0);
}

/// What the program may not set again it does without.
fn set_int(fd: RawFd, (level, name): (i32, i32), value: i32) {
    let bytes = value.to_ne_bytes();
    // SAFETY: an int and its length.
    let _ = unsafe { real::setsockopt(fd, level, name, bytes.as_ptr().cast(), bytes.len() as socklen_t) };
}
