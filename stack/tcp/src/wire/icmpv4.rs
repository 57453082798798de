//! ICMP for IPv4 (RFC 792): echo, and the errors that TCP listens to.

use std::ops::Range;

use super::checksum::{ChecksumPolicy, Sum};
use super::emit::EthIpv4Header;
use super::ethernet::ETHERNET_HEADER_LEN;
use super::ipv4::{IPV4_HEADER_LEN, PROTOCOL_ICMP};
use super::{WireError, reader};

/// Length of an echo header.
const ECHO_HEADER_LEN: usize = 8;

const TYPE_ECHO_REPLY: u8 = 0;
const TYPE_UNREACHABLE: u8 = 3;
const TYPE_ECHO_REQUEST: u8 = 8;

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
            _ => Self::Other,
        })
    }
}

/// Writes the frame that answers an echo request with the same data. `header`
/// is the one of the reply. Returns the frame's length, or zero when `buf` is
/// too small.
pub fn emit_echo_reply(buf: &mut [u8], header: &EthIpv4Header, echo: &EchoRepr, data: &[u8]) -> usize {
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
