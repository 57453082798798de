//! ICMP for IPv4 (RFC 792): echo, and the errors that TCP listens to.

use std::ops::Range;

use super::checksum::{ChecksumPolicy, Sum};
use super::emit::FrameHeader;
use super::icmpv6::{self, PROTOCOL_ICMPV6};
use super::ipv4::PROTOCOL_ICMP;
use super::{WireError, reader};

/// Length of an echo header.
const ECHO_HEADER_LEN: usize = 8;

const TYPE_ECHO_REPLY: u8 = 0;
const TYPE_UNREACHABLE: u8 = 3;
const TYPE_ECHO_REQUEST: u8 = 8;
const TYPE_TIME_EXCEEDED: u8 = 11;
const TYPE_PARAMETER_PROBLEM: u8 = 12;

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

/// Writes the frame that answers an echo request with the same data, of the
/// family of `header`, which is the one of the reply. Returns the frame's length,
/// or zero when `buf` is too small.
pub fn emit_echo_reply(buf: &mut [u8], header: &FrameHeader, echo: &EchoRepr, data: &[u8]) -> usize {
    let total = header.len() + ECHO_HEADER_LEN + data.len();
    let Ok(ip_payload) = u16::try_from(ECHO_HEADER_LEN + data.len()) else { return 0 };
    let Some(frame) = buf.get_mut(..total) else { return 0 };
    let (kind, protocol, pseudo) = if header.dst.is_v4() {
        (TYPE_ECHO_REPLY, PROTOCOL_ICMP, Sum::default())
    } else {
        let pseudo = Sum::pseudo_header(header.src, header.dst, PROTOCOL_ICMPV6, ip_payload);
        (icmpv6::TYPE_ECHO_REPLY, PROTOCOL_ICMPV6, pseudo)
    };
    let Some(rest) = header.emit(frame, 0, protocol, ip_payload) else { return 0 };
    let Some((head, body)) = rest.split_first_chunk_mut::<ECHO_HEADER_LEN>() else { return 0 };
    let ([i0, i1], [s0, s1]) = (echo.ident.to_be_bytes(), echo.sequence.to_be_bytes());
    let with_sum = |[c0, c1]: [u8; 2]| [kind, 0, c0, c1, i0, i1, s0, s1];
    body.copy_from_slice(data);
    *head = with_sum(pseudo.plus(&with_sum([0, 0])).plus(data).checksum());
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EthernetAddress, Frame, parse_frame};
    use std::net::Ipv4Addr;

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

    #[test]
    fn a_buffer_that_is_too_small_is_left_alone() {
        let echo = EchoRepr { ident: 0, sequence: 0, data: 0..0 };
        assert_eq!(emit_echo_reply(&mut [0; 44], &header(), &echo, b"abc"), 0);
    }
}
