//! ICMP for IPv6 (RFC 4443): echo requests, the errors that TCP listens to, and
//! neighbour discovery.

use std::ops::Range;

use super::checksum::{ChecksumPolicy, Sum};
use super::icmpv4::EchoRepr;
use super::ipv6::Ipv6Repr;
use super::ndp::NeighbourMessage;
use super::{WireError, reader};

/// Next-header number of ICMPv6.
pub(super) const PROTOCOL_ICMPV6: u8 = 58;

/// Length of the fixed part of an echo or an error.
const HEADER_LEN: usize = 8;

const TYPE_UNREACHABLE: u8 = 1;
const TYPE_PACKET_TOO_BIG: u8 = 2;
const TYPE_TIME_EXCEEDED: u8 = 3;
const TYPE_PARAMETER_PROBLEM: u8 = 4;
const TYPE_ECHO_REQUEST: u8 = 128;
pub(super) const TYPE_ECHO_REPLY: u8 = 129;

/// The messages that the stack tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Icmpv6Message {
    /// "Are you there?"
    EchoRequest(EchoRepr),
    /// "I am."
    EchoReply(EchoRepr),
    /// A packet of ours did not arrive.
    Unreachable {
        /// Why.
        code: u8,
        /// Where the start of our packet, IP header first, lies in the frame.
        original: Range<usize>,
    },
    /// A packet of ours is larger than the next link (RFC 8201).
    PacketTooBig {
        /// The link's MTU.
        mtu: u32,
        /// As for [`Icmpv6Message::Unreachable`].
        original: Range<usize>,
    },
    /// A packet of ours ran out of hops.
    TimeExceeded {
        /// As for [`Icmpv6Message::Unreachable`].
        original: Range<usize>,
    },
    /// A header of ours was not understood.
    ParameterProblem {
        /// As for [`Icmpv6Message::Unreachable`].
        original: Range<usize>,
    },
    /// Neighbour discovery.
    Neighbour(NeighbourMessage),
    /// Anything else.
    Other,
}

impl Icmpv6Message {
    /// Parses the message at `at` in `frame`, whose IP header is `ip`.
    pub(super) fn parse(
        frame: &[u8],
        at: Range<usize>,
        ip: &Ipv6Repr,
        policy: ChecksumPolicy,
    ) -> Result<Self, WireError> {
        let packet = frame.get(at.clone()).ok_or(WireError::Truncated)?;
        let pseudo = Sum::pseudo_header(ip.src.into(), ip.dst.into(), PROTOCOL_ICMPV6, ip.payload_len);
        if policy != ChecksumPolicy::Trust && !pseudo.plus(packet).is_valid() {
            return Err(WireError::PayloadChecksum);
        }
        let [kind, code, _, _, a, b, c, d] = reader::array(packet, 0)?;
        let body = at.start + HEADER_LEN..at.end;
        let echo =
            |data| EchoRepr { ident: u16::from_be_bytes([a, b]), sequence: u16::from_be_bytes([c, d]), data };
        Ok(match kind {
            TYPE_ECHO_REQUEST => Self::EchoRequest(echo(body)),
            TYPE_ECHO_REPLY => Self::EchoReply(echo(body)),
            TYPE_UNREACHABLE => Self::Unreachable { code, original: body },
            TYPE_PACKET_TOO_BIG => {
                Self::PacketTooBig { mtu: u32::from_be_bytes([a, b, c, d]), original: body }
            }
            TYPE_TIME_EXCEEDED => Self::TimeExceeded { original: body },
            TYPE_PARAMETER_PROBLEM => Self::ParameterProblem { original: body },
            _ => NeighbourMessage::parse(packet, ip)?.map_or(Self::Other, Self::Neighbour),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EthernetAddress, Frame, FrameHeader, emit_echo_reply, parse_frame};
    use std::net::Ipv6Addr;

    fn header() -> FrameHeader {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().into();
        FrameHeader {
            src_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst_mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
            src: address("fd00::1"),
            dst: address("fd00::2"),
            tos: 0,
            ttl: 64,
            flow_label: 0,
        }
    }

    /// A frame with a message of that type, code and second word.
    fn frame(kind: u8, code: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut buf = vec![0; 200];
        let echo = EchoRepr {
            ident: u16::from_be_bytes([word[0], word[1]]),
            sequence: u16::from_be_bytes([word[2], word[3]]),
            data: 0..0,
        };
        let len = emit_echo_reply(&mut buf, &header(), &echo, body);
        buf.truncate(len);
        (buf[54], buf[55]) = (kind, code);
        buf
    }

    fn message(frame: &[u8]) -> Icmpv6Message {
        match parse_frame(frame, ChecksumPolicy::Trust) {
            Ok(Frame::Icmpv6(frame)) => frame.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_echo_reply_brings_the_data_back_under_a_right_sum() {
        let bytes = frame(TYPE_ECHO_REPLY, 0, [0, 7, 0, 9], b"abc");
        let Ok(Frame::Icmpv6(frame)) = parse_frame(&bytes, ChecksumPolicy::Verify) else {
            panic!("no ICMPv6")
        };
        assert_eq!((frame.src, frame.dst), (header().src, header().dst));
        let Icmpv6Message::EchoReply(reply) = frame.message else { panic!("no reply") };
        assert_eq!((reply.ident, reply.sequence, &bytes[reply.data]), (7, 9, &b"abc"[..]));
    }

    #[test]
    fn a_wrong_sum_is_refused() {
        let bytes = frame(TYPE_ECHO_REQUEST, 0, [0, 7, 0, 9], b"abc");
        assert_eq!(parse_frame(&bytes, ChecksumPolicy::Verify), Err(WireError::PayloadChecksum));
        assert!(matches!(message(&bytes), Icmpv6Message::EchoRequest(_)));
    }

    #[test]
    fn errors_are_told_apart_and_say_where_they_quote() {
        let quote = 62..62 + 48;
        let of = |kind, code| message(&frame(kind, code, [0, 0, 5, 0x14], &[1; 48]));
        assert_eq!(of(1, 4), Icmpv6Message::Unreachable { code: 4, original: quote.clone() });
        assert_eq!(of(2, 0), Icmpv6Message::PacketTooBig { mtu: 1300, original: quote.clone() });
        assert_eq!(of(3, 0), Icmpv6Message::TimeExceeded { original: quote.clone() });
        assert_eq!(of(4, 1), Icmpv6Message::ParameterProblem { original: quote });
        assert_eq!(of(134, 0), Icmpv6Message::Other, "a router's advertisement");
    }

    #[test]
    fn a_message_that_is_cut_is_truncated() {
        let mut bytes = frame(TYPE_UNREACHABLE, 0, [0; 4], &[]);
        bytes[19] = 7;
        bytes.truncate(61);
        assert_eq!(parse_frame(&bytes, ChecksumPolicy::Trust), Err(WireError::Truncated));
    }
}
