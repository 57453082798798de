//! IPv4 headers (RFC 791).

use std::net::Ipv4Addr;
use std::ops::Range;

use super::checksum::{ChecksumPolicy, Sum};
use super::{WireError, reader};

/// Length of an IPv4 header without options.
pub const IPV4_HEADER_LEN: usize = 20;

/// Protocol number of ICMP.
pub(super) const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub(super) const PROTOCOL_TCP: u8 = 6;

/// The offset of a fragment, in flags and offset.
pub(super) const FRAGMENT_OFFSET: u16 = 0x1fff;

/// The flag "don't fragment", in the upper byte of flags and offset.
const DONT_FRAGMENT: u8 = 0x40;

/// What the stack uses of an IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Repr {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Differentiated services and ECN, as one byte.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Identification; of no use with DF set (RFC 6864), but counted up by habit.
    pub ident: u16,
    /// Length of the payload in bytes.
    pub payload_len: u16,
}

impl Ipv4Repr {
    /// Parses the packet that follows the Ethernet header; returns the header
    /// and where the payload lies in `packet`, link padding and IP options cut.
    #[inline]
    pub(super) fn parse(packet: &[u8], policy: ChecksumPolicy) -> Result<(Self, Range<usize>), WireError> {
        let fixed: [u8; IPV4_HEADER_LEN] = reader::array(packet, 0)?;
        let [version_len, tos, t0, t1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            fixed;
        let header_len = usize::from(version_len & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([t0, t1]));
        if version_len >> 4 != 4 || header_len < IPV4_HEADER_LEN || total_len < header_len {
            return Err(WireError::Malformed);
        }
        let header = packet.get(..header_len).ok_or(WireError::Truncated)?;
        if total_len > packet.len() {
            return Err(WireError::Truncated);
        }
        if policy != ChecksumPolicy::Trust && !Sum::default().plus(header).is_valid() {
            return Err(WireError::IpChecksum);
        }
        // More fragments to come, or an offset.
        if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
            return Err(WireError::Fragment);
        }
        let repr = Self {
            src: Ipv4Addr::new(s0, s1, s2, s3),
            dst: Ipv4Addr::new(d0, d1, d2, d3),
            tos,
            ttl,
            protocol,
            ident: u16::from_be_bytes([i0, i1]),
            payload_len: (total_len - header_len) as u16,
        };
        Ok((repr, header_len..total_len))
    }

    /// The header's bytes, checksum included, DF set.
    #[inline]
    pub(super) fn emit(&self) -> [u8; IPV4_HEADER_LEN] {
        let [t0, t1] = (self.payload_len + IPV4_HEADER_LEN as u16).to_be_bytes();
        let [i0, i1] = self.ident.to_be_bytes();
        let [s0, s1, s2, s3] = self.src.octets();
        let [d0, d1, d2, d3] = self.dst.octets();
        let (tos, ttl, protocol) = (self.tos, self.ttl, self.protocol);
        let with_sum = |[c0, c1]: [u8; 2]| {
            [
                0x45,
                tos,
                t0,
                t1,
                i0,
                i1,
                DONT_FRAGMENT,
                0,
                ttl,
                protocol,
                c0,
                c1,
                s0,
                s1,
                s2,
                s3,
                d0,
                d1,
                d2,
                d3,
            ]
        };
        with_sum(Sum::default().plus(&with_sum([0, 0])).checksum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Ipv4Repr {
        Ipv4Repr {
            src: Ipv4Addr::new(10, 0, 0, 1),
            dst: Ipv4Addr::new(10, 0, 0, 2),
            tos: 0,
            ttl: 64,
            protocol: PROTOCOL_TCP,
            ident: 7,
            payload_len: 4,
        }
    }

    fn packet() -> Vec<u8> {
        let mut packet = header().emit().to_vec();
        packet.extend([1, 2, 3, 4]);
        packet
    }

    #[test]
    fn a_header_survives_the_round_trip_and_padding_is_cut() {
        let mut padded = packet();
        padded.extend([0; 22]);
        assert_eq!(Ipv4Repr::parse(&padded, ChecksumPolicy::Verify), Ok((header(), 20..24)));
    }

    #[test]
    fn dont_fragment_is_set() {
        assert_eq!(packet()[6], 0x40);
    }

    #[test]
    fn options_are_skipped() {
        let mut packet = packet();
        packet.splice(20..20, [1, 1, 1, 0]);
        packet[0] = 0x46;
        packet[3] += 4;
        let parsed = Ipv4Repr::parse(&packet, ChecksumPolicy::Trust).map(|(_, payload)| payload);
        assert_eq!(parsed, Ok(24..28));
    }

    #[test]
    fn a_flipped_bit_fails_the_checksum() {
        let mut packet = packet();
        packet[15] ^= 1;
        assert_eq!(Ipv4Repr::parse(&packet, ChecksumPolicy::Verify), Err(WireError::IpChecksum));
        assert!(Ipv4Repr::parse(&packet, ChecksumPolicy::Trust).is_ok());
    }

    #[test]
    fn fragments_are_named() {
        for (at, bits) in [(6, 0x20), (7, 0x01)] {
            let mut packet = packet();
            packet[at] |= bits;
            assert_eq!(Ipv4Repr::parse(&packet, ChecksumPolicy::Trust), Err(WireError::Fragment));
        }
    }

    #[test]
    fn lengths_that_contradict_are_refused() {
        let mut short = packet();
        short.pop();
        assert_eq!(Ipv4Repr::parse(&short, ChecksumPolicy::Trust), Err(WireError::Truncated));
        let mut inner = packet();
        inner[3] = 19;
        assert_eq!(Ipv4Repr::parse(&inner, ChecksumPolicy::Trust), Err(WireError::Malformed));
        let mut header = packet();
        header[0] = 0x44;
        assert_eq!(Ipv4Repr::parse(&header, ChecksumPolicy::Trust), Err(WireError::Malformed));
        let mut version = packet();
        version[0] = 0x65;
        assert_eq!(Ipv4Repr::parse(&version, ChecksumPolicy::Trust), Err(WireError::Malformed));
    }
}
