//! The timestamps option: our clock, TS.Recent and PAWS (RFC 7323).

use crate::seq::SeqNum;
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

/// How far back a gap's [`LateLimit`] reaches at least, in ticks of the peer's
/// clock: a second of Linux's.
const LATE_TICKS: u32 = 1000;

/// The same in bytes. Twice that and the largest window are less than half of
/// the sequence space.
const LATE_BYTES: u32 = 1 << 28;

/// How old a segment may be that arrives while data waits behind a gap.
///
/// A retransmission that fills the first of several gaps moves TS.Recent past
/// the originals that are only late, and PAWS throws these away (RFC 7323 5.3
/// knows of it, and calls it unlikely). On a path that reorders by more than a
/// few segments each such loss brings further ones. PAWS is there to tell a
/// segment from one of 2^32 bytes before; a value that TS.Recent had less than
/// 2^31 bytes ago does that as well: whatever lies 2^32 bytes below the window
/// was acknowledged before anything with that value was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LateLimit {
    /// TS.Recent some time ago, and RCV.NXT then.
    oldest: (u32, SeqNum),
    /// What follows it.
    next: (u32, SeqNum),
}

impl LateLimit {
    /// A gap opens at `nxt`.
    pub(super) fn new(recent: u32, nxt: SeqNum) -> Self {
        Self { oldest: (recent, nxt), next: (recent, nxt) }
    }

    /// RCV.NXT or TS.Recent may have moved.
    pub(super) fn advance(&mut self, recent: u32, nxt: SeqNum) {
        if recent.wrapping_sub(self.next.0) >= LATE_TICKS || nxt - self.next.1 >= LATE_BYTES {
            self.oldest = self.next;
            self.next = (recent, nxt);
        }
    }

    /// Whether a segment is not too old.
    pub(super) fn admits(&self, received: Timestamps) -> bool {
        received.tsval.wrapping_sub(self.oldest.0) as i32 >= 0
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

    #[test]
    fn the_limit_of_lateness_follows_by_a_thousand_ticks_or_many_bytes() {
        let admits = |limit: &LateLimit, tsval| limit.admits(Timestamps { tsval, tsecr: 0 });
        let mut limit = LateLimit::new(u32::MAX - 100, SeqNum(0));
        assert!(admits(&limit, u32::MAX - 100) && !admits(&limit, u32::MAX - 101));
        limit.advance(800, SeqNum(1));
        assert!(admits(&limit, u32::MAX - 100), "not yet");
        limit.advance(899, SeqNum(2));
        assert!(admits(&limit, u32::MAX - 100), "half of the way");
        limit.advance(900, SeqNum(LATE_BYTES + 1));
        assert!(admits(&limit, u32::MAX - 100), "not yet");
        limit.advance(900, SeqNum(LATE_BYTES + 2));
        assert!(admits(&limit, 899) && !admits(&limit, 898));
    }
}
