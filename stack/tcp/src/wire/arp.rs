//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::ethernet::{ETHERNET_HEADER_LEN, EtherType, EthernetAddress, EthernetRepr};
use super::{WireError, reader};

/// Length of an ARP packet for IPv4 over Ethernet.
const ARP_LEN: usize = 28;

/// Length of a whole ARP frame, without padding.
pub const ARP_FRAME_LEN: usize = ETHERNET_HEADER_LEN + ARP_LEN;

/// Hardware type 1 (Ethernet), protocol type IPv4, lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet asks or says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpRepr {
    /// Question or answer.
    pub operation: ArpOperation,
    /// Hardware address of the sender.
    pub sender_mac: EthernetAddress,
    /// Protocol address of the sender.
    pub sender_ip: Ipv4Addr,
    /// Hardware address of the target; zero in a request.
    pub target_mac: EthernetAddress,
    /// Protocol address of the target.
    pub target_ip: Ipv4Addr,
}

impl ArpRepr {
    /// Parses what follows the Ethernet header.
    ///
    /// # Errors
    ///
    /// `Malformed` for other hardware, protocols or operations.
    pub fn parse(packet: &[u8]) -> Result<Self, WireError> {
        if reader::array(packet, 0)? != ETHERNET_IPV4 {
            return Err(WireError::Malformed);
        }
        let operation = match reader::be16(packet, 6)? {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            _ => return Err(WireError::Malformed),
        };
        Ok(Self {
            operation,
            sender_mac: EthernetAddress(reader::array(packet, 8)?),
            sender_ip: Ipv4Addr::from(reader::array::<4>(packet, 14)?),
            target_mac: EthernetAddress(reader::array(packet, 18)?),
            target_ip: Ipv4Addr::from(reader::array::<4>(packet, 24)?),
        })
    }

    /// The packet's bytes.
    pub fn emit(&self) -> [u8; ARP_LEN] {
        let operation: u8 = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        let mut packet = [0; ARP_LEN];
        let fields: [&[u8]; 6] = [
            &ETHERNET_IPV4,
            &[0, operation],
            &self.sender_mac.0,
            &self.sender_ip.octets(),
            &self.target_mac.0,
            &self.target_ip.octets(),
        ];
        packet.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        packet
    }
}

/// Writes a whole ARP frame from the sender to `dst_mac`. Returns its length,
/// or zero when `buf` is too small.
pub fn emit_arp_frame(buf: &mut [u8], dst_mac: EthernetAddress, arp: &ArpRepr) -> usize {
    let Some((header, rest)) = buf.split_first_chunk_mut::<ETHERNET_HEADER_LEN>() else { return 0 };
    let Some(body) = rest.first_chunk_mut::<ARP_LEN>() else { return 0 };
    EthernetRepr { src: arp.sender_mac, dst: dst_mac, kind: EtherType::Arp }.emit(header);
    *body = arp.emit();
    ARP_FRAME_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ArpRepr {
        ArpRepr {
            operation: ArpOperation::Request,
            sender_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            sender_ip: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: EthernetAddress::default(),
            target_ip: Ipv4Addr::new(10, 0, 0, 2),
        }
    }

    #[test]
    fn a_request_survives_the_round_trip() {
        let mut frame = [0u8; 64];
        let len = emit_arp_frame(&mut frame, EthernetAddress::BROADCAST, &request());
        assert_eq!(len, 42);
        assert_eq!(ArpRepr::parse(&frame[ETHERNET_HEADER_LEN..len]), Ok(request()));
    }

    #[test]
    fn other_hardware_is_malformed() {
        let mut packet = request().emit();
        packet[1] = 6;
        assert_eq!(ArpRepr::parse(&packet), Err(WireError::Malformed));
    }

    #[test]
    fn a_small_buffer_is_left_alone() {
        assert_eq!(emit_arp_frame(&mut [0; 41], EthernetAddress::BROADCAST, &request()), 0);
    }
}
