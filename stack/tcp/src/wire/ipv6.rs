//! IPv6 headers (RFC 8200).

use std::net::Ipv6Addr;
use std::ops::Range;

use super::{WireError, reader};

/// Length of an IPv6 header without extension headers.
pub const IPV6_HEADER_LEN: usize = 40;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Largest flow label: 20 bits (RFC 6437).
const FLOW_LABEL: u32 = 0x000f_ffff;

/// Options that are understood, as far as a host must (RFC 8200 4.2, RFC 2711).
const OPTION_PAD1: u8 = 0;
const OPTION_PADN: u8 = 1;
const OPTION_ROUTER_ALERT: u8 = 5;

/// What the stack uses of an IPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Repr {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// Traffic class: differentiated services and ECN, as one byte.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// Protocol of the payload, behind all extension headers.
    pub protocol: u8,
    /// Length of the payload in bytes, extension headers not counted.
    pub payload_len: u16,
}

impl Ipv6Repr {
    /// Parses the packet that follows the Ethernet header; returns the header
    /// and where the payload lies in `packet`, link padding and extension
    /// headers cut.
    #[inline]
    pub(super) fn parse(packet: &[u8]) -> Result<(Self, Range<usize>), WireError> {
        let [v, c, f0, f1, l0, l1, next, hop_limit] = reader::array(packet, 0)?;
        if v >> 4 != 6 {
            return Err(WireError::Malformed);
        }
        let (src, dst) = (
            Ipv6Addr::from(reader::array::<16>(packet, 8)?),
            Ipv6Addr::from(reader::array::<16>(packet, 24)?),
        );
        // Such addresses stand for IPv4 inside of hosts; on the wire they would
        // pass for it (RFC 4942 2.2). Multicast is no source (RFC 4291 2.7).
        if src.to_ipv4_mapped().is_some() || dst.to_ipv4_mapped().is_some() || src.is_multicast() {
            return Err(WireError::Malformed);
        }
        let end = IPV6_HEADER_LEN + usize::from(u16::from_be_bytes([l0, l1]));
        let packet = packet.get(..end).ok_or(WireError::Truncated)?;
        let (protocol, start) = match next {
            HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS => skip_extensions(packet, next)?,
            _ => (next, IPV6_HEADER_LEN),
        };
        let repr = Self {
            src,
            dst,
            traffic_class: v << 4 | c >> 4,
            flow_label: u32::from_be_bytes([0, c, f0, f1]) & FLOW_LABEL,
            hop_limit,
            protocol,
            payload_len: (end - start) as u16,
        };
        Ok((repr, start..end))
    }

    /// The header's bytes.
    #[inline]
    pub(super) fn emit(&self) -> [u8; IPV6_HEADER_LEN] {
        let mut header = [0; IPV6_HEADER_LEN];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & FLOW_LABEL;
        let [l0, l1] = self.payload_len.to_be_bytes();
        let fields: [&[u8]; 4] = [
            &first.to_be_bytes(),
            &[l0, l1, self.protocol, self.hop_limit],
            &self.src.octets(),
            &self.dst.octets(),
        ];
        header.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        header
    }
}

/// Skips extension headers from `next` on; returns the protocol behind them and
/// where it begins (RFC 8200 4).
#[cold]
fn skip_extensions(packet: &[u8], mut next: u8) -> Result<(u8, usize), WireError> {
    let mut at = IPV6_HEADER_LEN;
    loop {
        match next {
            // RFC 8200 4.1: behind the IPv6 header only.
            HOP_BY_HOP if at != IPV6_HEADER_LEN => return Err(WireError::Malformed),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Err(WireError::Fragment),
            protocol => return Ok((protocol, at)),
        }
        let [following, len, _, segments_left] = reader::array(packet, at)?;
        let end = at + 8 + usize::from(len) * 8;
        let body = packet.get(at + 2..end).ok_or(WireError::Truncated)?;
        // RFC 8200 4.4: a route that has been travelled to its end is ignored.
        let is_fine = if next == ROUTING { segments_left == 0 } else { options_may_be_skipped(body) };
        if !is_fine {
            return Err(WireError::Malformed);
        }
        (next, at) = (following, end);
    }
}

/// Whether all options are known, or of those that a host may skip: the highest
/// two bits say so (RFC 8200 4.2).
fn options_may_be_skipped(mut options: &[u8]) -> bool {
    loop {
        options = match options {
            [] => return true,
            [OPTION_PAD1, rest @ ..] => rest,
            [kind, len, rest @ ..] => match rest.get(usize::from(*len)..) {
                Some(rest) if matches!(*kind, OPTION_PADN | OPTION_ROUTER_ALERT) || kind >> 6 == 0 => rest,
                _ => return false,
            },
            [_] => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TCP: u8 = 6;

    fn header() -> Ipv6Repr {
        Ipv6Repr {
            src: "fd00::1".parse().unwrap(),
            dst: "fd00::2".parse().unwrap(),
            traffic_class: 0xb9,
            flow_label: 0x5_4321,
            hop_limit: 64,
            protocol: TCP,
            payload_len: 4,
        }
    }

    /// A packet with `extensions` between the header and four bytes of payload.
    fn packet(first: u8, extensions: &[u8]) -> Vec<u8> {
        let payload_len = 4 + extensions.len() as u16;
        let mut packet = Ipv6Repr { protocol: first, payload_len, ..header() }.emit().to_vec();
        packet.extend(extensions);
        packet.extend([1, 2, 3, 4]);
        packet
    }

    #[test]
    fn a_header_is_laid_out_as_in_the_rfc() {
        let bytes = header().emit();
        assert_eq!(bytes[..8], [0x6b, 0x95, 0x43, 0x21, 0, 4, 6, 64]);
        assert_eq!((bytes[8], bytes[23], bytes[24], bytes[39]), (0xfd, 1, 0xfd, 2));
    }

    #[test]
    fn padding_of_the_link_is_cut() {
        let mut padded = packet(TCP, &[]);
        padded.extend([0; 22]);
        assert_eq!(Ipv6Repr::parse(&padded), Ok((header(), 40..44)));
    }

    #[test]
    fn extension_headers_are_skipped() {
        let hop_by_hop = [DESTINATION_OPTIONS, 0, OPTION_ROUTER_ALERT, 2, 0, 0, OPTION_PADN, 0];
        let destination = [ROUTING, 1, 0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let routing = [TCP, 0, 4, 0, 0, 0, 0, 0];
        let all = [&hop_by_hop[..], &destination, &routing].concat();
        let (repr, payload) = Ipv6Repr::parse(&packet(HOP_BY_HOP, &all)).unwrap();
        assert_eq!((repr.protocol, repr.payload_len, payload), (TCP, 4, 40 + 32..40 + 36));
    }

    #[test]
    fn an_option_that_must_be_understood_ends_the_packet() {
        for kind in [0x40, 0x80, 0xc2] {
            let options = [TCP, 0, kind, 4, 0, 0, 0, 0];
            assert_eq!(Ipv6Repr::parse(&packet(HOP_BY_HOP, &options)), Err(WireError::Malformed));
        }
        let beyond = [TCP, 0, OPTION_PADN, 5, 0, 0, 0, 0];
        assert_eq!(Ipv6Repr::parse(&packet(DESTINATION_OPTIONS, &beyond)), Err(WireError::Malformed));
    }

    #[test]
    fn a_route_that_goes_on_and_a_late_hop_by_hop_header_are_refused() {
        assert_eq!(Ipv6Repr::parse(&packet(ROUTING, &[TCP, 0, 4, 1, 0, 0, 0, 0])), Err(WireError::Malformed));
        let late = [HOP_BY_HOP, 0, OPTION_PADN, 4, 0, 0, 0, 0, TCP, 0, OPTION_PADN, 4, 0, 0, 0, 0];
        assert_eq!(Ipv6Repr::parse(&packet(DESTINATION_OPTIONS, &late)), Err(WireError::Malformed));
    }

    #[test]
    fn fragments_are_named() {
        assert_eq!(Ipv6Repr::parse(&packet(FRAGMENT, &[TCP, 0, 0, 1, 0, 0, 0, 9])), Err(WireError::Fragment));
    }

    #[test]
    fn ipv4_in_disguise_and_groups_are_no_source() {
        for source in ["::ffff:10.0.0.1", "ff02::1"] {
            let bytes = Ipv6Repr { src: source.parse().unwrap(), payload_len: 0, ..header() }.emit();
            assert_eq!(Ipv6Repr::parse(&bytes), Err(WireError::Malformed), "{source}");
        }
    }

    #[test]
    fn lengths_that_contradict_are_refused() {
        let whole = packet(TCP, &[]);
        for len in 0..whole.len() {
            assert_eq!(Ipv6Repr::parse(&whole[..len]), Err(WireError::Truncated), "{len} bytes");
        }
        let mut version = whole;
        version[0] = 0x45;
        assert_eq!(Ipv6Repr::parse(&version), Err(WireError::Malformed));
        let long = [TCP, 1, OPTION_PADN, 4, 0, 0, 0, 0];
        assert_eq!(Ipv6Repr::parse(&packet(HOP_BY_HOP, &long)), Err(WireError::Truncated));
    }

    proptest! {
        #[test]
        fn every_header_survives_the_round_trip(
            traffic_class: u8, flow_label in 0u32..1 << 20, hop_limit: u8, src: [u8; 15], dst: [u8; 15],
            payload_len in 0u16..2000,
        ) {
            let address = |low: [u8; 15]| {
                let mut octets = [0xfd; 16];
                octets[1..].copy_from_slice(&low);
                Ipv6Addr::from(octets)
            };
            let (src, dst) = (address(src), address(dst));
            let sent = Ipv6Repr { src, dst, traffic_class, flow_label, hop_limit, protocol: TCP, payload_len };
            let mut bytes = sent.emit().to_vec();
            bytes.resize(40 + usize::from(payload_len), 7);
            prop_assert_eq!(Ipv6Repr::parse(&bytes), Ok((sent, 40..bytes.len())));
        }

        #[test]
        fn no_extensions_make_the_parser_panic(
            first in prop_oneof![Just(HOP_BY_HOP), Just(ROUTING), Just(DESTINATION_OPTIONS)],
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(43), Just(60), any::<u8>()], 0..100),
        ) {
            if let Ok((repr, payload)) = Ipv6Repr::parse(&packet(first, &bytes)) {
                prop_assert_eq!(payload.len(), usize::from(repr.payload_len));
            }
        }
    }
}
