//! What was sent and is not acknowledged: the scoreboard (RFC 6675).
//!
//! Each transmission is one entry with its time and its marks, split where a
//! SACK block ends inside it, so that the account is exact to the byte. Sums
//! of the marks are kept, so that the amount in flight costs no walk.

use std::collections::VecDeque;

use super::audit::require;
use crate::seq::SeqNum;

/// Duplicate acknowledgements that mean a loss (RFC 5681 3.2, RFC 6675 2).
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
    /// Low 32 bits of the send time in microseconds.
    sent_at: u32,
    marks: Marks,
}

impl Sent {
    #[inline]
    fn end(&self) -> SeqNum {
        self.seq + self.len
    }

    /// Cuts the entry at `seq`, strictly inside it, and returns the rest.
    fn split_off(&mut self, seq: SeqNum) -> Sent {
        let head = seq - self.seq;
        let rest = Sent { seq, len: self.len - head, ..*self };
        self.len = head;
        rest
    }
}

/// What a cumulative acknowledgement covered.
#[derive(Debug, Default)]
pub(super) struct Acked {
    /// Send time, low 32 bits of microseconds, of the oldest segment whose RTT
    /// may be taken.
    pub sent_at: Option<u32>,
}

/// Transmissions in order of their sequence numbers.
#[derive(Debug)]
pub(super) struct Flight {
    sent: VecDeque<Sent>,
    /// Sum of all lengths.
    bytes: u32,
    /// Bytes marked SACKED.
    sacked: u32,
    /// Bytes marked LOST and not SACKED.
    lost: u32,
    /// Bytes marked RESENT and not SACKED.
    resent: u32,
    /// Nothing before it is lost and waits to be sent again.
    resend_from: SeqNum,
    /// Everything unSACKED before it is marked LOST.
    lost_up_to: SeqNum,
    /// End of the highest SACKED byte.
    highest_sacked: SeqNum,
}

impl Flight {
    pub(super) fn new(una: SeqNum) -> Self {
        Self {
            sent: VecDeque::new(),
            bytes: 0,
            sacked: 0,
            lost: 0,
            resent: 0,
            resend_from: una,
            lost_up_to: una,
            highest_sacked: una,
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

    /// End of the highest byte that was reported as received.
    pub(super) fn highest_sacked(&self) -> SeqNum {
        self.highest_sacked
    }

    /// Memory held, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>()
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
            *self = Self { sent: std::mem::take(&mut self.sent), ..Self::new(seq) };
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
    pub(super) fn acknowledge(&mut self, ack: SeqNum) -> Acked {
        let mut acked = Acked::default();
        let mut resent = false;
        while let Some(first) = self.sent.front_mut() {
            if !first.end().le(ack) {
                if first.seq.lt(ack) {
                    let rest = first.split_off(ack);
                    let head = std::mem::replace(first, rest);
                    self.take_off(head);
                }
                break;
            }
            let head = *first;
            self.sent.pop_front();
            self.take_off(head);
            resent |= head.marks.contains(Marks::EVER_RESENT);
            if acked.sent_at.is_none() && !head.marks.contains(Marks::SACKED) {
                acked.sent_at = Some(head.sent_at);
            }
        }
        if resent {
            acked.sent_at = None;
        }
        // Kept within the reach of comparisons.
        self.resend_from = self.resend_from.max(ack);
        self.lost_up_to = self.lost_up_to.max(ack);
        self.highest_sacked = self.highest_sacked.max(ack);
        acked
    }

    #[inline]
    fn take_off(&mut self, sent: Sent) {
        self.bytes -= sent.len;
        if sent.marks.contains(Marks::SACKED) {
            self.sacked -= sent.len;
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
            self.sent.insert(index + 1, rest);
        }
    }

    /// Marks a block as received (RFC 2018); returns the bytes that were not
    /// known to be. Blocks outside of what is outstanding, D-SACK among them,
    /// count nothing.
    pub(super) fn sack(&mut self, left: SeqNum, right: SeqNum) -> u32 {
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
            }
            index += 1;
        }
        self.highest_sacked = self.highest_sacked.max(right);
        self.sacked - before
    }

    /// Marks as lost what `IsLost` of RFC 6675 section 4 says: more than two
    /// segments' bytes, or three separate runs, are SACKED above it. Returns
    /// whether anything new was.
    pub(super) fn mark_lost_by_sack(&mut self, mss: u32) -> bool {
        match self.lost_threshold(mss) {
            Some(threshold) => self.mark_lost_before(threshold),
            None => false,
        }
    }

    /// The highest sequence number with enough SACKED above it.
    fn lost_threshold(&self, mss: u32) -> Option<SeqNum> {
        let (mut bytes, mut runs) = (0, 0);
        let mut in_run = false;
        for sent in self.sent.iter().rev() {
            let sacked = sent.marks.contains(Marks::SACKED);
            if sacked {
                bytes += sent.len;
                runs += u32::from(!in_run);
            }
            in_run = sacked;
            if sacked && (bytes > (DUP_THRESH - 1) * mss || runs >= DUP_THRESH) {
                return Some(sent.seq);
            }
        }
        None
    }

    fn mark_lost_before(&mut self, threshold: SeqNum) -> bool {
        let before = self.lost;
        let mut index = self.index_of(self.lost_up_to);
        while let Some(sent) = self.sent.get(index) {
            if !sent.end().le(threshold) {
                break;
            }
            self.mark_lost_at(index);
            index += 1;
        }
        self.lost_up_to = self.lost_up_to.max(threshold);
        self.lost > before
    }

    /// Marks the oldest segment as lost, at most `mss` bytes of it, unless it
    /// is marked or received already.
    pub(super) fn mark_first_lost(&mut self, mss: u32) {
        let Some(first) = self.sent.front() else { return };
        let seq = first.seq;
        if first.len > mss {
            self.split_at(seq + mss);
        }
        self.mark_lost_at(0);
    }

    fn mark_lost_at(&mut self, index: usize) {
        let Some(sent) = self.sent.get_mut(index) else { return };
        if sent.marks.intersects(Marks::SACKED | Marks::LOST) {
            return;
        }
        sent.marks.insert(Marks::LOST);
        self.lost += sent.len;
        self.resend_from = self.resend_from.min(sent.seq);
    }

    /// A timeout: everything that was not SACKED is lost, retransmissions
    /// included. A peer whose cumulative acknowledgement stands below data that
    /// it had SACKED has thrown that data away, and its SACKs are forgotten
    /// (RFC 2018 8).
    pub(super) fn mark_all_lost(&mut self) {
        let reneged = self.sent.front().is_some_and(|first| first.marks.contains(Marks::SACKED));
        (self.sacked, self.lost, self.resent) = (0, 0, 0);
        for sent in &mut self.sent {
            if reneged {
                sent.marks.remove(Marks::SACKED);
            }
            sent.marks.remove(Marks::RESENT);
            if sent.marks.contains(Marks::SACKED) {
                self.sacked += sent.len;
            } else {
                sent.marks.insert(Marks::LOST);
                self.lost += sent.len;
            }
        }
        if let (Some(first), Some(last)) = (self.sent.front(), self.sent.back()) {
            self.resend_from = first.seq;
            self.lost_up_to = last.end();
        }
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
        let end = seq + len;
        self.split_at(end);
        let first = self.index_of(seq).min(self.sent.len());
        for sent in self.sent.range_mut(first..).take_while(|sent| sent.seq.lt(end)) {
            sent.marks.insert(Marks::RESENT | Marks::EVER_RESENT);
            sent.sent_at = sent_at;
        }
        self.resent += len;
        self.resend_from = end;
    }

    /// Recounts the sums; see [`super::Connection::audit`].
    pub(super) fn audit(&self, una: SeqNum, nxt: SeqNum) -> Result<(), &'static str> {
        let (mut next, mut sacked, mut lost, mut resent) = (una, 0, 0, 0);
        for sent in &self.sent {
            let has = |mark| sent.marks.contains(mark);
            require(sent.seq == next && sent.len > 0, "the scoreboard has a gap, an overlap or nothing")?;
            next = sent.end();
            if has(Marks::SACKED) {
                sacked += sent.len;
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
        }
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;
