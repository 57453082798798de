//! ICMP errors (RFC 1122 4.2.3.9, RFC 5927) and path MTU discovery (RFC 1191),
//! from the frame to the socket call.

use nix::errno::Errno;
use proptest::prelude::*;
use tpa_tcp::wire::{Sum, TcpOptions};
use tpa_tcp::{SeqNum, Transmit};

use super::SERVER;
use super::peer::{Bench, CLIENT, IRS, Received, last_ack, segment, syn};
use crate::SocketOptions;
use crate::handle::Handle;
use crate::worker::ConnectState;

const UNREACHABLE: u8 = 3;
const TOO_BIG: u8 = 4;

/// An ICMP error from a router about a packet of the worker's.
fn error_about(kind: u8, code: u8, mtu: u16, packet: &[u8]) -> Vec<u8> {
    let mut icmp = vec![kind, code, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(&packet[..packet.len().min(28)]);
    let sum = Sum::default().plus(&icmp).checksum();
    icmp[2..4].copy_from_slice(&sum);
    let total = (20 + icmp.len() as u16).to_be_bytes();
    let mut ip = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 1, 0, 0, 192, 168, 7, 254];
    ip.extend([192, 168, 7, 1]);
    let sum = Sum::default().plus(&ip).checksum();
    ip[10..12].copy_from_slice(&sum);
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
    frame.extend(ip);
    frame.extend(icmp);
    frame
}

/// An error about a segment that was received.
fn about(kind: u8, code: u8, mtu: u16, segment: &Received) -> Vec<u8> {
    error_about(kind, code, mtu, &segment.bytes[14..])
}

/// The same, about another sequence number.
fn about_number(kind: u8, code: u8, mtu: u16, segment: &Received, seq: SeqNum) -> Vec<u8> {
    let mut packet = segment.bytes[14..].to_vec();
    packet[24..28].copy_from_slice(&seq.0.to_be_bytes());
    error_about(kind, code, mtu, &packet)
}

/// A bench with a listener, and a connection to it.
fn established() -> (Bench, Handle) {
    let mut bench = Bench::new();
    let listener = bench.server.lock().listen(SERVER, 16, SocketOptions::default()).unwrap();
    let (stream, _) = bench.accepted(listener, &syn());
    (bench, stream)
}

fn write(bench: &mut Bench, stream: Handle, len: usize) -> Vec<Received> {
    assert_eq!(bench.server.lock().send(stream, &vec![7; len]), Ok(len));
    bench.run()
}

fn ignored(bench: &Bench) -> u64 {
    bench.server.lock().counters.icmp_errors_ignored.get()
}

#[test]
fn each_error_ends_an_attempt_to_connect_with_the_kernels_errno() {
    let errors = [
        (UNREACHABLE, 0, Errno::ENETUNREACH),
        (UNREACHABLE, 1, Errno::EHOSTUNREACH),
        (UNREACHABLE, 2, Errno::ENOPROTOOPT),
        (UNREACHABLE, 3, Errno::ECONNREFUSED),
        (UNREACHABLE, 5, Errno::EOPNOTSUPP),
        (UNREACHABLE, 6, Errno::ENETUNREACH),
        (UNREACHABLE, 7, Errno::EHOSTDOWN),
        (UNREACHABLE, 8, Errno::ENONET),
        (UNREACHABLE, 9, Errno::ENETUNREACH),
        (UNREACHABLE, 10, Errno::EHOSTUNREACH),
        (UNREACHABLE, 11, Errno::ENETUNREACH),
        (UNREACHABLE, 12, Errno::EHOSTUNREACH),
        (UNREACHABLE, 13, Errno::EHOSTUNREACH),
        (UNREACHABLE, 14, Errno::EHOSTUNREACH),
        (UNREACHABLE, 15, Errno::EHOSTUNREACH),
        (11, 0, Errno::EHOSTUNREACH),
        (12, 0, Errno::EPROTO),
    ];
    for (kind, code, errno) in errors {
        let mut bench = Bench::new();
        let (client, sent) = bench.connect();
        bench.send_frame(&about(kind, code, 0, &sent));
        let mut server = bench.server.lock();
        assert_eq!(server.connect_state(client), ConnectState::Failed, "{kind} {code}");
        assert_eq!(server.take_error(client), errno as i32, "{kind} {code}");
        assert_eq!(server.counters.connections_failed.get(), 1);
    }
}

#[test]
fn other_messages_end_nothing() {
    // Source quench (RFC 6633), redirect, and a code that does not exist.
    for (kind, code) in [(4, 0), (5, 1), (UNREACHABLE, 16)] {
        let mut bench = Bench::new();
        let (client, sent) = bench.connect();
        bench.send_frame(&about(kind, code, 0, &sent));
        assert_eq!(bench.server.lock().connect_state(client), ConnectState::Connecting);
    }
}

#[test]
fn a_forged_error_must_know_the_sequence_number() {
    let mut bench = Bench::new();
    let (client, sent) = bench.connect();
    for wrong in [sent.tcp().seq + 1, sent.tcp().seq + u32::MAX, SeqNum(0)] {
        bench.send_frame(&about_number(UNREACHABLE, 3, 0, &sent, wrong));
    }
    assert_eq!(bench.server.lock().connect_state(client), ConnectState::Connecting);
    assert_eq!(ignored(&bench), 3);
}

#[test]
fn an_error_about_another_flow_or_host_is_ignored() {
    let mut bench = Bench::new();
    let (client, sent) = bench.connect();
    // Their port; our address; not TCP; cut short; a later fragment.
    let changes: [(usize, u8); 4] =
        [(14 + 20 + 8 + 22, 1), (14 + 20 + 8 + 12, 10), (14 + 20 + 8 + 9, 17), (14 + 20 + 8 + 7, 1)];
    for (at, value) in changes {
        let mut packet = sent.bytes[14..].to_vec();
        packet[at - 14 - 28] = value;
        bench.send_frame(&error_about(UNREACHABLE, 3, 0, &packet));
    }
    bench.send_frame(&error_about(UNREACHABLE, 3, 0, &sent.bytes[14..41]));
    assert_eq!(ignored(&bench), 5);
    assert_eq!(bench.server.lock().connect_state(client), ConnectState::Connecting);
}

#[test]
fn an_error_with_a_wrong_checksum_is_dropped() {
    let mut bench = Bench::new();
    let (client, sent) = bench.connect();
    let mut bytes = about(UNREACHABLE, 3, 0, &sent);
    bytes[14 + 20 + 5] ^= 1;
    bench.send_frame(&bytes);
    assert_eq!(bench.server.lock().counters.rx_bad_checksum.get(), 1);
    assert_eq!(bench.server.lock().connect_state(client), ConnectState::Connecting);
}

#[test]
fn an_established_connection_only_notes_an_error() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 100);
    bench.send_frame(&about(UNREACHABLE, 3, 0, &sent[0]));
    let mut server = bench.server.lock();
    assert_eq!(server.connect_state(stream), ConnectState::Connected);
    assert_eq!(server.take_error(stream), Errno::ECONNREFUSED as i32);
    assert_eq!(server.take_error(stream), 0);
    assert_eq!(server.send(stream, b"more"), Ok(4));
}

#[test]
fn a_smaller_path_gets_all_again_in_smaller_segments() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 3000);
    assert_eq!(sent.iter().map(|segment| segment.payload().len()).collect::<Vec<_>>(), [1448, 1448, 104]);
    let again = bench.send_frame(&about(UNREACHABLE, TOO_BIG, 1000, &sent[0]));
    assert_eq!(again.iter().map(|segment| segment.bytes.len()).max(), Some(14 + 1000));
    assert_eq!(again.iter().map(|segment| segment.payload().len()).sum::<usize>(), 2896);
    assert_eq!(again[0].tcp().seq, sent[0].tcp().seq);
    let server = bench.server.lock();
    assert_eq!(server.info(stream).unwrap().snd_mss, 1000 - 52);
    assert_eq!(server.counters.path_mtu_lowered.get(), 1);
}

#[test]
fn a_later_connection_to_the_destination_knows_the_path() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 3000);
    bench.send_frame(&about(UNREACHABLE, TOO_BIG, 1000, &sent[0]));
    let (client, _) = bench.connect();
    assert_eq!(bench.server.lock().info(client).unwrap().path_mss, 960);
    // What we announce is what we can receive.
    let mut other = Bench::new();
    assert_eq!(other.connect().1.tcp().options.mss, Some(1460));
}

#[test]
fn a_tiny_mtu_is_not_believed() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 3000);
    bench.send_frame(&about(UNREACHABLE, TOO_BIG, 68, &sent[0]));
    assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 552 - 52);
}

#[test]
fn an_mtu_that_is_no_smaller_changes_nothing() {
    for mtu in [1500, 9000, 65_535] {
        let (mut bench, stream) = established();
        let sent = write(&mut bench, stream, 3000);
        assert!(bench.send_frame(&about(UNREACHABLE, TOO_BIG, mtu, &sent[0])).is_empty());
        assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 1448);
        assert_eq!(ignored(&bench), 1);
    }
}

#[test]
fn a_forged_mtu_must_know_what_is_outstanding() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 1000);
    let end = sent[0].tcp().seq + 1000;
    for wrong in [end, end + 100_000, sent[0].tcp().seq + u32::MAX] {
        bench.send_frame(&about_number(UNREACHABLE, TOO_BIG, 600, &sent[0], wrong));
    }
    assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 1448);
    let inside = sent[0].tcp().seq + 999;
    bench.send_frame(&about_number(UNREACHABLE, TOO_BIG, 600, &sent[0], inside));
    assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 548);
}

#[test]
fn an_unreachable_peer_ends_a_half_open_connection() {
    let mut bench = Bench::new();
    bench.server.lock().listen(SERVER, 16, SocketOptions::default()).unwrap();
    let syn_ack = bench.ask(&syn());
    bench.send_frame(&about_number(UNREACHABLE, 1, 0, &syn_ack, syn_ack.tcp().seq + 1));
    bench.send_frame(&about(UNREACHABLE, 3, 0, &syn_ack));
    assert_eq!(bench.server.lock().half_open.len(), 1, "neither is enough");
    bench.send_frame(&about(UNREACHABLE, 1, 0, &syn_ack));
    assert_eq!(bench.server.lock().half_open.len(), 0);
    let reset = bench.ask(&last_ack(&syn_ack, b""));
    assert!(reset.tcp().flags.contains(tpa_tcp::wire::TcpFlags::RST));
}

#[test]
fn don_t_fragment_is_set_on_everything() {
    let (mut bench, stream) = established();
    for segment in write(&mut bench, stream, 5000) {
        assert_eq!(segment.bytes[14 + 6] & 0x40, 0x40);
    }
    let stray = Transmit {
        options: TcpOptions::default(),
        ..segment(tpa_tcp::wire::TcpFlags::ACK, IRS + 9, SeqNum(9), b"")
    };
    let other = std::net::SocketAddr::new(CLIENT.ip(), 1);
    for reset in bench.send_from(other, &stray) {
        assert_eq!(reset.bytes[14 + 6] & 0x40, 0x40);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_message_breaks_a_connection(kind: u8, code: u8, mtu: u16, len in 0usize..60,
            flips in proptest::collection::vec((0usize..28, any::<u8>()), 0..4)) {
        let (mut bench, stream) = established();
        let sent = write(&mut bench, stream, 2000);
        let mut packet = sent[0].bytes[14..].to_vec();
        for (at, value) in flips {
            packet[at] = value;
        }
        packet.truncate(len);
        bench.send_frame(&error_about(kind, code, mtu, &packet));
        prop_assert_eq!(bench.server.lock().connect_state(stream), ConnectState::Connected);
        prop_assert!(bench.server.lock().info(stream).unwrap().snd_mss >= 552 - 52);
    }
}
