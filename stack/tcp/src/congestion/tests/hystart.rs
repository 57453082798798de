use super::{MSS, Path, millis};
use crate::congestion::{CongestionControl, Cubic, Signal, UNLIMITED};
use crate::time::Duration;

/// A first slow start of 16 segments.
fn path() -> Path<Cubic> {
    Path::new(16, None)
}

#[test]
fn slow_start_doubles_while_the_delay_stays() {
    let mut path = path();
    for wanted in [32, 64, 128, 256] {
        path.round(millis(50));
        assert_eq!(path.segments(), wanted);
    }
}

#[test]
fn a_delay_grown_by_an_eighth_slows_the_growth_to_a_quarter() {
    // RFC 9406 4.2, 4.3: RttThresh = 80 / 8 = 10 ms, CSS_GROWTH_DIVISOR = 4.
    let mut path = path();
    path.round(millis(80));
    path.round(millis(80));
    assert_eq!(path.segments(), 64);
    path.round(millis(90));
    // The first seven samples still count in full.
    assert_eq!(path.window.cwnd, 64_000 + 7 * MSS + 57 * MSS / 4);
}

#[test]
fn a_little_less_delay_does_not() {
    let mut path = path();
    path.round(millis(80));
    path.round(millis(89));
    path.round(millis(98));
    assert_eq!(path.segments(), 128);
}

#[test]
fn on_a_short_path_four_milliseconds_count() {
    // MIN_RTT_THRESH.
    let mut near = path();
    near.round(millis(1));
    near.round(Duration::from_micros(4_999));
    assert_eq!(near.segments(), 64);
    let mut far = path();
    far.round(millis(1));
    far.round(millis(5));
    assert!(far.segments() < 64);
}

#[test]
fn on_a_long_path_sixteen_milliseconds_count() {
    // MAX_RTT_THRESH.
    let mut path = path();
    path.round(millis(400));
    path.round(millis(416));
    assert!(path.segments() < 64);
}

#[test]
fn fewer_than_eight_samples_prove_nothing() {
    // N_RTT_SAMPLE.
    let mut path = Path::<Cubic>::new(7, None);
    path.paced = true;
    path.stretch = 2;
    path.round(millis(20));
    path.round(millis(80));
    // Two of two segments each round, at most seven samples.
    assert_eq!(path.segments(), 28);
}

#[test]
fn five_rounds_later_slow_start_ends() {
    // CSS_ROUNDS, the partial one counted in.
    let mut path = path();
    path.round(millis(50));
    for _ in 0..5 {
        path.round(millis(80));
        assert_eq!(path.window.ssthresh, UNLIMITED);
    }
    path.round(millis(80));
    assert!(path.window.ssthresh <= path.window.cwnd);
    assert!(path.window.ssthresh > 60 * MSS, "{}", path.window.ssthresh);
}

#[test]
fn a_delay_that_was_jitter_brings_slow_start_back() {
    // RFC 9406 4.2: currentRoundMinRTT below cssBaselineMinRtt.
    let mut path = path();
    path.round(millis(50));
    path.round(millis(80));
    let before = path.segments();
    path.round(millis(50));
    let growth = f64::from(path.segments()) / f64::from(before);
    assert!(growth > 1.8, "{growth}");
    assert_eq!(path.window.ssthresh, UNLIMITED);
}

#[test]
fn one_acknowledgement_brings_eight_segments_at_most() {
    // RFC 9406 4.3: L, without pacing.
    let mut path = path();
    path.ack(16 * MSS, millis(50));
    assert_eq!(path.segments(), 24);
}

#[test]
fn with_pacing_an_acknowledgement_counts_in_full() {
    let mut path = path();
    path.paced = true;
    path.ack(16 * MSS, millis(50));
    assert_eq!(path.segments(), 32);
}

#[test]
fn congestion_ends_it_for_good() {
    // RFC 9406 4.2: only the first slow start.
    let mut path = path();
    path.round(millis(50));
    path.timeout();
    path.round(millis(50));
    path.round(millis(500));
    path.round(millis(500));
    assert_eq!(path.segments(), 8);
    assert_eq!(path.window.ssthresh, 32 * MSS * 7 / 10);
    path.congestion(Signal::Mark);
    assert_ne!(path.window.ssthresh, UNLIMITED);
}

#[test]
fn idleness_makes_it_forget_the_delays() {
    let mut path = path();
    path.round(millis(20));
    path.controller.on_restart();
    path.round(millis(80));
    assert_eq!(path.segments(), 64);
}

#[test]
fn the_overshoot_of_a_path_with_a_deep_queue_is_bounded() {
    // A line of 1000 segments a round trip of 100 ms: what is beyond waits.
    let mut path = path();
    let capacity = 1000;
    let mut rounds = 0;
    while path.window.in_slow_start() {
        let queued = u64::from(path.segments().saturating_sub(capacity));
        path.round(millis(100) + millis(queued / 10));
        rounds += 1;
        assert!(rounds < 30, "slow start never ends");
    }
    // Twice by the round that does not notice, then by a quarter five times.
    assert!(path.segments() < capacity * 13 / 2, "{}", path.segments());
}
