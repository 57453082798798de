//! Whole frames to send.

use std::net::Ipv4Addr;

use super::checksum::Sum;
use super::ethernet::{ETHERNET_HEADER_LEN, EtherType, EthernetAddress, EthernetRepr};
use super::ipv4::{IPV4_HEADER_LEN, Ipv4Repr, PROTOCOL_TCP};
use super::tcp::TCP_HEADER_LEN;
use crate::connection::Transmit;

/// Where a frame goes and from where: what all segments of a connection share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthIpv4Header {
    /// Our hardware address.
    pub src_mac: EthernetAddress,
    /// Hardware address of the next hop.
    pub dst_mac: EthernetAddress,
    /// Our address.
    pub src: Ipv4Addr,
    /// The peer's address.
    pub dst: Ipv4Addr,
    /// Differentiated services and ECN.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
}

impl EthIpv4Header {
    /// Writes both headers to the front of `frame`; returns what is behind
    /// them, `None` when `frame` is too small.
    #[inline]
    pub(super) fn emit<'a>(
        &self,
        frame: &'a mut [u8],
        ident: u16,
        protocol: u8,
        payload_len: u16,
    ) -> Option<&'a mut [u8]> {
        let (ethernet, rest) = frame.split_first_chunk_mut::<ETHERNET_HEADER_LEN>()?;
        let (ip, rest) = rest.split_first_chunk_mut::<IPV4_HEADER_LEN>()?;
        EthernetRepr { src: self.src_mac, dst: self.dst_mac, kind: EtherType::Ipv4 }.emit(ethernet);
        *ip = Ipv4Repr {
            src: self.src,
            dst: self.dst,
            tos: self.tos,
            ttl: self.ttl,
            protocol,
            ident,
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

/// Writes `segment` as a whole frame, DF set, into `buf` and returns its
/// length; zero when it does not fit `buf` or an IP packet.
///
/// With `checksum` the TCP checksum is computed; without, the field holds the
/// sum of the pseudo-header for the device to complete.
#[inline]
pub fn emit_tcp_frame(
    buf: &mut [u8],
    header: &EthIpv4Header,
    ident: u16,
    segment: &Transmit<'_>,
    ports: Ports,
    checksum: bool,
) -> usize {
    let options = segment.options.emit();
    let (first, second) = segment.payload;
    let header_len = TCP_HEADER_LEN + options.len();
    let tcp_len = header_len + first.len() + second.len();
    let total = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + tcp_len;
    let Ok(ip_payload) = u16::try_from(tcp_len) else { return 0 };
    if usize::from(ip_payload) + IPV4_HEADER_LEN > usize::from(u16::MAX) {
        return 0;
    }
    let Some(frame) = buf.get_mut(..total) else { return 0 };
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
    let offset = ((header_len / 4) as u8) << 4;
    let flags = segment.flags.bits();
    let with_sum = |[c0, c1]: [u8; 2]| {
        [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, c0, c1, 0, 0]
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
