//! Sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4).

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A TCP sequence number. It has no total order: two of them compare only
/// while they are less than 2^31 apart, which windows of at most 2^30 ensure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Whether `self` comes before `other`.
    #[inline]
    pub const fn lt(self, other: SeqNum) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` comes before `other` or is it.
    #[inline]
    pub const fn le(self, other: SeqNum) -> bool {
        (self.0.wrapping_sub(other.0) as i32) <= 0
    }

    /// Whether `self` comes after `other`.
    #[inline]
    pub const fn gt(self, other: SeqNum) -> bool {
        other.lt(self)
    }

    /// Whether `self` comes after `other` or is it.
    #[inline]
    pub const fn ge(self, other: SeqNum) -> bool {
        other.le(self)
    }

    /// The later of the two.
    #[inline]
    pub const fn max(self, other: SeqNum) -> SeqNum {
        if self.lt(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    pub const fn min(self, other: SeqNum) -> SeqNum {
        if other.lt(self) { other } else { self }
    }

    /// Bytes from `earlier` to `self`; zero when `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: SeqNum) -> u32 {
        if earlier.lt(self) { self.0.wrapping_sub(earlier.0) } else { 0 }
    }
}

impl Add<u32> for SeqNum {
    type Output = SeqNum;
    #[inline]
    fn add(self, bytes: u32) -> SeqNum {
        SeqNum(self.0.wrapping_add(bytes))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, bytes: u32) {
        *self = *self + bytes;
    }
}

impl Sub<u32> for SeqNum {
    type Output = SeqNum;
    #[inline]
    fn sub(self, bytes: u32) -> SeqNum {
        SeqNum(self.0.wrapping_sub(bytes))
    }
}

/// The distance modulo 2^32 from `other` on to `self`.
impl Sub for SeqNum {
    type Output = u32;
    #[inline]
    fn sub(self, other: SeqNum) -> u32 {
        self.0.wrapping_sub(other.0)
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_crosses_the_wrap() {
        let before = SeqNum(u32::MAX - 1);
        let after = before + 3;
        assert_eq!(after, SeqNum(1));
        assert!(before.lt(after) && after.gt(before));
        assert_eq!(after - before, 3);
        assert_eq!(before.since(after), 0);
    }

    proptest! {
        /// Numbers that are within 2^31 of each other compare like the offsets
        /// that they were made from.
        #[test]
        fn the_circle_orders_like_the_line_that_it_was_bent_from(
            origin: u32, a in 0i64..1 << 30, b in 0i64..1 << 30,
        ) {
            let at = |offset: i64| SeqNum(origin) + offset as u32;
            let (x, y) = (at(a), at(b));
            prop_assert_eq!((x.lt(y), x.le(y), x.gt(y), x.ge(y)), (a < b, a <= b, a > b, a >= b));
            prop_assert_eq!((x.max(y), x.min(y)), (at(a.max(b)), at(a.min(b))));
            prop_assert_eq!(i64::from(x.since(y)), (a - b).max(0));
            prop_assert_eq!(i64::from(x - y), (a - b).rem_euclid(1 << 32));
            prop_assert_eq!(x - b as u32, SeqNum(origin) - b as u32 + a as u32);
        }

        #[test]
        fn what_is_added_is_after_and_comes_off_again(start: u32, step in 1u32..0x7fff_ffff) {
            let (a, b) = (SeqNum(start), SeqNum(start) + step);
            prop_assert!(a.lt(b) && a.le(b) && b.gt(a) && b.ge(a) && !b.le(a));
            prop_assert_eq!(b - a, step);
            prop_assert_eq!(b.since(a), step);
            prop_assert_eq!(b - step, a);
            prop_assert_eq!(a.max(b), b);
            prop_assert_eq!(a.min(b), a);
        }
    }
}
