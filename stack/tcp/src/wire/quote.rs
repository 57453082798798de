//! The segment that an ICMP or ICMPv6 error quotes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::IpAddress;
use super::ipv4::{FRAGMENT_OFFSET, IPV4_HEADER_LEN, PROTOCOL_TCP};
use super::ipv6::IPV6_HEADER_LEN;
use super::reader;
use crate::seq::SeqNum;

/// Bytes of a segment that every error quotes: ports and sequence number.
const QUOTED_TCP_LEN: usize = 8;

/// The segment of ours that an ICMP error is about. Nothing of it is proven:
/// routers do not check what they quote, and anybody may send such a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotedSegment {
    /// Our address.
    pub src: IpAddress,
    /// The peer's address.
    pub dst: IpAddress,
    /// Our port.
    pub src_port: u16,
    /// The peer's port.
    pub dst_port: u16,
    /// Its sequence number.
    pub seq: SeqNum,
    /// Length of the whole packet.
    pub total_len: u16,
}

impl QuotedSegment {
    /// Reads the start of an IP packet as an error quotes it: the IP header
    /// and at least eight bytes more (RFC 792, RFC 4443 2.4). `None` for anything
    /// but a TCP segment, or its first fragment; we send no extension headers.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let fixed: [u8; IPV4_HEADER_LEN] = reader::array(packet, 0).ok()?;
        let [version_len, _, t0, t1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
        let header_len = usize::from(version_len & 0x0f) * 4;
        let offset = u16::from_be_bytes([f0, f1]) & FRAGMENT_OFFSET;
        if header_len < IPV4_HEADER_LEN || offset != 0 || protocol != PROTOCOL_TCP {
            return None;
        }
        let (src, dst) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
        Self::of(src.into(), dst.into(), u16::from_be_bytes([t0, t1]), packet.get(header_len..)?)
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let [_, _, _, _, l0, l1, next_header, _] = reader::array(packet, 0).ok()?;
        if next_header != PROTOCOL_TCP {
            return None;
        }
        let src = Ipv6Addr::from(reader::array::<16>(packet, 8).ok()?);
        let dst = Ipv6Addr::from(reader::array::<16>(packet, 24).ok()?);
        let total_len = u16::from_be_bytes([l0, l1]).saturating_add(IPV6_HEADER_LEN as u16);
        Self::of(src.into(), dst.into(), total_len, packet.get(IPV6_HEADER_LEN..)?)
    }

    fn of(src: IpAddress, dst: IpAddress, total_len: u16, segment: &[u8]) -> Option<Self> {
        let tcp: [u8; QUOTED_TCP_LEN] = reader::array(segment, 0).ok()?;
        let [p0, p1, r0, r1, q0, q1, q2, q3] = tcp;
        Some(Self {
            src,
            dst,
            src_port: u16::from_be_bytes([p0, p1]),
            dst_port: u16::from_be_bytes([r0, r1]),
            seq: SeqNum(u32::from_be_bytes([q0, q1, q2, q3])),
            total_len,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Ipv6Repr;
    use proptest::prelude::*;

    const SEGMENT: [u8; 8] = [0x18, 0xeb, 0x9c, 0x40, 1, 2, 3, 4];

    /// The first bytes of a segment of ours.
    fn quoted() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend(SEGMENT);
        packet
    }

    fn quoted_v6() -> Vec<u8> {
        let header = Ipv6Repr {
            src: "fd00::1".parse().unwrap(),
            dst: "fd00::2".parse().unwrap(),
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 60,
            protocol: PROTOCOL_TCP,
            payload_len: 1460,
        };
        [&header.emit()[..], &SEGMENT].concat()
    }

    #[test]
    fn an_error_quotes_the_segment_that_it_is_about() {
        let segment = QuotedSegment::parse(&quoted()).unwrap();
        assert_eq!(
            (segment.src, segment.dst),
            (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into())
        );
        assert_eq!((segment.src_port, segment.dst_port), (6379, 40_000));
        assert_eq!((segment.seq, segment.total_len), (SeqNum(0x0102_0304), 1500));
        let mut with_options = quoted();
        with_options.splice(20..20, [1; 8]);
        with_options[0] = 0x47;
        assert_eq!(QuotedSegment::parse(&with_options), Some(segment));
    }

    #[test]
    fn an_ipv6_error_quotes_it_too() {
        let segment = QuotedSegment::parse(&quoted_v6()).unwrap();
        let address = |text: &str| IpAddress::from(text.parse::<Ipv6Addr>().unwrap());
        assert_eq!((segment.src, segment.dst), (address("fd00::1"), address("fd00::2")));
        assert_eq!((segment.src_port, segment.dst_port), (6379, 40_000));
        assert_eq!((segment.seq, segment.total_len), (SeqNum(0x0102_0304), 1500));
    }

    #[test]
    fn what_is_no_beginning_of_a_segment_is_not_quoted() {
        assert_eq!(QuotedSegment::parse(&quoted()[..27]), None);
        assert_eq!(QuotedSegment::parse(&quoted_v6()[..47]), None);
        assert_eq!(QuotedSegment::parse(&[]), None);
        for (at, value) in [(0, 0x75), (0, 0x44), (7, 1), (9, 17)] {
            let mut packet = quoted();
            packet[at] = value;
            assert_eq!(QuotedSegment::parse(&packet), None, "byte {at}");
        }
        let mut datagram = quoted_v6();
        datagram[6] = 17;
        assert_eq!(QuotedSegment::parse(&datagram), None);
    }

    proptest! {
        #[test]
        fn no_quote_makes_the_parser_panic(
            first in prop_oneof![Just(0x45u8), Just(0x60)], bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            QuotedSegment::parse(&bytes);
            QuotedSegment::parse(&[&[first][..], &bytes].concat());
        }
    }
}
