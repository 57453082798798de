//! Segments to send.

use crate::seq::SeqNum;
use crate::wire::{TcpFlags, TcpOptions};

/// One segment to send.
#[derive(Debug, Clone)]
pub struct Transmit<'a> {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgement number; zero without `ACK`.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window field as it goes on the wire.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
    /// Payload, in the two halves of the ring that holds it.
    pub payload: (&'a [u8], &'a [u8]),
    /// Some of the payload, or the SYN, has been sent before.
    pub is_retransmit: bool,
}

impl Transmit<'_> {
    /// Bytes of payload.
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.payload.0.len() + self.payload.1.len()
    }
}
