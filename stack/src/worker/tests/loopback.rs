//! Connections of a worker to itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::errno::Errno;
use tpa_tcp::wire::TcpFlags;
use tpa_tcp::{SeqNum, TimerWheel};

use super::peer::{frame, segment, syn};
use super::{HUP, IN, OUT, RDHUP, SERVER, read_all, worker_with};
use crate::SocketOptions;
use crate::clock;
use crate::device::wire::{WireDevice, wire};
use crate::device::{Batch, Device};
use crate::handle::{Handle, SetId};
use crate::packet::Packet;
use crate::worker::{Busy, ConnectState, Worker};

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6379);
const ET: u32 = libc::EPOLLET as u32;

/// A worker with `loopback = true`, and the other end of its wire.
struct House {
    worker: Worker,
    outside: WireDevice,
}

impl House {
    fn new() -> Self {
        let (device, outside) = wire(1500);
        Self { worker: worker_with(device, 1, true), outside }
    }

    fn listen(&self, at: SocketAddr, backlog: u32) -> Handle {
        self.worker.lock().listen(at, backlog, SocketOptions::default()).unwrap()
    }

    fn connect(&self, to: SocketAddr) -> Handle {
        self.worker.lock().connect(None, to, SocketOptions::default()).unwrap()
    }

    fn poll(&self) {
        while self.worker.lock().poll() > 0 {}
    }

    /// Both ends of a connection: who listened, who connected.
    fn connected(&self) -> (Handle, Handle) {
        let listener = self.listen(LOCAL, 16);
        let client = self.connect(LOCAL);
        self.worker.lock().poll();
        (self.worker.lock().accept(listener).unwrap(), client)
    }

    fn send(&self, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        self.worker.lock().send(handle, data)
    }

    fn readiness(&self, handle: Handle) -> u32 {
        self.worker.lock().readiness(handle)
    }

    /// Frames that have left the worker over its device.
    fn seen_outside(&mut self) -> usize {
        let mut batch = Batch::new();
        self.outside.rx_burst(&mut batch);
        batch.len()
    }

    /// A frame from outside.
    fn receive(&mut self, bytes: &[u8]) {
        let mut batch = Batch::new();
        batch.push(Packet::copy_of(bytes));
        self.outside.tx_burst(&mut batch);
        self.poll();
    }
}

#[test]
fn one_round_opens_a_connection_and_no_device_sees_it() {
    let mut house = House::new();
    let (server, client) = house.connected();
    let guard = house.worker.lock();
    assert_eq!(guard.connect_state(client), ConnectState::Connected);
    assert_eq!(guard.peer_addr(client), Ok(LOCAL));
    assert_eq!(guard.local_addr(server), Ok(LOCAL));
    assert_eq!(guard.peer_addr(server), guard.local_addr(client));
    assert_eq!(guard.local_addr(client).unwrap().ip(), LOCAL.ip());
    assert_eq!(guard.counters.connections_opened.get(), 1);
    drop(guard);
    assert_eq!(house.seen_outside(), 0);
}

#[test]
fn any_address_of_127_and_the_own_ones_lead_back_with_linuxs_source() {
    let house = House::new();
    let listener = house.listen(SocketAddr::from(([0, 0, 0, 0], 6379)), 16);
    for (to, source) in
        [(LOCAL.ip(), LOCAL.ip()), ([127, 9, 8, 7].into(), LOCAL.ip()), (SERVER.ip(), SERVER.ip())]
    {
        house.connect(SocketAddr::new(to, 6379));
        house.poll();
        let server = house.worker.lock().accept(listener).unwrap();
        assert_eq!(house.worker.lock().local_addr(server).unwrap().ip(), to);
        assert_eq!(house.worker.lock().peer_addr(server).unwrap().ip(), source);
    }
}

#[test]
fn ipv6_loops_as_well_and_in_segments_as_large() {
    let house = House::new();
    let local = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 6379));
    let listener = house.listen(local, 16);
    let client = house.connect(local);
    house.poll();
    let server = house.worker.lock().accept(listener).unwrap();
    assert_eq!(house.worker.lock().peer_addr(server).unwrap().ip(), local.ip());
    let data = vec![7; 1_000_000];
    let (mut sent, mut received) = (0, 0);
    while received < data.len() {
        sent += house.send(client, &data[sent..]).unwrap_or(0);
        house.worker.lock().poll();
        received += read_all(&house.worker, server).len();
    }
    assert_eq!(received, data.len());
    assert!(house.worker.lock().counters.loopback_frames.get() < 500);
}

#[test]
fn a_source_may_be_any_own_address_and_port() {
    let house = House::new();
    let listener = house.listen(LOCAL, 16);
    let source = SocketAddr::new(SERVER.ip(), 7777);
    house.worker.lock().connect(Some(source), LOCAL, SocketOptions::default()).unwrap();
    house.poll();
    let server = house.worker.lock().accept(listener).unwrap();
    assert_eq!(house.worker.lock().peer_addr(server), Ok(source));
    let foreign = SocketAddr::from(([10, 9, 9, 9], 0));
    let refused = house.worker.lock().connect(Some(foreign), LOCAL, SocketOptions::default());
    assert_eq!(refused, Err(Errno::EADDRNOTAVAIL));
}

#[test]
fn without_the_option_own_addresses_are_the_kernels() {
    let (device, _outside) = wire(1500);
    let worker = worker_with(device, 1, false);
    for to in [LOCAL, SERVER] {
        let refused = worker.lock().connect(None, to, SocketOptions::default());
        assert_eq!(refused, Err(Errno::ENETUNREACH));
    }
    assert_eq!(worker.lock().listen(LOCAL, 1, SocketOptions::default()), Err(Errno::EADDRNOTAVAIL));
}

#[test]
fn megabytes_go_both_ways_in_one_thread_and_in_large_segments() {
    let mut house = House::new();
    let (server, client) = house.connected();
    let data: Vec<u8> = (0..4_000_000_u32).map(|n| (n ^ n >> 11) as u8).collect();
    let mut sent = [0, 0];
    let mut received = [Vec::new(), Vec::new()];
    let mut rounds = 0;
    while received.iter().any(|got| got.len() < data.len()) {
        for (nth, from) in [(0, client), (1, server)] {
            if let Ok(count) = house.send(from, &data[sent[nth]..]) {
                sent[nth] += count;
            }
        }
        house.worker.lock().poll();
        received[0].extend(read_all(&house.worker, server));
        received[1].extend(read_all(&house.worker, client));
        rounds += 1;
        assert!(rounds < 10_000, "{} and {} bytes", received[0].len(), received[1].len());
    }
    assert!(received.iter().all(|got| *got == data));
    let guard = house.worker.lock();
    assert!(guard.counters.loopback_frames.get() < 2000, "{} frames", guard.counters.loopback_frames.get());
    assert_eq!(guard.counters.tx_retransmits.get(), 0);
    drop(guard);
    assert_eq!(house.seen_outside(), 0);
}

#[test]
fn a_reader_that_never_reads_stops_its_writer_and_nobody_else() {
    let house = House::new();
    let listener = house.listen(LOCAL, 600);
    let mut writers = Vec::new();
    // Enough to use up every buffer that is kept.
    for _ in 0..300 {
        writers.push(house.connect(LOCAL));
        house.poll();
    }
    for _ in 0..20 {
        writers.iter().for_each(|&writer| while house.send(writer, &[1; 60_000]).is_ok() {});
        house.poll();
    }
    assert!(writers.iter().all(|&writer| house.readiness(writer) & OUT == 0));
    let client = house.connect(LOCAL);
    house.poll();
    let server = std::iter::from_fn(|| house.worker.lock().accept(listener).ok()).last().unwrap();
    assert_eq!(house.send(client, b"through"), Ok(7));
    house.poll();
    assert_eq!(read_all(&house.worker, server), b"through");
}

#[test]
fn an_end_comes_after_the_bytes_and_either_side_may_close_first() {
    for server_first in [true, false] {
        let house = House::new();
        let (server, client) = house.connected();
        let (first, second) = if server_first { (server, client) } else { (client, server) };
        assert_eq!(house.send(first, b"bye"), Ok(3));
        house.worker.lock().close(first);
        house.poll();
        assert_eq!(house.readiness(second) & (IN | RDHUP | HUP), IN | RDHUP);
        assert_eq!(read_all(&house.worker, second), b"bye");
        assert_eq!(house.worker.lock().recv(second, &mut [0; 8], false), Ok(0));
        house.worker.lock().close(second);
        house.poll();
        let guard = house.worker.lock();
        assert_eq!(guard.counters.connections_now.get(), 0);
        assert_eq!(guard.counters.time_wait_now.get(), 1);
    }
}

#[test]
fn bytes_that_were_never_read_reset_the_connection() {
    let house = House::new();
    let (server, client) = house.connected();
    assert_eq!(house.send(client, b"unread"), Ok(6));
    house.poll();
    house.worker.lock().close(server);
    house.poll();
    assert_eq!(house.send(client, b"more"), Err(Errno::ECONNRESET));
    assert_eq!(house.send(client, b"more"), Err(Errno::EPIPE));
    house.worker.lock().close(client);
    assert_eq!(house.worker.lock().counters.connections_now.get(), 0);
}

#[test]
fn a_listener_that_closes_resets_those_who_wait() {
    let house = House::new();
    let listener = house.listen(LOCAL, 16);
    let client = house.connect(LOCAL);
    house.poll();
    house.worker.lock().close(listener);
    house.poll();
    assert_eq!(house.worker.lock().take_error(client), Errno::ECONNRESET as i32);
    let late = house.connect(LOCAL);
    house.poll();
    assert_eq!(house.worker.lock().take_error(late), Errno::ECONNREFUSED as i32);
}

#[test]
fn a_full_accept_queue_says_nothing() {
    let house = House::new();
    let listener = house.listen(LOCAL, 1);
    let states = [(); 3].map(|()| {
        let client = house.connect(LOCAL);
        house.poll();
        house.worker.lock().connect_state(client)
    });
    assert_eq!(states, [ConnectState::Connected, ConnectState::Connected, ConnectState::Connecting]);
    assert_eq!(house.worker.lock().waiting(listener), Ok(2));
    assert_eq!(house.worker.lock().counters.listen_overflows.get(), 1);
}

#[test]
fn each_end_gets_its_edges() {
    let house = House::new();
    let set = SetId(1);
    let listener = house.listen(LOCAL, 16);
    let client = house.connect(LOCAL);
    house.worker.lock().watch(set, 3, listener, IN | ET, 3).unwrap();
    house.worker.lock().watch(set, 4, client, IN | OUT | RDHUP | ET, 4).unwrap();
    let harvest = || {
        let mut out = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let mut guard = house.worker.lock();
        guard.poll();
        let count = guard.harvest(set, &mut out);
        let mut ready: Vec<_> = out[..count].iter().map(|event| (event.u64, event.events)).collect();
        ready.sort_unstable();
        ready
    };
    assert_eq!(harvest(), [(3, IN), (4, OUT)]);
    let server = house.worker.lock().accept(listener).unwrap();
    assert_eq!(harvest(), []);
    for _ in 0..2 {
        house.send(server, b"x").unwrap();
        assert_eq!(harvest(), [(4, IN | OUT)]);
    }
    house.worker.lock().close(server);
    assert_eq!(harvest(), [(4, IN | OUT | RDHUP)]);
}

#[test]
fn nobody_sleeps_while_frames_wait() {
    let house = House::new();
    house.listen(LOCAL, 16);
    house.connect(LOCAL);
    assert_eq!(house.worker.lock().prepare_sleep(), Err(Busy));
    house.poll();
    house.worker.lock().prepare_sleep().unwrap();
    house.worker.finish_sleep();
}

#[test]
fn a_sleeper_is_woken_by_what_another_thread_sends() {
    let house = House::new();
    let (server, client) = house.connected();
    house.poll();
    house.worker.lock().prepare_sleep().unwrap();
    house.send(client, b"wake").unwrap();
    assert_eq!(house.readiness(server) & IN, IN, "without a round of the sleeper's");
    assert_eq!(house.worker.lock().counters.doorbells.get(), 1);
    house.worker.finish_sleep();
}

#[test]
fn ports_in_time_wait_are_used_again() {
    let house = House::new();
    let listener = house.listen(LOCAL, 16);
    let source = SocketAddr::from(([127, 0, 0, 1], 7777));
    for client_first in [true, false, true, true, false, false] {
        let client = house.worker.lock().connect(Some(source), LOCAL, SocketOptions::default()).unwrap();
        house.poll();
        let server = house.worker.lock().accept(listener).unwrap();
        house.send(client, b"12345").unwrap();
        house.poll();
        assert_eq!(read_all(&house.worker, server), b"12345");
        let order = if client_first { [client, server] } else { [server, client] };
        for end in order {
            house.worker.lock().close(end);
            house.poll();
        }
        assert_eq!(house.worker.lock().counters.time_wait_now.get(), 1);
    }
}

#[test]
fn connections_that_have_ended_leave_no_timers_behind() {
    let house = House::new();
    let listener = house.listen(LOCAL, 16);
    let standing = house.connect(LOCAL);
    house.poll();
    for nth in 0..6000 {
        let client = house.connect(LOCAL);
        house.poll();
        let server = house.worker.lock().accept(listener).unwrap();
        let ends = if nth % 2 == 0 { [client, server] } else { [server, client] };
        for end in ends {
            house.worker.lock().close(end);
            house.poll();
        }
    }
    let mut guard = house.worker.lock();
    assert!(guard.wheel.len() < 5000, "{} entries", guard.wheel.len());
    // The one that stands keeps its own.
    let Some(crate::worker::Socket::Stream(stream)) = guard.sockets.get_mut(standing) else { panic!() };
    stream.connection.send(b"x").unwrap();
    let armed = stream.timer_at;
    guard.mark_dirty(standing.index() as u32);
    guard.clean_wheel();
    // The wheel rounds up to its ticks; on a slow machine it may be due already.
    let due = armed.map(|at| at.max(clock::now()) + TimerWheel::<u32>::granularity());
    assert!(due.is_none() || guard.wheel.next_deadline() <= due);
}

#[test]
fn nobody_outside_can_speak_as_one_of_the_house() {
    let mut house = House::new();
    let listener = house.listen(SocketAddr::from(([0, 0, 0, 0], 6379)), 16);
    let client = house.connect(SERVER);
    house.poll();
    let server = house.worker.lock().accept(listener).unwrap();
    let from = house.worker.lock().local_addr(client).unwrap();
    // The numbers do not matter: such a frame does not reach the connection.
    for flags in [TcpFlags::RST, TcpFlags::SYN, TcpFlags::ACK] {
        let bytes = frame(from, SERVER, &segment(flags, SeqNum(1), SeqNum(1), b""));
        house.receive(&bytes);
    }
    for from in [LOCAL, SocketAddr::new(SERVER.ip(), 5)] {
        house.receive(&frame(from, SERVER, &syn()));
    }
    assert_eq!(house.seen_outside(), 0, "not a word to it");
    assert_eq!(house.worker.lock().counters.rx_not_ours.get(), 5);
    assert_eq!(house.worker.lock().counters.half_open_now.get(), 0);
    assert_eq!(house.send(client, b"still"), Ok(5));
    house.poll();
    assert_eq!(read_all(&house.worker, server), b"still");
}
