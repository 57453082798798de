//! CUBIC (RFC 9438), with HyStart++ (RFC 9406) for its first slow start.

use super::{AckSample, CongestionControl, HyStart, Signal, UNLIMITED, Window};
use crate::time::{Duration, Instant};

/// How steeply the window grows, in segments per cubic second (RFC 9438 5.1).
const C: f64 = 0.4;
/// What congestion leaves of the window (RFC 9438 4.6).
const BETA: f64 = 0.7;
/// Growth of the Reno-friendly estimate (RFC 9438 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// How much the window may grow in a round trip (RFC 9438 4.2).
const STEEPEST: f64 = 1.5;

/// The window as a cubic function of the time since the last congestion.
/// Windows are in segments here, as in the RFC.
#[derive(Debug, Clone, Default)]
pub struct Cubic {
    hystart: HyStart,
    /// Window before the last reduction, or less than that (RFC 9438 4.7).
    w_max: f64,
    /// Window when the threshold was last set (RFC 9438 4.1.2).
    cwnd_prior: f64,
    /// The current congestion avoidance.
    epoch: Option<Epoch>,
    /// Fractions of a byte that the window has yet to grow by.
    credit: f64,
}

/// One stage of congestion avoidance.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    /// When it began; moved on by the time that the program wasted.
    start: Instant,
    /// When the last acknowledgement came.
    last: Instant,
    /// Time in seconds after which the function returns to `w_max`.
    k: f64,
    /// What Reno would have by now.
    w_est: f64,
}

impl Epoch {
    /// RFC 9438 4.2, equation 2.
    fn new(now: Instant, cwnd: f64, w_max: f64) -> Self {
        Self { start: now, last: now, k: ((w_max - cwnd) / C).cbrt(), w_est: cwnd }
    }

    /// RFC 9438 4.2, equation 1.
    fn w_cubic(&self, since_start: Duration, w_max: f64) -> f64 {
        w_max + C * (since_start.as_secs_f64() - self.k).powi(3)
    }
}

impl CongestionControl for Cubic {
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        let mut acked = sample.acked;
        if window.ssthresh == UNLIMITED {
            self.hystart.on_ack(window, sample);
            return;
        }
        if window.in_slow_start() {
            acked = window.slow_start(acked);
        }
        if acked > 0 {
            self.avoid_congestion(window, acked, sample);
        }
    }

    /// RFC 9438 5.8: such time does not count in the function.
    #[inline]
    fn on_app_limited(&mut self, now: Instant) {
        if let Some(epoch) = &mut self.epoch {
            epoch.start += now - epoch.last;
            epoch.last = now;
        }
    }

    fn on_congestion(&mut self, window: &Window, signal: Signal, in_flight: u32, mss: u32) -> u32 {
        let cwnd = segments(window.cwnd, mss);
        self.cwnd_prior = cwnd;
        self.w_max = match signal {
            // RFC 9438 4.8: the next stage begins flat, where slow start ends.
            Signal::Timeout => 0.0,
            // Fast convergence (RFC 9438 4.7): give way to newer flows.
            _ if cwnd < self.w_max => cwnd * (1.0 + BETA) / 2.0,
            _ => cwnd,
        };
        self.epoch = None;
        self.credit = 0.0;
        let kept = f64::from(in_flight.min(window.cwnd)) * BETA;
        (kept as u32).max(2 * mss)
    }

    fn on_restart(&mut self) {
        self.hystart = HyStart::default();
        self.epoch = None;
        self.credit = 0.0;
    }
}

fn segments(bytes: u32, mss: u32) -> f64 {
    f64::from(bytes) / f64::from(mss.max(1))
}

impl Cubic {
    /// Begins a stage of congestion avoidance. Without a maximum to return to,
    /// because slow start ended without a loss or after a timeout, the function
    /// begins at its flat point (RFC 9438 4.8, 4.10).
    fn begin_epoch(&mut self, now: Instant, cwnd: f64) -> Epoch {
        if self.w_max < cwnd {
            self.w_max = cwnd;
        }
        if self.cwnd_prior == 0.0 {
            self.cwnd_prior = cwnd;
        }
        Epoch::new(now, cwnd, self.w_max)
    }

    /// RFC 9438 4.2 to 4.5.
    fn avoid_congestion(&mut self, window: &mut Window, acked: u32, sample: &AckSample) {
        let cwnd = segments(window.cwnd, sample.mss);
        let acked = segments(acked, sample.mss);
        let mut epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.begin_epoch(sample.now, cwnd),
        };
        epoch.last = sample.now;

        // What Reno would have, faster once it has passed the old window (RFC 9438 4.3).
        let alpha = if epoch.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
        epoch.w_est += alpha * acked / cwnd;

        let elapsed = sample.now - epoch.start;
        let growth = if epoch.w_cubic(elapsed, self.w_max) < epoch.w_est {
            (epoch.w_est - cwnd).max(0.0)
        } else {
            let target = epoch.w_cubic(elapsed + sample.srtt, self.w_max).clamp(cwnd, STEEPEST * cwnd);
            (target - cwnd) / cwnd * acked
        };
        self.epoch = Some(epoch);
        self.credit += growth * f64::from(sample.mss);
        window.grow(self.credit as u32);
        self.credit = self.credit.fract();
    }
}
