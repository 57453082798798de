//! Nanoseconds of the engine alone: no frames, no checksums, no device.
//!
//! `cargo bench -p tpa-tcp --bench engine`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use tpa_sim::direct::{self, received};
use tpa_tcp::wire::TcpRepr;
use tpa_tcp::{Chunk, Config, Connection, Duration, Instant, Params, Payload, RecvError, SeqNum, State};

/// A small request, and the reply to it.
const SMALL: usize = 64;

/// Payload of a full segment on an MTU of 1500 with timestamps.
const FULL: usize = 1448;

const MSS: u16 = 1460;

static BYTES: [u8; 2048] = [7; 2048];

/// Payload in a packet buffer of the usual size that costs nothing to get.
struct Packet;

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        &BYTES
    }
}

impl Payload for Packet {
    fn true_size(&self) -> usize {
        BYTES.len()
    }
}

fn payload(segment: &TcpRepr) -> Option<Chunk<Packet>> {
    (segment.payload_len > 0).then_some(Chunk { buf: Packet, range: 0..segment.payload_len })
}

/// Passes on what `from` wants to send; the number of segments.
fn pass(from: &mut Connection<Packet>, to: &mut Connection<Packet>, now: Instant) -> u32 {
    direct::pass(from, to, MSS, now, || Packet)
}

/// Two ends of a connection, and the time.
struct Pair {
    client: Connection<Packet>,
    server: Connection<Packet>,
    now: Instant,
}

fn params(isn: u32) -> Params {
    Params { isn: SeqNum(isn), ts_offset: isn, mss: MSS }
}

impl Pair {
    fn open(config: &Arc<Config>) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut client = Connection::connect(config, params(1), now);
        let syn = received(&client.poll_transmit(now, usize::from(MSS)).expect("a SYN"));
        let mut server = Connection::accept(config, params(2), &syn, now);
        while pass(&mut server, &mut client, now) + pass(&mut client, &mut server, now) > 0 {}
        Self { client, server, now }
    }

    fn close(mut self) -> State {
        self.client.close(self.now);
        pass(&mut self.client, &mut self.server, self.now);
        self.server.close(self.now);
        while pass(&mut self.server, &mut self.client, self.now)
            + pass(&mut self.client, &mut self.server, self.now)
            > 0
        {}
        self.server.state()
    }

    fn request_and_reply(&mut self) {
        self.now += Duration::from_micros(10);
        exchange(&mut self.client, &mut self.server, self.now);
        exchange(&mut self.server, &mut self.client, self.now);
    }
}

/// A small message from one program to the other.
fn exchange(from: &mut Connection<Packet>, to: &mut Connection<Packet>, now: Instant) {
    let sent = from.send(&BYTES[..SMALL]);
    pass(from, to, now);
    let got = to.recv(&mut [0; 2 * SMALL]);
    assert_eq!((sent.ok(), got.ok()), (Some(SMALL), Some(SMALL)));
}

fn request_and_reply(bench: &mut Criterion) {
    let config = Arc::new(Config::default());
    bench.bench_function("request and reply, both ends", |bench| {
        let mut pair = Pair::open(&config);
        bench.iter(|| pair.request_and_reply());
    });
    bench.bench_function("request and reply, server", |bench| {
        let mut pair = Pair::open(&config);
        pair.request_and_reply();
        let Pair { mut client, mut server, mut now } = pair;
        client.send(&BYTES[..SMALL]).expect("there is space");
        let mut segment = received(&client.poll_transmit(now, usize::from(MSS)).expect("a request"));
        bench.iter(|| {
            now += Duration::from_micros(10);
            server.on_segment(&segment, payload(&segment), now);
            let got = server.recv(&mut [0; 2 * SMALL]);
            let sent = server.send(&BYTES[..SMALL]);
            assert_eq!((sent.ok(), got.ok()), (Some(SMALL), Some(SMALL)));
            let reply = server.poll_transmit(now, usize::from(MSS)).expect("a reply");
            segment.seq += SMALL as u32;
            segment.ack = black_box(reply.seq + SMALL as u32);
        });
    });
}

fn segment_and_ack(bench: &mut Criterion) {
    let config = Arc::new(Config::default());
    bench.bench_function("1448 bytes in, ACK out", |bench| {
        let Pair { mut client, mut server, mut now } = Pair::open(&config);
        client.send(&BYTES[..FULL]).expect("there is space");
        let mut segment = received(&client.poll_transmit(now, usize::from(MSS)).expect("a segment"));
        let mut buf = [0; 2 * FULL];
        bench.iter(|| {
            now += Duration::from_micros(10);
            server.set_quickack(true);
            server.on_segment(&segment, payload(&segment), now);
            let ack = server.poll_transmit(now, usize::from(MSS)).expect("an ACK");
            assert_eq!(black_box(ack).payload_len(), 0);
            assert_eq!(server.recv(&mut buf), Ok(FULL));
            segment.seq += FULL as u32;
        });
        assert_eq!(server.recv(&mut buf), Err(RecvError::WouldBlock));
    });
    bench.bench_function("1448 bytes out, ACK in", |bench| {
        let Pair { mut client, mut server, mut now } = Pair::open(&config);
        client.send(&BYTES[..FULL]).expect("there is space");
        pass(&mut client, &mut server, now);
        let mut ack = received(&server.poll_transmit(now, usize::from(MSS)).expect("an ACK"));
        client.on_segment(&ack, None, now);
        bench.iter(|| {
            now += Duration::from_micros(10);
            client.send(&BYTES[..FULL]).expect("there is space");
            let segment = client.poll_transmit(now, usize::from(MSS)).expect("a segment");
            ack.ack = black_box(segment.seq + FULL as u32);
            client.on_segment(&ack, None, now);
        });
        assert_eq!(client.send_queued(), 0);
    });
}

fn open_and_close(bench: &mut Criterion) {
    let config = Arc::new(Config::default());
    bench.bench_function("open, both ends", |bench| {
        bench.iter_with_large_drop(|| {
            let pair = Pair::open(&config);
            assert_eq!(pair.server.state(), State::Established);
            pair
        });
    });
    bench.bench_function("open and close, both ends", |bench| {
        bench.iter(|| assert_eq!(Pair::open(&config).close(), State::Closed));
    });
}

criterion_group!(engine, request_and_reply, segment_and_ack, open_and_close);
criterion_main!(engine);
