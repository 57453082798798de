//! The checksum that a frame has on a real wire.

use tpa_tcp::wire::{ChecksumPolicy, ETHERNET_HEADER_LEN, Frame, IPV6_HEADER_LEN, Sum, parse_frame};

/// Number of TCP in an IP header.
const PROTOCOL_TCP: u8 = 6;
/// Where the checksum lies in a TCP header (RFC 9293 3.1).
const CHECKSUM: std::ops::Range<usize> = 16..18;

/// Sums a TCP segment up whose checksum field still waits for an offload: it
/// holds the sum of the pseudo-header alone, which no damage to the segment
/// would disagree with. Leaves all other frames as they are.
pub fn complete(frame: &mut [u8]) {
    let Ok(Frame::Tcp(tcp)) = parse_frame(frame, ChecksumPolicy::Trust) else { return };
    let Some(version_and_len) = frame.get(ETHERNET_HEADER_LEN) else { return };
    let is_v4 = tcp.src.is_v4();
    let ip_len = if is_v4 { usize::from(version_and_len & 0x0f) * 4 } else { IPV6_HEADER_LEN };
    let start = ETHERNET_HEADER_LEN + ip_len;
    let Some(segment) = frame.get_mut(start..tcp.payload.end) else { return };
    let pseudo = Sum::pseudo_header(tcp.src, tcp.dst, PROTOCOL_TCP, segment.len() as u16);
    if segment.get(CHECKSUM) != Some(&pseudo.partial()[..]) {
        return;
    }
    // The field starts the sum as what it holds: the pseudo-header.
    let whole = Sum::default().plus(segment).checksum();
    if let Some(field) = segment.get_mut(CHECKSUM) {
        field.copy_from_slice(&whole);
    }
}
