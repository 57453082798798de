//! The receive buffer follows its reader: how far, when, and when not.

use std::sync::Arc;

use super::script::{MSS, bare, established, established_with};
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr, Timestamps};
use crate::{Chunk, Config, Connection, Duration, Instant, Params, SeqNum};
use proptest::prelude::*;

const START: u32 = 128 * 1024;

/// A receiver and the peer that fills its window, with every offer checked.
pub(super) struct Receiver {
    pub(super) connection: Connection<Vec<u8>>,
    now: Instant,
    pub(super) next: SeqNum,
    /// Right edge of the window as far as it was offered.
    pub(super) edge: SeqNum,
    shift: u8,
    /// Timestamp that came last, to be echoed.
    stamp: Option<u32>,
}

pub(super) fn scaled() -> Config {
    Config { window_scaling: true, ..bare() }
}

impl Receiver {
    pub(super) fn new(config: Config) -> Self {
        let now = Instant::from_millis(1000);
        let options = TcpOptions {
            mss: Some(MSS),
            window_scale: config.window_scaling.then_some(7),
            timestamps: config.timestamps.then_some(Timestamps { tsval: 1, tsecr: 0 }),
            ..TcpOptions::default()
        };
        let syn = TcpRepr { options, ..segment(SeqNum(0), TcpFlags::SYN, 0) };
        let params = Params { isn: SeqNum(0), ts_offset: 7, mss: MSS };
        let shift = if config.window_scaling { config.window_shift() } else { 0 };
        let connection = Connection::accept(&Arc::new(config), params, &syn, now);
        let mut receiver = Self { connection, now, next: SeqNum(1), edge: SeqNum(1), shift, stamp: None };
        receiver.edge = SeqNum(1) + receiver.collect_syn();
        receiver
    }

    fn collect_syn(&mut self) -> u32 {
        let segment = self.connection.poll_transmit(self.now, MSS.into()).expect("the SYN-ACK");
        self.stamp = segment.options.timestamps.map(|stamp| stamp.tsval);
        u32::from(segment.window)
    }

    /// Lets the peer's segment arrive, and takes the answers.
    pub(super) fn arrive(&mut self, len: u32) {
        self.arrive_at(self.next, len);
        self.next += len;
    }

    /// The same for a segment at any place.
    pub(super) fn arrive_at(&mut self, seq: SeqNum, len: u32) {
        let mut repr = segment(seq, TcpFlags::ACK, len);
        let tsval = self.now.as_millis() as u32;
        repr.options.timestamps = self.stamp.map(|tsecr| Timestamps { tsval, tsecr });
        let chunk = (len > 0).then(|| Chunk { buf: vec![0; len as usize], range: 0..len as usize });
        self.connection.on_segment(&repr, chunk, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(segment) = self.connection.poll_transmit(self.now, MSS.into()) {
            let edge = segment.ack + (u32::from(segment.window) << self.shift);
            assert!((edge + ((1 << self.shift) - 1)).ge(self.edge), "{edge} withdraws {}", self.edge);
            self.edge = self.edge.max(edge);
            self.stamp = segment.options.timestamps.map(|stamp| stamp.tsval);
        }
    }

    pub(super) fn read(&mut self, most: usize) -> usize {
        let count = self.connection.recv(&mut vec![0; most]).unwrap_or(0);
        self.collect();
        count
    }

    /// A round trip of `rtt` in which the peer uses the window, at most `most`
    /// bytes, and the program then reads `share` percent of what waits.
    pub(super) fn round(&mut self, rtt: Duration, most: u32, share: usize) {
        self.now += rtt;
        let mut left = self.edge.since(self.next).min(most);
        let echoed = self.stamp;
        while left > 0 {
            let len = left.min(MSS.into());
            self.stamp = echoed;
            self.arrive(len);
            left -= len;
        }
        let waiting = self.connection.recv_queued();
        self.read(waiting * share / 100);
    }
}

fn segment(seq: SeqNum, flags: TcpFlags, payload_len: u32) -> TcpRepr {
    TcpRepr {
        src_port: 2,
        dst_port: 1,
        seq,
        ack: if flags.contains(TcpFlags::ACK) { SeqNum(1) } else { SeqNum(0) },
        flags,
        window: 60_000,
        urgent: 0,
        options: TcpOptions::default(),
        payload_len: payload_len as usize,
        ecn: Ecn::default(),
    }
}

const RTT: Duration = Duration::from_millis(50);

/// The buffer after some rounds in which the sender doubles its window.
fn after_slow_start(config: Config, rounds: u32, share: usize) -> u32 {
    let mut receiver = Receiver::new(config);
    receiver.arrive(0);
    for round in 0..rounds {
        receiver.round(RTT, 10_000 << round.min(16), share);
    }
    receiver.connection.rcvbuf() as u32
}

#[test]
fn a_reader_that_keeps_up_with_slow_start_gets_the_largest_buffer() {
    for timestamps in [false, true] {
        let config = Config { timestamps, ..scaled() };
        let largest = config.rcvbuf_max as u32;
        assert_eq!(after_slow_start(config, 14, 100), largest);
    }
}

#[test]
fn slow_start_is_never_held_up_by_the_window() {
    let mut receiver = Receiver::new(scaled());
    receiver.arrive(0);
    for round in 0..9 {
        let wanted = 10_000 << round;
        assert!(
            receiver.edge.since(receiver.next) >= wanted.min(receiver.connection.rcvbuf() as u32 / 2),
            "round {round}"
        );
        receiver.round(RTT, wanted, 100);
    }
    assert!(receiver.connection.rcvbuf() >= 2 * (10_000 << 8));
}

#[test]
fn a_program_that_does_not_read_keeps_its_first_buffer() {
    assert_eq!(after_slow_start(scaled(), 14, 0), START);
}

#[test]
fn a_request_and_its_reply_leave_the_buffer_alone() {
    let mut receiver = Receiver::new(scaled());
    receiver.arrive(0);
    (0..1000).for_each(|_| receiver.round(RTT, 100, 100));
    assert_eq!(receiver.connection.rcvbuf() as u32, START);
}

#[test]
fn a_size_that_the_program_has_set_stays() {
    let mut receiver = Receiver::new(scaled());
    receiver.connection.set_rcvbuf(200_000);
    receiver.arrive(0);
    (0..14).for_each(|_| receiver.round(RTT, u32::MAX, 100));
    assert_eq!(receiver.connection.rcvbuf(), 200_000);
}

#[test]
fn the_configured_limit_ends_the_growth() {
    assert_eq!(after_slow_start(Config { rcvbuf_max: 300_000, ..scaled() }, 14, 100), 300_000);
}

#[test]
fn without_scaling_the_buffer_does_not_outgrow_the_field() {
    assert_eq!(after_slow_start(Config { rcvbuf: 20_000, ..bare() }, 14, 100), 0xffff);
}

#[test]
fn a_window_that_limits_the_sender_widens_until_it_does_not() {
    // The path takes 1 MB a round trip; the buffer ends above twice of that.
    let mut receiver = Receiver::new(scaled());
    receiver.arrive(0);
    (0..20).for_each(|_| receiver.round(RTT, 1_000_000, 100));
    let buffer = receiver.connection.rcvbuf();
    assert!((2_000_000..6 << 20).contains(&buffer), "{buffer}");
}

#[test]
fn the_first_buffer_holds_the_initial_window_of_a_peer_with_large_segments() {
    let params = Params { isn: SeqNum(0), ts_offset: 0, mss: 60_000 };
    let open = |config: Config| {
        Connection::<Vec<u8>>::connect(&Arc::new(config), params, Instant::default()).rcvbuf()
    };
    assert_eq!(open(Config::default()), 600_000);
    assert_eq!(open(Config { rcvbuf_max: 200_000, ..Config::default() }), 200_000);
}

#[test]
fn a_receiver_that_never_sends_learns_the_round_trip_from_echoes() {
    let mut receiver = Receiver::new(Config { timestamps: true, ..scaled() });
    receiver.arrive(0);
    (0..40).for_each(|_| receiver.round(RTT, 5000, 100));
    let rtt = receiver.connection.info().rcv_rtt.as_millis();
    assert!((45..=51).contains(&rtt), "{rtt}");
}

#[test]
fn a_receiver_without_timestamps_learns_the_round_trip_from_full_windows() {
    let mut receiver = Receiver::new(Config { rcvbuf: 60_000, rcvbuf_max: 60_000, ..bare() });
    receiver.arrive(0);
    (0..10).for_each(|_| receiver.round(RTT, u32::MAX, 100));
    let rtt = receiver.connection.info().rcv_rtt.as_millis();
    assert!((45..=51).contains(&rtt), "{rtt}");
}

#[test]
fn a_clamp_bounds_the_window_and_takes_nothing_back() {
    established_with(
        Config { rcvbuf: 8000, rcvbuf_max: 8000, ..bare() },
        "",
        "0   clamp 2000
         10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001 win 7000     # offered before
         .   read 1000
         20  < A 1001+1000 ack 1
         .   > A 1+0 ack 2001 win 6000
         .   read 1000
         30  < A 2001+1000 ack 1
         .   > A 1+0 ack 3001 win 5000
         .   < A 3001+1000 ack 1
         .   > A 1+0 ack 4001 win 4000
         .   < A 4001+1000 ack 1
         .   > A 1+0 ack 5001 win 3000
         .   < A 5001+1000 ack 1
         .   > A 1+0 ack 6001 win 2000
         .   < A 6001+1000 ack 1
         .   > A 1+0 ack 7001 win 2000     # and now the clamp rules
         .   clamp 100000
         .   read 5000
         .   > A 1+0 ack 7001 win 8000",
    );
}

#[test]
fn a_clamp_is_no_smaller_than_half_the_least_buffer() {
    let script = established("0 clamp 1");
    assert_eq!(script.connection.expect("open").window_clamp(), 2304 / 2);
}

proptest! {
    #[test]
    fn what_was_offered_is_never_taken_back_while_the_buffer_changes(
        scaling: bool, timestamps: bool, rcvbuf in 3000usize..200_000,
        steps in proptest::collection::vec((0u8..12, 1u64..200_000, 0u32..400_000, 0usize..=100), 1..60),
    ) {
        let config = Config { window_scaling: scaling, timestamps, rcvbuf, rcvbuf_max: 2 << 20, ..bare() };
        let mut receiver = Receiver::new(config);
        receiver.arrive(0);
        for (kind, micros, bytes, share) in steps {
            match kind {
                0 => receiver.connection.set_window_clamp(bytes as usize),
                1 => receiver.connection.set_rcvbuf(bytes as usize),
                _ => receiver.round(Duration::from_micros(micros), bytes, share),
            }
            receiver.collect();
            let waiting = receiver.connection.recv_queued();
            prop_assert!(waiting <= (2 << 20) + 17 * 1024, "{waiting} bytes are held");
        }
    }
}
