//! The scoreboard against hand-made cases and a naive model.

use super::*;
use proptest::prelude::*;

const MSS: u32 = 1000;

/// `count` segments of `MSS` bytes from sequence number 0 on, one a millisecond.
fn flight(count: u32) -> Flight {
    let mut flight = Flight::new(SeqNum(0));
    (0..count).for_each(|n| flight.push(SeqNum(n * MSS), MSS, n * 1000));
    flight
}

fn block(from: u32, to: u32) -> (SeqNum, SeqNum) {
    (SeqNum(from), SeqNum(to))
}

fn sack(flight: &mut Flight, (left, right): (SeqNum, SeqNum)) -> u32 {
    flight.sack(left, right)
}

#[test]
fn an_acknowledgement_takes_bytes_off_even_within_a_segment() {
    let mut flight = flight(3);
    flight.acknowledge(SeqNum(1500));
    assert_eq!((flight.bytes(), flight.pipe()), (1500, 1500));
    assert_eq!(flight.acknowledge(SeqNum(3000)).sent_at, Some(1000));
    assert!(flight.is_empty());
}

#[test]
fn an_rtt_sample_comes_from_the_oldest_segment_sent_once() {
    let mut flight = flight(4);
    assert_eq!(flight.acknowledge(SeqNum(2000)).sent_at, Some(0));
    flight.mark_first_lost(MSS);
    flight.mark_resent(SeqNum(2000), MSS, 9000);
    assert_eq!(flight.acknowledge(SeqNum(4000)).sent_at, None, "Karn: the ACK covers a retransmission");
}

#[test]
fn three_segments_sacked_above_mean_a_loss() {
    let mut flight = flight(5);
    assert_eq!(sack(&mut flight, block(1000, 3000)), 2000);
    assert!(!flight.mark_lost_by_sack(MSS), "two segments above may be reordering");
    assert_eq!(sack(&mut flight, block(1000, 3001)), 1);
    assert!(flight.mark_lost_by_sack(MSS));
    assert_eq!(flight.next_lost(1), Some((SeqNum(0), MSS)));
    assert_eq!(flight.pipe(), 5000 - 2001 - 1000);
}

#[test]
fn three_separate_runs_above_mean_a_loss() {
    let mut flight = flight(7);
    for start in [1000, 3000, 5000] {
        sack(&mut flight, block(start, start + 10));
    }
    assert!(flight.mark_lost_by_sack(MSS));
    assert_eq!(flight.lost(), 1000);
}

#[test]
fn blocks_outside_of_the_flight_count_nothing() {
    let mut flight = flight(3);
    flight.acknowledge(SeqNum(1000));
    for bad in [block(0, 1000), block(500, 1500), block(2000, 3001), block(2500, 2000), block(1500, 1500)] {
        assert_eq!(sack(&mut flight, bad), 0, "{bad:?}");
    }
}

#[test]
fn lost_ranges_are_sent_again_once_and_in_order() {
    let mut flight = flight(6);
    sack(&mut flight, block(1000, 2000));
    sack(&mut flight, block(3000, 6000));
    flight.mark_lost_by_sack(MSS);
    assert_eq!(flight.next_lost(1), Some((SeqNum(0), 1000)));
    flight.mark_resent(SeqNum(0), 400, 0);
    assert_eq!(flight.next_lost(1), Some((SeqNum(400), 600)));
    flight.mark_resent(SeqNum(400), 600, 0);
    assert_eq!(flight.next_lost(1), Some((SeqNum(2000), 1000)));
    flight.mark_resent(SeqNum(2000), 1000, 0);
    assert_eq!(flight.next_lost(1), None);
    assert_eq!(flight.pipe(), 2000, "both retransmissions are in the network");
}

#[test]
fn a_timeout_spares_what_was_sacked() {
    let mut flight = flight(4);
    sack(&mut flight, block(2000, 3000));
    flight.mark_all_lost();
    assert_eq!((flight.lost(), flight.sacked(), flight.pipe()), (3000, 1000, 0));
    flight.mark_resent(SeqNum(0), 1000, 0);
    flight.mark_all_lost();
    assert_eq!(flight.next_lost(1), Some((SeqNum(0), 1000)), "a lost retransmission is sent again");
}

#[test]
fn a_peer_that_dropped_what_it_had_sacked_is_not_believed() {
    let mut flight = flight(3);
    sack(&mut flight, block(1000, 2000));
    flight.acknowledge(SeqNum(1000));
    flight.mark_all_lost();
    assert_eq!((flight.sacked(), flight.lost()), (0, 2000));
}

/// One byte of the naive model.
#[derive(Clone, Copy, Default)]
struct Byte {
    sacked: bool,
    lost: bool,
    resent: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Ack(u32),
    Sack(u32, u32),
    Resend(u32),
    Timeout,
    FirstLost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..3000).prop_map(Step::Push),
        2 => (0u32..4000).prop_map(Step::Ack),
        4 => (0u32..8000, 1u32..3000).prop_map(|(at, len)| Step::Sack(at, len)),
        3 => (1u32..1500).prop_map(Step::Resend),
        1 => Just(Step::Timeout),
        1 => Just(Step::FirstLost),
    ]
}

proptest! {
    #[test]
    fn the_sums_agree_with_a_model_of_single_bytes(
        start: u32, steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut una = SeqNum(start);
        let mut model: Vec<Byte> = Vec::new();
        let mut flight = Flight::new(una);
        for step in steps {
            match step {
                Step::Push(len) => {
                    flight.push(una + model.len() as u32, len, 0);
                    model.resize(model.len() + len as usize, Byte::default());
                }
                Step::Ack(bytes) => {
                    let bytes = bytes.min(model.len() as u32);
                    una += bytes;
                    flight.acknowledge(una);
                    model.drain(..bytes as usize);
                }
                Step::Sack(at, len) => {
                    let fits = (at + len) as usize <= model.len();
                    let covered = if fits { &mut model[at as usize..(at + len) as usize] } else { &mut [] };
                    let fresh = covered.iter().filter(|byte| !byte.sacked).count() as u32;
                    covered.iter_mut().for_each(|byte| byte.sacked = true);
                    prop_assert_eq!(flight.sack(una + at, una + at + len), fresh);
                }
                Step::Resend(most) => {
                    let expected = model.iter().position(|byte| byte.lost && !byte.resent && !byte.sacked);
                    let next = flight.next_lost(most);
                    prop_assert_eq!(next.map(|(seq, _)| seq), expected.map(|at| una + at as u32));
                    if let Some((seq, len)) = next {
                        let len = len.min(most);
                        let run = &model[(seq - una) as usize..];
                        let due = |byte: &&Byte| byte.lost && !byte.resent && !byte.sacked;
                        let longest = run.iter().take_while(due).count() as u32;
                        prop_assert_eq!(len, longest.min(most));
                        flight.mark_resent(seq, len, 0);
                        let at = (seq - una) as usize;
                        model[at..at + len as usize].iter_mut().for_each(|byte| byte.resent = true);
                    }
                }
                Step::Timeout => {
                    flight.mark_all_lost();
                    let reneged = model.first().is_some_and(|byte| byte.sacked);
                    for byte in &mut model {
                        byte.sacked &= !reneged;
                        byte.resent = false;
                        byte.lost |= !byte.sacked;
                    }
                }
                Step::FirstLost => {
                    let first = flight.sent.front().map_or(0, |sent| sent.len.min(MSS));
                    let marked = model.first().is_some_and(|byte| byte.sacked || byte.lost);
                    flight.mark_first_lost(MSS);
                    if !marked {
                        model.iter_mut().take(first as usize).for_each(|byte| byte.lost = true);
                    }
                }
            }
            let count = |test: fn(&Byte) -> bool| model.iter().filter(|byte| test(byte)).count() as u32;
            prop_assert_eq!(flight.bytes(), model.len() as u32);
            prop_assert_eq!(flight.sacked(), count(|byte| byte.sacked));
            prop_assert_eq!(flight.lost(), count(|byte| byte.lost && !byte.sacked));
            let lost_once = count(|byte| byte.lost && !byte.sacked && !byte.resent);
            prop_assert_eq!(flight.pipe(), flight.bytes() - flight.sacked() - lost_once);
        }
    }
}
