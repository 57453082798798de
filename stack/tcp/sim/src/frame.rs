//! What links do to the bytes of a frame: Ethernet II with IPv4.

use tpa_tcp::wire::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, Sum};

use crate::Random;

/// Where the byte with the ECN field lies (RFC 3168 5).
const TOS: usize = ETHERNET_HEADER_LEN + 1;
const IP_CHECKSUM: usize = ETHERNET_HEADER_LEN + 10;
const ECN_MASK: u8 = 3;

/// Address of all routers.
const ROUTER: [u8; 4] = [10, 255, 255, 254];
/// ICMP's protocol number, and its type and code (RFC 792).
const ICMP: u8 = 1;
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// Bytes behind the IP header that a router quotes at least.
const QUOTED: usize = 8;

/// Length of the IP packet.
pub(crate) fn ip_len(frame: &[u8]) -> usize {
    frame.len().saturating_sub(ETHERNET_HEADER_LEN)
}

/// The ECN field.
pub(crate) fn ecn(frame: &[u8]) -> u8 {
    frame[TOS] & ECN_MASK
}

/// Sets "congestion experienced" on a frame whose sender is capable of ECN;
/// returns whether it is.
pub(crate) fn mark_ce(frame: &mut [u8]) -> bool {
    if ecn(frame) == 0 {
        return false;
    }
    frame[TOS] |= ECN_MASK;
    frame[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0);
    let header = &frame[ETHERNET_HEADER_LEN..ETHERNET_HEADER_LEN + IPV4_HEADER_LEN];
    let checksum = Sum::default().plus(header).checksum();
    frame[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&checksum);
    true
}

/// Turns one bit round, behind the Ethernet header: what hits that one is the
/// link's own checksum's business.
pub(crate) fn damage(frame: &mut [u8], random: &mut Random) {
    let at = random.between(ETHERNET_HEADER_LEN as u64, frame.len() as u64 - 1) as usize;
    frame[at] ^= 1 << random.between(0, 7);
}

/// What a router says of a frame whose packet is larger than the next link takes
/// (RFC 792, RFC 1191 4).
pub(crate) fn too_big(frame: &[u8], mtu: u16) -> Vec<u8> {
    let packet = &frame[ETHERNET_HEADER_LEN..];
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    let quoted = &packet[..header_len + QUOTED];
    let with_sum = |[c0, c1]: [u8; 2]| {
        let [m0, m1] = mtu.to_be_bytes();
        [&[UNREACHABLE, FRAGMENTATION_NEEDED, c0, c1, 0, 0, m0, m1], quoted].concat()
    };
    let message = with_sum(Sum::default().plus(&with_sum([0, 0])).checksum());
    let [len0, len1] = ((IPV4_HEADER_LEN + message.len()) as u16).to_be_bytes();
    let mut header = vec![0x45, 0, len0, len1, 0, 0, 0, 0, 64, ICMP, 0, 0];
    header.extend_from_slice(&ROUTER);
    header.extend_from_slice(&packet[12..16]);
    let checksum = Sum::default().plus(&header).checksum();
    header[10..12].copy_from_slice(&checksum);
    [&frame[6..12], &frame[..6], &frame[12..14], &header, &message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tpa_tcp::wire::{ChecksumPolicy, EthernetAddress, Frame, FrameHeader, Ports, emit_tcp_frame};
    use tpa_tcp::{SeqNum, Transmit, wire};

    fn frame(tos: u8, ecn: wire::Ecn) -> Vec<u8> {
        let header = FrameHeader {
            src_mac: EthernetAddress([2; 6]),
            dst_mac: EthernetAddress([4; 6]),
            src: Ipv4Addr::new(10, 0, 0, 1).into(),
            dst: Ipv4Addr::new(10, 0, 0, 2).into(),
            tos,
            ttl: 64,
            flow_label: 0,
        };
        let syn = wire::TcpRepr {
            src_port: 1,
            dst_port: 2,
            seq: SeqNum(5),
            ack: SeqNum(6),
            flags: wire::TcpFlags::ACK,
            window: 7,
            urgent: 0,
            options: wire::TcpOptions::default(),
            payload_len: 0,
            ecn: wire::Ecn::NotEct,
        };
        let reset = tpa_tcp::reset_for(&syn).expect("an ACK is answered");
        let segment = Transmit { ecn, ..reset };
        let mut buf = vec![0; 100];
        let len = emit_tcp_frame(&mut buf, &header, 1, &segment, Ports { src: 1, dst: 2 }, true);
        buf.truncate(len);
        buf
    }

    fn tos(frame: &[u8]) -> Option<u8> {
        match wire::parse_frame(frame, ChecksumPolicy::Verify) {
            Ok(Frame::Tcp(tcp)) => Some(tcp.tos),
            _ => None,
        }
    }

    #[test]
    fn a_marked_frame_is_still_valid() {
        let mut capable = frame(0, wire::Ecn::Ect0);
        assert!(mark_ce(&mut capable));
        assert_eq!(tos(&capable), Some(0b11));
    }

    #[test]
    fn what_is_not_capable_stays_as_it_is() {
        let mut plain = frame(0b1000, wire::Ecn::NotEct);
        assert!(!mark_ce(&mut plain));
        assert_eq!(tos(&plain), Some(0b1000));
    }

    #[test]
    fn a_router_reports_what_is_too_big_to_its_sender() {
        let report = too_big(&frame(0, wire::Ecn::NotEct), 576);
        let Ok(Frame::Icmpv4(parsed)) = wire::parse_frame(&report, ChecksumPolicy::Verify) else {
            panic!("no ICMP message");
        };
        assert_eq!(parsed.dst, Ipv4Addr::new(10, 0, 0, 1).into());
        let wire::Icmpv4Message::Unreachable { code: 4, mtu: 576, original } = parsed.message else {
            panic!("{:?}", parsed.message);
        };
        let quoted = wire::QuotedSegment::parse(&report[original]).expect("it quotes a segment");
        assert_eq!((quoted.src_port, quoted.dst_port, quoted.seq), (1, 2, SeqNum(6)));
    }

    #[test]
    fn a_damaged_frame_is_refused() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            let mut bytes = frame(0, wire::Ecn::NotEct);
            damage(&mut bytes, &mut random);
            assert_eq!(tos(&bytes), None);
        }
    }
}
