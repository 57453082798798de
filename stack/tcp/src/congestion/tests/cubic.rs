use super::{MSS, Path, millis};
use crate::congestion::{CongestionControl, Cubic, Signal, Window};
use crate::time::Duration;

const RTT: Duration = Duration::from_millis(100);

/// RFC 9438 equations 1 and 2, with the RFC's constants.
fn w_cubic(seconds: f64, w_max: f64, cwnd_epoch: f64) -> f64 {
    let k = ((w_max - cwnd_epoch) / 0.4).cbrt();
    0.4 * (seconds - k).powi(3) + w_max
}

/// A path with a window of `w_max` segments that has just lost something.
fn after_loss(w_max: u32) -> Path<Cubic> {
    let mut path = Path::new(w_max, Some(w_max));
    path.congestion(Signal::Loss);
    path
}

#[test]
fn congestion_leaves_seven_tenths() {
    for signal in [Signal::Loss, Signal::Mark, Signal::Timeout] {
        let window = Window { cwnd: 100 * MSS, ssthresh: u32::MAX };
        assert_eq!(Cubic::default().on_congestion(&window, signal, 100 * MSS, MSS), 70 * MSS);
        assert_eq!(Cubic::default().on_congestion(&window, signal, 50 * MSS, MSS), 35 * MSS);
        assert_eq!(Cubic::default().on_congestion(&window, signal, 0, MSS), 2 * MSS);
    }
}

#[test]
fn the_window_follows_the_cubic_function() {
    // RFC 9438 4.4, 4.5: concave up to the old maximum, convex beyond.
    let mut path = after_loss(1000);
    let start = path.now + RTT;
    path.round(RTT);
    path.round(RTT);
    for _ in 0..200 {
        path.round(RTT);
        // The target is where the function will be a round trip later.
        let wanted = w_cubic((path.now - start).as_secs_f64() + 0.1, 1000.0, 700.0);
        let found = f64::from(path.window.cwnd) / f64::from(MSS);
        assert!((found / wanted - 1.0).abs() < 0.01, "{found} instead of {wanted} at {:?}", path.now);
    }
    assert!(path.segments() > 1400);
}

#[test]
fn the_plateau_is_reached_after_k_seconds() {
    // K = cbrt(300 / 0.4) = 9.09 s.
    let mut path = after_loss(1000);
    path.run(Duration::from_secs(9), RTT);
    assert!((995..=1001).contains(&path.segments()), "{}", path.segments());
}

#[test]
fn growth_in_a_round_trip_is_at_most_half() {
    // RFC 9438 4.2: the target is at most 1.5 times the window.
    let mut path = after_loss(10);
    path.now += Duration::from_secs(1000);
    path.round(RTT);
    for _ in 0..20 {
        path.now += Duration::from_secs(1000);
        let before = path.window.cwnd;
        path.round(RTT);
        assert!(path.window.cwnd <= before + before / 2 + MSS, "{before} to {}", path.window.cwnd);
    }
}

#[test]
fn short_round_trips_grow_no_slower_than_reno() {
    // RFC 9438 4.3: alpha = 3 (1 - beta) / (1 + beta) a round trip up to the old window ...
    let mut path = after_loss(20);
    let trip = millis(1);
    for round in 1..=11 {
        path.round(trip);
        let wanted = 14.0 + f64::from(round) * 9.0 / 17.0;
        let found = f64::from(path.window.cwnd) / f64::from(MSS);
        assert!((found - wanted).abs() < 0.3, "{found} instead of {wanted} in round {round}");
    }
    // ... and a segment each beyond it.
    path.run(millis(20), trip);
    let before = path.segments();
    path.run(millis(50), trip);
    assert!((48..=51).contains(&(path.segments() - before)), "{before} to {}", path.segments());
}

#[test]
fn the_faster_reno_begins_at_the_old_window_not_at_the_lowered_maximum() {
    // Fast convergence lowers W_max below cwnd_prior (RFC 9438 4.1.2, 4.3, 4.7).
    let mut path = after_loss(40);
    path.window.cwnd = 30 * MSS;
    path.congestion(Signal::Loss);
    // W_max = 30 * 0.85 = 25.5, cwnd_prior = 30, window 21.
    let trip = millis(1);
    path.run(millis(14), trip);
    let wanted = 21.0 + 14.0 * 9.0 / 17.0;
    let found = f64::from(path.window.cwnd) / f64::from(MSS);
    assert!((found - wanted).abs() < 0.5, "{found} instead of {wanted}");
}

#[test]
fn a_second_loss_below_the_maximum_gives_way() {
    // RFC 9438 4.7: the plateau is 80 * (1 + 0.7) / 2 = 68, K = cbrt(12 / 0.4) = 3.1 s.
    let mut path = after_loss(100);
    path.window.cwnd = 80 * MSS;
    path.congestion(Signal::Loss);
    assert_eq!(path.segments(), 56);
    let long = millis(500);
    path.run(millis(3500), long);
    assert!((67..=69).contains(&path.segments()), "{}", path.segments());
}

#[test]
fn a_second_loss_above_the_maximum_sets_it_anew() {
    let mut path = after_loss(100);
    path.window.cwnd = 120 * MSS;
    path.congestion(Signal::Loss);
    // K = cbrt(36 / 0.4) = 4.5 s.
    path.run(millis(4500), millis(500));
    assert!((119..=121).contains(&path.segments()), "{}", path.segments());
}

#[test]
fn after_a_timeout_the_function_begins_flat_where_slow_start_ended() {
    // RFC 9438 4.8: K = 0, W_max is the window at the beginning of the stage.
    let mut path = after_loss(1000);
    path.timeout();
    assert_eq!(path.segments(), 1);
    while path.window.in_slow_start() {
        path.round(RTT);
    }
    let start = path.now;
    let begins = f64::from(path.window.cwnd) / f64::from(MSS);
    assert!((485.0..=495.0).contains(&begins), "{begins}");
    path.run(Duration::from_secs(5), RTT);
    let wanted = begins + 0.4 * (path.now - start).as_secs_f64().powi(3);
    let found = f64::from(path.window.cwnd) / f64::from(MSS);
    assert!((found / wanted - 1.0).abs() < 0.02, "{found} instead of {wanted}");
}

#[test]
fn after_slow_start_without_a_loss_the_function_begins_flat() {
    // RFC 9438 4.10: as HyStart++ leaves it.
    let mut path = Path::<Cubic>::new(500, Some(500));
    path.run(Duration::from_secs(5), RTT);
    let found = f64::from(path.window.cwnd) / f64::from(MSS);
    let wanted = 500.0 + 0.4 * 125.0;
    assert!((found / wanted - 1.0).abs() < 0.02, "{found} instead of {wanted}");
}

#[test]
fn time_that_the_program_wastes_does_not_count() {
    // RFC 9438 5.8.
    let mut busy = after_loss(1000);
    let mut lazy = after_loss(1000);
    busy.run(Duration::from_secs(4), RTT);
    lazy.run(Duration::from_secs(2), RTT);
    for _ in 0..600 {
        lazy.now += RTT;
        lazy.controller.on_app_limited(lazy.now);
    }
    lazy.run(Duration::from_secs(2), RTT);
    let (busy, lazy) = (f64::from(busy.window.cwnd), f64::from(lazy.window.cwnd));
    assert!((lazy / busy - 1.0).abs() < 0.01, "{lazy} instead of {busy}");
}

#[test]
fn an_undo_brings_the_curve_back() {
    // RFC 9438 4.9: W_max, K, the start of the stage and W_est.
    let mut path = after_loss(1000);
    path.run(Duration::from_secs(4), RTT);
    let mut undone = after_loss(1000);
    undone.run(Duration::from_secs(4), RTT);
    let (controller, window) = (undone.controller.clone(), undone.window);
    undone.congestion(Signal::Loss);
    undone.controller.on_undo(&controller);
    undone.window = window;
    path.run(Duration::from_secs(4), RTT);
    undone.run(Duration::from_secs(4), RTT);
    assert_eq!(undone.window, path.window);
}

#[test]
fn a_restart_after_idleness_begins_a_new_stage() {
    let mut path = after_loss(1000);
    path.run(Duration::from_secs(20), RTT);
    path.controller.on_restart();
    path.window = Window { cwnd: 800 * MSS, ssthresh: 800 * MSS };
    path.now += Duration::from_secs(100);
    // From 800 back to the maximum of 1000: K = cbrt(200 / 0.4) = 7.9 s.
    path.run(Duration::from_secs(8), RTT);
    assert!((995..=1002).contains(&path.segments()), "{}", path.segments());
}
