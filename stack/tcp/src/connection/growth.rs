//! How the congestion window grows with acknowledgements (RFC 5681 3.1, RFC
//! 3465).

use super::Connection;
use super::ack::AckOutcome;
use super::payload::Payload;
use super::recovery::Phase;
use crate::congestion::{AckSample, CongestionControl};
use crate::time::{Duration, Instant};

impl<B: Payload> Connection<B> {
    /// Lets the window grow by what an acknowledgement covered, when the
    /// program made full use of it. Called for each acknowledgement outside of
    /// fast recovery.
    #[inline]
    pub(super) fn grow_window(&mut self, outcome: &AckOutcome, now: Instant) {
        if self.recovery.phase == Phase::Loss {
            // RFC 3465 2.3: no more than a segment per ACK after a timeout.
            self.window.slow_start(outcome.advanced.min(self.smss()));
            return;
        }
        if outcome.advanced == 0 {
            return;
        }
        if !self.recovery.cwnd_limited {
            return self.controller.on_app_limited(now);
        }
        let sample = AckSample {
            now,
            acked: outcome.advanced,
            mss: self.smss(),
            srtt: self.rtt.smoothed().unwrap_or(Duration::ZERO),
            rtt: self.rtt.latest(),
            una: self.snd.una,
            nxt: self.snd.nxt,
            paced: false,
        };
        self.controller.on_ack(&mut self.window, &sample);
    }
}
