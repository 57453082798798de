//! How the congestion window grows with acknowledgements (RFC 5681 3.1, RFC
//! 3465).

use super::Connection;
use super::ack::AckOutcome;
use super::payload::Payload;
use super::recovery::Phase;
use crate::config::CongestionAlgorithm;
use crate::congestion::{AckSample, CongestionControl, Controller, Signal};
use crate::time::{Duration, Instant};

impl<B: Payload> Connection<B> {
    /// The congestion control algorithm in use (`TCP_CONGESTION`).
    pub fn congestion(&self) -> CongestionAlgorithm {
        self.controller.algorithm()
    }

    /// Changes the congestion control algorithm (`TCP_CONGESTION`). The window
    /// stays as it is; whether ECN is in use was settled by the handshake.
    pub fn set_congestion(&mut self, algorithm: CongestionAlgorithm) {
        if algorithm != self.controller.algorithm() {
            self.controller = Controller::new(algorithm);
            self.ecn_follows_controller();
        }
    }

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
        self.validate_window(now);
        // RFC 3168 6.1.2: not by an acknowledgement that echoes a mark.
        if outcome.advanced == 0 || self.ecn.echoed() {
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
            paced: self.pacer.is_some(),
        };
        self.controller.on_ack(&mut self.window, &sample);
    }
    /// Sending goes on after nothing was in flight: the time in between was the
    /// program's.
    #[inline]
    pub(super) fn resume_after_pause(&mut self, now: Instant) {
        self.controller.on_app_limited(now);
        self.restart_pacing(now);
    }

    /// Congestion was met while `flight_size` bytes were outstanding: lowers the
    /// threshold, as the controller says. What limited transmit has added to the
    /// window does not count (RFC 5681 3.2 (2)). A loss in a window of data for
    /// which a mark has lowered it already is no further sign (RFC 3168 6.1.2),
    /// unless that was by the share of marks alone (RFC 8257 3.5).
    pub(super) fn lower_threshold(&mut self, signal: Signal, flight_size: u32) {
        if signal == Signal::Loss && self.ecn.has_reduced() && !self.controller.counts_marks() {
            return;
        }
        let mss = self.smss();
        let flight_size = self.load_at_congestion(flight_size.min(self.window.cwnd));
        self.window.ssthresh = self.controller.on_congestion(&self.window, signal, flight_size, mss);
        self.ecn.note_reduction(self.snd.nxt);
    }
}
