//! Dynamic right-sizing of the receive buffer, in the way of Linux's
//! `tcp_rcv_space_adjust`: the buffer follows what the program takes out in a
//! round trip, so that the window is never what limits a sender whose reader
//! keeps up, and a slow reader never ties up memory.
//!
//! A receiver that sends nothing has no round-trip samples from its
//! acknowledgements. It takes them from echoed timestamps (RFC 7323), and from
//! the time in which a window that was offered is used up.

use super::payload::Payload;
use super::timers::micros32;
use super::{Connection, Flags};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::TcpRepr;

/// Segments by which the window exceeds twice what was taken (Linux: "some
/// cushion because of small variations").
const CUSHION: u64 = 16;

/// Segments that a fresh connection is expected to take in its first round
/// trip: the peer's initial window (RFC 6928).
const FIRST_ROUND: u32 = 10;

/// What the program takes, and how long a round trip is to a receiver.
#[derive(Debug)]
pub(super) struct Autotune {
    /// Bytes that the program has taken out since `since`.
    copied: u32,
    /// The most that it took out in a round trip.
    space: u32,
    /// Low 32 bits of a time in microseconds, as is `window_from`.
    since: u32,
    /// Round trip in eighths of a microsecond; zero before the first sample.
    rtt: u32,
    /// Echoed timestamp of the last sample.
    echo: u32,
    /// Edge of the window at `window_from`: what lies beyond is sent a round trip
    /// after that at the earliest.
    window_end: SeqNum,
    window_from: u32,
}

impl Autotune {
    pub(super) fn new(mss: u16, buffer: u32, now: Instant) -> Self {
        Self {
            copied: 0,
            space: (FIRST_ROUND * u32::from(mss)).min(buffer / 2).max(1),
            since: micros32(now),
            rtt: 0,
            echo: 0,
            window_end: SeqNum(0),
            window_from: micros32(now),
        }
    }

    /// Begins to measure the time that the window up to `edge` takes.
    pub(super) fn start(&mut self, edge: SeqNum, now: Instant) {
        self.window_end = edge;
        self.window_from = micros32(now);
    }

    /// The program has taken out `count` bytes.
    #[inline]
    pub(super) fn note_read(&mut self, count: usize) {
        self.copied = self.copied.saturating_add(count as u32);
    }

    /// The receiver's round-trip time; `None` before the first sample.
    #[inline]
    pub(super) fn rtt(&self) -> Option<Duration> {
        (self.rtt != 0).then(|| Duration::from_micros(u64::from(self.rtt / 8)))
    }

    /// The most that the program took out in a round trip, in bytes.
    pub(super) fn space(&self) -> u32 {
        self.space
    }

    /// A sample from an echo: smoothed by an eighth.
    fn smooth(&mut self, sample: Duration) {
        let sample = eighths(sample);
        self.rtt = if self.rtt == 0 { sample } else { self.rtt - self.rtt / 8 + sample / 8 };
    }

    /// Data from beyond the window has arrived: a round trip took no longer than
    /// it did to offer and to use that.
    fn bound(&mut self, sample: Duration) {
        let sample = eighths(sample);
        self.rtt = if self.rtt == 0 { sample } else { self.rtt.min(sample) };
    }

    fn begin_round(&mut self, now: Instant) {
        self.since = micros32(now);
        self.copied = 0;
    }

    /// The window that the reader needs, when it took more in this round trip
    /// than in any before: twice as much, and more while the rate is growing, so
    /// that a sender in slow start is never held up. (Slow start doubles; what
    /// more was gained tells of a reader that had been late.)
    fn judge(&mut self, mss: u16, now: Instant) -> Option<u64> {
        let copied = self.copied;
        self.begin_round(now);
        if copied <= self.space {
            return None;
        }
        let window = 2 * u64::from(copied) + CUSHION * u64::from(mss);
        let gained = (copied - self.space).min(self.space);
        let growth = window * u64::from(gained) / u64::from(self.space);
        self.space = copied;
        Some(window + 2 * growth)
    }
}

/// Time that has passed since the time whose low 32 bits are `from`. A wrap,
/// after more than an hour, only makes a round trip begin anew.
#[inline]
fn since(from: u32, now: Instant) -> Duration {
    Duration::from_micros(u64::from(micros32(now).wrapping_sub(from)))
}

/// Eighths of a microsecond, at least one microsecond's.
fn eighths(sample: Duration) -> u32 {
    sample.as_micros().clamp(1, u64::from(u32::MAX / 8)) as u32 * 8
}

impl<B: Payload> Connection<B> {
    /// Data has arrived in order and is counted in RCV.NXT: measures, and at the
    /// end of a round trip looks whether the buffer should grow.
    #[inline]
    pub(super) fn right_size(&mut self, segment: &TcpRepr, now: Instant) {
        if segment.payload_len >= usize::from(self.rcv.seen_mss) && self.timestamps.enabled {
            self.sample_echo(segment, now);
        }
        if self.rcv.nxt.gt(self.autotune.window_end) {
            self.autotune.bound(since(self.autotune.window_from, now));
            self.autotune.start(self.rcv.edge, now);
        }
        let round = self.autotune.rtt().or(self.rtt.smoothed());
        if round.is_some_and(|round| since(self.autotune.since, now) >= round) {
            self.end_reading_round(now);
        }
    }

    /// Each value that we sent gives one sample.
    fn sample_echo(&mut self, segment: &TcpRepr, now: Instant) {
        let Some(stamp) = segment.options.timestamps.filter(|stamp| stamp.tsecr != self.autotune.echo) else {
            return;
        };
        self.autotune.echo = stamp.tsecr;
        if let Some(rtt) = self.timestamps.echoed_rtt(Some(stamp), now) {
            self.autotune.smooth(rtt);
        }
    }

    /// Grows the buffer when the reader needs it. What it took while memory was
    /// short says nothing about what it could take.
    fn end_reading_round(&mut self, now: Instant) {
        if self.share.is_pressed() {
            return self.autotune.begin_round(now);
        }
        if let Some(window) = self.autotune.judge(self.rcv.mss, now)
            && !self.flags.contains(Flags::RCVBUF_LOCKED)
        {
            self.grow_rcvbuf(window);
        }
    }

    #[cold]
    fn grow_rcvbuf(&mut self, window: u64) {
        let most = (self.config.rcvbuf_max as u64).min(0xffff << self.rcv.shift);
        self.rcv.buffer = self.rcv.buffer.max(window.min(most) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: u16 = 1000;

    fn tuned(space: u32) -> Autotune {
        Autotune { space, ..Autotune::new(MSS, 1 << 20, Instant::default()) }
    }

    fn judged(space: u32, copied: usize) -> Option<u64> {
        let mut autotune = tuned(space);
        autotune.note_read(copied);
        autotune.judge(MSS, Instant::default())
    }

    #[test]
    fn a_reader_that_takes_no_more_than_before_needs_no_more() {
        assert_eq!(judged(10_000, 0), None);
        assert_eq!(judged(10_000, 10_000), None);
    }

    #[test]
    fn a_growing_rate_is_given_room_ahead() {
        // Twice, and a cushion; half as much again adds that factor doubled.
        assert_eq!(judged(100_000, 100_001), Some(216_002 + 2 * 2));
        assert_eq!(judged(100_000, 150_000), Some(316_000 * 2));
        assert_eq!(judged(100_000, 200_000), Some(416_000 * 3));
        assert_eq!(judged(100_000, 800_000), Some(1_616_000 * 3));
    }

    #[test]
    fn what_was_taken_is_counted_anew_each_round() {
        let mut autotune = tuned(10_000);
        autotune.note_read(8_000);
        assert_eq!(autotune.judge(MSS, Instant::default()), None);
        autotune.note_read(8_000);
        assert_eq!(autotune.judge(MSS, Instant::default()), None);
        assert_eq!(autotune.space(), 10_000);
    }

    #[test]
    fn echoes_are_smoothed_and_a_full_window_bounds() {
        let mut autotune = tuned(1);
        assert_eq!(autotune.rtt(), None);
        autotune.smooth(Duration::from_micros(8000));
        autotune.smooth(Duration::from_micros(16_000));
        assert_eq!(autotune.rtt(), Some(Duration::from_micros(9000)));
        autotune.bound(Duration::from_micros(20_000));
        assert_eq!(autotune.rtt(), Some(Duration::from_micros(9000)));
        autotune.bound(Duration::from_micros(50));
        assert_eq!(autotune.rtt(), Some(Duration::from_micros(50)));
    }

    proptest! {
        #[test]
        fn no_amount_overflows(space in 1u32..=u32::MAX, copied: u32, micros: u64) {
            let mut autotune = tuned(space);
            autotune.note_read(copied as usize);
            autotune.smooth(Duration::from_micros(micros));
            if let Some(window) = autotune.judge(MSS, Instant::default()) {
                prop_assert!(copied > space && window >= 2 * u64::from(copied));
            }
        }
    }
}
