//! The scoreboard against hand-made cases and a naive model.

use super::marking::Detection;
use super::*;
use crate::config::Config;
use crate::connection::rtt::RttEstimator;
use crate::connection::timestamps::TimestampClock;
use crate::time::{Duration, Instant};
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

/// What an acknowledgement without timestamps needs to be understood.
struct Peer {
    rtt: RttEstimator,
    clock: TimestampClock,
}

/// A peer of unknown round trip.
fn peer() -> Peer {
    Peer { rtt: RttEstimator::new(&Config::default()), clock: TimestampClock::new(0) }
}

impl Peer {
    /// An acknowledgement that comes at `micros`.
    fn at(&self, micros: u64) -> AckTime<'_> {
        let now = Instant::from_micros(micros);
        AckTime { now, mss: MSS, rtt: &self.rtt, stamps: None, clock: &self.clock }
    }
}

fn sack_at(flight: &mut Flight, (left, right): (SeqNum, SeqNum), micros: u64) -> (u32, Delivery) {
    let mut delivery = Delivery::default();
    let news = flight.sack(left, right, &peer().at(micros), &mut delivery);
    (news, delivery)
}

fn sack(flight: &mut Flight, block: (SeqNum, SeqNum)) -> u32 {
    sack_at(flight, block, 0).0
}

fn acknowledge(flight: &mut Flight, ack: u32) -> Delivery {
    let mut delivery = Delivery::default();
    flight.acknowledge(SeqNum(ack), &peer().at(0), &mut delivery);
    delivery
}

/// Looks for losses at `micros`: after that long without reordering window.
fn detect(flight: &mut Flight, micros: u64, after: u64) -> Detection {
    flight.mark_lost_by_time(Overdue::new(Instant::from_micros(micros), Duration::from_micros(after)))
}

#[test]
fn an_acknowledgement_takes_bytes_off_even_within_a_segment() {
    let mut flight = flight(3);
    acknowledge(&mut flight, 1500);
    assert_eq!((flight.bytes(), flight.pipe()), (1500, 1500));
    assert_eq!(acknowledge(&mut flight, 3000).rtt_from(), Some(1000));
    assert!(flight.is_empty());
}

#[test]
fn an_rtt_sample_comes_from_the_oldest_segment_sent_once() {
    let mut flight = flight(4);
    assert_eq!(acknowledge(&mut flight, 2000).rtt_from(), Some(0));
    flight.mark_first_lost(MSS);
    flight.mark_resent(SeqNum(2000), MSS, 9000);
    assert_eq!(acknowledge(&mut flight, 4000).rtt_from(), None, "Karn: the ACK covers a retransmission");
}

#[test]
fn what_was_sent_before_an_arrival_is_lost_when_its_time_has_passed() {
    let mut flight = flight(5);
    assert_eq!(detect(&mut flight, 99_000, 0), Detection { found: false, waiting: None }, "nothing arrived");
    sack(&mut flight, block(3000, 4000));
    // Sent at 0, 1, 2 and 3 ms; 7 ms are allowed.
    let rest = Duration::from_micros(2000);
    assert_eq!(detect(&mut flight, 8000, 7000), Detection { found: true, waiting: Some(rest) });
    assert_eq!(flight.lost(), 2000);
    assert_eq!(detect(&mut flight, 10_000, 7000), Detection { found: true, waiting: None });
    assert_eq!(flight.lost(), 3000, "what was sent later is not suspected");
}

#[test]
fn segments_of_one_moment_are_in_the_order_of_their_numbers() {
    let mut flight = Flight::new(SeqNum(0));
    (0..4).for_each(|n| flight.push(SeqNum(n * MSS), MSS, 0));
    sack(&mut flight, block(2000, 3000));
    detect(&mut flight, 10, 10);
    assert_eq!(flight.lost(), 2000);
}

#[test]
fn a_large_transmission_loses_only_what_lies_below_the_arrival() {
    let mut flight = Flight::new(SeqNum(0));
    flight.push(SeqNum(0), 10 * MSS, 0);
    sack(&mut flight, block(4000, 6000));
    detect(&mut flight, 10, 10);
    assert_eq!((flight.lost(), flight.next_lost(1)), (4000, Some((SeqNum(0), 4000))));
}

#[test]
fn a_lost_retransmission_is_lost_again_when_something_later_arrives() {
    let mut flight = flight(5);
    sack(&mut flight, block(2000, 3000));
    detect(&mut flight, 10_000, 5000);
    flight.mark_resent(SeqNum(0), MSS, 10_000);
    flight.mark_resent(SeqNum(1000), MSS, 11_000);
    flight.push(SeqNum(5000), MSS, 12_000);
    sack(&mut flight, block(4000, 5000));
    detect(&mut flight, 16_000, 5000);
    assert_eq!(flight.pipe(), 1000 + 2000, "3000 is lost, 5000 is new, both retransmissions are out");
    sack(&mut flight, block(1000, 2000));
    assert!(detect(&mut flight, 16_000, 5000).found, "sent before the one that arrived");
    assert_eq!(flight.next_lost(1), Some((SeqNum(0), 1000)));
    assert!(!detect(&mut flight, 30_000, 5000).found, "and not twice");
}

#[test]
fn an_arrival_faster_than_ever_is_not_for_the_retransmission() {
    let mut flight = flight(3);
    flight.mark_first_lost(MSS);
    flight.mark_resent(SeqNum(0), MSS, 50_000);
    let mut peer = peer();
    peer.rtt.sample(Duration::from_micros(1000), &Config::default());
    let mut delivery = Delivery::default();
    flight.acknowledge(SeqNum(1000), &peer.at(50_900), &mut delivery);
    assert_eq!((delivery.latest(), delivery.lowest_original), (None, None));
    assert!(!detect(&mut flight, 99_000, 0).found);
}

#[test]
fn a_timeout_loses_the_oldest_and_what_is_overdue() {
    let mut flight = flight(5);
    flight.mark_lost_by_timeout(Overdue::new(Instant::from_micros(3000), Duration::from_micros(2000)), MSS);
    assert_eq!(flight.lost(), 2000);
    flight.mark_resent(SeqNum(0), MSS, 3000);
    flight.mark_lost_by_timeout(Overdue::new(Instant::from_micros(4000), Duration::from_micros(2000)), MSS);
    assert_eq!((flight.lost(), flight.next_lost(3000)), (3000, Some((SeqNum(0), 3000))));
}

#[test]
fn three_segments_reach_the_threshold_as_bytes_or_as_transmissions() {
    let mut flight = flight(9);
    sack(&mut flight, block(1000, 3000));
    assert!(!flight.sacked_reaches_dup_thresh(MSS));
    sack(&mut flight, block(1000, 3001));
    assert!(flight.sacked_reaches_dup_thresh(MSS));
    let mut small = Flight::new(SeqNum(0));
    (0..5).for_each(|n| small.push(SeqNum(n * 10), 10, 0));
    sack(&mut small, block(10, 30));
    assert!(!small.sacked_reaches_dup_thresh(MSS));
    sack(&mut small, block(30, 40));
    assert!(small.sacked_reaches_dup_thresh(MSS));
}

#[test]
fn a_probe_of_the_last_segment_is_no_loss() {
    let mut flight = flight(3);
    assert_eq!(flight.last(400), Some((SeqNum(2600), 400)));
    flight.mark_probed(SeqNum(2600), 400, 9000);
    assert_eq!((flight.lost(), flight.pipe()), (0, 3000));
    assert_eq!(sack_at(&mut flight, block(2600, 3000), 20_000).1.lowest_original, None);
    assert!(detect(&mut flight, 20_000, 11_000).found, "what was sent before the probe");
    assert_eq!(flight.lost(), 2600);
}

#[test]
fn forgotten_losses_are_in_flight_once() {
    let mut flight = flight(4);
    sack(&mut flight, block(3000, 4000));
    detect(&mut flight, 9000, 5000);
    flight.mark_resent(SeqNum(0), MSS, 9000);
    flight.forget_losses();
    assert_eq!((flight.lost(), flight.pipe(), flight.next_lost(1)), (0, 3000, None));
    detect(&mut flight, 19_000, 5000);
    assert_eq!(flight.lost(), 2000, "the retransmission was sent after the arrival");
}

#[test]
fn blocks_outside_of_the_flight_count_nothing() {
    let mut flight = flight(3);
    acknowledge(&mut flight, 1000);
    for bad in [block(0, 1000), block(500, 1500), block(2000, 3001), block(2500, 2000), block(1500, 1500)] {
        assert_eq!(sack(&mut flight, bad), 0, "{bad:?}");
    }
}

#[test]
fn lost_ranges_are_sent_again_once_and_in_order() {
    let mut flight = flight(6);
    sack(&mut flight, block(1000, 2000));
    sack(&mut flight, block(3000, 6000));
    detect(&mut flight, 10_000, 0);
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
    acknowledge(&mut flight, 1000);
    flight.mark_all_lost();
    assert_eq!((flight.sacked(), flight.lost()), (0, 2000));
}

/// One byte of the naive model.
#[derive(Clone, Copy)]
struct Byte {
    sent_at: u64,
    sacked: bool,
    lost: bool,
    /// Lost, and in flight again.
    resent: bool,
    /// Sent once.
    original: bool,
}

/// The scoreboard and RACK as the RFCs tell them, byte by byte.
#[derive(Default)]
struct Model {
    /// Position of the first byte.
    base: u64,
    bytes: Vec<Byte>,
    /// Time, and end, of the latest sent byte that has arrived.
    latest: Option<(u64, u64)>,
}

impl Model {
    fn push(&mut self, len: u32, now: u64) {
        if self.bytes.is_empty() {
            self.latest = None;
        }
        let fresh = Byte { sent_at: now, sacked: false, lost: false, resent: false, original: true };
        self.bytes.resize(self.bytes.len() + len as usize, fresh);
    }

    /// A byte arrives; returns whether that is news.
    fn arrive(&mut self, index: usize) -> bool {
        let byte = &mut self.bytes[index];
        let news = !byte.sacked;
        byte.sacked = true;
        if news {
            self.latest = self.latest.max(Some((byte.sent_at, self.base + index as u64 + 1)));
        }
        news
    }

    fn acknowledge(&mut self, count: usize) {
        (0..count).for_each(|index| {
            self.arrive(index);
        });
        self.bytes.drain(..count);
        self.base += count as u64;
    }

    fn is_in_flight(byte: &Byte) -> bool {
        !byte.sacked && (!byte.lost || byte.resent)
    }

    fn lose(byte: &mut Byte) {
        (byte.lost, byte.resent) = (true, false);
    }

    /// RFC 8985 6.2 step 5; without `latest`, 6.3. Returns whether some
    /// candidate has time left.
    fn detect(&mut self, now: u64, after: u64, latest: Option<(u64, u64)>) -> bool {
        let mut waiting = false;
        for (index, byte) in self.bytes.iter_mut().enumerate() {
            let order = (byte.sent_at, self.base + index as u64 + 1);
            if Self::is_in_flight(byte) && latest.is_none_or(|latest| order < latest) {
                if now - byte.sent_at >= after { Self::lose(byte) } else { waiting = true }
            }
        }
        waiting
    }

    fn is_due(byte: &Byte) -> bool {
        byte.lost && !byte.resent && !byte.sacked
    }

    /// Bytes that are lost in a row from the first that is due, at most `most`.
    fn next_lost(&self, most: u32) -> Option<(usize, u32)> {
        let at = self.bytes.iter().position(Self::is_due)?;
        let run = self.bytes[at..].iter().take_while(|byte| Self::is_due(byte)).count();
        Some((at, (run as u32).min(most)))
    }

    fn count(&self, test: impl Fn(&Byte) -> bool) -> u32 {
        self.bytes.iter().filter(|byte| test(byte)).count() as u32
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Ack(u32),
    Sack(u32, u32),
    Resend(u32),
    Probe(u32),
    Detect(u64),
    RackTimeout(u64),
    Timeout,
    FirstLost,
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u32..3000).prop_map(Step::Push),
        4 => (0u32..4000).prop_map(Step::Ack),
        8 => (0u32..8000, 1u32..3000).prop_map(|(at, len)| Step::Sack(at, len)),
        8 => (1u32..1500).prop_map(Step::Resend),
        2 => (1u32..1500).prop_map(Step::Probe),
        8 => (0u64..60).prop_map(Step::Detect),
        2 => (0u64..60).prop_map(Step::RackTimeout),
        1 => Just(Step::Timeout),
        1 => Just(Step::FirstLost),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn the_scoreboard_agrees_with_a_model_of_single_bytes(
        start: u32, clock: u32, steps in proptest::collection::vec((step(), 0u64..30), 1..80),
    ) {
        let mut una = SeqNum(start);
        let mut model = Model::default();
        let mut flight = Flight::new(una);
        // The low bits of the time wrap in many cases.
        let mut now = u64::from(clock);
        for (step, pause) in steps {
            now += pause;
            let first_is_sacked = model.bytes.first().is_some_and(|byte| byte.sacked);
            match step {
                Step::Push(len) => {
                    flight.push(una + model.bytes.len() as u32, len, now as u32);
                    model.push(len, now);
                }
                Step::Ack(bytes) => {
                    let bytes = bytes.min(model.bytes.len() as u32);
                    let news = model.bytes[..bytes as usize].iter().filter(|byte| !byte.sacked).count();
                    model.acknowledge(bytes as usize);
                    una += bytes;
                    let mut delivery = Delivery::default();
                    flight.acknowledge(una, &peer().at(now), &mut delivery);
                    prop_assert_eq!(delivery.bytes, news as u32);
                }
                Step::Sack(at, len) => {
                    let fits = (at + len) as usize <= model.bytes.len();
                    let range = if fits { at as usize..(at + len) as usize } else { 0..0 };
                    let originals = model.bytes[range.clone()].iter().enumerate();
                    let mut originals = originals.filter(|(_, byte)| byte.original && !byte.sacked);
                    let has_original = originals.next().is_some();
                    let fresh = range.filter(|&index| model.arrive(index)).count() as u32;
                    let (news, delivery) = sack_at(&mut flight, (una + at, una + at + len), now);
                    prop_assert_eq!((news, delivery.bytes), (fresh, fresh));
                    prop_assert_eq!(delivery.lowest_original.is_some(), has_original);
                }
                Step::Resend(most) => {
                    let expected = model.next_lost(most);
                    let found = flight.next_lost(most).map(|(seq, len)| (seq, len.min(most)));
                    prop_assert_eq!(found, expected.map(|(at, len)| (una + at as u32, len)));
                    if let Some((at, len)) = expected {
                        flight.mark_resent(una + at as u32, len, now as u32);
                        for byte in &mut model.bytes[at..at + len as usize] {
                            *byte = Byte { sent_at: now, resent: true, original: false, ..*byte };
                        }
                    }
                }
                Step::Probe(most) => {
                    // As in a connection: only while nothing is lost or SACKed.
                    if let Some((seq, len)) = flight.last(most).filter(|_| flight.lost() + flight.sacked() == 0) {
                        flight.mark_probed(seq, len, now as u32);
                        for byte in model.bytes.iter_mut().rev().take(len as usize) {
                            (byte.sent_at, byte.original) = (now, false);
                        }
                    }
                }
                Step::Detect(after) => {
                    let due = model.count(Model::is_due);
                    let waiting = model.latest.is_some_and(|latest| model.detect(now, after, Some(latest)));
                    let detection = detect(&mut flight, now, after);
                    prop_assert_eq!(detection.found, model.count(Model::is_due) > due);
                    prop_assert_eq!(detection.waiting.is_some(), waiting);
                }
                Step::RackTimeout(after) => {
                    let first = flight.sent.front().map_or(0, |sent| sent.len.min(MSS));
                    let overdue = Overdue::new(Instant::from_micros(now), Duration::from_micros(after));
                    flight.mark_lost_by_timeout(overdue, MSS);
                    if first_is_sacked {
                        model.latest = None;
                        for byte in &mut model.bytes {
                            byte.sacked = false;
                            Model::lose(byte);
                        }
                    } else {
                        model.bytes.iter_mut().take(first as usize).for_each(Model::lose);
                        model.detect(now, after, None);
                    }
                }
                Step::Timeout => {
                    flight.mark_all_lost();
                    model.latest = model.latest.filter(|_| !first_is_sacked);
                    for byte in &mut model.bytes {
                        byte.sacked &= !first_is_sacked;
                        if !byte.sacked {
                            Model::lose(byte);
                        }
                    }
                }
                Step::FirstLost => {
                    let first = flight.sent.front().map_or(0, |sent| sent.len.min(MSS));
                    let marked = model.bytes.first().is_some_and(|byte| byte.sacked || byte.lost);
                    flight.mark_first_lost(MSS);
                    if !marked {
                        model.bytes.iter_mut().take(first as usize).for_each(Model::lose);
                    }
                }
                Step::Forget => {
                    flight.forget_losses();
                    for byte in &mut model.bytes {
                        (byte.lost, byte.resent) = (false, false);
                    }
                }
            }
            prop_assert_eq!(flight.bytes(), model.bytes.len() as u32);
            prop_assert_eq!(flight.sacked(), model.count(|byte| byte.sacked));
            prop_assert_eq!(flight.lost(), model.count(|byte| byte.lost && !byte.sacked));
            prop_assert_eq!(flight.resent(), model.count(|byte| byte.resent && !byte.sacked));
            prop_assert_eq!(flight.pipe(), model.count(Model::is_in_flight));
            let entries = flight.sent.iter().filter(|sent| sent.marks.contains(Marks::SACKED)).count();
            prop_assert_eq!(flight.sacked_entries as usize, entries);
        }
    }
}
