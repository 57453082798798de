//! Frames: no bytes upset the parser, ranges lie within the frame, checksum
//! policies agree with each other, and what was read survives being written
//! and read again.

use tpa_tcp::wire::{
    ArpRepr, ChecksumPolicy, EchoRepr, EthernetAddress, Frame, FrameHeader, Icmpv4Frame, Icmpv4Message,
    Icmpv6Frame, Icmpv6Message, IpAddress, NDP_HOP_LIMIT, NeighbourMessage, Ports, QuotedSegment, TcpFrame,
    TcpOptions, emit_arp_frame, emit_echo_reply, emit_ndp_frame, emit_tcp_frame, parse_frame,
};
use tpa_tcp::{Transmit, reset_for};

/// Largest frame that is emitted: an IP packet and its Ethernet header.
const LARGEST: usize = 14 + 65_535;

/// Parses `bytes` under every checksum policy and checks what comes out.
pub fn run(bytes: &[u8]) {
    let trusted = parse_frame(bytes, ChecksumPolicy::Trust);
    for policy in [ChecksumPolicy::Verify, ChecksumPolicy::VerifyOrPartial] {
        if let Ok(verified) = parse_frame(bytes, policy) {
            assert_eq!(Ok(&verified), trusted.as_ref(), "{policy:?} reads something else");
        }
    }
    if parse_frame(bytes, ChecksumPolicy::Verify).is_ok() {
        assert!(parse_frame(bytes, ChecksumPolicy::VerifyOrPartial).is_ok());
    }
    match trusted {
        Ok(Frame::Tcp(frame)) => check_tcp(bytes, &frame),
        Ok(Frame::Arp(arp)) => check_arp(&arp),
        Ok(Frame::Icmpv4(frame)) => check_icmp(bytes, &frame),
        Ok(Frame::Icmpv6(frame)) => check_icmpv6(bytes, &frame),
        Ok(Frame::Other) | Err(_) => {}
    }
}

fn header(src_mac: EthernetAddress, dst_mac: EthernetAddress, src: IpAddress, dst: IpAddress) -> FrameHeader {
    FrameHeader { src_mac, dst_mac, src, dst, tos: 0, ttl: 64, flow_label: 0 }
}

fn check_tcp(bytes: &[u8], frame: &TcpFrame) {
    let payload = &bytes[frame.payload.clone()];
    let tcp = &frame.tcp;
    assert_eq!(payload.len(), tcp.payload_len);
    if let Some(reset) = reset_for(tcp) {
        assert_eq!(reset.payload_len(), 0);
    }
    let (first, second) = payload.split_at(payload.len() / 2);
    let segment = Transmit {
        seq: tcp.seq,
        ack: tcp.ack,
        flags: tcp.flags,
        window: tcp.window,
        urgent: tcp.urgent,
        ecn: tcp.ecn,
        options: tcp.options.clone(),
        payload: (first, second),
        is_retransmit: false,
    };
    let header = FrameHeader { tos: frame.tos, ..header(frame.src_mac, frame.dst_mac, frame.src, frame.dst) };
    let ports = Ports { src: tcp.src_port, dst: tcp.dst_port };
    for (checksum, policy) in [(true, ChecksumPolicy::Verify), (false, ChecksumPolicy::VerifyOrPartial)] {
        let mut written = vec![0; LARGEST];
        let len = emit_tcp_frame(&mut written, &header, 7, &segment, ports, checksum);
        if len == 0 {
            // Our header can be longer than the one that came, by its padding.
            assert!(payload.len() + tcp.options.wire_len() + 20 + 20 > 65_535, "{segment:?} is refused");
            return;
        }
        match parse_frame(&written[..len], policy) {
            Ok(Frame::Tcp(again)) => check_same_tcp(frame, payload, &again, &written),
            other => panic!("{segment:?} is read as {other:?}"),
        }
    }
}

fn check_same_tcp(frame: &TcpFrame, payload: &[u8], again: &TcpFrame, written: &[u8]) {
    assert_eq!(payload, &written[again.payload.clone()]);
    let mut expected = frame.clone();
    expected.payload = again.payload.clone();
    // SACK blocks without room are not emitted.
    let sack = again.tcp.options.sack.clone();
    expected.tcp.options = TcpOptions { sack, ..expected.tcp.options };
    assert_eq!(&expected, again);
}

fn check_arp(arp: &ArpRepr) {
    let mut written = [0; 64];
    let len = emit_arp_frame(&mut written, EthernetAddress::BROADCAST, arp);
    assert_eq!(parse_frame(&written[..len], ChecksumPolicy::Verify), Ok(Frame::Arp(*arp)));
}

fn check_icmp(bytes: &[u8], frame: &Icmpv4Frame) {
    match &frame.message {
        Icmpv4Message::EchoRequest(echo) => check_echo(bytes, frame, echo),
        Icmpv4Message::EchoReply(echo) => assert!(echo.data.end <= bytes.len()),
        Icmpv4Message::Unreachable { original, .. }
        | Icmpv4Message::TimeExceeded { original }
        | Icmpv4Message::ParameterProblem { original } => assert!(original.end <= bytes.len()),
        Icmpv4Message::Other => {}
    }
}

fn check_icmpv6(bytes: &[u8], frame: &Icmpv6Frame) {
    match &frame.message {
        Icmpv6Message::EchoRequest(echo) | Icmpv6Message::EchoReply(echo) => {
            assert!(echo.data.end <= bytes.len())
        }
        Icmpv6Message::Unreachable { original, .. }
        | Icmpv6Message::PacketTooBig { original, .. }
        | Icmpv6Message::TimeExceeded { original }
        | Icmpv6Message::ParameterProblem { original } => {
            assert!(original.end <= bytes.len());
            QuotedSegment::parse(&bytes[original.clone()]);
        }
        Icmpv6Message::Neighbour(message) => check_neighbour(frame, message),
        Icmpv6Message::Other => {}
    }
}

fn check_neighbour(frame: &Icmpv6Frame, message: &NeighbourMessage) {
    let header = header(frame.src_mac, frame.dst_mac, frame.src, frame.dst);
    let header = FrameHeader { ttl: NDP_HOP_LIMIT, ..header };
    let has_mac = match message {
        NeighbourMessage::Solicitation { source_mac, .. } => source_mac.is_some(),
        NeighbourMessage::Advertisement { target_mac, .. } => target_mac.is_some(),
    };
    if has_mac {
        let mut written = [0; 128];
        let len = emit_ndp_frame(&mut written, &header, message);
        assert_eq!(parse_frame(&written[..len], ChecksumPolicy::Verify), Ok(Frame::Icmpv6(frame.clone())));
    }
}

fn check_echo(bytes: &[u8], frame: &Icmpv4Frame, echo: &EchoRepr) {
    let data = &bytes[echo.data.clone()];
    let header = header(frame.dst_mac, frame.src_mac, frame.dst, frame.src);
    let mut written = vec![0; LARGEST];
    let len = emit_echo_reply(&mut written, &header, echo, data);
    match parse_frame(&written[..len], ChecksumPolicy::Verify) {
        Ok(Frame::Icmpv4(Icmpv4Frame { message: Icmpv4Message::EchoReply(again), .. })) => {
            assert_eq!((again.ident, again.sequence), (echo.ident, echo.sequence));
            assert_eq!(data, &written[again.data]);
        }
        other => panic!("an echo reply is read as {other:?}"),
    }
}
