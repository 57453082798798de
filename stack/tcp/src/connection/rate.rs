//! The rate at which data arrives at the peer: one sample a round trip, in the
//! way of draft-cheng-iccrg-delivery-rate-estimation, without a note in each
//! segment.
//!
//! A round ends when everything is acknowledged that was under way at its
//! beginning. What arrived in between, and the time that it took, is the sample.

use super::timers::micros32;
use crate::seq::SeqNum;
use crate::time::Instant;

/// The round under way, and the last sample worth keeping.
#[derive(Debug)]
pub(super) struct DeliveryRate {
    /// The round ends when this is acknowledged.
    end: SeqNum,
    /// Segments that had arrived when the round began.
    before: u32,
    /// Low 32 bits of the time in microseconds.
    began: u32,
    /// The program had nothing to send at some time in the round.
    app_limited: bool,
    sample: Sample,
    /// The same of the round that the sample is from.
    sample_app_limited: bool,
}

/// Segments, and the microseconds in which they arrived.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    segments: u32,
    micros: u32,
}

impl Sample {
    /// Whether this one is faster.
    fn exceeds(self, other: Sample) -> bool {
        u64::from(self.segments) * u64::from(other.micros)
            >= u64::from(other.segments) * u64::from(self.micros)
    }
}

impl DeliveryRate {
    pub(super) fn new(iss: SeqNum) -> Self {
        Self {
            end: iss,
            before: 0,
            began: 0,
            app_limited: false,
            sample: Sample::default(),
            sample_app_limited: false,
        }
    }

    /// New data up to `end` is sent; when nothing was under way, a round begins.
    #[inline]
    pub(super) fn sent(&mut self, was_idle: bool, end: SeqNum, delivered: u32, now: Instant) {
        if was_idle {
            self.begin(end, delivered, now);
        } else if self.began == micros32(now) && self.before == delivered {
            // The same burst.
            self.end = end;
        }
    }

    fn begin(&mut self, end: SeqNum, delivered: u32, now: Instant) {
        (self.end, self.before, self.began, self.app_limited) = (end, delivered, micros32(now), false);
    }

    /// The program has nothing more to send though the network would take more.
    #[inline]
    pub(super) fn note_app_limited(&mut self) {
        self.app_limited = true;
    }

    /// Everything before `una` is acknowledged, and `delivered` segments have
    /// arrived. Like Linux keeps a sample that the program held down only when
    /// it exceeds the last one.
    #[inline]
    pub(super) fn acked(&mut self, una: SeqNum, nxt: SeqNum, delivered: u32, now: Instant) {
        if una.lt(self.end) {
            return;
        }
        let micros = micros32(now).wrapping_sub(self.began);
        let segments = delivered.wrapping_sub(self.before);
        let sample = Sample { segments, micros };
        if micros > 0 && segments > 0 && (!self.app_limited || sample.exceeds(self.sample)) {
            (self.sample, self.sample_app_limited) = (sample, self.app_limited);
        }
        self.begin(nxt, delivered, now);
    }

    /// Bytes a second, with `mss` bytes in a segment; zero before the first sample.
    pub(super) fn bytes_per_second(&self, mss: u32) -> u64 {
        let bytes = u64::from(self.sample.segments) * u64::from(mss);
        (bytes * 1_000_000).checked_div(u64::from(self.sample.micros)).unwrap_or(0)
    }

    /// Whether the sample tells of the program rather than of the path.
    pub(super) fn is_app_limited(&self) -> bool {
        self.sample_app_limited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_round_is_what_arrived_until_its_last_segment_was_acknowledged() {
        let mut rate = DeliveryRate::new(SeqNum(0));
        assert_eq!(rate.bytes_per_second(MSS), 0);
        for segment in 1..=10 {
            rate.sent(segment == 1, SeqNum(segment * MSS), 0, at(100));
        }
        rate.acked(SeqNum(5000), SeqNum(15_000), 5, at(110));
        assert_eq!(rate.bytes_per_second(MSS), 0, "the round goes on");
        rate.acked(SeqNum(10_000), SeqNum(20_000), 10, at(120));
        assert_eq!(rate.bytes_per_second(MSS), 10_000 * 50);
        rate.acked(SeqNum(20_000), SeqNum(40_000), 20, at(130));
        assert_eq!(rate.bytes_per_second(MSS), 10_000 * 100);
        assert!(!rate.is_app_limited());
    }

    #[test]
    fn a_program_that_sends_little_does_not_lower_the_rate() {
        let mut rate = DeliveryRate::new(SeqNum(0));
        rate.sent(true, SeqNum(10_000), 0, at(0));
        rate.acked(SeqNum(10_000), SeqNum(10_000), 10, at(10));
        rate.sent(true, SeqNum(11_000), 10, at(50));
        rate.note_app_limited();
        rate.acked(SeqNum(11_000), SeqNum(11_000), 11, at(60));
        assert_eq!(rate.bytes_per_second(MSS), 1_000_000);
        rate.sent(true, SeqNum(31_000), 11, at(70));
        rate.note_app_limited();
        rate.acked(SeqNum(31_000), SeqNum(31_000), 31, at(80));
        assert_eq!(rate.bytes_per_second(MSS), 2_000_000);
        assert!(rate.is_app_limited());
    }
}
