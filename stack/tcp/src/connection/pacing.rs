//! Pacing: segments are spread over the round trip instead of leaving in bursts
//! as large as the window.
//!
//! The rate is Linux's (`tcp_pacing_ss_ratio`, `tcp_pacing_ca_ratio`). A burst
//! may run ahead of it by a millisecond or two segments, whichever is more, which
//! bounds both the number of timers and the size of bursts.

use super::Connection;
use super::payload::Payload;
use crate::time::{Duration, Instant};

/// The rate as a part of a window a round trip, in percent: in slow start, so
/// that the window can double, and otherwise.
const SLOW_START_PERCENT: u64 = 200;
const AVOIDANCE_PERCENT: u64 = 120;

/// How far a burst may run ahead of the rate: in time, and in segments at least.
const AHEAD: Duration = Duration::from_millis(1);
const AHEAD_SEGMENTS: u64 = 2;

/// By how much a timer may be late without loss of rate: the timing wheel's
/// tick, doubled.
const LATE: Duration = Duration::from_millis(2);

/// Segments at the beginning that are not paced, as in Linux: the initial window.
const UNPACED_SEGMENTS: u64 = 10;

const NANOS: u64 = 1_000_000_000;

/// The schedule of a paced connection.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    /// When the next byte is due, in nanoseconds.
    due: u64,
    /// Most bytes a second that the program allows.
    most: Option<u64>,
}

impl Pacer {
    /// Takes `bytes` off the schedule at `rate` bytes a second; returns how far
    /// it is then ahead of `now`, in nanoseconds.
    fn spend(&mut self, bytes: u64, rate: u64, now: Instant) -> u64 {
        let now = nanos(now);
        let earliest = now.saturating_sub(LATE.as_micros() * 1000);
        self.due = self.due.max(earliest).saturating_add(bytes.saturating_mul(NANOS) / rate);
        self.due.saturating_sub(now)
    }
}

fn nanos(time: Instant) -> u64 {
    time.as_micros().saturating_mul(1000)
}

impl<B: Payload> Connection<B> {
    /// Spreads what is sent over time, by the window and the round-trip time and
    /// at no more than `most` bytes a second (`SO_MAX_PACING_RATE`, socket(7));
    /// `None` for no such limit.
    pub fn set_pacing(&mut self, most: Option<u64>) {
        self.pacer.get_or_insert_default().most = most.map(|most| most.max(1));
    }

    /// The rate of pacing in bytes a second; `None` while nothing is paced.
    pub fn pacing_rate(&self) -> Option<u64> {
        let pacer = self.pacer.as_ref()?;
        let window = u64::from(self.window.cwnd.max(self.flight.bytes()));
        let percent =
            if self.window.cwnd < self.window.ssthresh / 2 { SLOW_START_PERCENT } else { AVOIDANCE_PERCENT };
        let natural = self
            .rtt
            .smoothed()
            .map(|rtt| window.saturating_mul(percent).saturating_mul(10_000) / rtt.as_micros().max(1));
        match (natural, pacer.most) {
            (Some(natural), Some(most)) => Some(natural.min(most)),
            (natural, most) => natural.or(most),
        }
        .map(|rate| rate.max(1))
    }

    /// Bytes that a burst may have at a pacing rate.
    fn burst(&self, rate: u64) -> u64 {
        let least = AHEAD_SEGMENTS * u64::from(self.smss());
        (rate.saturating_mul(AHEAD.as_micros()) / 1_000_000).max(least)
    }

    /// Bytes that a device may cut segments from at once.
    pub(super) fn paced_segment(&self) -> u32 {
        self.pacing_rate().map_or(u32::MAX, |rate| self.burst(rate).min(u64::from(u32::MAX)) as u32)
    }

    /// Data was sent: beyond a burst, the next waits for its time.
    #[inline]
    pub(super) fn pace(&mut self, bytes: u32, now: Instant) {
        if self.pacer.is_some() {
            self.spend(u64::from(bytes), now);
        }
    }

    fn spend(&mut self, bytes: u64, now: Instant) {
        let Some(rate) = self.pacing_rate() else { return };
        if self.stats.bytes_sent < UNPACED_SEGMENTS * u64::from(self.smss()) {
            return;
        }
        let time_of = |bytes: u64| bytes.saturating_mul(NANOS) / rate;
        let (burst, segment) = (time_of(self.burst(rate)), time_of(self.smss().into()));
        let Some(pacer) = &mut self.pacer else { return };
        let ahead = pacer.spend(bytes, rate, now);
        if ahead + segment > burst {
            self.timers.hold_until(now + Duration::from_micros(ahead.div_ceil(1000)));
        }
    }

    /// After a pause the schedule begins anew: what was not sent then is not
    /// made up for.
    #[inline]
    pub(super) fn restart_pacing(&mut self, now: Instant) {
        if let Some(pacer) = &mut self.pacer {
            pacer.due = pacer.due.max(nanos(now));
        }
    }

    /// Whether a sender that waits for its time makes full use of the window. In
    /// slow start half of it is enough, as in Linux; otherwise what was so before
    /// the wait remains so.
    pub(super) fn uses_window_paced(&self) -> bool {
        if self.window.in_slow_start() {
            self.pipe() >= self.window.cwnd / 2
        } else {
            self.recovery.cwnd_limited
        }
    }
}
