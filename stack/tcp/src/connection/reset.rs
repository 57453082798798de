//! Segments that belong to no connection: CLOSED and LISTEN (RFC 9293 3.10.7.1,
//! 3.10.7.2).

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
        urgent: 0,
        options: TcpOptions::default(),
        payload: (&[], &[]),
        is_retransmit: false,
        ecn: Ecn::NotEct,
    })
}

/// What LISTEN does with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    /// A connection is opened: [`Connection::accept`](super::Connection::accept).
    Open,
    /// It is answered with [`reset_for`].
    Reset,
    /// It is dropped.
    Ignore,
}

/// What becomes of a segment for a port with a listener that matches no
/// connection (RFC 9293 3.10.7.2): first RST, then ACK, then SYN is looked at.
pub fn listening(segment: &TcpRepr) -> Listening {
    if segment.flags.contains(TcpFlags::RST) {
        Listening::Ignore
    } else if segment.flags.contains(TcpFlags::ACK) {
        Listening::Reset
    } else if segment.flags.contains(TcpFlags::SYN) {
        Listening::Open
    } else {
        Listening::Ignore
    }
}
