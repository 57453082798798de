//! Connections over IPv6: neighbours, listeners of both families, and what
//! ICMPv6 reports (RFC 4861, RFC 4443, RFC 8201).

use nix::errno::Errno;
use tpa_tcp::wire::{
    ChecksumPolicy, Ecn, EthernetAddress, Frame, FrameHeader, Icmpv6Message, NDP_HOP_LIMIT, NeighbourMessage,
    Sum, emit_ndp_frame, parse_frame, solicited_node,
};

use super::peer::{Bench, CLIENT, CLIENT_MAC, Received, frame, last_ack, only, syn};
use super::{Pair, SERVER, read_all, v6, worker_with};
use crate::SocketOptions;
use crate::device::wire::wire;
use crate::device::{Batch, Device};
use crate::handle::Handle;
use crate::worker::{ConnectState, Worker};

const SERVER6: std::net::SocketAddr = v6(1, 6379);
const CLIENT6: std::net::SocketAddr = v6(2, 40_000);

const UNREACHABLE: u8 = 1;
const TOO_BIG: u8 = 2;

fn listen(worker: &Worker) -> Handle {
    worker.lock().listen(SERVER6, 16, SocketOptions::default()).unwrap()
}

/// A bench with a listener and a connection to it, over IPv6.
fn established() -> (Bench, Handle) {
    let mut bench = Bench::new();
    let listener = listen(&bench.server);
    let syn_ack = only(bench.send_frame(&frame(CLIENT6, SERVER6, &syn())));
    bench.send_frame(&frame(CLIENT6, SERVER6, &last_ack(&syn_ack, b"")));
    let stream = bench.server.lock().accept(listener).unwrap();
    (bench, stream)
}

fn write(bench: &mut Bench, stream: Handle, len: usize) -> Vec<Received> {
    assert_eq!(bench.server.lock().send(stream, &vec![7; len]), Ok(len));
    bench.run()
}

/// An ICMPv6 error from a router about a segment of the worker's.
fn about(kind: u8, code: u8, mtu: u32, segment: &Received) -> Vec<u8> {
    let quoted = &segment.bytes[14..];
    let mut message = vec![kind, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&quoted[..quoted.len().min(1232)]);
    let (src, dst) = (v6(254, 0).ip(), SERVER6.ip());
    let sum = Sum::pseudo_header(src.into(), dst.into(), 58, message.len() as u16).plus(&message).checksum();
    message[2..4].copy_from_slice(&sum);
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0];
    bytes.extend((message.len() as u16).to_be_bytes());
    bytes.extend([58, 64]);
    for address in [src, dst] {
        let std::net::IpAddr::V6(address) = address else { unreachable!() };
        bytes.extend(address.octets());
    }
    bytes.extend(message);
    bytes
}

/// Opens a connection to the peer; returns its SYN.
fn connect(bench: &mut Bench) -> (Handle, Received) {
    let handle = {
        let mut server = bench.server.lock();
        server.neighbours.learn(CLIENT6.ip().into(), CLIENT_MAC);
        server.connect(None, CLIENT6, SocketOptions::default()).unwrap()
    };
    (handle, only(bench.run()))
}

#[test]
fn a_connection_finds_its_neighbour_carries_bytes_and_is_named() {
    let pair = Pair::new();
    let listener = listen(&pair.server);
    let client = pair.client.lock().connect(None, SERVER6, SocketOptions::default()).unwrap();
    pair.settle();
    let server = pair.server.lock().accept(listener).unwrap();
    assert_eq!(pair.server.lock().local_addr(server), Ok(SERVER6));
    assert_eq!(pair.server.lock().peer_addr(server), pair.client.lock().local_addr(client));
    assert_eq!(pair.client.lock().local_addr(client).unwrap().ip(), CLIENT6.ip());
    let data: Vec<u8> = (0..50_000u32).map(|n| n as u8).collect();
    assert_eq!(pair.client.lock().send(client, &data), Ok(data.len()));
    let mut received = Vec::new();
    while received.len() < data.len() {
        pair.settle();
        received.extend(read_all(&pair.server, server));
    }
    assert_eq!(received, data);
    assert_eq!(pair.client.lock().counters.nd_solicitations_sent.get(), 1);
    assert_eq!(pair.server.lock().counters.nd_advertisements_sent.get(), 1);
    assert_eq!(pair.client.lock().counters.arp_requests_sent.get(), 0);
}

#[test]
fn segments_leave_room_for_the_longer_header_and_carry_one_label() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 4000);
    assert_eq!(sent.iter().map(|segment| segment.bytes.len()).max(), Some(1514));
    assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 1440 - 12);
    let label = |bytes: &[u8]| u32::from_be_bytes([0, bytes[15] & 0x0f, bytes[16], bytes[17]]);
    assert_ne!(label(&sent[0].bytes), 0);
    assert!(sent.iter().all(|segment| label(&segment.bytes) == label(&sent[0].bytes)));
}

#[test]
fn a_syn_announces_what_ipv6_leaves_of_the_mtu() {
    let (_, sent) = connect(&mut Bench::new());
    assert_eq!(sent.tcp().options.mss, Some(1440));
}

#[test]
fn services_and_hops_are_those_of_the_ipv6_options() {
    let (mut bench, stream) = established();
    let change = |options: &mut SocketOptions| {
        (options.tos, options.ttl) = (0xb8, 3);
        (options.traffic_class, options.hop_limit) = (0x28, 9);
    };
    bench.server.lock().set_options(stream, change).unwrap();
    let sent = only(write(&mut bench, stream, 10));
    assert_eq!((sent.frame.tos, sent.frame.tcp.ecn, sent.bytes[14 + 7]), (0x28, Ecn::NotEct, 9));
}

#[test]
fn a_listener_on_all_addresses_of_both_families_takes_both() {
    let mut bench = Bench::new();
    let listener = bench.server.lock().listen_dual(SERVER.port(), 16, SocketOptions::default()).unwrap();
    let (over_v4, _) = bench.accepted(listener, &syn());
    let syn_ack = only(bench.send_frame(&frame(CLIENT6, SERVER6, &syn())));
    bench.send_frame(&frame(CLIENT6, SERVER6, &last_ack(&syn_ack, b"hello")));
    let mut server = bench.server.lock();
    let over_v6 = server.accept(listener).unwrap();
    assert_eq!((server.peer_addr(over_v4), server.peer_addr(over_v6)), (Ok(CLIENT), Ok(CLIENT6)));
    for taken in [super::ANY, v6_any(SERVER.port())] {
        assert_eq!(server.listen(taken, 16, SocketOptions::default()), Err(Errno::EADDRINUSE));
    }
    server.close(listener);
    server.listen(super::ANY, 16, SocketOptions::default()).unwrap();
}

fn v6_any(port: u16) -> std::net::SocketAddr {
    (std::net::Ipv6Addr::UNSPECIFIED, port).into()
}

#[test]
fn a_listener_on_all_addresses_of_one_family_refuses_the_other() {
    let mut bench = Bench::new();
    let v6 = bench.server.lock().listen(v6_any(SERVER.port()), 16, SocketOptions::default()).unwrap();
    let refused = only(bench.send(&syn()));
    assert!(refused.tcp().flags.contains(tpa_tcp::wire::TcpFlags::RST));
    bench.server.lock().close(v6);
    bench.server.lock().listen(super::ANY, 16, SocketOptions::default()).unwrap();
    let refused = only(bench.send_frame(&frame(CLIENT6, SERVER6, &syn())));
    assert!(refused.tcp().flags.contains(tpa_tcp::wire::TcpFlags::RST));
}

#[test]
fn a_worker_reaches_itself_over_ipv6() {
    let (device, mut outside) = wire(1500);
    let worker = worker_with(device, 1, true);
    let listener = worker.lock().listen_dual(SERVER6.port(), 16, SocketOptions::default()).unwrap();
    for ip in [std::net::Ipv6Addr::LOCALHOST.into(), SERVER6.ip()] {
        let at = std::net::SocketAddr::new(ip, SERVER6.port());
        let client = worker.lock().connect(None, at, SocketOptions::default()).unwrap();
        while worker.lock().poll() > 0 {}
        let server = worker.lock().accept(listener).unwrap();
        assert_eq!(worker.lock().peer_addr(server).unwrap().ip(), ip);
        let data = vec![7; 200_000];
        let (mut sent, mut received) = (0, 0);
        while received < data.len() {
            sent += worker.lock().send(client, &data[sent..]).unwrap_or(0);
            while worker.lock().poll() > 0 {}
            received += read_all(&worker, server).len();
        }
        let largest = worker.lock().info(client).unwrap().snd_mss;
        assert_eq!(largest, 65_535 - 72, "a packet is no longer than one of IPv4 may be");
    }
    let mut batch = Batch::new();
    outside.rx_burst(&mut batch);
    assert!(batch.is_empty(), "nothing leaves");
}

#[test]
fn a_packet_that_is_too_big_gets_all_again_in_smaller_segments() {
    let (mut bench, stream) = established();
    let sent = write(&mut bench, stream, 3000);
    let again = bench.send_frame(&about(TOO_BIG, 0, 1300, &sent[0]));
    assert_eq!(again.iter().map(|segment| segment.bytes.len()).max(), Some(14 + 1300));
    assert_eq!(again[0].tcp().seq, sent[0].tcp().seq);
    assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 1300 - 72);
    let (client, _) = connect(&mut bench);
    assert_eq!(bench.server.lock().info(client).unwrap().path_mss, 1240, "the next one knows the path");
}

#[test]
fn no_report_of_less_than_1280_bytes_is_believed() {
    for mtu in [0, 68, 1279, 1500, 1 << 20] {
        let (mut bench, stream) = established();
        let sent = write(&mut bench, stream, 3000);
        assert!(bench.send_frame(&about(TOO_BIG, 0, mtu, &sent[0])).is_empty());
        assert_eq!(bench.server.lock().info(stream).unwrap().snd_mss, 1428, "{mtu}");
    }
}

#[test]
fn each_error_ends_an_attempt_to_connect_with_the_kernels_errno() {
    let errors = [
        (UNREACHABLE, 0, Errno::ENETUNREACH),
        (UNREACHABLE, 1, Errno::EACCES),
        (UNREACHABLE, 2, Errno::EHOSTUNREACH),
        (UNREACHABLE, 3, Errno::EHOSTUNREACH),
        (UNREACHABLE, 4, Errno::ECONNREFUSED),
        (UNREACHABLE, 5, Errno::EACCES),
        (UNREACHABLE, 6, Errno::EACCES),
        (3, 0, Errno::EHOSTUNREACH),
        (4, 0, Errno::EPROTO),
    ];
    for (kind, code, errno) in errors {
        let mut bench = Bench::new();
        let (client, sent) = connect(&mut bench);
        bench.send_frame(&about(kind, code, 0, &sent));
        let mut server = bench.server.lock();
        assert_eq!(server.connect_state(client), ConnectState::Failed, "{kind} {code}");
        assert_eq!(server.take_error(client), errno as i32, "{kind} {code}");
    }
}

#[test]
fn a_closed_port_ends_a_half_open_connection_and_a_missing_route_does_not() {
    let mut bench = Bench::new();
    listen(&bench.server);
    let syn_ack = only(bench.send_frame(&frame(CLIENT6, SERVER6, &syn())));
    bench.send_frame(&about(UNREACHABLE, 0, 0, &syn_ack));
    assert_eq!(bench.server.lock().half_open.len(), 1);
    bench.send_frame(&about(UNREACHABLE, 4, 0, &syn_ack));
    assert_eq!(bench.server.lock().half_open.len(), 0);
}

/// Puts a frame onto the wire; returns the ICMPv6 messages that come back, with
/// their destination.
fn exchange(
    bench: &mut Bench,
    bytes: &[u8],
) -> Vec<(tpa_tcp::wire::IpAddress, EthernetAddress, Icmpv6Message)> {
    let mut batch = Batch::new();
    batch.push(crate::packet::Packet::copy_of(bytes));
    bench.device.tx_burst(&mut batch);
    while bench.server.lock().round_at(bench.now) > 0 {}
    bench.device.rx_burst(&mut batch);
    let parse = |packet: crate::packet::Packet| match parse_frame(packet.bytes(), ChecksumPolicy::Verify) {
        Ok(Frame::Icmpv6(frame)) => Some((frame.dst, frame.dst_mac, frame.message)),
        _ => None,
    };
    batch.drain(..).filter_map(parse).collect()
}

fn solicitation(source: &str, source_mac: Option<EthernetAddress>, host: u8) -> Vec<u8> {
    let target = v6(host, 0).ip().into();
    let (dst, dst_mac) = solicited_node(target);
    let header = FrameHeader {
        src_mac: CLIENT_MAC,
        dst_mac,
        src: source.parse::<std::net::IpAddr>().unwrap().into(),
        dst,
        tos: 0,
        ttl: NDP_HOP_LIMIT,
        flow_label: 0,
    };
    let mut bytes = vec![0; 100];
    let len = emit_ndp_frame(&mut bytes, &header, &NeighbourMessage::Solicitation { target, source_mac });
    bytes.truncate(len);
    bytes
}

#[test]
fn a_question_for_our_address_is_answered_and_one_for_anothers_is_not() {
    let mut bench = Bench::new();
    let answers = exchange(&mut bench, &solicitation("fd00::2", Some(CLIENT_MAC), 1));
    let expected = NeighbourMessage::Advertisement {
        target: SERVER6.ip().into(),
        target_mac: Some(EthernetAddress([2, 0, 0, 0, 0, 1])),
        solicited: true,
        overrides: true,
    };
    let peer = CLIENT6.ip().into();
    assert_eq!(answers, [(peer, CLIENT_MAC, Icmpv6Message::Neighbour(expected))]);
    assert_eq!(exchange(&mut bench, &solicitation("fd00::2", Some(CLIENT_MAC), 9)), []);
}

#[test]
fn who_wants_our_address_is_told_before_all() {
    let mut bench = Bench::new();
    let mut probe = solicitation("fd00::2", Some(CLIENT_MAC), 1);
    // From no address, and without the option, which such a question must not have.
    probe.truncate(14 + 40 + 24);
    (probe[18], probe[19]) = (0, 24);
    probe[22..38].fill(0);
    let message = probe[54..].to_vec();
    let (any, group) = (v6_any(0).ip(), solicited_node(SERVER6.ip().into()).0);
    let mut zeroed = message.clone();
    zeroed[2..4].fill(0);
    let sum = Sum::pseudo_header(any.into(), group, 58, 24).plus(&zeroed).checksum();
    probe[56..58].copy_from_slice(&sum);
    let answers = exchange(&mut bench, &probe);
    assert_eq!(answers.len(), 1);
    let (to, mac, message) = &answers[0];
    assert_eq!((to.to_string().as_str(), *mac), ("ff02::1", EthernetAddress([0x33, 0x33, 0, 0, 0, 1])));
    assert!(matches!(
        message,
        Icmpv6Message::Neighbour(NeighbourMessage::Advertisement { solicited: false, .. })
    ));
}
