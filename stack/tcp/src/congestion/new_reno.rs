//! Slow start and congestion avoidance of RFC 5681, counted in bytes.

use super::{AckSample, CongestionControl, Signal, Window};

/// The classic: one segment more each round trip, half of it at congestion.
#[derive(Debug, Clone, Default)]
pub struct NewReno {
    /// Bytes acknowledged since the window last grew by a segment.
    acked: u32,
}

impl CongestionControl for NewReno {
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        let mut acked = sample.acked;
        if window.in_slow_start() {
            acked = window.slow_start(acked);
        }
        // Appropriate byte counting (RFC 3465 2.1): an ACK counts for what it covers.
        self.acked = self.acked.saturating_add(acked);
        while self.acked >= window.cwnd.max(1) {
            self.acked -= window.cwnd.max(1);
            window.grow(sample.mss);
        }
    }

    fn on_congestion(&mut self, _window: &Window, _signal: Signal, in_flight: u32, mss: u32) -> u32 {
        self.acked = 0;
        // RFC 5681 equation 4; a mark counts like a loss (RFC 3168 6.1.2).
        (in_flight / 2).max(2 * mss)
    }

    fn on_restart(&mut self) {
        self.acked = 0;
    }
}
