//! Time as the engine sees it: microseconds on a clock that the caller owns.
//!
//! The engine never reads a clock. Whoever drives it passes the current
//! [`Instant`] to each call, so that a simulator and a machine run the same
//! code.

use std::ops::{Add, AddAssign, Mul, Sub};

/// A point in time, in microseconds since an origin of the caller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// A deadline that never comes.
    pub const FAR: Instant = Instant(u64::MAX);

    /// The point `micros` microseconds after the origin.
    #[inline]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after the origin.
    #[inline]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the origin.
    #[inline]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the origin, rounded down.
    #[inline]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    #[inline]
    fn add(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    #[inline]
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    #[inline]
    fn sub(self, span: Duration) -> Instant {
        Instant(self.0.saturating_sub(span.0))
    }
}

/// The span from `earlier` to `self`; zero when `earlier` is later.
impl Sub for Instant {
    type Output = Duration;
    #[inline]
    fn sub(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(0);
    /// More time than there will ever be.
    pub const MAX: Duration = Duration(u64::MAX);

    /// A span of `micros` microseconds.
    #[inline]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// A span of `millis` milliseconds.
    #[inline]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// A span of `secs` seconds.
    #[inline]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// The span in microseconds.
    #[inline]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span in milliseconds, rounded down.
    #[inline]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// The span in seconds.
    #[inline]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The difference; zero when `other` is longer.
    #[inline]
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    /// The span doubled `times` times, at most `limit`: exponential back-off
    /// (RFC 6298 5.5).
    #[inline]
    pub fn backed_off(self, times: u32, limit: Duration) -> Duration {
        let factor = 1u64.checked_shl(times).unwrap_or(u64::MAX);
        Duration(self.0.saturating_mul(factor)).min(limit)
    }
}

impl Add for Duration {
    type Output = Duration;
    #[inline]
    fn add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Duration {
    type Output = Duration;
    #[inline]
    fn mul(self, factor: u64) -> Duration {
        Duration(self.0.saturating_mul(factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_into_the_past_is_zero() {
        let early = Instant::from_micros(5);
        assert_eq!(early - Instant::from_micros(9), Duration::ZERO);
        assert_eq!(Instant::from_micros(9) - early, Duration::from_micros(4));
    }

    #[test]
    fn the_far_deadline_absorbs_what_is_added() {
        assert_eq!(Instant::FAR + Duration::from_secs(1), Instant::FAR);
    }

    #[test]
    fn back_off_doubles_up_to_its_limit() {
        let base = Duration::from_millis(200);
        assert_eq!(base.backed_off(3, Duration::from_secs(120)), Duration::from_millis(1600));
        assert_eq!(base.backed_off(70, Duration::from_secs(120)), Duration::from_secs(120));
    }
}
