use super::MSS;
use crate::congestion::{AckSample, CongestionControl, Dctcp, Echo, Signal, Window};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Ten segments' acknowledgements, the first `marked` of them with ECE, and the
/// beginning of the next window.
fn window_of(dctcp: &mut Dctcp, una: &mut SeqNum, marked: u32) {
    for index in 0..10 {
        *una += MSS;
        dctcp.on_echo(&Echo { acked: MSS, marked: index < marked, una: *una, nxt: *una });
    }
    *una += 1;
    dctcp.on_echo(&Echo { acked: 0, marked: false, una: *una, nxt: *una + 10 * MSS });
}

fn reduction(dctcp: &mut Dctcp) -> u32 {
    let window = Window { cwnd: 1000 * MSS, ssthresh: u32::MAX };
    1000 - dctcp.on_congestion(&window, Signal::Mark, 1000 * MSS, MSS) / MSS
}

#[test]
fn before_it_knows_better_a_mark_halves_the_window() {
    // RFC 8257 3.3: alpha begins at 1.
    assert_eq!(reduction(&mut Dctcp::default()), 500);
}

#[test]
fn the_estimate_nears_the_share_of_marks_by_a_sixteenth_a_window() {
    // RFC 8257 3.3 and 4.2, against the formula.
    let (mut dctcp, mut una) = (Dctcp::default(), SeqNum(u32::MAX - 30_000));
    dctcp.on_echo(&Echo { acked: 0, marked: false, una, nxt: una + 10 * MSS });
    let mut alpha = 15.0 / 16.0;
    for marked in [0, 10, 2, 0, 0, 7, 10, 3, 3, 3] {
        window_of(&mut dctcp, &mut una, marked);
        alpha = alpha * 15.0 / 16.0 + f64::from(marked) / 10.0 / 16.0;
        let found = f64::from(dctcp.info().alpha) / 1024.0;
        assert!((found - alpha).abs() < 0.002, "{found} instead of {alpha}");
    }
}

#[test]
fn a_path_without_marks_is_forgiven() {
    let (mut dctcp, mut una) = (Dctcp::default(), SeqNum(0));
    (0..400).for_each(|_| window_of(&mut dctcp, &mut una, 0));
    assert_eq!(dctcp.info().alpha, 0);
    assert_eq!(reduction(&mut dctcp), 0);
}

#[test]
fn a_path_full_of_marks_halves_the_window() {
    let (mut dctcp, mut una) = (Dctcp::default(), SeqNum(0));
    (0..200).for_each(|_| window_of(&mut dctcp, &mut una, 10));
    assert!(dctcp.info().alpha >= 1023);
    assert_eq!(reduction(&mut dctcp), 500);
}

#[test]
fn the_window_falls_by_half_of_the_share() {
    // RFC 8257 3.3: cwnd = cwnd * (1 - alpha / 2).
    let (mut dctcp, mut una) = (Dctcp::default(), SeqNum(0));
    (0..400).for_each(|_| window_of(&mut dctcp, &mut una, 2));
    let found = reduction(&mut dctcp);
    assert!((97..=103).contains(&found), "{found}");
}

#[test]
fn losses_count_as_in_conventional_tcp() {
    // RFC 8257 3.5.
    let (mut dctcp, mut una) = (Dctcp::default(), SeqNum(0));
    (0..200).for_each(|_| window_of(&mut dctcp, &mut una, 0));
    let window = Window { cwnd: 100 * MSS, ssthresh: u32::MAX };
    for signal in [Signal::Loss, Signal::Timeout] {
        assert_eq!(dctcp.on_congestion(&window, signal, 100 * MSS, MSS), 50 * MSS);
    }
}

#[test]
fn two_segments_are_left() {
    let window = Window { cwnd: 2 * MSS, ssthresh: u32::MAX };
    assert_eq!(Dctcp::default().on_congestion(&window, Signal::Mark, MSS, MSS), 2 * MSS);
}

fn grow(dctcp: &mut Dctcp, window: &mut Window, acked: u32) {
    let rtt = Duration::from_millis(1);
    let (now, una) = (Instant::from_millis(1), SeqNum(0));
    dctcp.on_ack(window, &AckSample { now, acked, mss: MSS, srtt: rtt, rtt, una, nxt: una, paced: false });
}

#[test]
fn growth_is_renos() {
    // RFC 8257 3.4.
    let mut dctcp = Dctcp::default();
    let mut window = Window { cwnd: 10 * MSS, ssthresh: 10 * MSS };
    grow(&mut dctcp, &mut window, 10 * MSS);
    assert_eq!(window.cwnd, 11 * MSS);
}

#[test]
fn what_was_acknowledged_before_a_mark_is_no_growth_after_it() {
    let mut dctcp = Dctcp::default();
    let mut window = Window { cwnd: 100 * MSS, ssthresh: 100 * MSS };
    grow(&mut dctcp, &mut window, 99 * MSS);
    window.cwnd = dctcp.on_congestion(&window, Signal::Mark, 100 * MSS, MSS);
    window.ssthresh = window.cwnd;
    grow(&mut dctcp, &mut window, MSS);
    assert_eq!(window.cwnd, 50 * MSS);
}

#[test]
fn an_undone_loss_leaves_the_estimate_alone() {
    let (mut dctcp, mut una) = (Dctcp::default(), SeqNum(0));
    let before = dctcp.clone();
    (0..200).for_each(|_| window_of(&mut dctcp, &mut una, 0));
    dctcp.on_undo(&before);
    assert_eq!(dctcp.info().alpha, 0);
}
