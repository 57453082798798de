//! Whole frames to send.

use super::address::IpAddress;
use super::checksum::Sum;
use super::ethernet::{ETHERNET_HEADER_LEN, EtherType, EthernetAddress, EthernetRepr};
use super::ipv4::{IPV4_HEADER_LEN, Ipv4Repr, PROTOCOL_TCP};
use super::ipv6::{IPV6_HEADER_LEN, Ipv6Repr};
use super::tcp::TCP_HEADER_LEN;
use crate::connection::Transmit;

/// Where a frame goes and from where: what all segments of a connection share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Our hardware address.
    pub src_mac: EthernetAddress,
    /// Hardware address of the next hop.
    pub dst_mac: EthernetAddress,
    /// Our address.
    pub src: IpAddress,
    /// The peer's address, of the same family.
    pub dst: IpAddress,
    /// Differentiated services; the ECN bits of a TCP frame are the segment's.
    pub tos: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Flow label of IPv6 packets, 20 bits (RFC 6437).
    pub flow_label: u32,
}

impl FrameHeader {
    /// Length of the Ethernet and IP headers.
    #[inline]
    pub(super) fn len(&self) -> usize {
        ETHERNET_HEADER_LEN + if self.dst.is_v4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN }
    }

    /// Writes both headers to the front of `frame`; returns what is behind
    /// them, `None` when `frame` is too small. `ident` is for IPv4 alone.
    #[inline]
    pub(super) fn emit<'a>(
        &self,
        frame: &'a mut [u8],
        ident: u16,
        protocol: u8,
        payload_len: u16,
    ) -> Option<&'a mut [u8]> {
        let (ethernet, rest) = frame.split_first_chunk_mut::<ETHERNET_HEADER_LEN>()?;
        let (src_mac, dst_mac) = (self.src_mac, self.dst_mac);
        if let (Some(src), Some(dst)) = (self.src.to_v4(), self.dst.to_v4()) {
            EthernetRepr { src: src_mac, dst: dst_mac, kind: EtherType::Ipv4 }.emit(ethernet);
            let (ip, rest) = rest.split_first_chunk_mut::<IPV4_HEADER_LEN>()?;
            *ip = Ipv4Repr { src, dst, tos: self.tos, ttl: self.ttl, protocol, ident, payload_len }.emit();
            return Some(rest);
        }
        EthernetRepr { src: src_mac, dst: dst_mac, kind: EtherType::Ipv6 }.emit(ethernet);
        let (ip, rest) = rest.split_first_chunk_mut::<IPV6_HEADER_LEN>()?;
        *ip = Ipv6Repr {
            src: self.src.to_v6(),
            dst: self.dst.to_v6(),
            traffic_class: self.tos,
            flow_label: self.flow_label,
            hop_limit: self.ttl,
            protocol,
            payload_len,
        }
        .emit();
        Some(rest)
    }
}

/// The ports of a segment to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Ours.
    pub src: u16,
    /// The peer's.
    pub dst: u16,
}

/// Writes `segment` as a whole frame, that no router may fragment, into `buf` and returns its
/// length; zero when it does not fit `buf` or an IP packet.
///
/// With `checksum` the TCP checksum is computed; without, the field holds the
/// sum of the pseudo-header for the device to complete.
#[inline]
pub fn emit_tcp_frame(
    buf: &mut [u8],
    header: &FrameHeader,
    ident: u16,
    segment: &Transmit<'_>,
    ports: Ports,
    checksum: bool,
) -> usize {
    let options = segment.options.emit();
    let (first, second) = segment.payload;
    let header_len = TCP_HEADER_LEN + options.len();
    let tcp_len = header_len + first.len() + second.len();
    let total = header.len() + tcp_len;
    let Ok(ip_payload) = u16::try_from(tcp_len) else { return 0 };
    // The length in an IPv4 header counts the header.
    if header.dst.is_v4() && tcp_len + IPV4_HEADER_LEN > usize::from(u16::MAX) {
        return 0;
    }
    let Some(frame) = buf.get_mut(..total) else { return 0 };
    let header = FrameHeader { tos: segment.ecn.in_tos(header.tos), ..*header };
    let Some(rest) = header.emit(frame, ident, PROTOCOL_TCP, ip_payload) else { return 0 };
    let Some((head, rest)) = rest.split_first_chunk_mut::<TCP_HEADER_LEN>() else { return 0 };
    let (option_bytes, body) = rest.split_at_mut(options.len());
    option_bytes.copy_from_slice(&options);
    let (body_first, body_second) = body.split_at_mut(first.len());
    body_first.copy_from_slice(first);
    body_second.copy_from_slice(second);

    let [s0, s1] = ports.src.to_be_bytes();
    let [d0, d1] = ports.dst.to_be_bytes();
    let [q0, q1, q2, q3] = segment.seq.0.to_be_bytes();
    let [a0, a1, a2, a3] = segment.ack.0.to_be_bytes();
    let [w0, w1] = segment.window.to_be_bytes();
    let [u0, u1] = segment.urgent.to_be_bytes();
    let offset = ((header_len / 4) as u8) << 4;
    let flags = segment.flags.bits();
    let with_sum = |[c0, c1]: [u8; 2]| {
        [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, c0, c1, u0, u1]
    };
    let pseudo = Sum::pseudo_header(header.src, header.dst, PROTOCOL_TCP, ip_payload);
    let field = if checksum {
        pseudo.plus(&with_sum([0, 0])).plus(option_bytes).plus(body).checksum()
    } else {
        pseudo.partial()
    };
    *head = with_sum(field);
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::SeqNum;
    use crate::wire::{
        ChecksumPolicy, Ecn, Frame, TcpFlags, TcpFrame, TcpOptions, Timestamps, WireError, parse_frame,
    };
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn header() -> FrameHeader {
        FrameHeader {
            src_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst_mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
            src: Ipv4Addr::new(10, 0, 0, 1).into(),
            dst: Ipv4Addr::new(10, 0, 0, 2).into(),
            tos: 0x10,
            ttl: 64,
            flow_label: 0,
        }
    }

    const PORTS: Ports = Ports { src: 6379, dst: 40_000 };

    fn segment<'a>(first: &'a [u8], second: &'a [u8]) -> Transmit<'a> {
        Transmit {
            seq: SeqNum(0xfffe_fdfc),
            ack: SeqNum(77),
            flags: TcpFlags::ACK | TcpFlags::PSH,
            window: 501,
            urgent: 0,
            options: TcpOptions {
                timestamps: Some(Timestamps { tsval: 1, tsecr: 2 }),
                ..TcpOptions::default()
            },
            payload: (first, second),
            is_retransmit: false,
            ecn: Ecn::Ect0,
        }
    }

    fn frame(segment: &Transmit<'_>, checksum: bool) -> Vec<u8> {
        let mut buf = vec![0xee; 2000];
        let len = emit_tcp_frame(&mut buf, &header(), 9, segment, PORTS, checksum);
        buf.truncate(len);
        buf
    }

    fn parsed(frame: &[u8], policy: ChecksumPolicy) -> TcpFrame {
        match parse_frame(frame, policy) {
            Ok(Frame::Tcp(tcp)) => tcp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_segment_survives_the_round_trip() {
        let mut sent = segment(b"hello ", b"world");
        sent.flags |= TcpFlags::URG;
        sent.urgent = 0x1234;
        let bytes = frame(&sent, true);
        assert_eq!(bytes.len(), 14 + 20 + 32 + 11);
        let got = parsed(&bytes, ChecksumPolicy::Verify);
        assert_eq!((got.src, got.dst, got.tos), (header().src, header().dst, 0x12));
        assert_eq!(got.tcp.ecn, Ecn::Ect0);
        assert_eq!((got.tcp.src_port, got.tcp.dst_port), (6379, 40_000));
        assert_eq!((got.tcp.seq, got.tcp.ack, got.tcp.window), (sent.seq, sent.ack, 501));
        assert_eq!((got.tcp.flags, &got.tcp.options), (sent.flags, &sent.options));
        assert_eq!(got.tcp.urgent, 0x1234);
        assert_eq!(&bytes[got.payload], b"hello world");
    }

    #[test]
    fn link_padding_is_no_payload() {
        let mut bytes = frame(&segment(b"", b""), true);
        bytes.resize(80, 0xaa);
        assert_eq!(parsed(&bytes, ChecksumPolicy::Verify).tcp.payload_len, 0);
    }

    #[test]
    fn a_partial_sum_is_accepted_only_where_it_is_expected() {
        let bytes = frame(&segment(b"abc", b""), false);
        assert_eq!(parse_frame(&bytes, ChecksumPolicy::Verify), Err(WireError::PayloadChecksum));
        parsed(&bytes, ChecksumPolicy::VerifyOrPartial);
        parsed(&bytes, ChecksumPolicy::Trust);
        let mut other = bytes;
        other[14 + 20 + 16] ^= 1;
        assert_eq!(parse_frame(&other, ChecksumPolicy::VerifyOrPartial), Err(WireError::PayloadChecksum));
    }

    #[test]
    fn a_partial_sum_is_that_of_the_pseudo_header() {
        // As a kernel leaves it for an offload: not complemented.
        let bytes = frame(&segment(b"", b""), false);
        let words = [0x0a00, 0x0001, 0x0a00, 0x0002, 0x0006, 32];
        let sum: u16 = words.iter().sum();
        assert_eq!(bytes[14 + 20 + 16..14 + 20 + 18], sum.to_be_bytes());
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let sent = segment(b"hello", b"");
        assert_eq!(emit_tcp_frame(&mut [0; 70], &header(), 0, &sent, PORTS, true), 0);
        let huge = vec![0; 70_000];
        let mut buf = vec![0; 80_000];
        assert_eq!(emit_tcp_frame(&mut buf, &header(), 0, &segment(&huge, b""), PORTS, true), 0);
        assert_eq!(emit_tcp_frame(&mut buf, &header(), 0, &segment(&huge[..65_500], b""), PORTS, true), 0);
    }

    /// What a device does with the partial sum in a frame: sums up from the TCP
    /// header on and puts the complement where the partial sum was.
    fn complete(frame: &mut [u8]) {
        let sum = Sum::default().plus(&frame[14 + 20..]).checksum();
        frame[14 + 20 + 16..14 + 20 + 18].copy_from_slice(&sum);
    }

    proptest! {
        #[test]
        fn every_header_survives_the_round_trip(
            seq: u32, ack: u32, flags: u8, window: u16, urgent: u16, src: u16, dst: u16,
            stamps: Option<(u32, u32)>, block: Option<(u32, u32)>,
            payload in proptest::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index,
        ) {
            let options = TcpOptions {
                timestamps: stamps.map(|(tsval, tsecr)| Timestamps { tsval, tsecr }),
                sack: block.into_iter().map(|(left, right)| (SeqNum(left), SeqNum(right))).collect(),
                ..TcpOptions::default()
            };
            let (first, second) = payload.split_at(cut.index(payload.len() + 1));
            let sent = Transmit {
                seq: SeqNum(seq), ack: SeqNum(ack), flags: TcpFlags::from_bits_retain(flags), window, urgent,
                options, ..segment(first, second)
            };
            let mut buf = vec![0xee; 2000];
            let len = emit_tcp_frame(&mut buf, &header(), 9, &sent, Ports { src, dst }, true);
            let got = parsed(&buf[..len], ChecksumPolicy::Verify);
            let tcp = &got.tcp;
            prop_assert_eq!((tcp.src_port, tcp.dst_port, tcp.seq, tcp.ack), (src, dst, sent.seq, sent.ack));
            prop_assert_eq!((tcp.flags, tcp.window, tcp.urgent), (sent.flags, window, urgent));
            prop_assert_eq!(&tcp.options, &sent.options);
            prop_assert_eq!(&buf[got.payload.clone()], &payload[..]);
        }

        #[test]
        fn a_device_completes_the_partial_sum(
            payload in proptest::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index,
        ) {
            let (first, second) = payload.split_at(cut.index(payload.len() + 1));
            let mut bytes = frame(&segment(first, second), false);
            complete(&mut bytes);
            prop_assert_eq!(bytes, frame(&segment(first, second), true));
        }

        #[test]
        fn one_wrong_bit_behind_the_ethernet_header_is_always_found(
            payload in proptest::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index,
            at: prop::sample::Index, bit in 0u32..8,
        ) {
            let (first, second) = payload.split_at(cut.index(payload.len() + 1));
            let mut bytes = frame(&segment(first, second), true);
            prop_assert!(parse_frame(&bytes, ChecksumPolicy::Verify).is_ok());
            let at = 14 + at.index(bytes.len() - 14);
            bytes[at] ^= 1 << bit;
            prop_assert!(parse_frame(&bytes, ChecksumPolicy::Verify).is_err());
        }

        #[test]
        fn no_frame_makes_the_parser_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), valid_start: bool,
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut bytes = if valid_start { frame(&segment(&bytes, b""), true) } else { bytes };
            for (at, value) in flips {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            for policy in [ChecksumPolicy::Verify, ChecksumPolicy::VerifyOrPartial, ChecksumPolicy::Trust] {
                for len in [bytes.len(), bytes.len() / 2, bytes.len() / 4] {
                    if let Ok(Frame::Tcp(tcp)) = parse_frame(&bytes[..len], policy) {
                        prop_assert!(tcp.payload.end <= len);
                        prop_assert_eq!(tcp.payload.len(), tcp.tcp.payload_len);
                    }
                }
            }
        }
    }
}
