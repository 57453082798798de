//! ICMP for IPv4 (RFC 792): echo, and the errors that TCP listens to.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::address::IpAddress;
use super::checksum::{ChecksumPolicy, Sum};
use super::emit::FrameHeader;
use super::ethernet::ETHERNET_HEADER_LEN;
use super::ipv4::{FRAGMENT_OFFSET, IPV4_HEADER_LEN, PROTOCOL_ICMP, PROTOCOL_TCP};
use super::{WireError, reader};
use crate::seq::SeqNum;

/// Length of an echo header.
const ECHO_HEADER_LEN: usize = 8;

const TYPE_ECHO_REPLY: u8 = 0;
const TYPE_UNREACHABLE: u8 = 3;
const TYPE_ECHO_REQUEST: u8 = 8;
const TYPE_TIME_EXCEEDED: u8 = 11;
const TYPE_PARAMETER_PROBLEM: u8 = 12;

/// Bytes of a segment that every error quotes: ports and sequence number.
const QUOTED_TCP_LEN: usize = 8;

/// An echo request or reply; its data lies in the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoRepr {
    /// Identifier of the asking program.
    pub ident: u16,
    /// Number of the request.
    pub sequence: u16,
    /// Where the data lies in the frame.
    pub data: Range<usize>,
}

/// The messages that the stack tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Icmpv4Message {
    /// "Are you there?"
    EchoRequest(EchoRepr),
    /// "I am."
    EchoReply(EchoRepr),
    /// A packet of ours did not arrive. Code 4 with `mtu` is path MTU
    /// discovery (RFC 1191).
    Unreachable {
        /// Why.
        code: u8,
        /// Next-hop MTU, for code 4; zero from routers older than RFC 1191.
        mtu: u16,
        /// Where the start of our packet, IP header first, lies in the frame.
        original: Range<usize>,
    },
    /// A packet of ours ran out of hops or was not reassembled.
    TimeExceeded {
        /// As for [`Icmpv4Message::Unreachable`].
        original: Range<usize>,
    },
    /// A header of ours was not understood.
    ParameterProblem {
        /// As for [`Icmpv4Message::Unreachable`].
        original: Range<usize>,
    },
    /// Anything else.
    Other,
}

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
    /// and at least eight bytes more (RFC 792). `None` for anything but a TCP
    /// segment, or its first fragment.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let fixed: [u8; IPV4_HEADER_LEN] = reader::array(packet, 0).ok()?;
        let [version_len, _, t0, t1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
        let header_len = usize::from(version_len & 0x0f) * 4;
        let offset = u16::from_be_bytes([f0, f1]) & FRAGMENT_OFFSET;
        if version_len >> 4 != 4 || header_len < IPV4_HEADER_LEN || offset != 0 || protocol != PROTOCOL_TCP {
            return None;
        }
        let tcp: [u8; QUOTED_TCP_LEN] = reader::array(packet, header_len).ok()?;
        let [p0, p1, r0, r1, q0, q1, q2, q3] = tcp;
        Some(Self {
            src: Ipv4Addr::new(s0, s1, s2, s3).into(),
            dst: Ipv4Addr::new(d0, d1, d2, d3).into(),
            src_port: u16::from_be_bytes([p0, p1]),
            dst_port: u16::from_be_bytes([r0, r1]),
            seq: SeqNum(u32::from_be_bytes([q0, q1, q2, q3])),
            total_len: u16::from_be_bytes([t0, t1]),
        })
    }
}

impl Icmpv4Message {
    /// Parses the message at `at` in `frame`.
    pub(super) fn parse(frame: &[u8], at: Range<usize>, policy: ChecksumPolicy) -> Result<Self, WireError> {
        let packet = frame.get(at.clone()).ok_or(WireError::Truncated)?;
        if policy != ChecksumPolicy::Trust && !Sum::default().plus(packet).is_valid() {
            return Err(WireError::PayloadChecksum);
        }
        let [kind, code, _, _, a, b, c, d] = reader::array(packet, 0)?;
        let body = at.start + ECHO_HEADER_LEN..at.end;
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Ok(match kind {
            TYPE_ECHO_REQUEST => Self::EchoRequest(EchoRepr { ident: first, sequence: second, data: body }),
            TYPE_ECHO_REPLY => Self::EchoReply(EchoRepr { ident: first, sequence: second, data: body }),
            TYPE_UNREACHABLE => Self::Unreachable { code, mtu: second, original: body },
            TYPE_TIME_EXCEEDED => Self::TimeExceeded { original: body },
            TYPE_PARAMETER_PROBLEM => Self::ParameterProblem { original: body },
            _ => Self::Other,
        })
    }
}

/// Writes the frame that answers an echo request with the same data. `header`
/// is the one of the reply. Returns the frame's length, or zero when `buf` is
/// too small.
pub fn emit_echo_reply(buf: &mut [u8], header: &FrameHeader, echo: &EchoRepr, data: &[u8]) -> usize {
    let total = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + ECHO_HEADER_LEN + data.len();
    let Ok(ip_payload) = u16::try_from(ECHO_HEADER_LEN + data.len()) else { return 0 };
    let Some(frame) = buf.get_mut(..total) else { return 0 };
    let Some(rest) = header.emit(frame, 0, PROTOCOL_ICMP, ip_payload) else { return 0 };
    let Some((head, body)) = rest.split_first_chunk_mut::<ECHO_HEADER_LEN>() else { return 0 };
    let ([i0, i1], [s0, s1]) = (echo.ident.to_be_bytes(), echo.sequence.to_be_bytes());
    let with_sum = |[c0, c1]: [u8; 2]| [TYPE_ECHO_REPLY, 0, c0, c1, i0, i1, s0, s1];
    body.copy_from_slice(data);
    *head = with_sum(Sum::default().plus(&with_sum([0, 0])).plus(data).checksum());
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EthernetAddress, Frame, parse_frame};
    use proptest::prelude::*;

    fn header() -> FrameHeader {
        FrameHeader {
            src_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst_mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
            src: Ipv4Addr::new(10, 0, 0, 1).into(),
            dst: Ipv4Addr::new(10, 0, 0, 2).into(),
            tos: 0,
            ttl: 64,
            flow_label: 0,
        }
    }

    #[test]
    fn a_reply_brings_the_data_back() {
        let mut buf = [0; 200];
        let echo = EchoRepr { ident: 7, sequence: 9, data: 0..3 };
        let len = emit_echo_reply(&mut buf, &header(), &echo, b"abc");
        let Ok(Frame::Icmpv4(frame)) = parse_frame(&buf[..len], ChecksumPolicy::Verify) else {
            panic!("no ICMP")
        };
        assert_eq!((frame.src, frame.dst), (header().src, header().dst));
        let Icmpv4Message::EchoReply(reply) = frame.message else { panic!("no reply") };
        assert_eq!((reply.ident, reply.sequence), (7, 9));
        assert_eq!(&buf[reply.data], b"abc");
    }

    #[test]
    fn a_request_is_told_from_a_reply_and_a_wrong_sum_refused() {
        let mut buf = [0; 200];
        let echo = EchoRepr { ident: 7, sequence: 9, data: 0..0 };
        let len = emit_echo_reply(&mut buf, &header(), &echo, b"");
        buf[34] = TYPE_ECHO_REQUEST;
        let refused = parse_frame(&buf[..len], ChecksumPolicy::Verify);
        assert_eq!(refused, Err(WireError::PayloadChecksum));
        let Ok(Frame::Icmpv4(frame)) = parse_frame(&buf[..len], ChecksumPolicy::Trust) else {
            panic!("no ICMP")
        };
        assert!(matches!(frame.message, Icmpv4Message::EchoRequest(_)));
    }

    #[test]
    fn a_packet_that_was_too_big_names_the_mtu() {
        let mut buf = [0; 200];
        let echo = EchoRepr { ident: 0, sequence: 1400, data: 0..0 };
        let len = emit_echo_reply(&mut buf, &header(), &echo, &[1; 28]);
        (buf[34], buf[35]) = (TYPE_UNREACHABLE, 4);
        let Ok(Frame::Icmpv4(frame)) = parse_frame(&buf[..len], ChecksumPolicy::Trust) else {
            panic!("no ICMP")
        };
        assert_eq!(frame.message, Icmpv4Message::Unreachable { code: 4, mtu: 1400, original: 42..70 });
    }

    /// The first bytes of a segment of ours.
    fn quoted() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x18, 0xeb, 0x9c, 0x40, 1, 2, 3, 4]);
        packet
    }

    #[test]
    fn an_error_quotes_the_segment_that_it_is_about() {
        let segment = QuotedSegment::parse(&quoted()).unwrap();
        assert_eq!((segment.src, segment.dst), (header().src, header().dst));
        assert_eq!((segment.src_port, segment.dst_port), (6379, 40_000));
        assert_eq!((segment.seq, segment.total_len), (SeqNum(0x0102_0304), 1500));
        let mut with_options = quoted();
        with_options.splice(20..20, [1; 8]);
        with_options[0] = 0x47;
        assert_eq!(QuotedSegment::parse(&with_options), Some(segment));
    }

    #[test]
    fn what_is_no_beginning_of_a_segment_is_not_quoted() {
        assert_eq!(QuotedSegment::parse(&quoted()[..27]), None);
        for (at, value) in [(0, 0x65), (0, 0x44), (7, 1), (9, 17)] {
            let mut packet = quoted();
            packet[at] = value;
            assert_eq!(QuotedSegment::parse(&packet), None, "byte {at}");
        }
    }

    #[test]
    fn errors_are_told_apart_by_their_type() {
        let mut buf = [0; 200];
        let echo = EchoRepr { ident: 0, sequence: 0, data: 0..0 };
        let len = emit_echo_reply(&mut buf, &header(), &echo, &[1; 28]);
        let mut message_of = |kind| {
            buf[34] = kind;
            match parse_frame(&buf[..len], ChecksumPolicy::Trust) {
                Ok(Frame::Icmpv4(frame)) => frame.message,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(message_of(11), Icmpv4Message::TimeExceeded { original: 42..70 });
        assert_eq!(message_of(12), Icmpv4Message::ParameterProblem { original: 42..70 });
        assert_eq!(message_of(4), Icmpv4Message::Other, "source quench is dead (RFC 6633)");
    }

    proptest! {
        #[test]
        fn no_quote_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            QuotedSegment::parse(&bytes);
        }
    }

    #[test]
    fn a_buffer_that_is_too_small_is_left_alone() {
        let echo = EchoRepr { ident: 0, sequence: 0, data: 0..0 };
        assert_eq!(emit_echo_reply(&mut [0; 44], &header(), &echo, b"abc"), 0);
    }
}
