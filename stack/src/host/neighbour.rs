//! Neighbours that the kernel knows, and how it is asked to find one.

use std::io;
use std::net::{IpAddr, UdpSocket};

use libc::{
    NDA_DST, NDA_LLADDR, NUD_DELAY, NUD_NOARP, NUD_PERMANENT, NUD_PROBE, NUD_REACHABLE, NUD_STALE,
    RTM_GETNEIGH, RTM_NEWNEIGH,
};
use netlink_packet_core::{Emitable, NLM_F_CREATE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
};
use nix::net::if_::if_indextoname;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{BindToDevice, Ipv6Ttl};
use tpa_tcp::wire::IpAddress;

use super::HostError;
use super::attributes::Attributes;
use super::netlink::Request;

/// States with an address that may be used (the kernel's `NUD_VALID`).
const VALID: u16 = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
/// Port of the discard service (RFC 863).
const DISCARD: u16 = 9;

/// An entry of the kernel's neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ifindex: u32,
    pub(super) address: IpAddress,
    /// The Ethernet address, while it may be used.
    pub(super) mac: Option<[u8; 6]>,
    state: u16,
}

impl Entry {
    /// An entry from a message's payload; `None` for other families.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let header = NeighbourHeader::parse(payload).ok()?;
        if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
            return None;
        }
        let attributes = Attributes::after(payload, header.buffer_len());
        let state = u16::from(header.state);
        Some(Self {
            ifindex: header.ifindex,
            address: attributes.ip(NDA_DST)?,
            mac: attributes.mac(NDA_LLADDR).filter(|_| state & VALID != 0),
            state,
        })
    }
}

/// The Ethernet address of a neighbour, when the kernel has it.
pub fn neighbour(ifindex: u32, address: IpAddress) -> Option<[u8; 6]> {
    look_up(ifindex, address).inspect_err(|error| log::debug!("{error}")).ok()?.mac
}

/// Asks the kernel to resolve a neighbour, or to confirm one that it has not
/// heard from for a while. Never waits: the address comes back at once when the
/// kernel has it (then nothing need follow), else through
/// [`Watcher`](super::Watcher).
///
/// A process without `CAP_NET_ADMIN` cannot order it; it makes the kernel
/// want to know by an empty datagram to the neighbour's discard port.
///
/// # Errors
///
/// What the kernel says.
pub fn resolve(ifindex: u32, address: IpAddress) -> Result<Option<[u8; 6]>, HostError> {
    let known = look_up(ifindex, address).ok();
    let mac = known.and_then(|entry| entry.mac);
    // NTF_USE would turn an entry that an administrator made permanent into
    // one that ages.
    if known.is_some_and(|entry| entry.state & (NUD_PERMANENT | NUD_NOARP) != 0) {
        return Ok(mac);
    }
    match order(ifindex, address) {
        Err(refused) if refused.errno() == libc::EPERM => provoke(ifindex, address),
        other => other,
    }
    .map(|()| mac)
}

fn message(ifindex: u32, address: IpAddress) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, address) = match IpAddr::from(address) {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

fn look_up(ifindex: u32, address: IpAddress) -> Result<Entry, HostError> {
    let what = format!("neighbour {address} on interface {ifindex}");
    let body = message(ifindex, address);
    let request = Request { what: &what, kind: RTM_GETNEIGH, flags: 0, body: &body };
    request.once(Entry::decode)?.ok_or(HostError::Incomplete { what, missing: "neighbour" })
}

/// `NTF_USE`: as if the kernel had a packet of its own to send there.
fn order(ifindex: u32, address: IpAddress) -> Result<(), HostError> {
    let what = format!("resolution of {address} on interface {ifindex}");
    let mut body = message(ifindex, address);
    body.header.flags = NeighbourFlags::Use;
    let request = Request { what: &what, kind: RTM_NEWNEIGH, flags: NLM_F_CREATE, body: &body };
    request.once(|_| None::<()>).map(drop)
}

fn provoke(ifindex: u32, address: IpAddress) -> Result<(), HostError> {
    let send = || -> io::Result<()> {
        let socket = UdpSocket::bind((IpAddr::from(address.unspecified()), 0))?;
        let name = if_indextoname(ifindex)?;
        setsockopt(&socket, BindToDevice, &name.to_string_lossy().into_owned().into())?;
        // It is for a neighbour: no router may carry it on.
        if address.is_v4() {
            socket.set_ttl(1)?;
        } else {
            setsockopt(&socket, Ipv6Ttl, &1)?;
        }
        socket.send_to(&[], (IpAddr::from(address), DISCARD)).map(drop)
    };
    send().map_err(|source| HostError::Refused {
        what: format!("datagram to resolve {address} on interface {ifindex}"),
        source,
    })
}
