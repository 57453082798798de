//! Keeps the ports of a block to ourselves.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::sys::socket::sockopt::Ipv6V6Only;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, sendmsg,
    setsockopt, socket, socketpair,
};

use super::ports_of;
use crate::descriptor::move_high;
use crate::fork;

/// First ports of the blocks that this process holds by number alone, so that
/// its workers keep out of each other's way.
static BY_NUMBER: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// A block that is ours until this is dropped.
#[derive(Debug)]
pub(super) enum Reservation {
    /// By sockets bound to its ports. They wait in the queue of this Unix
    /// socket as messages (`SCM_RIGHTS`, unix(7)): so a block costs the program
    /// one descriptor of its limit, not 64.
    Bound(OwnedFd),
    /// By its number.
    Number(u16),
}

impl Reservation {
    /// Binds the block's ports on the kernel, but the one that the program has
    /// bound itself. `None` when another socket has one of them.
    pub(super) fn bind(first: u16, bound_already: Option<u16>) -> io::Result<Option<Self>> {
        let (enter, queue) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )?;
        for port in ports_of(first).filter(|port| Some(*port) != bound_already) {
            match bind_port(port) {
                Ok(bound) => enqueue(&enter, &bound)?,
                Err(Errno::EADDRINUSE) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
        let queue = move_high(queue)?;
        fork::note(queue.as_raw_fd());
        Ok(Some(Self::Bound(queue)))
    }

    /// Takes a block that no other worker of the process has.
    pub(super) fn by_number(first: u16) -> Option<Self> {
        let mut taken = BY_NUMBER.lock().ok()?;
        if taken.contains(&first) {
            return None;
        }
        taken.push(first);
        Some(Self::Number(first))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self {
            Self::Bound(queue) => fork::forget(queue.as_raw_fd()),
            Self::Number(first) => {
                if let Ok(mut taken) = BY_NUMBER.lock() {
                    taken.retain(|other| other != first);
                }
            }
        }
    }
}

/// A socket that has the port on all addresses, and neither listens nor
/// connects: the kernel gives the port to nobody else.
fn bind_port(port: u16) -> nix::Result<OwnedFd> {
    let of_family = |family| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    // An IPv6 socket has the port of both families, unless the host has no IPv6.
    let Ok(fd) = of_family(AddressFamily::Inet6) else {
        let fd = of_family(AddressFamily::Inet)?;
        bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
        return Ok(fd);
    };
    setsockopt(&fd, Ipv6V6Only, &false)?;
    bind(fd.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)))?;
    Ok(fd)
}

/// Leaves the socket in the queue, alive without a number.
fn enqueue(enter: &OwnedFd, bound: &OwnedFd) -> nix::Result<()> {
    let rights = [bound.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(enter.as_raw_fd(), &[IoSlice::new(&[0])], &message, flags, None).map(drop)
}
