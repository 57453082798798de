//! Changes of the kernel's tables, as they come.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::{
    RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELROUTE, RTM_DELRULE, RTM_NEWADDR, RTM_NEWLINK,
    RTM_NEWNEIGH, RTM_NEWROUTE, RTM_NEWRULE, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK, RTMGRP_NEIGH,
};
use netlink_packet_core::NetlinkBuffer;
use nix::errno::Errno;
use nix::sys::socket::SockFlag;
use tpa_tcp::wire::IpAddress;

use super::HostError;
use super::neighbour::Entry;
use super::netlink::{Socket, datagram, messages, receive};
use crate::descriptor::move_high;

/// `RTNLGRP_IPV6_RULE` as a bit; the kernel has no older name for it.
const RTMGRP_IPV6_RULE: i32 = 1 << 18;

const GROUPS: i32 = RTMGRP_LINK
    | RTMGRP_NEIGH
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV6_RULE;

/// Something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An address came or went.
    Address,
    /// An interface came, went, or changed its state, MTU or address.
    Link,
    /// A route or a routing rule came or went.
    Route,
    /// A neighbour was found, lost or has another address.
    Neighbour {
        /// Interface that it is on.
        ifindex: u32,
        /// Its address.
        addr: IpAddress,
        /// Its Ethernet address; `None` when it is not known any more.
        mac: Option<[u8; 6]>,
    },
    /// Changes were lost (netlink(7), `ENOBUFS`): whatever was remembered must
    /// be asked for again.
    Overrun,
}

/// Hears of changes in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Watcher {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Watcher {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// No netlink socket is to be had.
    pub fn open() -> Result<Self, HostError> {
        let socket = Socket::open(GROUPS as u32, SockFlag::SOCK_NONBLOCK)?;
        let fd =
            move_high(socket.into_fd()).map_err(|source| HostError::Socket { action: "move", source })?;
        Ok(Self { fd, buffer: datagram() })
    }

    /// A descriptor that is readable when changes wait: non-blocking,
    /// close-on-exec, above the program's usual numbers.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Hands over what waits. Never blocks.
    ///
    /// # Errors
    ///
    /// The socket failed; a watcher that was closed behind our back does.
    pub fn drain(&mut self, mut on_change: impl FnMut(Change)) -> Result<(), HostError> {
        loop {
            match receive(self.fd.as_fd(), &mut self.buffer) {
                Ok(datagram) => messages(datagram).filter_map(|m| decode(&m)).for_each(&mut on_change),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::ENOBUFS | Errno::EMSGSIZE) => on_change(Change::Overrun),
                Err(errno) => {
                    return Err(HostError::Socket { action: "receive from", source: errno.into() });
                }
            }
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn decode(message: &NetlinkBuffer<&[u8]>) -> Option<Change> {
    match message.message_type() {
        RTM_NEWADDR | RTM_DELADDR => Some(Change::Address),
        RTM_NEWLINK | RTM_DELLINK => Some(Change::Link),
        RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWRULE | RTM_DELRULE => Some(Change::Route),
        kind @ (RTM_NEWNEIGH | RTM_DELNEIGH) => {
            let entry = Entry::decode(message.payload())?;
            let mac = entry.mac.filter(|_| kind == RTM_NEWNEIGH);
            Some(Change::Neighbour { ifindex: entry.ifindex, addr: entry.address, mac })
        }
        _ => None,
    }
}
