//! Attributes of a netlink message, decoded one by one when asked for.
//!
//! Newer kernels add and enlarge attributes. Only what we look for is decoded,
//! so that the rest can be anything.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NlasIterator;
use tpa_tcp::wire::IpAddress;

/// The attributes that follow a message's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes behind a header of `header_len` bytes.
    pub(super) fn after(payload: &'a [u8], header_len: usize) -> Self {
        Self(payload.get(header_len..).unwrap_or_default())
    }

    fn find(self, kind: u16) -> Option<&'a [u8]> {
        let attribute = NlasIterator::new(self.0).map_while(Result::ok).find(|a| a.kind() == kind)?;
        let end = usize::from(attribute.length());
        attribute.into_inner().get(netlink_packet_core::NLA_HEADER_SIZE..end)
    }

    /// The attributes inside of an attribute.
    pub(super) fn nested(self, kind: u16) -> Option<Self> {
        self.find(kind).map(Self)
    }

    /// Whether there is such an attribute.
    pub(super) fn has(self, kind: u16) -> bool {
        self.find(kind).is_some()
    }

    /// A 32-bit number in host byte order.
    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// An IPv4 or IPv6 address; its length tells which.
    pub(super) fn ip(self, kind: u16) -> Option<IpAddress> {
        let bytes = self.find(kind)?;
        let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
    }

    /// An Ethernet address.
    pub(super) fn mac(self, kind: u16) -> Option<[u8; 6]> {
        self.find(kind)?.try_into().ok()
    }

    /// A string that ends at its first NUL.
    pub(super) fn string(self, kind: u16) -> Option<String> {
        let bytes = self.find(kind)?.split(|&byte| byte == 0).next()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 24] = [
        8, 0, 4, 0, 0xdc, 5, 0, 0, // 4: 1500
        7, 0, 3, 0, b'e', b'0', 0, 0, // 3: "e0", padded
        8, 0, 2, 0, 10, 1, 2, 3, // 2: an address
    ];

    #[test]
    fn an_attribute_is_found_by_its_kind() {
        let attributes = Attributes::after(&BYTES, 0);
        assert_eq!(attributes.u32(4), Some(1500u32.to_le()));
        assert_eq!(attributes.string(3).as_deref(), Some("e0"));
        assert_eq!(attributes.ip(2), Some(Ipv4Addr::new(10, 1, 2, 3).into()));
        assert!(!attributes.has(9));
    }

    #[test]
    fn a_wrong_size_or_a_cut_message_is_an_absent_attribute() {
        assert_eq!(Attributes::after(&BYTES, 0).mac(4), None);
        assert_eq!(Attributes::after(&BYTES, 0).u32(3), None);
        for cut in 0..BYTES.len() {
            assert_eq!(Attributes::after(&BYTES[..cut], 0).ip(2), None);
        }
        assert!(!Attributes::after(&BYTES, 100).has(4));
    }
}
