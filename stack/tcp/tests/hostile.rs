//! A live connection against arbitrary segments, times and calls: nothing may
//! panic, run for ever or grow beyond its bounds.

use std::sync::Arc;

use proptest::prelude::*;
use tpa_tcp::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr, Timestamps};
use tpa_tcp::{Chunk, Config, Connection, Duration, Instant, Keepalive, Params, SeqNum};

const ISN: SeqNum = SeqNum(u32::MAX - 5000);
const PEER: SeqNum = SeqNum(u32::MAX - 9000);
const RCVBUF: usize = 50_000;
/// Memory of a received payload, however small.
const BUFFER: usize = 2048;

#[derive(Debug, Clone)]
enum Step {
    Segment { flags: u8, seq: u32, ack: u32, window: u16, urgent: u16, len: usize, options: TcpOptions },
    Wait(u64),
    Write(usize),
    WriteUrgent(usize),
    Read(usize),
    Peek(usize),
    Shutdown,
    ShutdownRead,
    Close,
    Abort,
    CopyOut,
    Cork(bool),
    Nodelay(bool),
    Quickack(bool),
    Sndbuf(usize),
    Rcvbuf(usize),
    Keepalive,
    UserTimeout(u64),
    Transmit(usize),
}

/// Mostly near what is expected, sometimes anywhere.
fn near() -> impl Strategy<Value = u32> {
    prop_oneof![
        5 => 0u32..6,
        5 => 0u32..80_000,
        2 => (0u32..5000).prop_map(|back| 0u32.wrapping_sub(back)),
        1 => any::<u32>(),
    ]
}

fn options() -> impl Strategy<Value = TcpOptions> {
    let blocks = proptest::collection::vec((near(), near()), 0..4);
    (any::<Option<u16>>(), any::<Option<u8>>(), any::<bool>(), any::<Option<(u16, u32)>>(), blocks).prop_map(
        |(mss, window_scale, sack_permitted, stamp, blocks)| TcpOptions {
            mss,
            window_scale,
            sack_permitted,
            timestamps: stamp.map(|(tsval, tsecr)| Timestamps { tsval: u32::from(tsval), tsecr }),
            sack: blocks.into_iter().map(|(left, right)| (ISN + 1 + left, ISN + 1 + right)).collect(),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let flags =
        prop_oneof![8 => Just(0x10u8), 2 => Just(0x11), 1 => Just(0x12), 1 => Just(4), 1 => any::<u8>()];
    let len = prop_oneof![3 => Just(0usize), 3 => 0usize..1500, 1 => 0usize..9000];
    let segment = (flags, near(), near(), any::<u16>(), any::<u16>(), len, options()).prop_map(
        |(flags, seq, ack, window, urgent, len, options)| Step::Segment {
            flags,
            seq,
            ack,
            window,
            urgent,
            len,
            options,
        },
    );
    prop_oneof![
        20 => segment,
        4 => (0u64..100_000).prop_map(Step::Wait),
        2 => (0u64..100_000_000).prop_map(Step::Wait),
        6 => (0usize..20_000).prop_map(Step::Write),
        1 => (0usize..20_000).prop_map(Step::WriteUrgent),
        6 => (0usize..20_000).prop_map(Step::Read),
        8 => prop_oneof![Just(1460usize), 1usize..70_000, Just(0), Just(usize::MAX)].prop_map(Step::Transmit),
        1 => (0usize..20_000).prop_map(Step::Peek),
        1 => any::<bool>().prop_map(Step::Cork),
        1 => any::<bool>().prop_map(Step::Nodelay),
        1 => any::<bool>().prop_map(Step::Quickack),
        1 => (0usize..100_000).prop_map(Step::Sndbuf),
        1 => (0usize..RCVBUF).prop_map(Step::Rcvbuf),
        1 => (0u64..10_000_000).prop_map(Step::UserTimeout),
        1 => prop_oneof![
            Just(Step::Shutdown), Just(Step::ShutdownRead), Just(Step::Close), Just(Step::Abort),
            Just(Step::CopyOut), Just(Step::Keepalive),
        ],
    ]
}

/// Where in the sequence spaces the next step's numbers are relative to.
#[derive(Default)]
struct Positions {
    received: u32,
    sent: u32,
}

struct Driver {
    connection: Connection<Vec<u8>>,
    now: Instant,
    positions: Positions,
}

impl Driver {
    fn transmit(&mut self, max_payload: usize) {
        for count in 0.. {
            assert!(count < 200_000, "output does not end");
            let Some(segment) = self.connection.poll_transmit(self.now, max_payload) else { break };
            self.positions.sent = self.positions.sent.max((segment.seq - ISN) + segment.payload_len() as u32);
            if segment.flags.contains(TcpFlags::ACK) {
                self.positions.received = segment.ack - PEER;
            }
            assert!(segment.payload_len() <= max_payload.max(1));
            assert!(segment.options.wire_len() <= 40);
        }
        assert!(!self.connection.wants_transmit(), "it wants to send, but sends nothing");
    }

    fn wait(&mut self, micros: u64) {
        let end = self.now + Duration::from_micros(micros);
        for count in 0.. {
            assert!(count < 20_000, "timers do not end");
            let Some(next) = self.connection.next_timer().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            self.connection.on_timer(self.now);
            self.transmit(1460);
        }
        self.now = end;
    }

    fn segment(&mut self, step: Step) {
        let Step::Segment { flags, seq, ack, window, urgent, len, options } = step else { return };
        let repr = TcpRepr {
            src_port: 1,
            dst_port: 2,
            seq: PEER + self.positions.received + seq,
            ack: ISN + self.positions.sent + ack,
            flags: TcpFlags::from_bits_retain(flags),
            window,
            urgent,
            options,
            payload_len: len,
            ecn: Ecn::of_tos(window as u8),
        };
        let chunk = (len > 0).then(|| {
            let mut buf = Vec::with_capacity(BUFFER.max(len));
            buf.resize(len, 7);
            Chunk { buf, range: 0..len }
        });
        self.connection.on_segment(&repr, chunk, self.now);
    }

    fn apply(&mut self, step: Step) {
        let now = self.now;
        let connection = &mut self.connection;
        match step {
            segment @ Step::Segment { .. } => self.segment(segment),
            Step::Wait(micros) => self.wait(micros),
            Step::Write(len) => drop(connection.send(&vec![1; len])),
            Step::WriteUrgent(len) => drop(connection.send_urgent(&vec![1; len])),
            Step::Read(len) => drop(connection.recv(&mut vec![0; len])),
            Step::Peek(offset) => drop(connection.peek(offset, &mut [0; 100])),
            Step::Shutdown => connection.shutdown_write(now),
            Step::ShutdownRead => connection.shutdown_read(),
            Step::Close => connection.close(now),
            Step::Abort => connection.abort(now),
            Step::CopyOut => connection.copy_out(),
            Step::Cork(on) => connection.set_cork(on),
            Step::Nodelay(on) => connection.set_nodelay(on),
            Step::Quickack(on) => connection.set_quickack(on),
            Step::Sndbuf(bytes) => connection.set_sndbuf(bytes),
            Step::Rcvbuf(bytes) => connection.set_rcvbuf(bytes),
            Step::Keepalive => connection.set_keepalive(Some(Keepalive::default()), now),
            Step::UserTimeout(micros) => connection.set_user_timeout(Duration::from_micros(micros)),
            Step::Transmit(max_payload) => self.transmit(max_payload),
        }
    }

    fn check(&self) {
        let info = self.connection.info();
        // What waits and what fills gaps, each at most the buffer and a
        // rounding, in memory of at most twice its size.
        let bound = 4 * (RCVBUF + 65_536 + 20_000);
        assert!(self.connection.recv_charge() <= bound, "{} bytes held", self.connection.recv_charge());
        assert!(info.sacked <= info.unacked && info.lost <= info.unacked, "{info:?}");
        let ahead = info.recv_queued + info.rcv_wnd + 65_536;
        assert!(self.connection.urgent_ahead() <= ahead, "{} urgent", self.connection.urgent_ahead());
        assert!(self.connection.send_queued() <= self.connection.sndbuf().max(4 << 20));
    }
}

fn connection(active: bool, config: Config, options: TcpOptions, now: Instant) -> Connection<Vec<u8>> {
    let config = Arc::new(config);
    let params = Params { isn: ISN, ts_offset: 77, mss: 1460 };
    if active {
        return Connection::connect(&config, params, now);
    }
    let syn = TcpRepr {
        src_port: 1,
        dst_port: 2,
        seq: PEER,
        ack: SeqNum(0),
        flags: TcpFlags::SYN,
        window: 50_000,
        urgent: 0,
        options,
        payload_len: 0,
        ecn: Ecn::NotEct,
    };
    Connection::accept(&config, params, &syn, now)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn nothing_a_peer_or_a_program_does_breaks_a_connection(
        active: bool, opened in prop::bool::weighted(0.9), first in options(),
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let now = Instant::from_micros(1_000_000);
        let config = Config { rcvbuf: RCVBUF, reassembly_segments: 50, ..Config::default() };
        let connection = connection(active, config, first.clone(), now);
        let mut driver = Driver { connection, now, positions: Positions::default() };
        driver.transmit(1460);
        if opened {
            // The rest of the handshake, so that later states are reached.
            driver.positions.received = if active { 0 } else { 1 };
            driver.positions.sent = 1;
            let flags = if active { 0x12 } else { 0x10 };
            driver.segment(Step::Segment {
                flags, seq: 0, ack: 0, window: 50_000, urgent: 0, len: 0, options: first,
            });
            driver.transmit(1460);
        }
        for step in steps {
            driver.apply(step);
            driver.check();
        }
        driver.wait(10_000_000);
    }
}
