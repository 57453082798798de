//! The Internet checksum (RFC 1071), summed eight bytes at a time.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::IpAddress;

/// How far to believe the checksums of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumPolicy {
    /// Refuse what does not sum up.
    Verify,
    /// Like `Verify`, but also accept a TCP checksum field that holds the sum
    /// of the pseudo-header alone: what a kernel on the other end of a veth
    /// pair leaves for an offload that never happens.
    VerifyOrPartial,
    /// Something else has checked, or the bytes never left this host's memory.
    Trust,
}

/// A running one's complement sum.
///
/// Sums do not depend on byte order (RFC 1071 section 2 B), so native words
/// are added and only the folded result is put in network order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of the pseudo-header between two addresses of one family (RFC
    /// 9293 3.1, RFC 8200 8.1).
    #[inline]
    pub fn pseudo_header(src: IpAddress, dst: IpAddress, protocol: u8, len: u16) -> Self {
        match (src.to_v4(), dst.to_v4()) {
            (Some(src), Some(dst)) => Self::pseudo_header_v4(src, dst, protocol, len),
            _ => Self::pseudo_header_v6(src.to_v6(), dst.to_v6(), protocol, len),
        }
    }

    #[inline]
    fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> Self {
        let addresses =
            u64::from(u32::from_ne_bytes(src.octets())) + u64::from(u32::from_ne_bytes(dst.octets()));
        let [high, low] = len.to_be_bytes();
        let rest = u64::from(u32::from_ne_bytes([0, protocol, high, low]));
        Self(addresses + rest)
    }

    #[inline]
    fn pseudo_header_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, len: u16) -> Self {
        let [high, low] = len.to_be_bytes();
        let rest = u64::from(u32::from_ne_bytes([0, protocol, high, low]));
        Self(rest).plus(&src.octets()).plus(&dst.octets())
    }

    /// Adds `bytes`, which start at an even offset of what is summed.
    #[inline]
    pub fn plus(self, bytes: &[u8]) -> Self {
        let (blocks, tail) = bytes.as_chunks::<32>();
        let mut lanes = [0u64; 4];
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                let word = u64::from_ne_bytes(*word);
                *lane += (word >> 32) + (word & 0xffff_ffff);
            }
        }
        let mut sum = self.0 + lanes.iter().sum::<u64>();
        let (words, tail) = tail.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Adds `bytes` that start at an odd offset of what is summed: the same
    /// sum with its bytes swapped (RFC 1071 section 2 B).
    #[inline]
    pub fn plus_odd(self, bytes: &[u8]) -> Self {
        let swapped = Sum::default().plus(bytes).fold().swap_bytes();
        Self(self.0 + u64::from(swapped))
    }

    /// The folded sum, not complemented, as it lies in memory.
    #[inline]
    fn fold(self) -> u16 {
        let mut sum = self.0;
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }

    /// The checksum field's bytes: the complement of the sum.
    #[inline]
    pub fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// The sum itself as field bytes: what an offload expects to find there.
    #[inline]
    pub fn partial(self) -> [u8; 2] {
        self.fold().to_ne_bytes()
    }

    /// Whether the sum, with the checksum field in it, is right.
    #[inline]
    pub fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 as it is written: 16 bits at a time.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().plus(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.partial(), [0xdd, 0xf2]);
        assert_eq!(sum.checksum(), [!0xdd, !0xf2]);
    }

    #[test]
    fn a_pseudo_header_sums_like_its_bytes() {
        let (src, dst) = (Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(192, 168, 255, 254));
        let bytes = [10, 1, 2, 3, 192, 168, 255, 254, 0, 6, 0x12, 0x34];
        let sum = Sum::pseudo_header(src.into(), dst.into(), 6, 0x1234);
        assert_eq!(sum.checksum(), Sum::default().plus(&bytes).checksum());
    }

    #[test]
    fn an_ipv6_pseudo_header_sums_like_its_bytes() {
        let (src, dst): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::ff:1".parse().unwrap(), "fe80::2".parse().unwrap());
        let rest = [0, 0, 0x12, 0x34, 0, 0, 0, 58];
        let bytes = [&src.octets()[..], &dst.octets(), &rest].concat();
        let sum = Sum::pseudo_header(src.into(), dst.into(), 58, 0x1234);
        assert_eq!(sum.checksum(), Sum::default().plus(&bytes).checksum());
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_naive_one(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::default().plus(&bytes).checksum(), naive(&bytes).to_be_bytes());
        }

        #[test]
        fn a_split_at_any_byte_changes_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 1..300), at: prop::sample::Index,
        ) {
            let (head, tail) = bytes.split_at(at.index(bytes.len()));
            let sum = Sum::default().plus(head);
            let sum = if head.len() % 2 == 0 { sum.plus(tail) } else { sum.plus_odd(tail) };
            prop_assert_eq!(sum.checksum(), naive(&bytes).to_be_bytes());
        }

        #[test]
        fn a_sum_with_its_checksum_is_valid(mut bytes in proptest::collection::vec(any::<u8>(), 2..100)) {
            bytes[0] = 0;
            bytes[1] = 0;
            let field = Sum::default().plus(&bytes).checksum();
            bytes[..2].copy_from_slice(&field);
            prop_assert!(Sum::default().plus(&bytes).is_valid());
        }
    }
}
