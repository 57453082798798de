//! Resets for segments that belong to no connection.

use super::Transmit;
use crate::seq::SeqNum;
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr};

/// The RST that answers a segment which matches no connection (RFC 9293
/// 3.10.7.1); `None` for a RST. The caller limits the rate and swaps addresses
/// and ports.
pub fn reset_for(segment: &TcpRepr) -> Option<Transmit<'static>> {
    if segment.flags.contains(TcpFlags::RST) {
        return None;
    }
    let (seq, ack, flags) = if segment.flags.contains(TcpFlags::ACK) {
        (segment.ack, SeqNum(0), TcpFlags::RST)
    } else {
        (SeqNum(0), segment.seq + segment.sequence_len(), TcpFlags::RST | TcpFlags::ACK)
    };
    Some(Transmit {
        seq,
        ack,
        flags,
        window: 0,
        options: TcpOptions::default(),
        payload: (&[], &[]),
        is_retransmit: false,
        ecn: Ecn::NotEct,
    })
}
