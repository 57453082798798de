//! TCP headers (RFC 9293 3.1).

use super::ecn::Ecn;
use super::options::TcpOptions;
use super::{WireError, reader};
use crate::seq::SeqNum;

/// Length of a TCP header without options.
pub const TCP_HEADER_LEN: usize = 20;

bitflags::bitflags! {
    /// Control bits of a segment.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct TcpFlags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronise sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Push to the program.
        const PSH = 0x08;
        /// The acknowledgement field counts.
        const ACK = 0x10;
        /// The urgent pointer counts.
        const URG = 0x20;
        /// ECN echo (RFC 3168).
        const ECE = 0x40;
        /// Congestion window reduced (RFC 3168).
        const CWR = 0x80;
    }
}

/// A TCP header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRepr {
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// Sequence number of the first byte, or of the SYN.
    pub seq: SeqNum,
    /// Next byte that the sender expects, when `ACK` is set.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window field as on the wire, not scaled.
    pub window: u16,
    /// Urgent pointer as on the wire.
    pub urgent: u16,
    /// Options.
    pub options: TcpOptions,
    /// Bytes of payload behind the header.
    pub payload_len: usize,
    /// ECN field of the IP header that came with it.
    pub ecn: Ecn,
}

impl TcpRepr {
    /// Parses a segment, header first, from a packet with the ECN field `ecn`;
    /// returns the header and its length.
    #[inline]
    pub(super) fn parse(segment: &[u8], ecn: Ecn) -> Result<(Self, usize), WireError> {
        let fixed: [u8; TCP_HEADER_LEN] = reader::array(segment, 0)?;
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, _, _, u0, u1] = fixed;
        let header_len = usize::from(offset >> 4) * 4;
        if header_len < TCP_HEADER_LEN {
            return Err(WireError::Malformed);
        }
        let options = segment.get(TCP_HEADER_LEN..header_len).ok_or(WireError::Truncated)?;
        let repr = Self {
            src_port: u16::from_be_bytes([s0, s1]),
            dst_port: u16::from_be_bytes([d0, d1]),
            seq: SeqNum(u32::from_be_bytes([q0, q1, q2, q3])),
            ack: SeqNum(u32::from_be_bytes([a0, a1, a2, a3])),
            flags: TcpFlags::from_bits_retain(flags),
            window: u16::from_be_bytes([w0, w1]),
            urgent: u16::from_be_bytes([u0, u1]),
            options: TcpOptions::parse(options),
            payload_len: segment.len() - header_len,
            ecn,
        };
        Ok((repr, header_len))
    }

    /// Length in sequence space: the payload, and one for SYN and FIN each
    /// (RFC 9293 3.4).
    #[inline]
    pub fn sequence_len(&self) -> u32 {
        let controls = self.flags.contains(TcpFlags::SYN) as u32 + self.flags.contains(TcpFlags::FIN) as u32;
        self.payload_len as u32 + controls
    }
}
