//! Ethernet II headers.

use std::fmt;

use super::WireError;
use super::reader;

/// Length of an Ethernet header without VLAN tag.
pub const ETHERNET_HEADER_LEN: usize = 14;

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EthernetAddress(pub [u8; 6]);

impl EthernetAddress {
    /// The address of everyone on the link.
    pub const BROADCAST: EthernetAddress = EthernetAddress([0xff; 6]);

    /// Whether it names a group (multicast or broadcast) rather than a station.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for EthernetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The protocols that the stack looks into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtherType {
    /// IPv4 (0x0800).
    Ipv4,
    /// ARP (0x0806).
    Arp,
    /// IPv6 (0x86dd).
    Ipv6,
    /// Anything else.
    Other(u16),
}

impl EtherType {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            EtherType::Ipv4 => 0x0800,
            EtherType::Arp => 0x0806,
            EtherType::Ipv6 => 0x86dd,
            EtherType::Other(number) => number,
        }
    }
}

/// A parsed Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EthernetRepr {
    pub src: EthernetAddress,
    pub dst: EthernetAddress,
    pub kind: EtherType,
}

impl EthernetRepr {
    #[inline]
    pub(super) fn parse(frame: &[u8]) -> Result<Self, WireError> {
        let kind = match reader::be16(frame, 12)? {
            0x0800 => EtherType::Ipv4,
            0x0806 => EtherType::Arp,
            0x86dd => EtherType::Ipv6,
            number => EtherType::Other(number),
        };
        Ok(Self {
            dst: EthernetAddress(reader::array(frame, 0)?),
            src: EthernetAddress(reader::array(frame, 6)?),
            kind,
        })
    }

    #[inline]
    pub(super) fn emit(&self, header: &mut [u8; ETHERNET_HEADER_LEN]) {
        let [d @ .., _, _, _, _, _, _, _, _] = header;
        let d: &mut [u8; 6] = d;
        *d = self.dst.0;
        let [_, _, _, _, _, _, s @ .., _, _] = header;
        let s: &mut [u8; 6] = s;
        *s = self.src.0;
        let [.., high, low] = header;
        [*high, *low] = self.kind.number().to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        let header = EthernetRepr {
            src: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst: EthernetAddress::BROADCAST,
            kind: EtherType::Arp,
        };
        let mut bytes = [0; ETHERNET_HEADER_LEN];
        header.emit(&mut bytes);
        assert_eq!(EthernetRepr::parse(&bytes), Ok(header));
        assert_eq!(bytes[..6], [0xff; 6]);
        assert_eq!(bytes[12..], [8, 6]);
    }

    #[test]
    fn a_short_frame_is_truncated() {
        assert_eq!(EthernetRepr::parse(&[0; 13]), Err(WireError::Truncated));
    }
}
