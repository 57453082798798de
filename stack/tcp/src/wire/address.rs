//! IP addresses of both families as one type.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the upper words of an IPv4-mapped address hold (RFC 4291 2.5.5.2).
const MAPPED: u64 = 0xffff << 32;

/// An IPv4 or IPv6 address. An IPv4 address is kept as the IPv4-mapped IPv6
/// address that sockets show it as (RFC 4291 2.5.5.2), so that both families
/// take one path, with one comparison and one hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpAddress {
    high: u64,
    low: u64,
}

impl IpAddress {
    /// 0.0.0.0, which stands for all IPv4 addresses of a host.
    pub const V4_UNSPECIFIED: Self = Self::from_v4(Ipv4Addr::UNSPECIFIED);

    /// ::, which stands for all IPv6 addresses of a host.
    pub const V6_UNSPECIFIED: Self = Self::from_v6(Ipv6Addr::UNSPECIFIED);

    /// An IPv4 address.
    #[inline]
    pub const fn from_v4(address: Ipv4Addr) -> Self {
        Self { high: 0, low: MAPPED | address.to_bits() as u64 }
    }

    /// An IPv6 address; an IPv4-mapped one is the IPv4 address.
    #[inline]
    pub const fn from_v6(address: Ipv6Addr) -> Self {
        let bits = address.to_bits();
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// Whether it is an IPv4 address.
    #[inline]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == MAPPED >> 32
    }

    /// The IPv4 address; `None` for an IPv6 address.
    #[inline]
    pub const fn to_v4(self) -> Option<Ipv4Addr> {
        if self.is_v4() { Some(Ipv4Addr::from_bits(self.low as u32)) } else { None }
    }

    /// The address in IPv6 packets and socket addresses.
    #[inline]
    pub const fn to_v6(self) -> Ipv6Addr {
        Ipv6Addr::from_bits((self.high as u128) << 64 | self.low as u128)
    }

    /// The address as two numbers, for a hash.
    #[inline]
    pub const fn words(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// Whether both are of one family.
    #[inline]
    pub const fn is_like(self, other: Self) -> bool {
        self.is_v4() == other.is_v4()
    }

    /// What stands for all addresses of its family.
    #[inline]
    pub const fn unspecified(self) -> Self {
        if self.is_v4() { Self::V4_UNSPECIFIED } else { Self::V6_UNSPECIFIED }
    }

    /// Whether it stands for all addresses of its family.
    pub const fn is_unspecified(self) -> bool {
        self.high == 0 && (self.low == 0 || self.low == MAPPED)
    }

    /// Whether it names a group of hosts.
    pub const fn is_multicast(self) -> bool {
        match self.to_v4() {
            Some(address) => address.is_multicast(),
            None => self.high >> 56 == 0xff,
        }
    }

    /// Whether it names the host itself.
    pub const fn is_loopback(self) -> bool {
        match self.to_v4() {
            Some(address) => address.is_loopback(),
            None => self.high == 0 && self.low == 1,
        }
    }

    /// Whether it names a host only together with a link: an IPv6 link-local
    /// address (RFC 4291 2.5.6, RFC 4007).
    #[inline]
    pub const fn needs_scope(self) -> bool {
        self.high >> 54 == 0xfe80 >> 6
    }

    /// Whether both are of one family and agree in their first `prefix` bits.
    pub fn agrees_with(self, other: Self, prefix: u8) -> bool {
        let bits = if self.is_v4() { u32::from(prefix) + 96 } else { u32::from(prefix) };
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
        self.is_like(other) && (self.to_v6().to_bits() ^ other.to_v6().to_bits()) & mask == 0
    }
}

impl From<Ipv4Addr> for IpAddress {
    #[inline]
    fn from(address: Ipv4Addr) -> Self {
        Self::from_v4(address)
    }
}

impl From<Ipv6Addr> for IpAddress {
    #[inline]
    fn from(address: Ipv6Addr) -> Self {
        Self::from_v6(address)
    }
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<IpAddress> for IpAddr {
    fn from(address: IpAddress) -> Self {
        match address.to_v4() {
            Some(v4) => Self::V4(v4),
            None => Self::V6(address.to_v6()),
        }
    }
}

impl fmt::Display for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for IpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
        assert_eq!(ip("::ffff:10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(ip("10.0.0.1").to_v6(), "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap());
        assert!(ip("0.0.0.0").is_v4() && !ip("::").is_v4() && !ip("::1").is_v4());
    }

    #[test]
    fn addresses_of_a_kind_are_known_in_both_families() {
        for (all, loopback, group) in [("0.0.0.0", "127.0.0.1", "224.0.0.1"), ("::", "::1", "ff02::1")] {
            assert!(ip(all).is_unspecified() && ip(loopback).is_loopback() && ip(group).is_multicast());
            assert!(!ip(loopback).is_unspecified() && !ip(group).is_loopback() && !ip(all).is_multicast());
        }
    }

    #[test]
    fn only_ipv6_link_local_addresses_need_a_scope() {
        assert!(ip("fe80::1").needs_scope() && ip("febf::1").needs_scope());
        assert!(
            !ip("fec0::1").needs_scope() && !ip("fd00::1").needs_scope() && !ip("169.254.0.1").needs_scope()
        );
    }

    #[test]
    fn prefixes_are_compared_within_a_family() {
        assert!(ip("10.1.2.3").agrees_with(ip("10.1.9.9"), 16));
        assert!(!ip("10.1.2.3").agrees_with(ip("10.1.9.9"), 24));
        assert!(ip("fd00::1").agrees_with(ip("fd00::9"), 64));
        assert!(!ip("fd00::1").agrees_with(ip("fd00:0:0:1::1"), 64));
        assert!(ip("10.1.2.3").agrees_with(ip("192.0.2.1"), 0));
        assert!(!ip("10.1.2.3").agrees_with(ip("fd00::1"), 0));
        assert!(
            ip("fd00::1").agrees_with(ip("fd00::1"), 128) && !ip("fd00::1").agrees_with(ip("fd00::2"), 128)
        );
    }

    proptest! {
        #[test]
        fn an_address_survives_the_way_there_and_back(address: IpAddr) {
            prop_assert_eq!(IpAddr::from(IpAddress::from(address)), address.to_canonical());
        }
    }
}
