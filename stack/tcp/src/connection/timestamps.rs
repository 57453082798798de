//! The timestamps option: our clock, TS.Recent and PAWS (RFC 7323).

use crate::time::{Duration, Instant};
use crate::wire::Timestamps;

/// Age at which TS.Recent says nothing any more (RFC 7323 5.5).
const OUTDATED: Duration = Duration::from_secs(24 * 24 * 3600);

/// Both directions of the option. Values tick once a millisecond, as Linux's.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimestampClock {
    /// The option was negotiated.
    pub enabled: bool,
    offset: u32,
    /// TS.Recent: the value to echo.
    recent: u32,
    /// When it was taken.
    recent_at: Instant,
}

impl TimestampClock {
    pub(super) fn new(offset: u32) -> Self {
        Self { enabled: false, offset, recent: 0, recent_at: Instant::default() }
    }

    /// Our clock.
    #[inline]
    pub(super) fn value(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.offset)
    }

    /// The option of a segment with an ACK; `None` when not negotiated.
    #[inline]
    pub(super) fn option(&self, now: Instant) -> Option<Timestamps> {
        self.enabled.then(|| Timestamps { tsval: self.value(now), tsecr: self.recent })
    }

    /// The last value taken from the peer.
    pub(super) fn recent(&self) -> u32 {
        self.recent
    }

    /// Whether a segment is older than what was seen: PAWS (RFC 7323 5.3 R1).
    #[inline]
    pub(super) fn is_old(&self, received: Option<Timestamps>, now: Instant) -> bool {
        match received {
            Some(Timestamps { tsval, .. }) if self.enabled => {
                (tsval.wrapping_sub(self.recent) as i32) < 0 && now - self.recent_at < OUTDATED
            }
            _ => false,
        }
    }

    /// Takes the value of an acceptable segment. `covers_ack` says that it
    /// begins at or before Last.ACK.sent (RFC 7323 4.3 (2)).
    #[inline]
    pub(super) fn take(&mut self, received: Option<Timestamps>, covers_ack: bool, now: Instant) {
        if let Some(Timestamps { tsval, .. }) = received
            && self.enabled
            && covers_ack
            && !self.is_old(received, now)
        {
            self.recent = tsval;
            self.recent_at = now;
        }
    }

    /// Takes the value of the peer's SYN.
    pub(super) fn start(&mut self, received: Timestamps, now: Instant) {
        self.enabled = true;
        self.recent = received.tsval;
        self.recent_at = now;
    }

    /// Round-trip time that an echoed value shows; at least one tick.
    pub(super) fn echoed_rtt(&self, received: Option<Timestamps>, now: Instant) -> Option<Duration> {
        let echo = received.filter(|echo| self.enabled && echo.tsecr != 0)?;
        let ticks = self.value(now).wrapping_sub(echo.tsecr);
        // Half the range: beyond it the echo is from the future, or forged.
        (ticks < 1 << 31).then(|| Duration::from_millis(u64::from(ticks.max(1))))
    }

    /// Whether an acknowledgement echoes a value older than what a segment
    /// sent at `sent` has carried: it is not for that one (RFC 3522 3.2).
    pub(super) fn echo_precedes(&self, received: Option<Timestamps>, sent: Instant) -> bool {
        let echo = received.filter(|echo| self.enabled && echo.tsecr != 0);
        echo.is_some_and(|echo| (echo.tsecr.wrapping_sub(self.value(sent)) as i32) < 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(tsval: u32) -> Option<Timestamps> {
        Some(Timestamps { tsval, tsecr: 0 })
    }

    fn clock_at(recent: u32) -> TimestampClock {
        let mut clock = TimestampClock::new(0);
        clock.start(Timestamps { tsval: recent, tsecr: 0 }, Instant::default());
        clock
    }

    #[test]
    fn older_values_are_old_across_the_wrap() {
        let clock = clock_at(5);
        assert!(clock.is_old(seen(u32::MAX - 10), Instant::default()));
        assert!(!clock.is_old(seen(5), Instant::default()));
        assert!(!clock.is_old(seen(6), Instant::default()));
    }

    #[test]
    fn after_24_days_of_silence_nothing_is_old() {
        let clock = clock_at(1000);
        let later = Instant::default() + Duration::from_secs(25 * 24 * 3600);
        assert!(!clock.is_old(seen(1), later));
    }

    #[test]
    fn only_segments_that_cover_the_last_ack_are_echoed() {
        let mut clock = clock_at(10);
        clock.take(seen(20), false, Instant::default());
        assert_eq!(clock.recent(), 10);
        clock.take(seen(20), true, Instant::default());
        assert_eq!(clock.recent(), 20);
        clock.take(seen(19), true, Instant::default());
        assert_eq!(clock.recent(), 20);
    }

    #[test]
    fn an_echo_from_the_future_gives_no_sample() {
        let clock = clock_at(1);
        let echo = |tsecr| Some(Timestamps { tsval: 1, tsecr });
        let now = Instant::from_millis(100);
        assert_eq!(clock.echoed_rtt(echo(70), now), Some(Duration::from_millis(30)));
        assert_eq!(clock.echoed_rtt(echo(100), now), Some(Duration::from_millis(1)));
        assert_eq!(clock.echoed_rtt(echo(101), now), None);
    }
}
