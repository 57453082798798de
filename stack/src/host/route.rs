//! The kernel's choice of a way to a destination.

use std::io;
use std::net::IpAddr;

use libc::{RTA_GATEWAY, RTA_OIF, RTA_PREFSRC, RTA_VIA, RTM_GETROUTE};
use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};

use tpa_tcp::wire::IpAddress;

use super::HostError;
use super::attributes::Attributes;
use super::netlink::Request;

/// The way to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Number of the interface that leads there.
    pub ifindex: u32,
    /// Source address that the kernel would take.
    pub source: IpAddress,
    /// Router on the way; `None` when the destination is on the link.
    pub gateway: Option<IpAddress>,
    /// Whether the destination is this host.
    pub is_local: bool,
}

struct Answer {
    kind: RouteType,
    ifindex: Option<u32>,
    source: Option<IpAddress>,
    gateway: Option<IpAddress>,
    /// The next hop has an address of another family (RFC 5549).
    foreign_gateway: bool,
}

/// Asks the kernel for the way to a destination, all its tables and rules
/// considered.
///
/// # Errors
///
/// What the kernel says (`ENETUNREACH`, `EHOSTUNREACH`, `EACCES`);
/// `ENETUNREACH` for broadcast and multicast destinations, as connect(2) gives
/// for TCP, and for a router that has no address of the destination's family.
pub fn route_to(destination: IpAddress) -> Result<Route, HostError> {
    let what = format!("route to {destination}");
    let mut message = RouteMessage::default();
    let (family, prefix, address) = match IpAddr::from(destination) {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = prefix;
    message.attributes.push(RouteAttribute::Destination(address));
    let answer = Request { what: &what, kind: RTM_GETROUTE, flags: 0, body: &message }.once(decode)?;

    let Some(answer) = answer else { return Err(HostError::Incomplete { what, missing: "route" }) };
    let is_local = answer.kind == RouteType::Local;
    if answer.foreign_gateway || !(is_local || answer.kind == RouteType::Unicast) {
        return Err(HostError::Refused { what, source: io::Error::from_raw_os_error(libc::ENETUNREACH) });
    }
    let Some(ifindex) = answer.ifindex else {
        return Err(HostError::Incomplete { what, missing: "interface" });
    };
    let Some(source) = answer.source else {
        return Err(HostError::Incomplete { what, missing: "source address" });
    };
    Ok(Route { ifindex, source, gateway: answer.gateway, is_local })
}

fn decode(payload: &[u8]) -> Option<Answer> {
    let header = RouteHeader::parse(payload).ok()?;
    let attributes = Attributes::after(payload, header.buffer_len());
    Some(Answer {
        kind: header.kind,
        ifindex: attributes.u32(RTA_OIF),
        source: attributes.ip(RTA_PREFSRC),
        gateway: attributes.ip(RTA_GATEWAY),
        foreign_gateway: attributes.has(RTA_VIA),
    })
}
