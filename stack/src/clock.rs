//! The stack's clock: microseconds of `CLOCK_MONOTONIC`.

use nix::time::{ClockId, clock_gettime};
use tpa_tcp::Instant;

/// The time now. One vDSO call, no system call; read once a burst.
#[inline]
pub fn now() -> Instant {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(t) => Instant::from_micros(t.tv_sec() as u64 * 1_000_000 + t.tv_nsec() as u64 / 1_000),
        // clock_gettime(2): CLOCK_MONOTONIC cannot fail on Linux.
        Err(_) => Instant::from_micros(0),
    }
}
