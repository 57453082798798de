//! CUBIC (RFC 9438).

use super::{AckSample, CongestionControl, Window};
use crate::time::{Duration, Instant};

/// How steeply the window grows, in segments per cubic second (RFC 9438 5.1).
const C: f64 = 0.4;
/// What a loss leaves of the window (RFC 9438 4.6).
const BETA: f64 = 0.7;
/// Growth of the Reno-friendly estimate (RFC 9438 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// The window as a cubic function of the time since the last loss. Windows
/// are in segments here, as in the RFC.
#[derive(Debug, Clone, Default)]
pub struct Cubic {
    /// Window before the last reduction.
    w_max: f64,
    /// Start of the current congestion avoidance, and what it began with.
    epoch: Option<Epoch>,
    /// Fractions of a byte that the window has yet to grow by.
    credit: f64,
}

#[derive(Debug, Clone, Copy)]
struct Epoch {
    start: Instant,
    /// Time in seconds after which the function returns to `w_max`.
    k: f64,
    /// Window that the function is centred on.
    origin: f64,
    /// What Reno would have by now.
    w_est: f64,
}

impl Epoch {
    /// RFC 9438 4.2.
    fn new(now: Instant, cwnd: f64, w_max: f64) -> Self {
        let origin = w_max.max(cwnd);
        Self { start: now, k: ((origin - cwnd) / C).cbrt(), origin, w_est: cwnd }
    }

    /// RFC 9438 equation 1.
    fn w_cubic(&self, since_start: Duration) -> f64 {
        self.origin + C * (since_start.as_secs_f64() - self.k).powi(3)
    }
}

impl CongestionControl for Cubic {
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        let mut acked = sample.acked;
        if window.in_slow_start() {
            acked = window.slow_start(acked);
        }
        if acked > 0 {
            self.avoid_congestion(window, acked, sample);
        }
    }

    fn on_loss(&mut self, window: &Window, in_flight: u32, mss: u32) -> u32 {
        let cwnd = f64::from(window.cwnd) / f64::from(mss.max(1));
        // Fast convergence (RFC 9438 4.7): give way to newer flows.
        self.w_max = if cwnd < self.w_max { cwnd * (1.0 + BETA) / 2.0 } else { cwnd };
        self.epoch = None;
        self.credit = 0.0;
        let kept = f64::from(in_flight.min(window.cwnd)) * BETA;
        (kept as u32).max(2 * mss)
    }

    fn on_restart(&mut self) {
        self.epoch = None;
        self.credit = 0.0;
    }
}

impl Cubic {
    /// RFC 9438 4.2 to 4.5.
    fn avoid_congestion(&mut self, window: &mut Window, acked: u32, sample: &AckSample) {
        let mss = f64::from(sample.mss.max(1));
        let cwnd = f64::from(window.cwnd) / mss;
        let w_max = self.w_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(sample.now, cwnd, w_max));
        let segments = f64::from(acked) / mss;

        // What Reno would have, faster once it has passed the old maximum (RFC 9438 4.3).
        let alpha = if epoch.w_est >= w_max { 1.0 } else { ALPHA };
        epoch.w_est += alpha * segments / cwnd;

        let elapsed = sample.now - epoch.start;
        let growth = if epoch.w_cubic(elapsed) < epoch.w_est {
            (epoch.w_est - cwnd).max(0.0)
        } else {
            let target = epoch.w_cubic(elapsed + sample.srtt).clamp(cwnd, 1.5 * cwnd);
            (target - cwnd) / cwnd * segments
        };
        self.credit += growth * mss;
        window.grow(self.credit as u32);
        self.credit = self.credit.fract();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;
    const RTT: Duration = Duration::from_millis(100);

    /// Acknowledges a full window each round trip for `seconds`.
    fn run(cubic: &mut Cubic, window: &mut Window, start: Instant, seconds: u64) -> Instant {
        let mut now = start;
        while now - start < Duration::from_secs(seconds) {
            let per_trip = window.cwnd / MSS;
            for _ in 0..per_trip {
                cubic.on_ack(window, &AckSample { now, acked: MSS, mss: MSS, srtt: RTT });
            }
            now += RTT;
        }
        now
    }

    #[test]
    fn slow_start_doubles_the_window_in_a_round_trip() {
        let mut window = Window { cwnd: 10 * MSS, ssthresh: u32::MAX };
        let sample = AckSample { now: Instant::default(), acked: 10 * MSS, mss: MSS, srtt: RTT };
        Cubic::default().on_ack(&mut window, &sample);
        assert_eq!(window.cwnd, 20 * MSS);
    }

    #[test]
    fn a_loss_leaves_seven_tenths() {
        let window = Window { cwnd: 100 * MSS, ssthresh: u32::MAX };
        assert_eq!(Cubic::default().on_loss(&window, 100 * MSS, MSS), 70 * MSS);
    }

    #[test]
    fn the_window_is_back_at_its_maximum_after_k_seconds() {
        // W_max 1000, beta 0.7: K = cbrt(300 / 0.4) = 9.09 s.
        let mut cubic = Cubic::default();
        let mut window = Window { cwnd: 1000 * MSS, ssthresh: u32::MAX };
        window.ssthresh = cubic.on_loss(&window, window.cwnd, MSS);
        window.cwnd = window.ssthresh;
        let now = run(&mut cubic, &mut window, Instant::from_millis(5), 9);
        let near = f64::from(window.cwnd / MSS);
        assert!((985.0..=1002.0).contains(&near), "{near}");
        // Convex beyond: W(K + 10 s) = 1000 + 0.4 * 10^3.
        run(&mut cubic, &mut window, now, 10);
        let far = f64::from(window.cwnd / MSS);
        assert!((1330.0..=1450.0).contains(&far), "{far}");
    }

    #[test]
    fn short_round_trips_grow_no_slower_than_reno() {
        let mut cubic = Cubic::default();
        let mut window = Window { cwnd: 20 * MSS, ssthresh: u32::MAX };
        window.ssthresh = cubic.on_loss(&window, window.cwnd, MSS);
        window.cwnd = window.ssthresh;
        let mut now = Instant::default();
        for _ in 0..1000 {
            for _ in 0..window.cwnd / MSS {
                let srtt = Duration::from_millis(1);
                cubic.on_ack(&mut window, &AckSample { now, acked: MSS, mss: MSS, srtt });
            }
            now += Duration::from_millis(1);
        }
        // ALPHA * 1000 trips without the faster part would give 540 at least.
        assert!(window.cwnd > 540 * MSS, "{}", window.cwnd);
    }

    #[test]
    fn an_undo_brings_the_curve_back() {
        let mut cubic = Cubic::default();
        let mut window = Window { cwnd: 100 * MSS, ssthresh: 0 };
        run(&mut cubic, &mut window, Instant::default(), 2);
        let before = cubic.clone();
        cubic.on_loss(&window, window.cwnd, MSS);
        assert!(cubic.epoch.is_none());
        cubic.on_undo(&before);
        assert_eq!(cubic.w_max, before.w_max);
        assert_eq!(cubic.epoch.map(|epoch| epoch.start), before.epoch.map(|epoch| epoch.start));
    }

    #[test]
    fn a_second_loss_below_the_maximum_gives_way() {
        let mut cubic = Cubic::default();
        cubic.on_loss(&Window { cwnd: 100 * MSS, ssthresh: 0 }, 100 * MSS, MSS);
        cubic.on_loss(&Window { cwnd: 80 * MSS, ssthresh: 0 }, 80 * MSS, MSS);
        assert!((cubic.w_max - 68.0).abs() < 1e-9);
    }
}
