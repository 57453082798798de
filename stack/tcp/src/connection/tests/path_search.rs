//! The search for the path's MTU by probes (RFC 4821), and black holes (RFC
//! 2923 2.1).

use std::sync::Arc;

use super::script::bare;
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr};
use crate::{Config, Connection, Duration, Instant, MtuProbing, Params, SeqNum};

/// Sizes that begin the search and end it, see `path_mtu`.
const BASE: usize = 1024;
const FLOOR: usize = 88;

/// A sender on a path that swallows segments larger than `path`, with a peer
/// that reports what it has.
struct Path {
    connection: Connection<Vec<u8>>,
    now: Instant,
    path: usize,
    /// What has arrived, next in order first.
    received: SeqNum,
    early: Vec<(SeqNum, SeqNum)>,
    /// Payloads in the order of their sending.
    sizes: Vec<usize>,
}

fn segment(seq: u32, ack: SeqNum, flags: TcpFlags) -> TcpRepr {
    TcpRepr {
        src_port: 2,
        dst_port: 1,
        seq: SeqNum(seq),
        ack,
        flags,
        window: 60_000,
        urgent: 0,
        options: TcpOptions::default(),
        payload_len: 0,
        ecn: Ecn::NotEct,
    }
}

impl Path {
    fn open(mtu_probing: MtuProbing, sack: bool, path: usize) -> Self {
        let config = Config { mtu_probing, sack, window_scaling: true, sndbuf: 1 << 20, ..bare() };
        let now = Instant::from_millis(1000);
        let params = Params { isn: SeqNum(0), ts_offset: 0, mss: 1460 };
        let mut connection = Connection::connect(&Arc::new(config), params, now);
        assert!(connection.poll_transmit(now, 1460).is_some());
        let mut answer = segment(0, SeqNum(1), TcpFlags::SYN | TcpFlags::ACK);
        answer.options = TcpOptions {
            mss: Some(1460),
            sack_permitted: sack,
            window_scale: Some(7),
            ..TcpOptions::default()
        };
        connection.on_segment(&answer, None, now);
        assert!(connection.poll_transmit(now, 1460).is_some());
        Self { connection, now, path, received: SeqNum(1), early: Vec::new(), sizes: Vec::new() }
    }

    /// Sends what is due; returns what arrives at the peer.
    fn transmit(&mut self) -> Vec<(SeqNum, SeqNum)> {
        let mut arrived = Vec::new();
        while let Some(sent) = self.connection.poll_transmit(self.now, 1460) {
            let len = sent.payload_len();
            self.sizes.push(len);
            if len > 0 && len <= self.path {
                arrived.push((sent.seq, sent.seq + len as u32));
            }
        }
        arrived
    }

    /// The peer takes a segment and acknowledges it.
    fn acknowledge(&mut self, (from, to): (SeqNum, SeqNum)) {
        self.early.push((from, to));
        while let Some(at) =
            self.early.iter().position(|(from, to)| from.le(self.received) && to.gt(self.received))
        {
            self.received = self.early.swap_remove(at).1;
        }
        self.early.retain(|(_, to)| to.gt(self.received));
        let mut ack = segment(1, self.received, TcpFlags::ACK);
        if self.connection.info().sack {
            ack.options.sack = self.early.iter().rev().take(3).copied().collect();
        }
        self.connection.on_segment(&ack, None, self.now);
    }

    /// Writes without end and lets time pass until `millis` are over, with
    /// round trips of 10 ms.
    fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            let _ = self.connection.send(&[7; 65_536]);
            let arrived = self.transmit();
            if arrived.is_empty() {
                let due = self.connection.next_timer().expect("something is due");
                self.now = due.max(self.now + Duration::from_millis(1));
                self.connection.on_timer(self.now);
                continue;
            }
            self.now += Duration::from_millis(10);
            for range in arrived {
                self.acknowledge(range);
            }
            if self.connection.next_timer().is_some_and(|due| due <= self.now) {
                self.connection.on_timer(self.now);
            }
        }
    }

    fn mss(&self) -> usize {
        self.connection.info().snd_mss as usize
    }
}

#[test]
fn without_probing_nothing_larger_or_smaller_is_tried() {
    let mut path = Path::open(MtuProbing::Off, true, 1460);
    path.run(2000);
    assert_eq!(path.mss(), 1460);
    let mut hole = Path::open(MtuProbing::Off, true, 1200);
    hole.run(20_000);
    assert_eq!((hole.mss(), hole.received), (1460, SeqNum(1)));
}

#[test]
fn a_search_from_the_start_begins_low_and_ends_at_the_peers_size() {
    let mut path = Path::open(MtuProbing::Always, true, 1460);
    assert_eq!(path.mss(), BASE);
    path.run(5000);
    assert!(path.mss() > 1460 - 8, "{}", path.mss());
    assert_eq!(path.connection.info().retransmits, 0);
}

#[test]
fn a_search_finds_the_size_of_a_narrow_path() {
    for sack in [true, false] {
        let mut path = Path::open(MtuProbing::Always, sack, 1300);
        path.run(20_000);
        assert!((1300 - 8..=1300).contains(&path.mss()), "{}", path.mss());
    }
}

#[test]
fn a_lost_probe_is_no_sign_of_congestion() {
    let mut path = Path::open(MtuProbing::Always, true, 1300);
    path.run(20_000);
    let info = path.connection.info();
    assert!(info.retransmits > 0, "some probe was too large");
    assert_eq!((info.recoveries, info.timeouts, info.ssthresh), (0, 0, u32::MAX));
}

#[test]
fn a_black_hole_is_left_within_seconds() {
    for sack in [true, false] {
        let mut path = Path::open(MtuProbing::BlackHole, sack, 1200);
        path.run(3000);
        assert_eq!(path.received, SeqNum(1));
        path.run(4000);
        assert!(path.received.gt(SeqNum(1)), "no way around");
        path.run(30_000);
        assert!((1200 - 8..=1200).contains(&path.mss()), "{}", path.mss());
    }
}

#[test]
fn a_narrower_hole_halves_the_size_again() {
    let mut path = Path::open(MtuProbing::BlackHole, true, 300);
    path.run(100_000);
    assert!(path.received.gt(SeqNum(1)));
    assert!((FLOOR..=300).contains(&path.mss()), "{}", path.mss());
}

#[test]
fn a_path_that_becomes_narrow_is_noticed_in_the_middle() {
    let mut path = Path::open(MtuProbing::BlackHole, true, 1460);
    path.run(1000);
    assert_eq!(path.mss(), 1460);
    path.path = 1100;
    let before = path.received;
    path.run(30_000);
    assert!(path.received - before > 1_000_000, "{}", path.received - before);
    assert!((BASE..=1100).contains(&path.mss()), "{}", path.mss());
}

#[test]
fn less_than_a_segment_gets_out_of_a_narrow_hole_too() {
    let mut path = Path::open(MtuProbing::BlackHole, true, 536);
    path.connection.send(&[7; 600]).expect("open");
    for _ in 0..20 {
        path.transmit().into_iter().for_each(|range| path.acknowledge(range));
        if let Some(due) = path.connection.next_timer() {
            path.now = due;
            path.connection.on_timer(path.now);
        }
    }
    assert_eq!(path.received, SeqNum(601));
}

#[test]
fn a_peer_that_is_gone_is_no_black_hole_for_small_segments() {
    let mut path = Path::open(MtuProbing::BlackHole, true, 0);
    path.connection.send(b"small").expect("open");
    for _ in 0..8 {
        path.transmit();
        path.now = path.connection.next_timer().expect("a retransmission");
        path.connection.on_timer(path.now);
    }
    assert_eq!(path.mss(), 1460);
}

#[test]
fn larger_sizes_are_tried_again_after_ten_minutes() {
    let mut path = Path::open(MtuProbing::Always, true, 1200);
    path.run(20_000);
    path.path = 1460;
    path.run(500_000);
    assert!(path.mss() <= 1200);
    path.run(120_000);
    assert!(path.mss() > 1460 - 8, "{}", path.mss());
}

#[test]
fn what_the_network_reports_bounds_the_search() {
    let mut path = Path::open(MtuProbing::Always, true, 1460);
    let until = path.now + Duration::from_secs(3600);
    path.connection.on_path_mtu(1200, until);
    path.run(5000);
    assert!((1200 - 8..=1200).contains(&path.mss()), "{}", path.mss());
    assert!(path.sizes.iter().all(|&size| size <= 1200));
}

#[test]
fn a_connection_that_writes_little_is_not_probed() {
    let mut path = Path::open(MtuProbing::Always, true, 1460);
    for _ in 0..100 {
        path.connection.send(&[7; 2000]).expect("open");
        let arrived = path.transmit();
        path.now += Duration::from_millis(10);
        arrived.into_iter().for_each(|range| path.acknowledge(range));
    }
    assert!(path.sizes.iter().all(|&size| size <= BASE));
    assert_eq!(path.received, SeqNum(200_001));
}

#[test]
fn a_report_below_what_was_found_ends_the_search_there() {
    let mut path = Path::open(MtuProbing::Always, true, 1460);
    path.run(100);
    let found = path.mss();
    assert!(found > 1100, "{found}");
    path.path = 700;
    path.connection.on_path_mtu(700, Instant::FAR);
    path.sizes.clear();
    path.run(2000);
    assert_eq!(path.sizes.iter().max(), Some(&700));
    assert_eq!(path.mss(), 700);
}

#[test]
fn a_probe_that_passes_does_not_undo_a_report() {
    let mut path = Path::open(MtuProbing::Always, true, 1460);
    // Until a probe is under way.
    let (mut arrived, mut largest) = (Vec::new(), BASE);
    while largest == BASE {
        let _ = path.connection.send(&[7; 65_536]);
        arrived = path.transmit();
        largest = path.sizes.iter().copied().max().unwrap_or(BASE);
        path.now += Duration::from_millis(10);
        if largest == BASE {
            std::mem::take(&mut arrived).into_iter().for_each(|range| path.acknowledge(range));
        }
    }
    path.connection.on_path_mtu(900, Instant::FAR);
    arrived.into_iter().for_each(|range| path.acknowledge(range));
    path.path = 900;
    path.sizes.clear();
    path.run(2000);
    assert_eq!(path.sizes.iter().max(), Some(&900));
}
