//! Slow start and congestion avoidance of RFC 5681, counted in bytes.

use super::{AckSample, CongestionControl, Window};

/// The classic: one segment more each round trip, half of it at a loss.
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
        // Appropriate byte counting (RFC 3465 2.1).
        self.acked = self.acked.saturating_add(acked);
        while self.acked >= window.cwnd.max(1) {
            self.acked -= window.cwnd.max(1);
            window.grow(sample.mss);
        }
    }

    fn on_loss(&mut self, _window: &Window, in_flight: u32, mss: u32) -> u32 {
        self.acked = 0;
        // RFC 5681 equation 4.
        (in_flight / 2).max(2 * mss)
    }

    fn on_restart(&mut self) {
        self.acked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Duration, Instant};

    const MSS: u32 = 1000;

    fn ack(acked: u32) -> AckSample {
        AckSample { now: Instant::default(), acked, mss: MSS, srtt: Duration::from_millis(10) }
    }

    #[test]
    fn slow_start_doubles_the_window_in_a_round_trip() {
        let mut window = Window { cwnd: 10 * MSS, ssthresh: u32::MAX };
        let mut reno = NewReno::default();
        (0..10).for_each(|_| reno.on_ack(&mut window, &ack(MSS)));
        assert_eq!(window.cwnd, 20 * MSS);
    }

    #[test]
    fn avoidance_adds_one_segment_in_a_round_trip() {
        let mut window = Window { cwnd: 10 * MSS, ssthresh: 5 * MSS };
        let mut reno = NewReno::default();
        (0..10).for_each(|_| reno.on_ack(&mut window, &ack(MSS)));
        assert_eq!(window.cwnd, 11 * MSS);
    }

    #[test]
    fn a_loss_halves_what_was_in_flight_but_leaves_two_segments() {
        let window = Window { cwnd: 50 * MSS, ssthresh: u32::MAX };
        let mut reno = NewReno::default();
        assert_eq!(reno.on_loss(&window, 40 * MSS, MSS), 20 * MSS);
        assert_eq!(reno.on_loss(&window, MSS, MSS), 2 * MSS);
    }
}
