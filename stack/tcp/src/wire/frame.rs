//! From an Ethernet frame to what a worker dispatches on.

use std::ops::Range;

use super::WireError;
use super::address::IpAddress;
use super::arp::ArpRepr;
use super::checksum::{ChecksumPolicy, Sum};
use super::ecn::Ecn;
use super::ethernet::{ETHERNET_HEADER_LEN, EtherType, EthernetAddress, EthernetRepr};
use super::icmpv4::Icmpv4Message;
use super::icmpv6::{Icmpv6Message, PROTOCOL_ICMPV6};
use super::ipv4::{Ipv4Repr, PROTOCOL_ICMP, PROTOCOL_TCP};
use super::ipv6::Ipv6Repr;
use super::tcp::TcpRepr;

/// Where the checksum field lies in a TCP header.
const CHECKSUM_OFFSET: Range<usize> = 16..18;

/// A received frame, as far as the stack cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A TCP segment.
    Tcp(TcpFrame),
    /// ARP for IPv4.
    Arp(ArpRepr),
    /// ICMP over IPv4.
    Icmpv4(Icmpv4Frame),
    /// ICMP over IPv6.
    Icmpv6(Icmpv6Frame),
    /// Any other protocol.
    Other,
}

/// A TCP segment and the headers around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpFrame {
    /// Hardware address of the sender.
    pub src_mac: EthernetAddress,
    /// Hardware address that it was sent to.
    pub dst_mac: EthernetAddress,
    /// Source address.
    pub src: IpAddress,
    /// Destination address.
    pub dst: IpAddress,
    /// Differentiated services and ECN.
    pub tos: u8,
    /// The segment's header.
    pub tcp: TcpRepr,
    /// Where the payload lies in the frame.
    pub payload: Range<usize>,
}

/// An ICMP message and the headers around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmpv4Frame {
    /// Hardware address of the sender.
    pub src_mac: EthernetAddress,
    /// Hardware address that it was sent to.
    pub dst_mac: EthernetAddress,
    /// Source address.
    pub src: IpAddress,
    /// Destination address.
    pub dst: IpAddress,
    /// The message.
    pub message: Icmpv4Message,
}

/// An ICMPv6 message and the headers around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icmpv6Frame {
    /// Hardware address of the sender.
    pub src_mac: EthernetAddress,
    /// Hardware address that it was sent to.
    pub dst_mac: EthernetAddress,
    /// IPv6 source.
    pub src: IpAddress,
    /// IPv6 destination.
    pub dst: IpAddress,
    /// The message.
    pub message: Icmpv6Message,
}

/// Parses a frame from its first Ethernet byte on and verifies its checksums
/// as `policy` asks. Padding behind the IP packet is no payload; IP options and
/// extension headers are skipped.
///
/// # Errors
///
/// What does not add up, as a [`WireError`]; such a frame must be dropped.
#[inline]
pub fn parse_frame(frame: &[u8], policy: ChecksumPolicy) -> Result<Frame, WireError> {
    let ethernet = EthernetRepr::parse(frame)?;
    let packet = frame.get(ETHERNET_HEADER_LEN..).ok_or(WireError::Truncated)?;
    match ethernet.kind {
        EtherType::Ipv4 => parse_ipv4(frame, packet, &ethernet, policy),
        EtherType::Ipv6 => parse_ipv6(frame, packet, &ethernet, policy),
        EtherType::Arp => ArpRepr::parse(packet).map(Frame::Arp),
        EtherType::Other(_) => Ok(Frame::Other),
    }
}

#[inline]
fn parse_ipv4(
    frame: &[u8],
    packet: &[u8],
    ethernet: &EthernetRepr,
    policy: ChecksumPolicy,
) -> Result<Frame, WireError> {
    let (ip, body) = Ipv4Repr::parse(packet, policy)?;
    let at = ETHERNET_HEADER_LEN + body.start..ETHERNET_HEADER_LEN + body.end;
    match ip.protocol {
        PROTOCOL_TCP => {
            let ip = Around { src: ip.src.into(), dst: ip.dst.into(), tos: ip.tos };
            parse_tcp(frame, at, ethernet, &ip, policy).map(Frame::Tcp)
        }
        PROTOCOL_ICMP => Ok(Frame::Icmpv4(Icmpv4Frame {
            src_mac: ethernet.src,
            dst_mac: ethernet.dst,
            src: ip.src.into(),
            dst: ip.dst.into(),
            message: Icmpv4Message::parse(frame, at, policy)?,
        })),
        _ => Ok(Frame::Other),
    }
}

#[inline]
fn parse_ipv6(
    frame: &[u8],
    packet: &[u8],
    ethernet: &EthernetRepr,
    policy: ChecksumPolicy,
) -> Result<Frame, WireError> {
    let (ip, body) = Ipv6Repr::parse(packet)?;
    let at = ETHERNET_HEADER_LEN + body.start..ETHERNET_HEADER_LEN + body.end;
    match ip.protocol {
        PROTOCOL_TCP => {
            let ip = Around { src: ip.src.into(), dst: ip.dst.into(), tos: ip.traffic_class };
            parse_tcp(frame, at, ethernet, &ip, policy).map(Frame::Tcp)
        }
        PROTOCOL_ICMPV6 => Ok(Frame::Icmpv6(Icmpv6Frame {
            src_mac: ethernet.src,
            dst_mac: ethernet.dst,
            src: ip.src.into(),
            dst: ip.dst.into(),
            message: Icmpv6Message::parse(frame, at, &ip, policy)?,
        })),
        _ => Ok(Frame::Other),
    }
}

/// What a TCP segment needs of the IP header around it.
struct Around {
    src: IpAddress,
    dst: IpAddress,
    tos: u8,
}

#[inline]
fn parse_tcp(
    frame: &[u8],
    at: Range<usize>,
    ethernet: &EthernetRepr,
    ip: &Around,
    policy: ChecksumPolicy,
) -> Result<TcpFrame, WireError> {
    let segment = frame.get(at.clone()).ok_or(WireError::Truncated)?;
    if policy != ChecksumPolicy::Trust {
        verify_tcp(segment, ip, policy)?;
    }
    let (tcp, header_len) = TcpRepr::parse(segment, Ecn::of_tos(ip.tos))?;
    Ok(TcpFrame {
        src_mac: ethernet.src,
        dst_mac: ethernet.dst,
        src: ip.src,
        dst: ip.dst,
        tos: ip.tos,
        tcp,
        payload: at.start + header_len..at.end,
    })
}

#[inline]
fn verify_tcp(segment: &[u8], ip: &Around, policy: ChecksumPolicy) -> Result<(), WireError> {
    let pseudo = Sum::pseudo_header(ip.src, ip.dst, PROTOCOL_TCP, segment.len() as u16);
    let is_partial = || segment.get(CHECKSUM_OFFSET) == Some(&pseudo.partial()[..]);
    if (policy == ChecksumPolicy::VerifyOrPartial && is_partial()) || pseudo.plus(segment).is_valid() {
        Ok(())
    } else {
        Err(WireError::PayloadChecksum)
    }
}
