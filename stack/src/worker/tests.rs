//! Two workers on a wire: what socket calls see of the whole stack. Below: one
//! worker, and a peer that sends what it likes.

mod icmp;
mod ipv6;
mod listening;
mod loopback;
mod peer;
mod time_wait;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use nix::errno::Errno;
use tpa_tcp::wire::{
    ChecksumPolicy, Ecn, EthernetAddress, Frame, FrameHeader, Ports, TcpFlags, TcpOptions, TcpRepr,
    emit_tcp_frame, parse_frame,
};
use tpa_tcp::{SeqNum, Transmit};

use super::{ConnectState, Parts, Settings, Worker};
use crate::SocketOptions;
use crate::device::wire::{WireDevice, wire};
use crate::device::{Batch, Device};
use crate::handle::{Handle, SetId};
use crate::identity::{Identity, Network, OwnAddress};
use crate::packet::Packet;
use crate::ports::PortBlocks;

const SERVER: SocketAddr = v4(1, 6379);
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const HUP: u32 = libc::EPOLLHUP as u32;

/// A socket of a host on the wire.
const fn v4(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 7, host)), port)
}

/// A socket of the same host over IPv6.
const fn v6(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host as u16)), port)
}

/// The server's port on all of its IPv4 addresses.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SERVER.port());

/// The worker of a host.
fn worker(device: WireDevice, host: u8) -> Worker {
    worker_with(device, host, false)
}

fn worker_with(device: WireDevice, host: u8, loopback: bool) -> Worker {
    let identity = Identity {
        mac: EthernetAddress(device.info().mac),
        mtu: device.info().mtu,
        network: Network::Own(vec![
            OwnAddress { address: v4(host, 0).ip().into(), prefix: 24, gateway: None },
            OwnAddress { address: v6(host, 0).ip().into(), prefix: 64, gateway: None },
        ]),
        steering: None,
        loopback,
    };
    Worker::new(Parts {
        id: 0,
        identity: Arc::new(identity),
        tcp: Arc::default(),
        settings: Settings::default(),
        device: Box::new(device),
        counters: Box::leak(Box::default()),
        ports: PortBlocks::new(false),
    })
    .unwrap()
}

/// A server and a client on one wire.
struct Pair {
    server: Worker,
    client: Worker,
}

impl Pair {
    fn new() -> Self {
        let (a, b) = wire(1500);
        Self { server: worker(a, 1), client: worker(b, 2) }
    }

    /// Rounds at both ends until neither has anything to do.
    fn settle(&self) {
        let mut idle = 0;
        while idle < 2 {
            let frames = self.server.lock().poll() + self.client.lock().poll();
            idle = if frames == 0 { idle + 1 } else { 0 };
        }
    }

    fn listen(&self, backlog: u32) -> Handle {
        self.server.lock().listen(SERVER, backlog, SocketOptions::default()).unwrap()
    }

    fn connect(&self) -> Handle {
        let handle = self.client.lock().connect(None, SERVER, SocketOptions::default()).unwrap();
        self.settle();
        handle
    }

    fn connected(&self) -> (Handle, Handle) {
        let listener = self.listen(16);
        let client = self.connect();
        let server = self.server.lock().accept(listener).unwrap();
        (server, client)
    }
}

fn read_all(worker: &Worker, handle: Handle) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 4096];
    while let Ok(count @ 1..) = worker.lock().recv(handle, &mut buf, false) {
        all.extend_from_slice(&buf[..count]);
    }
    all
}

#[test]
fn a_connection_is_resolved_opened_accepted_and_named() {
    let pair = Pair::new();
    let listener = pair.listen(16);
    assert_eq!(pair.server.lock().accept(listener), Err(Errno::EAGAIN));
    let client = pair.client.lock().connect(None, SERVER, SocketOptions::default()).unwrap();
    assert_eq!(pair.client.lock().connect_state(client), ConnectState::Connecting);
    pair.settle();
    assert_eq!(pair.client.lock().connect_state(client), ConnectState::Connected);
    assert_eq!(pair.server.lock().readiness(listener) & IN, IN);
    let server = pair.server.lock().accept(listener).unwrap();
    assert_eq!(pair.server.lock().local_addr(server), Ok(SERVER));
    assert_eq!(pair.server.lock().peer_addr(server), pair.client.lock().local_addr(client));
    assert_eq!(pair.client.lock().peer_addr(client), Ok(SERVER));
}

#[test]
fn bytes_go_both_ways_and_the_end_comes_after_them() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    let request: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let mut sent = 0;
    let mut received = Vec::new();
    while received.len() < request.len() {
        if let Ok(count) = pair.client.lock().send(client, &request[sent..]) {
            sent += count;
        }
        pair.settle();
        received.extend(read_all(&pair.server, server));
    }
    assert_eq!(received, request);
    assert_eq!(pair.server.lock().send(server, b"reply"), Ok(5));
    pair.server.lock().close(server);
    pair.settle();
    let ready = pair.client.lock().readiness(client);
    assert_eq!(ready & (IN | RDHUP | HUP), IN | RDHUP);
    assert_eq!(read_all(&pair.client, client), b"reply");
    assert_eq!(pair.client.lock().recv(client, &mut [0; 8], false), Ok(0));
}

#[test]
fn a_port_without_a_listener_refuses() {
    let pair = Pair::new();
    let client = pair.connect();
    assert_eq!(pair.client.lock().connect_state(client), ConnectState::Failed);
    assert_eq!(pair.client.lock().take_error(client), Errno::ECONNREFUSED as i32);
    assert_eq!(pair.client.lock().take_error(client), 0);
}

#[test]
fn one_more_than_the_backlog_waits_and_the_next_is_not_answered() {
    let pair = Pair::new();
    let listener = pair.listen(2);
    let clients: Vec<Handle> = (0..5).map(|_| pair.connect()).collect();
    let connected = |handle: &&Handle| pair.client.lock().connect_state(**handle) == ConnectState::Connected;
    assert_eq!(clients.iter().filter(connected).count(), 3);
    let accepted = (0..5).filter(|_| pair.server.lock().accept(listener).is_ok()).count();
    assert_eq!(accepted, 3);
}

#[test]
fn a_listener_that_closes_resets_who_waited() {
    let pair = Pair::new();
    let listener = pair.listen(16);
    let client = pair.connect();
    pair.server.lock().close(listener);
    pair.settle();
    assert_eq!(pair.client.lock().recv(client, &mut [0; 8], false), Err(Errno::ECONNRESET));
    assert_eq!(pair.server.lock().accept(listener), Err(Errno::EBADF));
}

#[test]
fn zero_linger_resets_instead_of_finishing() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    pair.client.lock().set_options(client, |options| options.linger = Some(0)).unwrap();
    pair.client.lock().close(client);
    pair.settle();
    assert_eq!(pair.server.lock().recv(server, &mut [0; 8], false), Err(Errno::ECONNRESET));
}

#[test]
fn an_event_set_hears_of_accepts_data_and_the_end() {
    let pair = Pair::new();
    let set = SetId(0);
    let listener = pair.listen(16);
    pair.server.lock().watch(set, 3, listener, IN, 100).unwrap();
    let harvest = || {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let count = pair.server.lock().harvest(set, &mut events);
        events[..count].iter().map(|event| (event.u64, event.events)).collect::<Vec<_>>()
    };
    assert!(harvest().is_empty());
    let client = pair.connect();
    assert_eq!(harvest(), [(100, IN)]);
    let server = pair.server.lock().accept(listener).unwrap();
    assert!(harvest().is_empty());
    pair.server.lock().watch(set, 4, server, IN | RDHUP, 200).unwrap();
    assert!(harvest().is_empty());
    pair.client.lock().send(client, b"x").unwrap();
    pair.settle();
    assert_eq!(harvest(), [(200, IN)]);
    read_all(&pair.server, server);
    assert!(harvest().is_empty());
    pair.client.lock().close(client);
    pair.settle();
    assert_eq!(harvest(), [(200, IN | RDHUP)]);
    pair.server.lock().close(server);
    assert!(harvest().is_empty());
}

/// Sends a hand-made segment to the server and returns the TCP frames that come
/// back: their services, time to live, and header.
fn exchange(server: &Worker, device: &mut WireDevice, segment: &Transmit<'_>) -> Vec<(u8, u8, TcpRepr)> {
    let (src, src_mac) = (v4(2, 0).ip().into(), EthernetAddress([2, 0, 0, 0, 0, 2]));
    let header = FrameHeader {
        src_mac,
        dst_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
        src,
        dst: SERVER.ip().into(),
        tos: 0,
        ttl: 64,
        flow_label: 0,
    };
    let mut bytes = [0; 1514];
    let ports = Ports { src: 40_000, dst: SERVER.port() };
    let len = emit_tcp_frame(&mut bytes, &header, 1, segment, ports, true);
    let mut batch = Batch::new();
    batch.push(Packet::copy_of(&bytes[..len]));
    device.tx_burst(&mut batch);
    while server.lock().poll() > 0 {}
    received(device)
}

fn received(device: &mut WireDevice) -> Vec<(u8, u8, TcpRepr)> {
    let mut batch = Batch::new();
    device.rx_burst(&mut batch);
    let frames = batch.drain(..).filter_map(|packet| {
        let ttl = packet.bytes()[14 + 8];
        match parse_frame(packet.bytes(), ChecksumPolicy::Verify) {
            Ok(Frame::Tcp(frame)) => Some((frame.tos, ttl, frame.tcp)),
            _ => None,
        }
    });
    frames.collect()
}

#[test]
fn a_program_chooses_its_services_and_time_to_live_and_may_change_them() {
    // RFC 9293 MUST-48, MUST-49, SHLD-21, SHLD-22.
    let (a, mut device) = wire(1500);
    let server = worker(a, 1);
    let options = SocketOptions { tos: 0xb8, ttl: 7, ..SocketOptions::default() };
    let listener = server.lock().listen(SERVER, 4, options).unwrap();
    let mut segment = Transmit {
        seq: SeqNum(1000),
        ack: SeqNum(0),
        flags: TcpFlags::SYN,
        window: 60_000,
        urgent: 0,
        options: TcpOptions::default(),
        payload: (&[], &[]),
        is_retransmit: false,
        ecn: Ecn::NotEct,
    };
    let answers = exchange(&server, &mut device, &segment);
    let [(_, _, syn_ack)] = &answers[..] else { panic!("{answers:?}") };
    segment.seq = SeqNum(1001);
    segment.ack = syn_ack.seq + 1;
    segment.flags = TcpFlags::ACK;
    exchange(&server, &mut device, &segment);
    let stream = server.lock().accept(listener).unwrap();
    for (tos, ttl) in [(0xb8, 7), (0x48, 200)] {
        let change = |options: &mut SocketOptions| {
            (options.tos, options.ttl, options.nodelay) = (tos, ttl, true);
        };
        server.lock().set_options(stream, change).unwrap();
        assert_eq!(server.lock().send(stream, b"x"), Ok(1));
        server.lock().poll();
        let sent = received(&mut device);
        assert!(matches!(sent[..], [(services, hops, _)] if (services, hops) == (tos, ttl)), "{sent:?}");
    }
}

#[test]
fn urgent_data_is_announced_and_stays_in_line() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    assert_eq!(pair.client.lock().send(client, b"abc"), Ok(3));
    assert_eq!(pair.client.lock().send_urgent(client, b"!"), Ok(1));
    pair.settle();
    let pri = libc::EPOLLPRI as u32;
    assert_eq!(pair.server.lock().readiness(server) & (IN | pri), IN | pri);
    assert_eq!(pair.server.lock().at_mark(server), Ok(false));
    let mut buf = [0; 8];
    assert_eq!(pair.server.lock().recv(server, &mut buf, false), Ok(3));
    assert_eq!(pair.server.lock().at_mark(server), Ok(true));
    assert_eq!(pair.server.lock().recv(server, &mut buf, false), Ok(1));
    assert_eq!((pair.server.lock().at_mark(server), buf[0]), (Ok(false), b'!'));
    assert_eq!(pair.server.lock().readiness(server) & pri, 0);
}

#[test]
fn a_full_send_buffer_says_so_and_becomes_writable_again() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    let chunk = vec![7; 65536];
    let mut sent = 0;
    loop {
        match pair.client.lock().send(client, &chunk) {
            Ok(count) => sent += count,
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN);
                break;
            }
        }
    }
    assert_eq!(pair.client.lock().readiness(client) & OUT, 0);
    let mut received = 0;
    while received < sent {
        pair.settle();
        received += read_all(&pair.server, server).len();
    }
    pair.settle();
    assert_eq!(pair.client.lock().readiness(client) & OUT, OUT);
}

#[test]
fn a_stale_handle_is_a_bad_descriptor() {
    let pair = Pair::new();
    let (server, _) = pair.connected();
    pair.server.lock().close(server);
    assert_eq!(pair.server.lock().recv(server, &mut [0; 8], false), Err(Errno::EBADF));
    assert_eq!(pair.server.lock().send(server, b"x"), Err(Errno::EBADF));
    assert_eq!(pair.server.lock().readiness(server), 0);
}

#[test]
fn a_thread_that_sleeps_is_woken_when_another_finds_its_data() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    assert!(pair.server.lock().prepare_sleep().is_ok());
    let doorbell = *pair.server.wait_fds().last().unwrap();
    let rings = || {
        // SAFETY: the doorbell lives as long as the worker.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(doorbell) };
        let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).unwrap() == 1
    };
    assert!(!rings());
    pair.client.lock().send(client, b"x").unwrap();
    pair.settle();
    assert!(rings());
    pair.server.finish_sleep();
    assert!(!rings());
    assert_eq!(read_all(&pair.server, server), b"x");
}

#[test]
fn nobody_lies_down_while_the_bell_rings_for_another() {
    let pair = Pair::new();
    let (_server, client) = pair.connected();
    let sleeps = || pair.server.lock().prepare_sleep().is_ok();
    assert!(sleeps() && sleeps());
    pair.client.lock().send(client, b"x").unwrap();
    pair.settle();
    pair.server.finish_sleep();
    assert!(!sleeps(), "the second still has to wake");
    pair.server.finish_sleep();
    assert!(sleeps());
    pair.server.finish_sleep();
}

#[test]
fn a_closed_connection_leaves_nothing_behind() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    pair.client.lock().close(client);
    pair.settle();
    pair.server.lock().close(server);
    pair.settle();
    // The listener stays; the client's end is in TIME-WAIT.
    assert_eq!(pair.server.lock().sockets.len(), 1);
    assert_eq!(pair.server.lock().flows.len(), 0);
}

#[test]
fn a_request_that_came_before_accept_gets_its_long_reply_at_once() {
    let pair = Pair::new();
    let listener = pair.listen(64);
    let clients: Vec<Handle> = (0..50).map(|_| pair.connect()).collect();
    for &client in &clients {
        pair.client.lock().send(client, b"GET").unwrap();
    }
    pair.settle();
    let reply = vec![9; 65_547];
    let servers: Vec<Handle> = (0..50).map(|_| pair.server.lock().accept(listener).unwrap()).collect();
    for &server in &servers {
        pair.server.lock().set_options(server, |options| options.nodelay = true).unwrap();
        assert_eq!(read_all(&pair.server, server), b"GET");
        assert!(pair.server.lock().send(server, &reply).unwrap() > 0);
    }
    pair.settle();
    for &client in &clients {
        assert!(pair.client.lock().queued(client).receive > 10_000);
    }
}

#[test]
fn timers_do_not_multiply() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    for _ in 0..200 {
        pair.client.lock().send(client, b"request").unwrap();
        pair.settle();
        read_all(&pair.server, server);
        pair.server.lock().send(server, b"reply").unwrap();
        pair.settle();
        read_all(&pair.client, client);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(pair.server.lock().wheel.len() < 20, "{} entries", pair.server.lock().wheel.len());
}

#[test]
fn a_client_port_in_time_wait_can_be_used_again_at_once() {
    let pair = Pair::new();
    let listener = pair.listen(16);
    let local = v4(2, 40_000);
    let open = || {
        let client = pair.client.lock().connect(Some(local), SERVER, SocketOptions::default()).unwrap();
        pair.settle();
        assert_eq!(pair.client.lock().connect_state(client), ConnectState::Connected);
        (pair.server.lock().accept(listener).unwrap(), client)
    };
    let (server, client) = open();
    // The server closes first, so that TIME-WAIT is at its end.
    pair.server.lock().close(server);
    pair.settle();
    pair.client.lock().close(client);
    pair.settle();
    let (server, client) = open();
    pair.client.lock().send(client, b"again").unwrap();
    pair.settle();
    assert_eq!(read_all(&pair.server, server), b"again");
}

#[test]
fn a_neighbour_that_does_not_answer_is_no_route_to_host() {
    let pair = Pair::new();
    let nobody = v4(99, 6379);
    let client = pair.client.lock().connect(None, nobody, SocketOptions::default()).unwrap();
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(1010));
        pair.settle();
    }
    assert_eq!(pair.client.lock().connect_state(client), ConnectState::Failed);
    assert_eq!(pair.client.lock().recv(client, &mut [0; 8], false), Err(Errno::EHOSTUNREACH));
}

#[test]
fn what_one_thread_writes_leaves_at_once_while_another_sleeps() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    assert!(pair.server.lock().prepare_sleep().is_ok());
    pair.server.lock().send(server, b"from another thread").unwrap();
    pair.client.lock().poll();
    assert_eq!(read_all(&pair.client, client), b"from another thread");
    pair.server.finish_sleep();
}

#[test]
fn a_sleeper_is_woken_for_a_timer_that_is_earlier_than_its_own() {
    let pair = Pair::new();
    pair.settle();
    assert_eq!(pair.client.lock().prepare_sleep(), Ok(Some(super::NAP)));
    // Nothing that the sleeper waits for, but a retransmission to watch over.
    pair.client.lock().sleep_until = tpa_tcp::Instant::FAR;
    pair.client.lock().connect(None, SERVER, SocketOptions::default()).unwrap();
    assert!(pair.client.rung.load(std::sync::atomic::Ordering::Relaxed));
    pair.client.finish_sleep();
}

#[test]
fn a_plan_of_faults_that_finds_nobody_asleep_keeps_nobody_awake() {
    let pair = Pair::new();
    pair.settle();
    pair.client.lock().inject(&"drop=1%".parse().unwrap());
    assert!(pair.client.lock().prepare_sleep().is_ok());
    pair.client.finish_sleep();
}

#[test]
fn the_numbers_of_a_dead_connection_are_free_while_the_program_still_holds_it() {
    let pair = Pair::new();
    let listener = pair.listen(16);
    let local = v4(2, 40_001);
    let open = || {
        let client = pair.client.lock().connect(Some(local), SERVER, SocketOptions::default()).unwrap();
        pair.settle();
        (pair.server.lock().accept(listener).unwrap(), client)
    };
    let (dead, client) = open();
    pair.client.lock().set_options(client, |options| options.linger = Some(0)).unwrap();
    pair.client.lock().close(client);
    pair.settle();
    let (server, client) = open();
    pair.client.lock().send(client, b"new").unwrap();
    pair.settle();
    assert_eq!(read_all(&pair.server, server), b"new");
    assert_eq!(pair.server.lock().recv(dead, &mut [0; 8], false), Err(Errno::ECONNRESET));
}

#[test]
fn a_socket_left_to_the_worker_is_closed_at_its_next_round() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    pair.server.close_later(server);
    pair.settle();
    assert_eq!(pair.client.lock().recv(client, &mut [0; 8], false), Ok(0));
}

#[test]
fn accepted_connections_have_the_algorithm_of_their_listener_in_time_for_ecn() {
    use tpa_tcp::CongestionAlgorithm::Dctcp;
    let pair = Pair::new();
    let options = || SocketOptions { congestion: Some(Dctcp), ..SocketOptions::default() };
    let listener = pair.server.lock().listen(SERVER, 16, options()).unwrap();
    let client = pair.client.lock().connect(None, SERVER, options()).unwrap();
    pair.settle();
    let server = pair.server.lock().accept(listener).unwrap();
    for (worker, handle) in [(&pair.server, server), (&pair.client, client)] {
        assert_eq!(worker.lock().congestion(handle), Ok(Dctcp));
        // DCTCP asks for ECN by an ECN-capable SYN, which only DCTCP takes up.
        assert!(worker.lock().dctcp_info(handle).unwrap().is_some_and(|info| info.enabled));
    }
}

#[test]
fn the_algorithm_of_a_connection_can_be_changed() {
    use tpa_tcp::CongestionAlgorithm::{Cubic, NewReno};
    let pair = Pair::new();
    let (server, _) = pair.connected();
    assert_eq!(pair.server.lock().congestion(server), Ok(Cubic));
    pair.server.lock().set_options(server, |options| options.congestion = Some(NewReno)).unwrap();
    assert_eq!(pair.server.lock().congestion(server), Ok(NewReno));
    assert_eq!(pair.server.lock().dctcp_info(server), Ok(None));
}

#[test]
fn the_ip_header_is_what_the_program_wants_beside_the_ecn_bits() {
    use tpa_tcp::wire::{ChecksumPolicy, Ecn, Frame, parse_frame};
    let pair = Pair::new();
    let (server, _) = pair.connected();
    let mut guard = pair.server.lock();
    guard.set_options(server, |options| (options.tos, options.ttl) = (0x28, 9)).unwrap();
    guard.send(server, b"hello").unwrap();
    guard.poll();
    drop(guard);
    let mut client = pair.client.lock();
    let mut frames = Default::default();
    client.core.device.rx_burst(&mut frames);
    let packet = frames.first().expect("a segment");
    let Ok(Frame::Tcp(frame)) = parse_frame(packet.bytes(), ChecksumPolicy::Trust) else { panic!() };
    assert_eq!((frame.tos, frame.tcp.ecn), (0x28, Ecn::NotEct));
    assert_eq!(packet.bytes()[14 + 8], 9);
}

#[test]
fn what_pacing_holds_back_is_sent_when_its_time_comes() {
    let pair = Pair::new();
    let (server, client) = pair.connected();
    // 2 MB a second: 100 kB take 50 ms, less the first segments, which are not paced.
    pair.server.lock().set_options(server, |options| options.max_pacing_rate = Some(2_000_000)).unwrap();
    let begins = std::time::Instant::now();
    assert_eq!(pair.server.lock().send(server, &[7; 100_000]), Ok(100_000));
    let mut received = 0;
    while received < 100_000 {
        pair.settle();
        received += read_all(&pair.client, client).len();
        let wait = pair.server.lock().core.next_deadline().is_some();
        assert!(wait || received == 100_000, "nothing would send the rest");
        assert!(begins.elapsed().as_secs() < 10);
    }
    let millis = begins.elapsed().as_millis();
    assert!(millis >= 30, "{millis}");
}
