use super::{MSS, Path, millis};
use crate::congestion::{CongestionControl, NewReno, Signal, Window};

#[test]
fn slow_start_doubles_the_window_in_a_round_trip() {
    let mut path = Path::<NewReno>::new(10, None);
    path.round(millis(10));
    assert_eq!(path.segments(), 20);
}

#[test]
fn slow_start_counts_what_a_stretched_acknowledgement_covers() {
    // RFC 3465 2.2.
    let mut path = Path::<NewReno>::new(10, None);
    path.stretch = 5;
    path.round(millis(10));
    assert_eq!(path.segments(), 20);
}

#[test]
fn avoidance_adds_one_segment_in_a_round_trip() {
    let mut path = Path::<NewReno>::new(10, Some(5));
    (11..20).for_each(|wanted| {
        path.round(millis(10));
        assert_eq!(path.segments(), wanted);
    });
}

#[test]
fn slow_start_stops_at_the_threshold_within_an_acknowledgement() {
    let mut path = Path::<NewReno>::new(10, Some(12));
    path.ack(5 * MSS, millis(10));
    assert_eq!(path.segments(), 12);
}

#[test]
fn congestion_halves_what_was_in_flight_but_leaves_two_segments() {
    // RFC 5681 equation 4; RFC 3168 6.1.2 for marks.
    let window = Window { cwnd: 50 * MSS, ssthresh: u32::MAX };
    for signal in [Signal::Loss, Signal::Timeout, Signal::Mark] {
        let mut reno = NewReno::default();
        assert_eq!(reno.on_congestion(&window, signal, 40 * MSS, MSS), 20 * MSS);
        assert_eq!(reno.on_congestion(&window, signal, MSS, MSS), 2 * MSS);
    }
}
