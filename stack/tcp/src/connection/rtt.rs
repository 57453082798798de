//! Round-trip time and the retransmission timeout (RFC 6298).

use crate::config::Config;
use crate::time::Duration;

/// Timeout after a handshake that gave no sample (RFC 6298 5.7).
const FALLBACK: Duration = Duration::from_secs(3);

/// The estimator of RFC 6298 section 2; times in microseconds.
#[derive(Debug)]
pub(super) struct RttEstimator {
    /// Smoothed round-trip time; zero before the first sample.
    srtt: u32,
    /// Mean deviation.
    rttvar: u32,
    /// Last sample; zero before the first.
    latest: u32,
    /// Smallest sample so far.
    min: u32,
    /// Timeout without back-off.
    rto: Duration,
}

impl RttEstimator {
    pub(super) fn new(config: &Config) -> Self {
        Self { srtt: 0, rttvar: 0, latest: 0, min: u32::MAX, rto: config.rto_initial }
    }

    /// Takes a sample from a segment that was sent once (Karn: RFC 6298 3).
    pub(super) fn sample(&mut self, rtt: Duration, config: &Config) {
        let rtt = rtt.as_micros().clamp(1, u64::from(u32::MAX / 8)) as u32;
        self.latest = rtt;
        self.min = self.min.min(rtt);
        if self.srtt == 0 {
            // RFC 6298 2.2.
            self.srtt = rtt;
            self.rttvar = rtt / 2;
        } else {
            // RFC 6298 2.3 with alpha 1/8 and beta 1/4.
            self.rttvar = self.rttvar - self.rttvar / 4 + self.srtt.abs_diff(rtt) / 4;
            self.srtt = self.srtt - self.srtt / 8 + rtt / 8;
        }
        // The floor goes under the variation, not under the sum, as in Linux:
        // the timeout never comes closer than `rto_min` to the usual RTT.
        let variation = Duration::from_micros(u64::from(self.rttvar) * 4).max(config.rto_min);
        self.rto = (Duration::from_micros(u64::from(self.srtt)) + variation).min(config.rto_max);
    }

    /// The handshake is over: without a sample by now the SYN was lost, and
    /// the path is taken for slow.
    pub(super) fn handshake_done(&mut self, config: &Config) {
        if self.srtt == 0 {
            self.rto = FALLBACK.max(config.rto_min).min(config.rto_max);
        }
    }

    /// Timeout without back-off.
    #[inline]
    pub(super) fn rto(&self) -> Duration {
        self.rto
    }

    /// Smoothed round-trip time; `None` before the first sample.
    #[inline]
    pub(super) fn smoothed(&self) -> Option<Duration> {
        (self.srtt != 0).then(|| Duration::from_micros(u64::from(self.srtt)))
    }

    /// Last sample; zero before the first.
    #[inline]
    pub(super) fn latest(&self) -> Duration {
        Duration::from_micros(u64::from(self.latest))
    }

    /// Mean deviation.
    pub(super) fn deviation(&self) -> Duration {
        Duration::from_micros(u64::from(self.rttvar))
    }

    /// Smallest sample so far; `None` before the first.
    pub(super) fn smallest(&self) -> Option<Duration> {
        (self.min != u32::MAX).then(|| Duration::from_micros(u64::from(self.min)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_samples(samples: &[u64]) -> RttEstimator {
        let config = Config::default();
        let mut rtt = RttEstimator::new(&config);
        samples.iter().for_each(|&micros| rtt.sample(Duration::from_micros(micros), &config));
        rtt
    }

    #[test]
    fn the_first_timeout_is_one_second() {
        assert_eq!(with_samples(&[]).rto(), Duration::from_secs(1));
    }

    #[test]
    fn the_first_sample_sets_srtt_and_half_of_it_as_deviation() {
        let rtt = with_samples(&[400_000]);
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(400)));
        assert_eq!(rtt.deviation(), Duration::from_millis(200));
        assert_eq!(rtt.rto(), Duration::from_millis(1200));
    }

    #[test]
    fn later_samples_are_smoothed() {
        let rtt = with_samples(&[800_000, 1_600_000]);
        assert_eq!(rtt.smoothed(), Some(Duration::from_millis(900)));
        assert_eq!(rtt.deviation(), Duration::from_millis(500));
        assert_eq!(rtt.rto(), Duration::from_millis(2900));
    }

    #[test]
    fn a_quick_path_still_waits_the_minimum() {
        assert_eq!(with_samples(&[100; 50]).rto(), Duration::from_micros(200_100));
    }

    #[test]
    fn a_handshake_without_sample_leaves_three_seconds() {
        let config = Config::default();
        let mut rtt = with_samples(&[]);
        rtt.handshake_done(&config);
        assert_eq!(rtt.rto(), Duration::from_secs(3));
        let mut sampled = with_samples(&[1000]);
        sampled.handshake_done(&config);
        assert_eq!(sampled.rto(), Duration::from_micros(201_000));
    }

    /// RFC 6298 2.2 and 2.3 as they are written, in real numbers.
    fn naive(samples: &[u64]) -> (f64, f64) {
        let mut reals = samples.iter().map(|&micros| micros as f64);
        let first = reals.next().unwrap_or_default();
        reals.fold((first, first / 2.0), |(srtt, rttvar): (f64, f64), rtt| {
            (0.875 * srtt + 0.125 * rtt, 0.75 * rttvar + 0.25 * (srtt - rtt).abs())
        })
    }

    proptest! {
        #[test]
        fn samples_are_smoothed_as_rfc_6298_says(samples in proptest::collection::vec(1u64..20_000_000, 1..100)) {
            let rtt = with_samples(&samples);
            let (srtt, rttvar) = naive(&samples);
            // Each division loses less than a microsecond, and old losses fade.
            prop_assert!((f64::from(rtt.srtt) - srtt).abs() <= 16.0, "{} {srtt}", rtt.srtt);
            prop_assert!((f64::from(rtt.rttvar) - rttvar).abs() <= 28.0, "{} {rttvar}", rtt.rttvar);
            let rto = (srtt + (4.0 * rttvar).max(200_000.0)).min(120e6);
            prop_assert!((rtt.rto().as_micros() as f64 - rto).abs() <= 128.0);
        }

        #[test]
        fn the_timeout_stays_in_its_bounds(samples in proptest::collection::vec(0u64..u64::MAX, 1..50)) {
            let rto = with_samples(&samples).rto();
            prop_assert!(rto >= Duration::from_millis(200) && rto <= Duration::from_secs(120));
        }
    }
}
