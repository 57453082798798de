//! Window validation (RFC 7661): how much of the window the program really uses.
//!
//! A window that was not filled for long says little of the path. pipeACK is the
//! most data that was acknowledged in a round trip of late; below half of the
//! window the window counts as non-validated. It is kept, so that a program that
//! pauses can go on as before, but congestion is then answered from what was in
//! use, and after five minutes it halves.
//!
//! Growth asks for more than RFC 7661 does: the window must have been full at the
//! last look. Silence beyond a timeout shrinks the window at once, as RFC 5681 4.1
//! and Linux have it. Where Linux lets an unused window decay each timeout (RFC
//! 2861), this waits for the five minutes of RFC 7661 4.4.3. What was lost during
//! a recovery (R in 4.4.1) is not subtracted on top.

use super::Connection;
use super::payload::Payload;
use crate::congestion::{CongestionControl, is_over};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// How long a window may stay non-validated (RFC 7661 4.4, NVP).
const NON_VALIDATED_PERIOD: Duration = Duration::from_secs(300);

/// Least span that samples are kept for (RFC 7661 2: the pipeACK sampling period
/// is three round trips, but a second at least).
const SAMPLING_PERIOD: Duration = Duration::from_secs(1);

/// The measurement of pipeACK.
#[derive(Debug)]
pub(super) struct Validation {
    /// What was acknowledged when the round began.
    round_start: SeqNum,
    /// The round is over when this is acknowledged; where it began when nothing
    /// was in flight then.
    round_end: SeqNum,
    /// Largest samples of the current half of the sampling period and of the
    /// one before; `None`: undefined.
    samples: Option<[u32; 2]>,
    /// When the current half began.
    since: Instant,
    /// When the window was validated last.
    validated_at: Instant,
}

impl Validation {
    pub(super) fn new(iss: SeqNum, now: Instant) -> Self {
        Self { round_start: iss, round_end: iss, samples: None, since: now, validated_at: now }
    }

    /// pipeACK in bytes; `None` while undefined: all is taken for validated.
    fn pipe_ack(&self) -> Option<u32> {
        self.samples.map(|[current, before]| current.max(before))
    }

    fn take(&mut self, sample: u32, half: Duration, now: Instant) {
        let [mut current, mut before] = self.samples.unwrap_or_default();
        let age = now - self.since;
        if age >= half {
            before = if age < half + half { current } else { 0 };
            current = 0;
            self.since = now;
        }
        self.samples = Some([current.max(sample), before]);
    }
}

impl<B: Payload> Connection<B> {
    /// The initial window in bytes (RFC 6928).
    #[inline]
    pub(super) fn initial_window(&self) -> u32 {
        self.config.initial_window.saturating_mul(self.smss())
    }

    /// An acknowledgement that advances: counts what it covers. Below the
    /// initial window there is nothing to validate.
    #[inline]
    pub(super) fn validate_window(&mut self, now: Instant) {
        let end = self.validation.round_end;
        if self.window.cwnd > self.initial_window() && (self.snd.una == end || is_over(end, self.snd.una)) {
            self.end_round(now);
        }
    }

    fn end_round(&mut self, now: Instant) {
        if self.validation.round_end == self.validation.round_start && self.snd.una != self.snd.nxt {
            self.validation.round_end = self.snd.nxt;
            return;
        }
        let rtt = self.rtt.smoothed().unwrap_or_default();
        let period = (rtt * 3).max(SAMPLING_PERIOD);
        let half = Duration::from_micros(period.as_micros() / 2);
        let validation = &mut self.validation;
        let sample = (self.snd.una - validation.round_start).min(self.window.cwnd);
        validation.round_start = self.snd.una;
        validation.round_end = self.snd.nxt;
        validation.take(sample, half, now);
        if !self.is_non_validated() {
            self.validation.validated_at = now;
        } else if now - self.validation.validated_at >= NON_VALIDATED_PERIOD {
            self.end_non_validated_period(now);
        }
    }

    /// RFC 7661 4.3, where what is in flight now counts as used, too.
    fn is_non_validated(&self) -> bool {
        let half = self.window.cwnd / 2;
        self.validation.pipe_ack().is_some_and(|pipe_ack| pipe_ack < half) && self.flight.bytes() < half
    }

    /// RFC 7661 4.4.3.
    fn end_non_validated_period(&mut self, now: Instant) {
        self.window.ssthresh = self.window.ssthresh.max(self.window.cwnd / 4 * 3);
        self.window.cwnd = (self.window.cwnd / 2).max(self.initial_window());
        self.controller.on_restart();
        self.validation.validated_at = now;
    }

    /// Bytes that congestion is answered from: FlightSize (RFC 5681 equation 4),
    /// or for a non-validated window what it was used for lately (RFC 7661
    /// 4.4.1). pipeACK is undefined from then on.
    pub(super) fn load_at_congestion(&mut self, flight_size: u32) -> u32 {
        let load = match self.validation.pipe_ack() {
            Some(pipe_ack) if self.is_non_validated() => flight_size.max(pipe_ack),
            _ => flight_size,
        };
        self.validation.samples = None;
        load
    }
}
