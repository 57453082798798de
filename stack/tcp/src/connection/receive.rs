//! Payload and FIN on their way to the program, and when to acknowledge them
//! (RFC 9293 3.8.6.3, RFC 5681 4.2).

use super::payload::{Held, Payload};
use super::reassembly::Reassembly;
use super::timestamps::LateLimit;
use super::{Connection, Events, Flags, Pending, State};
use crate::error::Error;
use crate::seq::SeqNum;
use crate::time::Instant;
use crate::wire::{TcpFlags, TcpRepr};

/// ACKs sent without delay while the peer may be in slow start or lacks
/// something (Linux `TCP_MAX_QUICKACKS`).
pub(super) const QUICK_ACKS: u8 = 16;

impl<B: Payload> Connection<B> {
    /// Takes payload and FIN of an acceptable segment.
    pub(super) fn receive(&mut self, segment: &TcpRepr, held: Option<Held<B>>, now: Instant) {
        let len = held.as_ref().map_or(0, Held::len);
        let end = segment.seq + len;
        if self.is_after_close(end) {
            // Nobody will ever read it (RFC 2525 2.17, Linux): say so.
            self.fail(Error::Reset);
            self.pending.insert(Pending::RST);
            return;
        }
        // A FIN right at the edge of a shut window is welcome, as in Linux.
        if segment.flags.contains(TcpFlags::FIN) && self.rcv.fin.is_none() && end.le(self.rcv.edge) {
            self.rcv.fin = Some(end);
        }
        match held {
            Some(held) if end.gt(self.rcv.nxt) => {
                self.take_mark(segment);
                self.receive_new(segment, held, now);
            }
            // The FIN alone, in order: its ACK may be delayed.
            None if self.rcv.fin == Some(self.rcv.nxt) && end == self.rcv.nxt => {}
            _ => {
                self.note_duplicate(segment.seq, end);
                self.acknowledge_now();
            }
        }
        match self.rcv.fin {
            Some(fin) if self.rcv.nxt.ge(fin) => self.peer_finished(now),
            Some(_) => self.acknowledge_now(),
            None => {}
        }
    }

    /// Whether data up to `end` comes for a program that has closed.
    fn is_after_close(&self, end: SeqNum) -> bool {
        matches!(self.state, State::FinWait1 | State::FinWait2)
            && self.flags.contains(Flags::READ_SHUT)
            && end.gt(self.rcv.nxt)
    }

    /// Takes payload of which at least the end is new.
    fn receive_new(&mut self, segment: &TcpRepr, mut held: Held<B>, now: Instant) {
        let mut seq = segment.seq;
        let known = self.rcv.nxt.since(seq);
        if known > 0 {
            self.note_duplicate(seq, self.rcv.nxt);
            held.trim_front(known);
            seq += known;
        }
        held.truncate(self.rcv.edge.since(seq));
        if self.reassembly.is_some() {
            self.note_overlap(seq, seq + held.len());
        }
        if held.len() == 0 {
            self.acknowledge_now();
        } else if seq == self.rcv.nxt {
            self.receive_in_order(segment, held, now);
        } else {
            self.receive_out_of_order(seq, held);
        }
    }

    /// Takes payload that begins at RCV.NXT and lies in the window.
    #[inline]
    pub(super) fn receive_in_order(&mut self, segment: &TcpRepr, held: Held<B>, now: Instant) {
        let size = held.true_size();
        if !self.share.covers(self.held() + size) && !self.find_room(self.rcv.nxt, size) {
            return self.acknowledge_now();
        }
        let len = held.len();
        self.rcv.seen_mss = self.rcv.seen_mss.max(len.min(u32::from(self.rcv.mss)) as u16);
        self.queue(held);
        if self.reassembly.is_some() {
            self.drain_reassembly();
            self.acknowledge_now();
        }
        self.right_size(segment, now);
        self.note_readable();
        self.schedule_ack(now);
        self.timers.note_activity(now, self.config.idle_release);
    }

    #[inline]
    fn queue(&mut self, held: Held<B>) {
        let len = held.len();
        self.rcv.nxt += len;
        self.stats.bytes_received += u64::from(len);
        let waiting = self.reassembly.as_ref().map_or(0, |reassembly| reassembly.charge());
        self.rx.push(held, (self.rcv.buffer as usize).saturating_sub(waiting));
    }

    /// Moves what follows without a gap to the program's queue.
    fn drain_reassembly(&mut self) {
        while let Some(held) = self.reassembly.as_mut().and_then(|waiting| waiting.pop(self.rcv.nxt)) {
            self.queue(held);
        }
        if let Some(waiting) = &mut self.reassembly {
            if waiting.is_empty() {
                self.reassembly = None;
            } else {
                waiting.late.advance(self.timestamps.recent(), self.rcv.nxt);
            }
        }
    }

    fn receive_out_of_order(&mut self, seq: SeqNum, mut held: Held<B>) {
        self.stats.out_of_order += 1;
        if self.recv_charge() + held.true_size() > self.rcv.buffer as usize {
            held.copy_out();
        }
        if self.find_room(seq, held.true_size()) {
            self.store(seq, held);
        }
        self.acknowledge_now();
    }

    /// Keeps payload behind a gap. No more than the receive buffer's size waits
    /// there, and no more segments than are configured.
    fn store(&mut self, seq: SeqNum, held: Held<B>) {
        let (segments, charge) = (self.config.reassembly_segments, self.rcv.buffer as usize);
        let late = || LateLimit::new(self.timestamps.recent(), self.rcv.nxt);
        let waiting = self.reassembly.get_or_insert_with(|| Box::new(Reassembly::new(late())));
        waiting.insert(seq, held);
        waiting.prune(segments, charge);
        if waiting.is_empty() {
            self.reassembly = None;
        }
    }

    /// Remembers a duplicate for the next ACK to report (RFC 2883).
    pub(super) fn note_duplicate(&mut self, from: SeqNum, to: SeqNum) {
        let to = to.min(self.rcv.nxt);
        if from.lt(to) && self.flags.contains(Flags::SACK) {
            self.rcv.duplicate = Some((from, to));
        }
    }

    /// The same for what has come before behind a gap. Only the first duplicate of
    /// a segment is reported (RFC 2883 4.2.2).
    #[cold]
    fn note_overlap(&mut self, from: SeqNum, to: SeqNum) {
        if self.rcv.duplicate.is_none() && self.flags.contains(Flags::SACK) {
            self.rcv.duplicate = self.reassembly.as_ref().and_then(|waiting| waiting.known(from, to));
        }
    }

    /// Something is out of order: the peer needs to know at once, and for a
    /// while of each segment (RFC 5681 4.2).
    fn acknowledge_now(&mut self) {
        self.pending.insert(Pending::ACK);
        self.quick_acks = QUICK_ACKS;
        self.flags.remove(Flags::INTERACTIVE);
    }

    /// New data came in order: acknowledges it now, when more than a full
    /// segment waits for that, or within the delay.
    #[inline]
    fn schedule_ack(&mut self, now: Instant) {
        if now - self.timers.last_data_received > self.rtt.rto() {
            // The peer may have gone back to slow start.
            self.quick_acks = QUICK_ACKS;
        }
        self.timers.last_data_received = now;
        let unacknowledged = self.rcv.nxt - self.rcv.ack_sent;
        let quick = self.quick_acks > 0 && !self.flags.contains(Flags::INTERACTIVE);
        if quick || unacknowledged > u32::from(self.rcv.seen_mss) {
            self.pending.insert(Pending::ACK);
        } else {
            self.timers.delay_ack(now + self.config.delayed_ack);
        }
    }

    /// RCV.NXT has reached the peer's FIN (RFC 9293 3.10.7.4, eighth).
    fn peer_finished(&mut self, now: Instant) {
        self.rcv.nxt += 1;
        self.reassembly = None;
        self.flags.insert(Flags::FIN_RECEIVED);
        self.events.insert(Events::RDHUP | Events::READABLE);
        match self.state {
            State::Established => {
                self.state = State::CloseWait;
                // The program may answer with its own FIN: the ACK can ride on it.
                if !self.pending.contains(Pending::ACK) {
                    self.timers.delay_ack(now + self.config.delayed_ack);
                }
                return;
            }
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(now),
            _ => {}
        }
        self.pending.insert(Pending::ACK);
    }
}
