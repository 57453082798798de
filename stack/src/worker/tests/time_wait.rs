//! TIME-WAIT: small, bounded, and still the connection (RFC 9293 3.6.1, RFC
//! 1337, RFC 6191).

use std::net::SocketAddr;

use nix::errno::Errno;
use tpa_tcp::wire::{TcpFlags, TcpOptions};
use tpa_tcp::{SeqNum, Transmit};

use super::SERVER;
use super::peer::{Bench, CLIENT, IRS, only, segment, syn};
use crate::SocketOptions;
use crate::handle::Handle;
use crate::worker::ConnectState;
use crate::worker::socket::FlowKey;
use crate::worker::time_wait::Resting;

const ACK: TcpFlags = TcpFlags::ACK;
const FIN_ACK: TcpFlags = TcpFlags::FIN.union(TcpFlags::ACK);

/// A SYN without timestamps.
fn plain_syn(seq: SeqNum) -> Transmit<'static> {
    let options = TcpOptions { mss: Some(1460), ..TcpOptions::default() };
    Transmit { options, seq, ..syn() }
}

fn listening() -> (Bench, Handle) {
    let bench = Bench::new();
    let listener = bench.server.lock().listen(SERVER, 16, SocketOptions::default()).unwrap();
    (bench, listener)
}

/// Opens a connection from a port of the peer's, closes it from this end, and
/// returns the next number that the worker would send.
fn rest(bench: &mut Bench, listener: Handle, port: u16) -> SeqNum {
    let from = SocketAddr::new(CLIENT.ip(), port);
    let syn_ack = only(bench.send_from(from, &plain_syn(IRS)));
    let next = syn_ack.tcp().seq + 1;
    bench.send_from(from, &segment(ACK, IRS + 1, next, b""));
    let stream = bench.server.lock().accept(listener).unwrap();
    bench.server.lock().close(stream);
    assert!(only(bench.run()).tcp().flags.contains(TcpFlags::FIN));
    let last = only(bench.send_from(from, &segment(FIN_ACK, IRS + 1, next + 1, b"")));
    assert_eq!((last.tcp().flags, last.tcp().ack), (ACK, IRS + 2));
    next + 1
}

/// Opens a connection and closes it from this end; the peer takes the FIN and
/// sends none of its own yet. Returns the next number that the worker would send.
fn await_fin(bench: &mut Bench, listener: Handle) -> SeqNum {
    let syn_ack = only(bench.send_from(CLIENT, &plain_syn(IRS)));
    let next = syn_ack.tcp().seq + 1;
    bench.send(&segment(ACK, IRS + 1, next, b""));
    let stream = bench.server.lock().accept(listener).unwrap();
    bench.server.lock().close(stream);
    assert!(only(bench.run()).tcp().flags.contains(TcpFlags::FIN));
    assert!(bench.send(&segment(ACK, IRS + 1, next + 1, b"")).is_empty());
    next + 1
}

#[test]
fn an_orphan_that_waits_for_the_peers_fin_is_no_socket_any_more() {
    let (mut bench, listener) = listening();
    let next = await_fin(&mut bench, listener);
    {
        let server = bench.server.lock();
        assert_eq!((server.sockets.len(), server.flows.len(), server.time_wait.len()), (1, 0, 1));
    }
    bench.pass(50_000);
    let last = bench.ask(&segment(FIN_ACK, IRS + 1, next, b""));
    assert_eq!((last.tcp().flags, last.tcp().ack), (ACK, IRS + 2));
    bench.pass(50_000);
    assert_eq!(resting(&bench), 1, "TIME-WAIT begins with the FIN");
    bench.pass(11_000);
    assert_eq!(resting(&bench), 0);
}

#[test]
fn an_orphan_waits_for_the_fin_no_longer_than_a_minute() {
    let (mut bench, listener) = listening();
    await_fin(&mut bench, listener);
    bench.pass(59_000);
    assert_eq!(resting(&bench), 1);
    bench.pass(1500);
    assert_eq!(resting(&bench), 0);
}

#[test]
fn data_or_a_reset_ends_an_orphan_that_waits_for_the_fin() {
    let (mut bench, listener) = listening();
    let next = await_fin(&mut bench, listener);
    let reset = bench.ask(&segment(ACK, IRS + 1, next, b"x"));
    assert!(reset.tcp().flags.contains(TcpFlags::RST));
    assert_eq!(resting(&bench), 0);
    await_fin(&mut bench, listener);
    assert!(bench.send(&segment(TcpFlags::RST, IRS + 1, SeqNum(0), b"")).is_empty());
    assert_eq!(resting(&bench), 0);
}

fn resting(bench: &Bench) -> usize {
    bench.server.lock().time_wait.len()
}

#[test]
fn a_connection_in_time_wait_is_no_socket_any_more() {
    let (mut bench, listener) = listening();
    rest(&mut bench, listener, CLIENT.port());
    let server = bench.server.lock();
    assert_eq!((server.sockets.len(), server.flows.len(), server.time_wait.len()), (1, 0, 1));
    assert_eq!(server.counters.time_wait_now.get(), 1);
}

#[test]
fn a_connection_in_time_wait_takes_less_than_250_bytes() {
    let size = size_of::<(FlowKey, (tpa_tcp::Instant, Resting))>() + size_of::<(tpa_tcp::Instant, FlowKey)>();
    assert!(size <= 250, "{size}");
}

#[test]
fn a_fin_that_comes_again_is_acknowledged_and_prolongs_it() {
    let (mut bench, listener) = listening();
    let next = rest(&mut bench, listener, CLIENT.port());
    bench.pass(40_000);
    let again = bench.ask(&segment(FIN_ACK, IRS + 1, next, b""));
    assert_eq!((again.tcp().flags, again.tcp().seq, again.tcp().ack), (ACK, next, IRS + 2));
    bench.pass(40_000);
    assert_eq!(resting(&bench), 1);
    bench.pass(21_000);
    assert_eq!(resting(&bench), 0);
}

#[test]
fn it_is_over_after_a_minute() {
    let (mut bench, listener) = listening();
    let next = rest(&mut bench, listener, CLIENT.port());
    bench.pass(59_000);
    assert_eq!(resting(&bench), 1);
    bench.pass(1500);
    assert_eq!(resting(&bench), 0);
    let stray = bench.ask(&segment(FIN_ACK, IRS + 1, next, b""));
    assert_eq!(stray.tcp().flags, TcpFlags::RST);
}

#[test]
fn a_reset_does_not_end_it() {
    let (mut bench, listener) = listening();
    rest(&mut bench, listener, CLIENT.port());
    assert!(bench.send(&segment(TcpFlags::RST, IRS + 2, SeqNum(0), b"")).is_empty());
    assert_eq!(resting(&bench), 1);
}

#[test]
fn data_from_before_the_end_is_acknowledged() {
    let (mut bench, listener) = listening();
    let next = rest(&mut bench, listener, CLIENT.port());
    let answer = bench.ask(&segment(ACK, IRS + 1, next, b"x"));
    assert_eq!((answer.tcp().flags, answer.tcp().ack), (ACK, IRS + 2));
}

#[test]
fn answers_to_what_is_empty_are_limited() {
    let (mut bench, listener) = listening();
    let next = rest(&mut bench, listener, CLIENT.port());
    let stray = segment(ACK, IRS + 1_000_000, next, b"");
    assert_eq!(bench.send(&stray).len(), 1);
    assert!(bench.send(&stray).is_empty());
    bench.pass(600);
    assert_eq!(bench.send(&stray).len(), 1);
}

#[test]
fn a_new_connection_takes_its_place_with_numbers_beyond_it() {
    let (mut bench, listener) = listening();
    let next = rest(&mut bench, listener, CLIENT.port());
    let syn_ack = bench.ask(&plain_syn(IRS + 100));
    assert!(syn_ack.tcp().flags.contains(TcpFlags::SYN));
    assert!(syn_ack.tcp().seq.gt(next + 65_535));
    assert_eq!(resting(&bench), 0);
    bench.send(&segment(ACK, IRS + 101, syn_ack.tcp().seq + 1, b""));
    bench.server.lock().accept(listener).unwrap();
}

#[test]
fn a_syn_from_before_the_end_is_no_new_connection() {
    let (mut bench, listener) = listening();
    rest(&mut bench, listener, CLIENT.port());
    let answer = bench.ask(&plain_syn(IRS));
    assert_eq!(answer.tcp().flags, ACK);
    assert_eq!(resting(&bench), 1);
}

#[test]
fn without_a_listener_a_new_syn_is_reset() {
    let (mut bench, listener) = listening();
    rest(&mut bench, listener, CLIENT.port());
    bench.server.lock().close(listener);
    let reset = bench.ask(&plain_syn(IRS + 100));
    assert!(reset.tcp().flags.contains(TcpFlags::RST));
}

#[test]
fn the_oldest_makes_room() {
    let (mut bench, listener) = listening();
    bench.server.lock().settings.time_wait_max = 3;
    let nexts: Vec<SeqNum> = (0..5)
        .map(|n| {
            bench.pass(10);
            rest(&mut bench, listener, 1000 + n)
        })
        .collect();
    assert_eq!(resting(&bench), 3);
    assert_eq!(bench.server.lock().counters.time_wait_overflows.get(), 2);
    let flags = |bench: &mut Bench, n: usize| {
        let from = SocketAddr::new(CLIENT.ip(), 1000 + n as u16);
        only(bench.send_from(from, &segment(FIN_ACK, IRS + 1, nexts[n], b""))).tcp().flags
    };
    assert_eq!(flags(&mut bench, 1), TcpFlags::RST);
    assert_eq!(flags(&mut bench, 2), ACK);
}

#[test]
fn a_socket_that_the_program_holds_stays_whole() {
    let (mut bench, listener) = listening();
    let (stream, next) = bench.accepted(listener, &plain_syn(IRS));
    bench.server.lock().shutdown(stream, false, true).unwrap();
    bench.run();
    bench.send(&segment(FIN_ACK, IRS + 1, next + 1, b""));
    assert_eq!(resting(&bench), 0);
    assert_eq!(bench.server.lock().recv(stream, &mut [0; 8], false), Ok(0));
    bench.server.lock().close(stream);
    assert_eq!(resting(&bench), 1);
}

#[test]
fn the_local_port_of_a_client_stays_taken_until_the_end() {
    let mut bench = Bench::new();
    let (client, sent) = bench.connect();
    let (ours, port) = (sent.tcp().seq, sent.tcp().src_port);
    let to_port = |bench: &mut Bench, segment: &Transmit<'_>| {
        let bytes = super::peer::frame(CLIENT, SocketAddr::new(SERVER.ip(), port), segment);
        bench.send_frame(&bytes)
    };
    let syn_ack = Transmit {
        flags: TcpFlags::SYN | ACK,
        ack: ours + 1,
        options: TcpOptions { mss: Some(1460), ..TcpOptions::default() },
        ..syn()
    };
    to_port(&mut bench, &syn_ack);
    assert_eq!(bench.server.lock().connect_state(client), ConnectState::Connected);
    bench.server.lock().close(client);
    bench.run();
    to_port(&mut bench, &segment(FIN_ACK, IRS + 1, ours + 2, b""));
    assert_eq!(resting(&bench), 1);
    let again = |bench: &Bench| {
        let local = SocketAddr::new(SERVER.ip(), port);
        bench.server.lock().connect(Some(local), CLIENT, SocketOptions::default())
    };
    assert_eq!(again(&bench), Err(Errno::EADDRNOTAVAIL));
    bench.pass(61_000);
    assert_eq!(resting(&bench), 0);
    assert!(again(&bench).is_ok());
}
