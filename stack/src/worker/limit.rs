//! A rate limit: so many events a second, no bursts beyond that.

use tpa_tcp::Instant;

/// Counts events in windows of one second.
pub struct RateLimit {
    per_second: u32,
    window_start: u64,
    used: u32,
}

impl RateLimit {
    /// Allows `per_second` events in each second.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, window_start: 0, used: 0 }
    }

    /// Whether one more event may happen now.
    pub fn allow(&mut self, now: Instant) -> bool {
        let second = now.as_micros() / 1_000_000;
        if second != self.window_start {
            self.window_start = second;
            self.used = 0;
        }
        self.used += 1;
        self.used <= self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_in_a_second_and_again_in_the_next() {
        let mut limit = RateLimit::new(3);
        let second = |n: u64| Instant::from_micros(n * 1_000_000 + 5);
        assert_eq!((0..10).filter(|_| limit.allow(second(1))).count(), 3);
        assert_eq!((0..10).filter(|_| limit.allow(second(2))).count(), 3);
    }
}
