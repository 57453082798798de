//! Just enough of the wire formats to answer a SYN with a RST, and a ping.

use std::net::Ipv4Addr;

const ETHERNET: usize = 14;
const IPV4: usize = 20;

/// What a frame is, for the test.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP to this port, a SYN or not.
    Tcp { port: u16, syn: bool },
    /// An ARP request for this address.
    Arp(Ipv4Addr),
    /// An ICMP echo request.
    Ping,
    /// Anything else.
    Other,
}

fn be16(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

pub fn kind(frame: &[u8]) -> Kind {
    match be16(frame, 12) {
        0x0806 => {
            let address: [u8; 4] = frame[38..42].try_into().expect("four bytes");
            Kind::Arp(address.into())
        }
        0x0800 if frame[23] == 6 => Kind::Tcp { port: be16(frame, 36), syn: frame[47] & 0x12 == 2 },
        0x0800 if frame[23] == 1 && frame[34] == 8 => Kind::Ping,
        _ => Kind::Other,
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn turn_around(frame: &[u8]) -> Vec<u8> {
    let mut answer = frame.to_vec();
    answer[0..6].copy_from_slice(&frame[6..12]);
    answer[6..12].copy_from_slice(&frame[0..6]);
    answer[26..30].copy_from_slice(&frame[30..34]);
    answer[30..34].copy_from_slice(&frame[26..30]);
    answer
}

/// TCP flags.
pub const RST_ACK: u8 = 0x14;
pub const SYN_ACK: u8 = 0x12;

/// Answer to a SYN (RFC 9293, 3.10.7), without options, from sequence number 0.
pub fn answer(syn: &[u8], flags: u8) -> Vec<u8> {
    let mut answer = turn_around(syn);
    answer.truncate(ETHERNET + IPV4 + 20);
    answer[16..18].copy_from_slice(&40u16.to_be_bytes());
    answer[24..26].fill(0);
    let sum = checksum(&[&answer[ETHERNET..ETHERNET + IPV4]]);
    answer[24..26].copy_from_slice(&sum.to_be_bytes());
    answer[34..36].copy_from_slice(&syn[36..38]);
    answer[36..38].copy_from_slice(&syn[34..36]);
    let sequence = u32::from_be_bytes(syn[38..42].try_into().expect("four bytes"));
    answer[38..42].fill(0);
    answer[42..46].copy_from_slice(&sequence.wrapping_add(1).to_be_bytes());
    answer[46] = 5 << 4;
    answer[47] = flags;
    answer[48..54].fill(0);
    answer[48] = 0xff;
    let sum = checksum(&[&answer[26..34], &[0, 6, 0, 20], &answer[34..54]]);
    answer[50..52].copy_from_slice(&sum.to_be_bytes());
    answer
}

/// Reply to an ICMP echo request (RFC 792).
pub fn pong(ping: &[u8]) -> Vec<u8> {
    let mut answer = turn_around(ping);
    answer[34] = 0;
    answer[36..38].fill(0);
    let sum = checksum(&[&answer[34..]]);
    answer[36..38].copy_from_slice(&sum.to_be_bytes());
    answer
}
