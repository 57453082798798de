//! HyStart++ (RFC 9406): a way out of the first slow start before it overflows
//! the path, seen from round-trip times that grow.

use super::{AckSample, UNLIMITED, Window, is_over};
use crate::seq::SeqNum;

/// Bounds of the growth in delay that ends slow start, in microseconds (RFC
/// 9406 4.3: MIN_RTT_THRESH, MAX_RTT_THRESH).
const MIN_RTT_THRESH: u32 = 4_000;
const MAX_RTT_THRESH: u32 = 16_000;
/// The same as a part of the round-trip time (MIN_RTT_DIVISOR).
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples of a round before its smallest counts (N_RTT_SAMPLE).
const N_RTT_SAMPLE: u8 = 8;
/// How much more slowly conservative slow start grows (CSS_GROWTH_DIVISOR).
const CSS_GROWTH_DIVISOR: u32 = 4;
/// Rounds of conservative slow start (CSS_ROUNDS).
const CSS_ROUNDS: u8 = 5;
/// Segments that one acknowledgement lets the window grow by, when no pacing
/// takes the edge off the burst that follows (L).
const L: u32 = 8;

/// No round-trip time yet.
const INFINITE: u32 = u32::MAX;

/// The state of the first slow start. Times in microseconds.
#[derive(Debug, Clone)]
pub struct HyStart {
    /// The round ends when this is acknowledged; `None` before the first.
    window_end: Option<SeqNum>,
    /// Smallest round-trip time of the last round.
    last_round: u32,
    /// Smallest round-trip time of this round so far.
    this_round: u32,
    /// Samples of this round.
    samples: u8,
    /// Conservative slow start, once it has begun.
    conservative: Option<Conservative>,
}

/// Conservative slow start (CSS).
#[derive(Debug, Clone, Copy)]
struct Conservative {
    /// A round-trip time below this shows that slow start was left too early.
    baseline: u32,
    /// Rounds that have begun.
    rounds: u8,
}

impl Default for HyStart {
    fn default() -> Self {
        Self { window_end: None, last_round: INFINITE, this_round: INFINITE, samples: 0, conservative: None }
    }
}

impl HyStart {
    /// Grows the window by an acknowledgement of the first slow start, in which
    /// the threshold is still unlimited. When the path is full it becomes the
    /// window, which ends slow start.
    pub fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        debug_assert_eq!(window.ssthresh, UNLIMITED);
        if self.window_end.is_none_or(|end| is_over(end, sample.una)) {
            self.begin_round(window, sample.nxt);
        }
        self.take_rtt(sample.rtt.as_micros());
        let limit = if sample.paced { u32::MAX } else { L * sample.mss };
        let bytes = sample.acked.min(limit);
        if window.ssthresh != UNLIMITED {
            return;
        }
        window.grow(match self.conservative {
            None => bytes,
            Some(_) => bytes / CSS_GROWTH_DIVISOR,
        });
    }

    /// RFC 9406 4.2: at the start of each round. The partial round in which
    /// conservative slow start begins counts as one.
    fn begin_round(&mut self, window: &mut Window, nxt: SeqNum) {
        self.window_end = Some(nxt);
        self.last_round = self.this_round;
        self.this_round = INFINITE;
        self.samples = 0;
        if let Some(conservative) = &mut self.conservative {
            conservative.rounds += 1;
            if conservative.rounds > CSS_ROUNDS {
                window.ssthresh = window.cwnd;
            }
        }
    }

    fn take_rtt(&mut self, micros: u64) {
        if micros == 0 {
            return;
        }
        self.this_round = self.this_round.min(micros.min(u64::from(INFINITE - 1)) as u32);
        self.samples = self.samples.saturating_add(1);
        if self.samples < N_RTT_SAMPLE {
            return;
        }
        match self.conservative {
            None if self.delay_has_grown() => {
                self.conservative = Some(Conservative { baseline: self.this_round, rounds: 1 });
            }
            // The delay was jitter: slow start goes on.
            Some(Conservative { baseline, .. }) if self.this_round < baseline => self.conservative = None,
            _ => {}
        }
    }

    fn delay_has_grown(&self) -> bool {
        let threshold = (self.last_round / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        self.last_round != INFINITE && self.this_round >= self.last_round.saturating_add(threshold)
    }
}
