//! Memory of a connection, and when it asks for it. One test: the counts are
//! the whole program's.

use std::alloc::System;
use std::sync::Arc;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tpa_sim::direct::{self, received};
use tpa_tcp::{Config, Connection, Duration, Instant, Params, Payload, SeqNum};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MSS: u16 = 1460;

/// Payload in a buffer that is not the connection's to pay for.
struct Packet(&'static [u8]);

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl Payload for Packet {
    fn true_size(&self) -> usize {
        2048
    }
}

static BYTES: [u8; 2048] = [7; 2048];

/// Passes on what `from` wants to send.
fn pass(from: &mut Connection<Packet>, to: &mut Connection<Packet>, now: Instant) {
    direct::pass(from, to, MSS, now, || Packet(&BYTES));
}

fn exchange(from: &mut Connection<Packet>, to: &mut Connection<Packet>, len: usize, now: Instant) {
    assert_eq!(from.send(&BYTES[..len]), Ok(len));
    pass(from, to, now);
    assert_eq!(to.recv(&mut [0; 2048]), Ok(len));
}

fn held(stats: Stats) -> isize {
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

#[test]
fn an_idle_connection_is_its_struct_and_a_busy_one_allocates_nothing_more() {
    let config = Arc::new(Config::default());
    let mut now = Instant::from_micros(1_000_000);
    let region = Region::new(ALLOCATOR);
    let mut client = Connection::connect(&config, Params { isn: SeqNum(1), ts_offset: 1, mss: MSS }, now);
    let syn = received(&client.poll_transmit(now, usize::from(MSS)).expect("a SYN"));
    let mut server =
        Connection::accept(&config, Params { isn: SeqNum(2), ts_offset: 2, mss: MSS }, &syn, now);
    pass(&mut server, &mut client, now);
    pass(&mut client, &mut server, now);
    assert_eq!(held(region.change()), 0, "a connection without data has only its struct");

    exchange(&mut client, &mut server, 1400, now);
    exchange(&mut server, &mut client, 1400, now);
    let busy = Region::new(ALLOCATOR);
    for _ in 0..1000 {
        now += Duration::from_micros(100);
        exchange(&mut client, &mut server, 64, now);
        exchange(&mut server, &mut client, 1400, now);
    }
    assert_eq!(busy.change().allocations, 0, "requests and replies allocate nothing");

    for _ in 0..20 {
        now += config.idle_release;
        for connection in [&mut client, &mut server] {
            connection.on_timer(now);
        }
        pass(&mut client, &mut server, now);
        pass(&mut server, &mut client, now);
    }
    let heap = held(region.change());
    assert_eq!(heap, 0, "idle connections give their buffers back");
    let size = size_of::<Connection<Packet>>();
    println!("an idle connection: {size} bytes");
    assert!(size < 1024, "{size}");
}
