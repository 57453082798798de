//! A connection's part of the memory that connections share.

use super::Connection;
use super::payload::Payload;
use crate::seq::SeqNum;

impl<B: Payload> Connection<B> {
    /// Bytes of memory that payload of both directions occupies.
    #[inline]
    pub(super) fn held(&self) -> usize {
        self.recv_charge() + self.tx.capacity()
    }

    /// Finds memory for `size` more bytes that arrived at `seq`. When the
    /// budget is used up, what waits behind a gap above `seq` goes first. The
    /// program always gets something to read, so that it can go on; beyond that
    /// `false` says that the payload is to be thrown away, for its sender to send
    /// it again.
    pub(super) fn find_room(&mut self, seq: SeqNum, size: usize) -> bool {
        while !self.share.try_cover(self.held() + size) {
            let Some(waiting) = self.reassembly.as_mut().filter(|waiting| is_above(waiting.highest(), seq))
            else {
                return self.insist(seq, size);
            };
            waiting.drop_highest();
            if waiting.is_empty() {
                self.reassembly = None;
            }
        }
        true
    }

    /// Takes memory that is not there for the next bytes of a program that has
    /// nothing to read (Linux's `sk_forced_mem_schedule`).
    fn insist(&mut self, seq: SeqNum, size: usize) -> bool {
        let next = seq == self.rcv.nxt && self.rx.is_empty();
        if next {
            self.share.cover(self.held() + size);
        }
        next
    }

    /// Takes memory for what the program wrote: its size is bounded already.
    #[inline]
    pub(super) fn cover_sent(&mut self) {
        if !self.share.covers(self.held()) {
            self.share.cover(self.held());
        }
    }
}

fn is_above(highest: Option<SeqNum>, seq: SeqNum) -> bool {
    highest.is_some_and(|highest| highest.gt(seq))
}
