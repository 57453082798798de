//! SYN queue, accept queue, SYN cookies (RFC 4987), and what a listener makes
//! of everything else (RFC 9293 3.10.7.2, 3.10.7.4).

use std::net::{Ipv4Addr, SocketAddr};

use nix::errno::Errno;
use proptest::prelude::*;
use tpa_tcp::wire::{TcpFlags, TcpOptions, Timestamps};
use tpa_tcp::{SeqNum, Transmit};

use super::peer::{Bench, CLIENT, IRS, Received, frame, last_ack, only, segment, syn};
use super::{SERVER, read_all};
use crate::SocketOptions;
use crate::handle::Handle;
use crate::worker::passive::HalfOpen;
use crate::worker::socket::{FlowKey, Socket};

const ACK: TcpFlags = TcpFlags::ACK;
const RST: TcpFlags = TcpFlags::RST;
const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);

/// A bench whose worker listens.
fn listening(backlog: u32) -> (Bench, Handle) {
    let bench = Bench::new();
    let listener = bench.server.lock().listen(SERVER, backlog, SocketOptions::default()).unwrap();
    (bench, listener)
}

/// The `n`-th of many peers.
fn peer(n: u32) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0001 + n).into(), 1024 + (n % 60_000) as u16)
}

/// Completes a handshake from an address.
fn open(bench: &mut Bench, from: SocketAddr) {
    let syn_ack = only(bench.send_from(from, &syn()));
    assert!(bench.send_from(from, &last_ack(&syn_ack, b"")).is_empty());
}

/// Fills the SYN queue with peers that never answer; returns how many fit.
fn flood(bench: &mut Bench, syns: u32) -> usize {
    for n in 0..syns {
        bench.send_from(peer(n), &syn());
    }
    bench.server.lock().half_open.len()
}

#[test]
fn a_half_open_connection_is_no_socket_yet() {
    let (mut bench, listener) = listening(16);
    let syn_ack = bench.ask(&syn());
    assert_eq!((syn_ack.tcp().flags, syn_ack.tcp().ack), (SYN_ACK, IRS + 1));
    {
        let server = bench.server.lock();
        assert_eq!((server.sockets.len(), server.flows.len(), server.half_open.len()), (1, 0, 1));
    }
    assert!(bench.send(&last_ack(&syn_ack, b"hello")).iter().all(|answer| answer.tcp().flags == ACK));
    let server = bench.server.lock().accept(listener).unwrap();
    assert_eq!(read_all(&bench.server, server), b"hello");
    assert_eq!(bench.server.lock().half_open.len(), 0);
    let info = bench.server.lock().info(server).unwrap();
    assert_eq!((info.snd_wscale, info.sack, info.timestamps), (7, true, true));
}

#[test]
fn a_half_open_connection_takes_less_than_250_bytes() {
    // With its place in the order of deadlines.
    let size =
        size_of::<(FlowKey, (tpa_tcp::Instant, HalfOpen))>() + size_of::<(tpa_tcp::Instant, FlowKey)>();
    assert!(size <= 250, "{size}");
}

#[test]
fn an_unanswered_syn_ack_is_sent_again_with_doubling_pauses_and_given_up() {
    let (mut bench, _) = listening(16);
    let first = bench.ask(&syn());
    for pause in [1000, 2000, 4000, 8000, 16_000] {
        assert!(bench.pass(pause - 2).is_empty());
        let again = only(bench.pass(3));
        assert_eq!((again.tcp().flags, again.tcp().seq), (SYN_ACK, first.tcp().seq));
        bench.pass(0);
    }
    assert!(bench.pass(33_000).is_empty());
    assert_eq!(bench.server.lock().half_open.len(), 0);
    assert_eq!(bench.server.lock().counters.half_open_expired.get(), 1);
    let stray = bench.ask(&last_ack(&first, b""));
    assert_eq!(stray.tcp().flags, RST);
}

#[test]
fn a_syn_that_comes_again_is_answered_again_twice_a_second() {
    let (mut bench, _) = listening(16);
    let first = bench.ask(&syn());
    assert_eq!(bench.ask(&syn()).tcp().seq, first.tcp().seq);
    assert!(bench.send(&syn()).is_empty());
    bench.pass(500);
    assert_eq!(bench.ask(&syn()).tcp().seq, first.tcp().seq);
    assert_eq!(bench.server.lock().half_open.len(), 1);
}

#[test]
fn a_request_echoes_the_syn_that_came_again() {
    let (mut bench, _) = listening(16);
    bench.ask(&syn());
    bench.pass(700);
    let mut again = syn();
    again.options.timestamps = Some(Timestamps { tsval: 777, tsecr: 0 });
    for _ in 0..2 {
        assert_eq!(bench.ask(&again).tcp().options.timestamps.unwrap().tsecr, 777);
        bench.pass(600);
    }
}

#[test]
fn a_syn_is_dropped_while_the_accept_queue_is_full() {
    let (mut bench, listener) = listening(1);
    for n in 0..2 {
        open(&mut bench, peer(n));
    }
    assert!(bench.send_from(peer(2), &syn()).is_empty());
    assert_eq!(bench.server.lock().counters.listen_overflows.get(), 1);
    bench.server.lock().accept(listener).unwrap();
    open(&mut bench, peer(2));
}

#[test]
fn a_last_ack_counts_as_lost_while_the_accept_queue_is_full() {
    let (mut bench, listener) = listening(0);
    let syn_ack = bench.ask(&syn());
    // backlog 0: one may wait, and takes the place before the last ACK comes.
    open(&mut bench, peer(1));
    assert!(bench.send(&last_ack(&syn_ack, b"lost")).is_empty());
    assert_eq!(bench.server.lock().counters.listen_overflows.get(), 1);
    assert_eq!(bench.server.lock().half_open.len(), 1);
    let again = only(bench.pass(1001));
    assert_eq!(again.tcp().flags, SYN_ACK);
    bench.server.lock().accept(listener).unwrap();
    bench.send(&last_ack(&again, b"kept"));
    let server = bench.server.lock().accept(listener).unwrap();
    assert_eq!(read_all(&bench.server, server), b"kept");
}

#[test]
fn a_reset_ends_a_half_open_connection_only_with_the_next_number() {
    let (mut bench, _) = listening(16);
    bench.ask(&syn());
    // RFC 5961 3.2: elsewhere in the window it is challenged, outside ignored.
    let challenge = bench.ask(&segment(RST, IRS + 2, SeqNum(0), b""));
    assert_eq!((challenge.tcp().flags, challenge.tcp().ack), (ACK, IRS + 1));
    assert!(bench.send(&segment(RST, IRS + 1_000_000, SeqNum(0), b"")).is_empty());
    assert_eq!(bench.server.lock().half_open.len(), 1);
    assert!(bench.send(&segment(RST, IRS + 1, SeqNum(0), b"")).is_empty());
    assert_eq!(bench.server.lock().half_open.len(), 0);
}

#[test]
fn an_ack_of_the_wrong_number_is_reset_and_the_request_stays() {
    let (mut bench, _) = listening(16);
    let syn_ack = bench.ask(&syn());
    let wrong = Transmit { ack: syn_ack.tcp().seq + 2, ..last_ack(&syn_ack, b"") };
    let reset = bench.ask(&wrong);
    assert_eq!((reset.tcp().flags, reset.tcp().seq), (RST, wrong.ack));
    bench.send(&last_ack(&syn_ack, b""));
    assert_eq!(bench.server.lock().flows.len(), 1);
}

#[test]
fn a_syn_with_another_number_starts_over_in_the_window_and_is_challenged_outside() {
    let (mut bench, _) = listening(16);
    bench.ask(&syn());
    let outside = Transmit { seq: IRS + 1_000_000, ..syn() };
    assert_eq!(bench.ask(&outside).tcp().flags, ACK);
    assert_eq!(bench.server.lock().half_open.len(), 1);
    let inside = Transmit { seq: IRS + 500, ..syn() };
    assert!(bench.send(&inside).is_empty());
    assert_eq!(bench.server.lock().half_open.len(), 0);
    assert_eq!(bench.ask(&inside).tcp().ack, IRS + 501);
}

#[test]
fn resets_for_half_open_connections_are_limited() {
    let (mut bench, _) = listening(16);
    let syn_ack = bench.ask(&syn());
    let wrong = Transmit { ack: syn_ack.tcp().seq + 2, ..last_ack(&syn_ack, b"") };
    let resets = (0..2000).filter(|_| !bench.send(&wrong).is_empty()).count();
    assert!((500..=1500).contains(&resets), "{resets}");
}

#[test]
fn without_cookies_a_full_syn_queue_drops_syns() {
    let (mut bench, _) = listening(4);
    bench.server.lock().settings.syn_cookies = false;
    assert_eq!(flood(&mut bench, 20), 5);
    assert_eq!(bench.server.lock().counters.syn_queue_drops.get(), 15);
    assert!(bench.send(&syn()).is_empty());
}

#[test]
fn a_flood_from_many_addresses_does_not_keep_a_client_out() {
    let (mut bench, listener) = listening(16);
    assert_eq!(flood(&mut bench, 20_000), 17);
    let syn_ack = bench.ask(&syn());
    bench.send(&last_ack(&syn_ack, b"request"));
    {
        let mut server = bench.server.lock();
        assert_eq!((server.sockets.len(), server.flows.len(), server.half_open.len()), (2, 1, 17));
        assert_eq!(server.counters.syn_cookies_accepted.get(), 1);
        let stream = server.accept(listener).unwrap();
        let info = server.info(stream).unwrap();
        assert_eq!((info.snd_wscale, info.sack, info.timestamps), (7, true, true));
        assert_eq!(info.snd_mss, 1448);
        server.send(stream, b"reply").unwrap();
        drop(server);
        assert_eq!(read_all(&bench.server, stream), b"request");
    }
    assert_eq!(only(bench.run()).payload(), b"reply");
}

#[test]
fn a_cookie_comes_back_with_data_alone() {
    // The bare last ACK was lost.
    let (mut bench, listener) = listening(0);
    flood(&mut bench, 3);
    let syn_ack = bench.ask(&syn());
    bench.send(&Transmit { flags: ACK | TcpFlags::PSH, ..last_ack(&syn_ack, b"GET") });
    let stream = bench.server.lock().accept(listener).unwrap();
    assert_eq!(read_all(&bench.server, stream), b"GET");
}

#[test]
fn a_cookie_is_no_way_around_a_full_accept_queue() {
    let (mut bench, _) = listening(0);
    flood(&mut bench, 3);
    let syn_ack = bench.ask(&syn());
    let other = only(bench.send_from(peer(99), &syn()));
    bench.send_from(peer(99), &last_ack(&other, b""));
    assert!(bench.send(&last_ack(&syn_ack, b"")).is_empty());
    assert_eq!(bench.server.lock().counters.listen_overflows.get(), 1);
}

#[test]
fn an_old_cookie_is_reset() {
    let (mut bench, _) = listening(0);
    flood(&mut bench, 3);
    let syn_ack = bench.ask(&syn());
    bench.pass(129_000);
    // Others keep the listener in its state of alarm.
    flood(&mut bench, 3);
    assert_eq!(bench.ask(&last_ack(&syn_ack, b"")).tcp().flags, RST);
    assert_eq!(bench.server.lock().counters.syn_cookies_failed.get(), 1);
}

#[test]
fn a_cookie_is_refused_by_a_listener_that_has_sent_none() {
    let (mut bench, _) = listening(0);
    flood(&mut bench, 3);
    let syn_ack = bench.ask(&syn());
    let listener = bench.server.lock().listeners_at(SERVER.ip().into(), SERVER.port()).next().unwrap();
    if let Some(Socket::Listener(listener)) = bench.server.lock().sockets.at(listener) {
        listener.cookie_sent_at = None;
    }
    assert_eq!(bench.ask(&last_ack(&syn_ack, b"")).tcp().flags, RST);
    assert_eq!(bench.server.lock().flows.len(), 0);
}

#[test]
fn listeners_that_share_an_address_share_its_flows() {
    let mut bench = Bench::new();
    let options = SocketOptions { reuse_port: true, ..SocketOptions::default() };
    let listen = |bench: &mut Bench, options: &SocketOptions| {
        bench.server.lock().listen(super::ANY, 200, options.clone())
    };
    let group = [(); 2].map(|()| listen(&mut bench, &options).unwrap());
    assert_eq!(listen(&mut bench, &SocketOptions::default()), Err(Errno::EADDRINUSE));
    // A second SYN of a flow finds the listener of the first.
    flood(&mut bench, 64);
    flood(&mut bench, 64);
    let half_open = |bench: &mut Bench| {
        group.map(|listener| match bench.server.lock().sockets.get(listener) {
            Some(Socket::Listener(listener)) => listener.half_open,
            _ => 0,
        })
    };
    let [one, other] = half_open(&mut bench);
    assert!(one > 10 && other > 10 && one + other == 64, "{one} and {other}");
    // What is left has the address alone.
    bench.server.lock().close(group[0]);
    assert_eq!(half_open(&mut bench), [0, other]);
    flood(&mut bench, 64);
    assert_eq!(half_open(&mut bench), [0, 64]);
}

#[test]
fn in_a_crowded_queue_old_requests_leave_early() {
    let (mut bench, _) = listening(15);
    flood(&mut bench, 16);
    // None of them is young after the first timeout: two more are all they get.
    assert_eq!(bench.pass(1001).len(), 16);
    assert_eq!(bench.pass(2001).len(), 16);
    assert_eq!(bench.pass(4001).len(), 7);
    assert_eq!(bench.server.lock().half_open.len(), 7, "half of the room is for young ones");
}

#[test]
fn a_closed_listener_forgets_half_open_connections() {
    let (mut bench, listener) = listening(16);
    let syn_ack = bench.ask(&syn());
    bench.server.lock().close(listener);
    assert!(bench.pass(10_000).is_empty());
    assert_eq!(bench.server.lock().half_open.len(), 0);
    assert_eq!(bench.server.lock().counters.half_open_now.get(), 0);
    assert_eq!(bench.ask(&last_ack(&syn_ack, b"")).tcp().flags, RST);
}

#[test]
fn only_a_syn_or_an_ack_is_answered_by_a_listener() {
    let (mut bench, _) = listening(16);
    for flags in [RST, TcpFlags::FIN, TcpFlags::empty(), TcpFlags::PSH | TcpFlags::URG] {
        assert!(bench.send(&segment(flags, IRS, SeqNum(0), b"x")).is_empty(), "{flags:?}");
    }
    assert!(bench.send(&segment(TcpFlags::SYN | TcpFlags::FIN, IRS, SeqNum(0), b"")).is_empty());
    let reset = bench.ask(&segment(ACK, IRS, SeqNum(5), b""));
    assert_eq!((reset.tcp().flags, reset.tcp().seq), (RST, SeqNum(5)));
    let reset = bench.ask(&segment(SYN_ACK, IRS, SeqNum(9), b""));
    assert_eq!((reset.tcp().flags, reset.tcp().seq), (RST, SeqNum(9)));
}

#[test]
fn a_syn_from_an_address_that_no_peer_has_is_not_answered() {
    let (mut bench, _) = listening(16);
    let addresses = [[127, 0, 0, 1], [224, 0, 0, 5], [255, 255, 255, 255], [0, 0, 0, 0], [192, 168, 7, 1]];
    for address in addresses {
        let from = SocketAddr::new(Ipv4Addr::from(address).into(), 40_000);
        assert!(bench.send_from(from, &syn()).is_empty(), "{from}");
    }
    assert_eq!(bench.server.lock().half_open.len(), 0);
}

#[test]
fn a_syn_to_everyone_on_the_link_is_not_answered() {
    let (mut bench, _) = listening(16);
    let mut bytes = frame(CLIENT, SERVER, &syn());
    bytes[..6].copy_from_slice(&[0xff; 6]);
    assert!(bench.send_frame(&bytes).is_empty());
}

#[test]
fn no_answer_to_an_unproven_peer_is_longer_than_its_cause() {
    let (mut bench, _) = listening(4);
    let len = |segment: &Transmit<'_>| frame(CLIENT, SERVER, segment).len().max(60);
    let offers = [
        syn().options,
        TcpOptions { timestamps: None, ..syn().options },
        TcpOptions { mss: Some(1460), ..TcpOptions::default() },
        TcpOptions { timestamps: Some(Timestamps { tsval: 1, tsecr: 0 }), ..TcpOptions::default() },
        // The MSS alone is more than was offered, within the least Ethernet frame.
        TcpOptions::default(),
    ];
    // The later ones get cookies.
    for (n, options) in (0..).zip(offers.iter().cycle().take(20)) {
        let syn = Transmit { options: options.clone(), ..syn() };
        let answer = only(bench.send_from(peer(n), &syn));
        assert_eq!(answer.tcp().flags, SYN_ACK);
        let extra = if options.mss.is_none() && options.timestamps.is_some() { 4 } else { 0 };
        assert!(answer.bytes.len() <= len(&syn) + extra, "{options:?}");
    }
    let stray = segment(ACK, IRS, SeqNum(5), b"");
    assert!(bench.ask(&stray).bytes.len() <= len(&stray));
}

#[test]
fn the_receive_buffer_of_the_listener_shows_in_the_syn_ack() {
    let mut bench = Bench::new();
    let options = SocketOptions { rcvbuf: Some(8192), ..SocketOptions::default() };
    bench.server.lock().listen(SERVER, 4, options).unwrap();
    assert_eq!(bench.ask(&syn()).tcp().window, 8192);
}

#[test]
fn the_segment_size_of_the_listener_holds_for_what_it_accepts() {
    // TCP_MAXSEG, with a place in the SYN queue and with a cookie.
    let mut bench = Bench::new();
    let options = SocketOptions { maxseg: 700, ..SocketOptions::default() };
    let listener = bench.server.lock().listen(SERVER, 0, options).unwrap();
    let waiting = bench.ask(&syn());
    let cookie = only(bench.send_from(peer(1), &syn()));
    assert_eq!(bench.server.lock().counters.syn_cookies_sent.get(), 1);
    for (from, syn_ack) in [(peer(1), cookie), (CLIENT, waiting)] {
        assert_eq!(syn_ack.tcp().options.mss, Some(700));
        bench.send_from(from, &last_ack(&syn_ack, b""));
        let mut server = bench.server.lock();
        let accepted = server.accept(listener).unwrap();
        assert_eq!(server.info(accepted).unwrap().snd_mss, 700 - 12);
    }
}

#[test]
fn initial_numbers_and_timestamps_tell_nothing_of_other_flows() {
    let (mut bench, _) = listening(100);
    let syn_acks: Vec<Received> = (0..20).map(|n| only(bench.send_from(peer(n), &syn()))).collect();
    let stamp = |answer: &Received| answer.tcp().options.timestamps.unwrap().tsval;
    let far = |a: u32, b: u32| a.wrapping_sub(b).min(b.wrapping_sub(a)) > 100_000;
    let pairs = || syn_acks.iter().zip(&syn_acks[1..]);
    assert!(pairs().filter(|(a, b)| far(a.tcp().seq.0, b.tcp().seq.0)).count() > 15);
    assert!(pairs().filter(|(a, b)| far(stamp(a), stamp(b))).count() > 15);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forged_acks_open_nothing(forged in proptest::collection::vec(any::<(u32, u32, u16)>(), 1..100)) {
        let (mut bench, _) = listening(0);
        flood(&mut bench, 5);
        let count = forged.len();
        for (seq, ack, port) in forged {
            let from = SocketAddr::new(CLIENT.ip(), port | 1);
            let answer = only(bench.send_from(from, &segment(ACK, SeqNum(seq), SeqNum(ack), b"forged")));
            prop_assert_eq!(answer.tcp().flags, RST);
        }
        let server = bench.server.lock();
        prop_assert_eq!(server.flows.len(), 0);
        prop_assert_eq!(server.counters.syn_cookies_failed.get(), count as u64);
    }
}
