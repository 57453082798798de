//! TCP options: no bytes upset the parser, and what it reads survives being
//! written and read again.

use std::net::Ipv4Addr;

use tpa_tcp::wire::{
    ChecksumPolicy, Ecn, EthernetAddress, Frame, FrameHeader, IpAddress, Ports, TcpFlags, TcpOptions,
    emit_tcp_frame, parse_frame,
};
use tpa_tcp::{SeqNum, Transmit};

/// Room for options in a TCP header (RFC 9293 3.1).
const MOST: usize = 40;

const HEADER: FrameHeader = FrameHeader {
    src_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
    dst_mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
    src: IpAddress::from_v4(Ipv4Addr::new(10, 0, 0, 1)),
    dst: IpAddress::from_v4(Ipv4Addr::new(10, 0, 0, 2)),
    tos: 0,
    ttl: 64,
    flow_label: 0,
};

/// Parses `bytes` as the options of a header; then emits and parses again.
pub fn run(bytes: &[u8]) {
    let options = TcpOptions::parse(bytes);
    let wire_len = options.wire_len();
    assert!(wire_len <= MOST && wire_len.is_multiple_of(4), "{wire_len} bytes of options");
    let again = round_trip(&options);
    // SACK blocks for which there is no room beside the rest are left out.
    assert!(options.sack.starts_with(&again.sack), "{options:?} became {again:?}");
    assert!(again.sack.len() == options.sack.len() || wire_len + 8 > MOST, "a block was left out: {again:?}");
    assert_eq!(TcpOptions { sack: again.sack.clone(), ..options }, again);
}

fn round_trip(options: &TcpOptions) -> TcpOptions {
    let segment = Transmit {
        seq: SeqNum(1),
        ack: SeqNum(2),
        flags: TcpFlags::ACK,
        window: 3,
        urgent: 0,
        ecn: Ecn::NotEct,
        options: options.clone(),
        payload: (b"pay", b"load"),
        is_retransmit: false,
    };
    let mut frame = [0; 200];
    let len = emit_tcp_frame(&mut frame, &HEADER, 0, &segment, Ports { src: 1, dst: 2 }, true);
    match parse_frame(&frame[..len], ChecksumPolicy::Verify) {
        Ok(Frame::Tcp(parsed)) => {
            assert_eq!(&frame[parsed.payload], b"payload");
            parsed.tcp.options
        }
        other => panic!("a frame of our own is read as {other:?}"),
    }
}
