//! The urgent mechanism (RFC 9293 3.8.5), as RFC 6093 advises: the pointer goes
//! behind the last urgent byte, and urgent data stays in line, as if every
//! program had set `SO_OOBINLINE`.
//!
//! As on Linux the mark is the last urgent byte itself, and one read does not
//! cross it, so that a program can find it with `SIOCATMARK`.

use super::payload::Payload;
use super::{Connection, Events, Flags, Transmit};
use crate::error::SendError;
use crate::seq::SeqNum;
use crate::wire::{TcpFlags, TcpRepr};

/// The urgent pointers of both directions, while either is of interest.
#[derive(Debug, Default)]
pub(super) struct Urgent {
    /// SND.UP: behind the last urgent byte that we send.
    send: Option<SeqNum>,
    /// RCV.UP: behind the last urgent byte that we are told of.
    receive: Option<SeqNum>,
}

impl<B: Payload> Connection<B> {
    /// As [`Connection::send`], and tells the peer that everything up to the end
    /// of `data` is urgent (`MSG_OOB`). Nagle does not hold it back.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub fn send_urgent(&mut self, data: &[u8]) -> Result<usize, SendError> {
        let taken = self.send(data)?;
        if taken > 0 {
            self.urgent.get_or_insert_default().send = Some(self.tx.end());
        }
        Ok(taken)
    }

    /// Bytes that the program has to read until it has read all urgent data,
    /// arrived or not; zero when there is none (RFC 9293 MUST-33).
    pub fn urgent_ahead(&self) -> u32 {
        let pointer = self.urgent.as_ref().and_then(|urgent| urgent.receive);
        pointer.map_or(0, |pointer| pointer.since(self.first_unread()))
    }

    /// Whether the next byte to be read is the last urgent one (`SIOCATMARK`).
    pub fn at_mark(&self) -> bool {
        self.urgent_ahead() == 1
    }

    /// Whether urgent data waits to be sent or is under way: it is not held back.
    #[inline]
    pub(super) fn sends_urgent(&self) -> bool {
        self.urgent.as_ref().is_some_and(|urgent| urgent.send.is_some())
    }

    /// Number of the first byte that the program has not read.
    fn first_unread(&self) -> SeqNum {
        let fin = u32::from(self.flags.contains(Flags::FIN_RECEIVED));
        self.rcv.nxt - fin - self.rx.len() as u32
    }

    /// Takes the urgent pointer of an acceptable segment (RFC 9293 3.10.7.4,
    /// sixth); the program hears of each step that it makes (MUST-32).
    pub(super) fn take_urgent_pointer(&mut self, segment: &TcpRepr) {
        if !segment.flags.contains(TcpFlags::URG) || !self.state.can_receive() {
            return;
        }
        let pointer = segment.seq + u32::from(segment.urgent);
        let known = self.urgent.as_ref().and_then(|urgent| urgent.receive);
        if pointer.gt(known.unwrap_or(self.first_unread())) {
            self.urgent.get_or_insert_default().receive = Some(pointer);
            self.events.insert(Events::URGENT);
        }
    }

    /// Writes the urgent pointer into a segment that begins before urgent data
    /// ends. A pointer too far for the field points as far as it can.
    #[cold]
    pub(super) fn mark_urgent(&mut self, segment: &mut Transmit<'_>) {
        let Some(urgent) = &mut self.urgent else { return };
        match urgent.send {
            Some(pointer) if segment.seq.lt(pointer) => {
                segment.flags.insert(TcpFlags::URG);
                segment.urgent = (pointer - segment.seq).min(0xffff) as u16;
            }
            Some(pointer) if self.snd.una.ge(pointer) => urgent.send = None,
            _ => {}
        }
        self.leave_urgent_mode();
    }

    /// How many of `wanted` bytes one read may take: not across the mark.
    #[cold]
    pub(super) fn up_to_mark(&self, wanted: usize) -> usize {
        match self.urgent_ahead() as usize {
            0 | 1 => wanted,
            ahead => wanted.min(ahead - 1),
        }
    }

    /// Forgets what is over.
    #[cold]
    pub(super) fn leave_urgent_mode(&mut self) {
        let read = self.urgent_ahead() == 0;
        if let Some(urgent) = &mut self.urgent {
            if read {
                urgent.receive = None;
            }
            if urgent.send.is_none() && urgent.receive.is_none() {
                self.urgent = None;
            }
        }
    }
}
