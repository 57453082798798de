//! A rate limit: so many events a second, no bursts beyond that.

use std::hash::{BuildHasher, RandomState};

use tpa_tcp::Instant;

/// Counts events in windows of one second. Each window has a number of its own
/// between half and one and a half times the limit: an exact number would let
/// an outsider find out by counting what else was answered (CVE-2016-5696).
pub struct RateLimit {
    per_second: u32,
    dice: RandomState,
    window_start: u64,
    left: u32,
}

impl RateLimit {
    /// Allows about `per_second` events in each second.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, dice: RandomState::new(), window_start: u64::MAX, left: 0 }
    }

    /// Whether one more event may happen now.
    pub fn allow(&mut self, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.window_start {
            self.window_start = second;
            let random = self.dice.hash_one(second) % u64::from(self.per_second + 1);
            self.left = self.per_second / 2 + random as u32;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed_in(limit: &mut RateLimit, second: u64) -> usize {
        let now = Instant::from_micros(second * 1_000_000 + 5);
        (0..10_000).filter(|_| limit.allow(now)).count()
    }

    #[test]
    fn no_more_than_the_limit_in_a_second_and_again_in_the_next() {
        let mut limit = RateLimit::new(100);
        for second in 0..100 {
            assert!((50..=150).contains(&allowed_in(&mut limit, second)));
            assert_eq!(allowed_in(&mut limit, second), 0);
        }
    }

    #[test]
    fn the_limit_of_a_second_cannot_be_foreseen() {
        let mut limit = RateLimit::new(1000);
        let counts: std::collections::HashSet<usize> =
            (0..20).map(|second| allowed_in(&mut limit, second)).collect();
        assert!(counts.len() > 10);
    }
}
