//! What was sent and is not acknowledged: the scoreboard (RFC 6675 3, RFC
//! 8985 5.2).
//!
//! Each transmission is one entry with its time and its marks, split where a
//! SACK block ends inside it, so that the account is exact to the byte. Sums
//! of the marks are kept, so that the amount in flight costs no walk.
//!
//! RACK looks at transmissions in the order of their times. First
//! transmissions have it by their sequence numbers; retransmissions are noted
//! in a queue of their own. So a look costs what it finds, and not a walk over
//! all that is outstanding.

mod delivery;
mod marking;

use std::collections::VecDeque;

use super::audit::require;
use crate::seq::SeqNum;
pub(super) use delivery::{AckTime, Delivery};
pub(super) use marking::Overdue;

/// Segments SACKed above a hole, or duplicate acknowledgements, that mean a
/// loss (RFC 5681 3.2, RFC 8985 6.2 step 4).
pub(super) const DUP_THRESH: u32 = 3;

bitflags::bitflags! {
    /// What is known of a transmission.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Marks: u8 {
        /// The peer has reported it as received.
        const SACKED = 1;
        /// Taken for lost.
        const LOST = 2;
        /// Lost, and sent again.
        const RESENT = 4;
        /// Sent more than once at any time: no use for RTT samples (Karn).
        const EVER_RESENT = 8;
    }
}

/// One transmission, in sequence space: a FIN counts one.
#[derive(Debug, Clone, Copy)]
struct Sent {
    seq: SeqNum,
    len: u32,
    /// Low 32 bits of the time of the last transmission in microseconds.
    sent_at: u32,
    marks: Marks,
}

impl Sent {
    #[inline]
    fn end(&self) -> SeqNum {
        self.seq + self.len
    }

    #[inline]
    fn order(&self) -> SendOrder {
        SendOrder { at: self.sent_at, end: self.end() }
    }

    /// Cuts the entry at `seq`, strictly inside it, and returns the rest.
    fn split_off(&mut self, seq: SeqNum) -> Sent {
        let head = seq - self.seq;
        let rest = Sent { seq, len: self.len - head, ..*self };
        self.len = head;
        rest
    }
}

/// A place in the order of transmissions: by time, and by sequence number
/// where times are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendOrder {
    /// Low 32 bits of the time in microseconds.
    pub at: u32,
    /// End of what was sent.
    pub end: SeqNum,
}

impl SendOrder {
    /// `RACK_sent_after` of RFC 8985 6.2. Times compare within half an hour,
    /// longer than anything stays in flight.
    #[inline]
    pub(super) fn is_after(self, other: SendOrder) -> bool {
        let later = self.at.wrapping_sub(other.at) as i32;
        later > 0 || (later == 0 && self.end.gt(other.end))
    }
}

/// A retransmission: a range, and when it was sent.
#[derive(Debug, Clone, Copy)]
struct Resend {
    seq: SeqNum,
    end: SeqNum,
    sent_at: u32,
}

impl Resend {
    /// Whether an entry is in flight as this has left it.
    fn is_still(&self, sent: &Sent) -> bool {
        sent.marks & (Marks::RESENT | Marks::SACKED) == Marks::RESENT && sent.sent_at == self.sent_at
    }
}

/// Transmissions in order of their sequence numbers.
#[derive(Debug)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// Retransmissions in the order of their sending. What became of them
    /// since is told by the marks; those that are over are dropped in time.
    resends: VecDeque<Resend>,
    /// Sum of all lengths.
    bytes: u32,
    /// Bytes marked SACKED.
    sacked: u32,
    /// Entries marked SACKED.
    sacked_entries: u32,
    /// Bytes marked LOST and not SACKED.
    lost: u32,
    /// Bytes marked RESENT and not SACKED; each is marked LOST too.
    resent: u32,
    /// Nothing before it is lost and waits to be sent again.
    resend_from: SeqNum,
    /// Everything unSACKed before it is marked LOST.
    lost_up_to: SeqNum,
    /// End of the highest byte that has arrived.
    highest_sacked: SeqNum,
    /// The latest sent of what has arrived: RACK.xmit_ts and RACK.end_seq.
    latest: Option<SendOrder>,
}

impl Flight {
    pub(super) fn new(una: SeqNum) -> Self {
        Self {
            sent: VecDeque::new(),
            resends: VecDeque::new(),
            bytes: 0,
            sacked: 0,
            sacked_entries: 0,
            lost: 0,
            resent: 0,
            resend_from: una,
            lost_up_to: una,
            highest_sacked: una,
            latest: None,
        }
    }

    /// Whether nothing is outstanding.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Outstanding bytes.
    #[inline]
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Bytes that the peer reported as received.
    #[inline]
    pub(super) fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes taken for lost.
    #[inline]
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    /// Bytes sent again and not known to have arrived.
    #[inline]
    pub(super) fn resent(&self) -> u32 {
        self.resent
    }

    /// End of the highest byte that has arrived (RACK.fack).
    #[inline]
    pub(super) fn highest_sacked(&self) -> SeqNum {
        self.highest_sacked
    }

    /// Whether as many segments are SACKed as duplicate acknowledgements mean
    /// a loss: counted in bytes of full segments, or as transmissions.
    pub(super) fn sacked_reaches_dup_thresh(&self, mss: u32) -> bool {
        self.sacked > (DUP_THRESH - 1) * mss || self.sacked_entries >= DUP_THRESH
    }

    /// Memory held, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>() + self.resends.capacity() * size_of::<Resend>()
    }

    /// Bytes thought to be in the network: the pipe of RFC 6675 section 4.
    #[inline]
    pub(super) fn pipe(&self) -> u32 {
        (self.bytes + self.resent).saturating_sub(self.sacked + self.lost)
    }

    /// Notes a first transmission.
    #[inline]
    pub(super) fn push(&mut self, seq: SeqNum, len: u32, sent_at: u32) {
        if self.bytes == 0 {
            // The sums are zero already.
            (self.resend_from, self.lost_up_to, self.highest_sacked) = (seq, seq, seq);
            self.latest = None;
            self.resends.clear();
        }
        self.sent.push_back(Sent { seq, len, sent_at, marks: Marks::empty() });
        self.bytes += len;
    }

    /// Send time of the oldest outstanding segment.
    pub(super) fn oldest_sent_at(&self) -> Option<u32> {
        self.sent.front().map(|sent| sent.sent_at)
    }

    /// Takes what lies before `ack` off the account.
    #[inline]
    pub(super) fn acknowledge(&mut self, ack: SeqNum, time: &AckTime, delivery: &mut Delivery) {
        while let Some(first) = self.sent.front_mut() {
            let head = if first.end().le(ack) {
                let head = *first;
                self.sent.pop_front();
                head
            } else if first.seq.lt(ack) {
                let rest = first.split_off(ack);
                self.sacked_entries += u32::from(rest.marks.contains(Marks::SACKED));
                std::mem::replace(first, rest)
            } else {
                break;
            };
            self.take_off(head);
            delivery.acknowledged(&head, time);
        }
        while self.resends.front().is_some_and(|resend| resend.end.le(ack)) {
            self.resends.pop_front();
        }
        self.take_latest(delivery);
        // Kept within the reach of comparisons.
        self.resend_from = self.resend_from.max(ack);
        self.lost_up_to = self.lost_up_to.max(ack);
        self.highest_sacked = self.highest_sacked.max(ack);
    }

    /// RFC 8985 6.2 step 2.
    #[inline]
    fn take_latest(&mut self, delivery: &Delivery) {
        if let Some(order) = delivery.latest()
            && self.latest.is_none_or(|latest| order.is_after(latest))
        {
            self.latest = Some(order);
        }
    }

    #[inline]
    fn take_off(&mut self, sent: Sent) {
        self.bytes -= sent.len;
        if sent.marks.contains(Marks::SACKED) {
            self.sacked -= sent.len;
            self.sacked_entries -= 1;
        } else {
            self.count_marks(sent, u32::wrapping_sub);
        }
    }

    /// Adds or subtracts an entry that is not SACKED in the sums of its marks.
    #[inline]
    fn count_marks(&mut self, sent: Sent, with: fn(u32, u32) -> u32) {
        if sent.marks.contains(Marks::LOST) {
            self.lost = with(self.lost, sent.len);
        }
        if sent.marks.contains(Marks::RESENT) {
            self.resent = with(self.resent, sent.len);
        }
    }

    /// Index of the first entry that ends behind `seq`.
    fn index_of(&self, seq: SeqNum) -> usize {
        self.sent.partition_point(|sent| sent.end().le(seq))
    }

    /// Makes an entry begin at `seq`, when it is inside one.
    fn split_at(&mut self, seq: SeqNum) {
        let index = self.index_of(seq);
        let Some(sent) = self.sent.get_mut(index) else { return };
        if sent.seq.lt(seq) {
            let rest = sent.split_off(seq);
            self.sacked_entries += u32::from(rest.marks.contains(Marks::SACKED));
            self.sent.insert(index + 1, rest);
        }
    }

    /// Marks a block as received (RFC 2018); returns the bytes that were not
    /// known to be. Blocks outside of what is outstanding, D-SACK among them,
    /// count nothing.
    pub(super) fn sack(
        &mut self,
        left: SeqNum,
        right: SeqNum,
        time: &AckTime,
        delivery: &mut Delivery,
    ) -> u32 {
        let (Some(first), Some(last)) = (self.sent.front(), self.sent.back()) else { return 0 };
        if !left.lt(right) || left.lt(first.seq) || right.gt(last.end()) {
            return 0;
        }
        self.split_at(left);
        self.split_at(right);
        let before = self.sacked;
        let mut index = self.index_of(left);
        while let Some(sent) = self.sent.get_mut(index) {
            if sent.seq.ge(right) {
                break;
            }
            if !sent.marks.contains(Marks::SACKED) {
                let old = *sent;
                sent.marks.insert(Marks::SACKED);
                self.count_marks(old, u32::wrapping_sub);
                self.sacked += old.len;
                self.sacked_entries += 1;
                delivery.sacked(&old, time);
            }
            index += 1;
        }
        self.take_latest(delivery);
        self.highest_sacked = self.highest_sacked.max(right);
        self.sacked - before
    }

    /// Whether anything lost waits to be sent again.
    #[inline]
    pub(super) fn has_unsent_loss(&self) -> bool {
        self.lost > self.resent
    }

    /// The first lost range that was not sent again: where, and how long, up
    /// to at least `most` bytes where losses follow each other.
    pub(super) fn next_lost(&self, most: u32) -> Option<(SeqNum, u32)> {
        if !self.has_unsent_loss() {
            return None;
        }
        let due = |sent: &&Sent| sent.marks & (Marks::LOST | Marks::RESENT | Marks::SACKED) == Marks::LOST;
        let mut rest = self.sent.range(self.index_of(self.resend_from).min(self.sent.len())..);
        let first = rest.find(due)?;
        let mut len = first.len;
        while len < most
            && let Some(next) = rest.next().filter(due)
        {
            len += next.len;
        }
        Some((first.seq, len))
    }

    /// Notes that `len` bytes at `seq`, from [`Flight::next_lost`], were sent
    /// again.
    pub(super) fn mark_resent(&mut self, seq: SeqNum, len: u32, sent_at: u32) {
        self.mark_again(seq, len, sent_at, Marks::RESENT | Marks::EVER_RESENT);
        self.resends.push_back(Resend { seq, end: seq + len, sent_at });
        self.resent += len;
        self.resend_from = seq + len;
    }

    /// The last transmission, at most `most` bytes of its end: what a tail
    /// loss probe sends again (RFC 8985 7.3).
    pub(super) fn last(&self, most: u32) -> Option<(SeqNum, u32)> {
        let last = self.sent.back()?;
        let len = last.len.min(most);
        Some((last.end() - len, len))
    }

    /// Notes that `len` bytes at `seq`, from [`Flight::last`], were sent once
    /// more although they are not taken for lost.
    pub(super) fn mark_probed(&mut self, seq: SeqNum, len: u32, sent_at: u32) {
        self.mark_again(seq, len, sent_at, Marks::EVER_RESENT);
    }

    fn mark_again(&mut self, seq: SeqNum, len: u32, sent_at: u32, marks: Marks) {
        let end = seq + len;
        self.split_at(seq);
        self.split_at(end);
        let first = self.index_of(seq).min(self.sent.len());
        for sent in self.sent.range_mut(first..).take_while(|sent| sent.seq.lt(end)) {
            sent.marks.insert(marks);
            sent.sent_at = sent_at;
        }
    }

    /// Recounts the sums; see [`crate::Connection::audit`].
    pub(super) fn audit(&self, una: SeqNum, nxt: SeqNum) -> Result<(), &'static str> {
        let (mut next, mut sacked, mut lost, mut resent, mut entries) = (una, 0, 0, 0, 0);
        for sent in &self.sent {
            let has = |mark| sent.marks.contains(mark);
            require(sent.seq == next && sent.len > 0, "the scoreboard has a gap, an overlap or nothing")?;
            next = sent.end();
            if has(Marks::SACKED) {
                sacked += sent.len;
                entries += 1;
                require(next.le(self.highest_sacked), "highest_sacked is too low")?;
                continue;
            }
            require(has(Marks::LOST) || sent.seq.ge(self.lost_up_to), "lost_up_to is too high")?;
            require(has(Marks::LOST) || !has(Marks::RESENT), "sent again without being lost")?;
            let due = has(Marks::LOST) && !has(Marks::RESENT);
            require(!due || sent.seq.ge(self.resend_from), "resend_from is too high")?;
            lost += if has(Marks::LOST) { sent.len } else { 0 };
            resent += if has(Marks::RESENT) { sent.len } else { 0 };
        }
        require(next == nxt && self.bytes == nxt - una, "the scoreboard does not reach from UNA to NXT")?;
        require(sacked == self.sacked, "wrong sum of SACKed bytes")?;
        require(entries == self.sacked_entries, "wrong number of SACKed entries")?;
        require(lost == self.lost, "wrong sum of lost bytes")?;
        require(resent == self.resent, "wrong sum of bytes sent again")
    }

    /// Forgets everything and gives the memory back.
    pub(super) fn clear(&mut self, una: SeqNum) {
        *self = Self::new(una);
    }

    /// Gives the memory back when nothing is outstanding.
    pub(super) fn release_if_empty(&mut self) {
        if self.bytes == 0 {
            self.sent = VecDeque::new();
            self.resends = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
