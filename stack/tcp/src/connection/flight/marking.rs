//! Marking as lost: by time (RFC 8985 6.2 step 5 and 6.3), the first hole
//! (RFC 6582), everything (RFC 5681), and the way back.

use super::{Flight, Marks, SendOrder};
use crate::connection::timers::micros32;
use crate::time::{Duration, Instant};

/// After what time a transmission is lost.
#[derive(Debug, Clone, Copy)]
pub(in crate::connection) struct Overdue {
    /// Low 32 bits of the time in microseconds.
    now: u32,
    /// Microseconds.
    after: u32,
}

impl Overdue {
    /// What was sent at least `after` ago is lost.
    pub(in crate::connection) fn new(now: Instant, after: Duration) -> Self {
        Self { now: micros32(now), after: after.as_micros().min(u64::from(u32::MAX)) as u32 }
    }

    fn has_passed(&self, sent_at: u32) -> bool {
        self.now.wrapping_sub(sent_at) >= self.after
    }

    /// Time until that is so for what was sent at `sent_at`.
    fn remaining(&self, sent_at: u32) -> Duration {
        Duration::from_micros(u64::from(self.after.saturating_sub(self.now.wrapping_sub(sent_at))))
    }
}

/// What a look for losses has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connection) struct Detection {
    /// Something is newly taken for lost.
    pub found: bool,
    /// Time after which everything is lost that was sent before what has
    /// arrived; `None` when all of that is accounted for.
    pub waiting: Option<Duration>,
}

impl Flight {
    /// `RACK_detect_loss` of RFC 8985: what was sent before something that has
    /// arrived is lost when its time has passed.
    pub(in crate::connection) fn mark_lost_by_time(&mut self, overdue: Overdue) -> Detection {
        let Some(latest) = self.latest else { return Detection { found: false, waiting: None } };
        let due = self.due();
        let candidate = |order: SendOrder| latest.is_after(order);
        let waiting = self.mark_originals(overdue, candidate) | self.mark_resends(overdue, candidate);
        // An upper bound of step 5's `timeout`: no candidate was sent later.
        let waiting = waiting.then(|| overdue.remaining(latest.at));
        Detection { found: self.due() > due, waiting }
    }

    /// `RACK_mark_losses_on_RTO` of RFC 8985 6.3: the oldest segment, `mss`
    /// bytes at most, and whatever else is overdue. A peer whose cumulative
    /// acknowledgement stands below data that it had SACKed has thrown that
    /// data away: its SACKs are forgotten and everything is lost (RFC 2018 8).
    pub(in crate::connection) fn mark_lost_by_timeout(&mut self, overdue: Overdue, mss: u32) {
        if self.sent.front().is_some_and(|first| first.marks.contains(Marks::SACKED)) {
            return self.mark_all_lost();
        }
        self.split_first(mss);
        self.mark_lost_at(0);
        self.mark_originals(overdue, |_| true);
        self.mark_resends(overdue, |_| true);
    }

    /// Bytes that are lost and were not sent again.
    fn due(&self) -> u32 {
        self.lost - self.resent
    }

    /// Marks what was not marked before and is overdue; returns whether some
    /// candidate is not. The walk ends at the first original that was sent too
    /// late: all behind it were sent later still.
    fn mark_originals(&mut self, overdue: Overdue, candidate: impl Fn(SendOrder) -> bool) -> bool {
        let mut waiting = false;
        let mut all_lost = true;
        let mut index = self.index_of(self.lost_up_to);
        while let Some(&sent) = self.sent.get(index) {
            if !sent.marks.intersects(Marks::SACKED | Marks::LOST) {
                let is_candidate = candidate(sent.order());
                if is_candidate && overdue.has_passed(sent.sent_at) {
                    self.mark_lost_at(index);
                } else {
                    waiting |= is_candidate;
                    all_lost = false;
                    if !sent.marks.contains(Marks::EVER_RESENT) {
                        break;
                    }
                }
            }
            if all_lost {
                self.lost_up_to = sent.end();
            }
            index += 1;
        }
        waiting
    }

    /// The same for retransmissions, oldest first.
    fn mark_resends(&mut self, overdue: Overdue, candidate: impl Fn(SendOrder) -> bool) -> bool {
        while let Some(&resend) = self.resends.front() {
            let mut index = self.index_of(resend.seq);
            while let Some(&sent) = self.sent.get(index).filter(|sent| sent.seq.lt(resend.end)) {
                if resend.is_still(&sent) {
                    if !candidate(sent.order()) {
                        return false;
                    }
                    if !overdue.has_passed(sent.sent_at) {
                        return true;
                    }
                    self.mark_lost_at(index);
                }
                index += 1;
            }
            self.resends.pop_front();
        }
        false
    }

    /// Marks the oldest segment as lost, at most `mss` bytes of it, unless it
    /// is marked or received already.
    pub(in crate::connection) fn mark_first_lost(&mut self, mss: u32) {
        if self.sent.front().is_some_and(|first| !first.marks.contains(Marks::LOST)) {
            self.split_first(mss);
            self.mark_lost_at(0);
        }
    }

    fn split_first(&mut self, mss: u32) {
        if let Some(first) = self.sent.front()
            && first.len > mss
        {
            self.split_at(first.seq + mss);
        }
    }

    /// Marks an entry, or its retransmission, as lost, unless it was received.
    fn mark_lost_at(&mut self, index: usize) {
        let Some(sent) = self.sent.get_mut(index) else { return };
        if sent.marks.contains(Marks::SACKED) {
            return;
        }
        if !sent.marks.contains(Marks::LOST) {
            sent.marks.insert(Marks::LOST);
            self.lost += sent.len;
        }
        if sent.marks.contains(Marks::RESENT) {
            sent.marks.remove(Marks::RESENT);
            self.resent -= sent.len;
        }
        self.resend_from = self.resend_from.min(sent.seq);
    }

    /// What is longer than `len` and has not arrived is lost, retransmissions
    /// included: the path does not take it (RFC 1191 6.4). Returns whether that
    /// is anything new.
    pub(in crate::connection) fn mark_longer_lost(&mut self, len: u32) -> bool {
        let due = self.due();
        for index in 0..self.sent.len() {
            if self.sent.get(index).is_some_and(|sent| sent.len > len) {
                self.mark_lost_at(index);
            }
        }
        self.due() > due
    }

    /// A timeout without RACK: everything that was not SACKED is lost,
    /// retransmissions included.
    pub(in crate::connection) fn mark_all_lost(&mut self) {
        let reneged = self.sent.front().is_some_and(|first| first.marks.contains(Marks::SACKED));
        (self.sacked, self.sacked_entries, self.lost, self.resent) = (0, 0, 0, 0);
        self.resends.clear();
        for sent in &mut self.sent {
            if reneged {
                sent.marks.remove(Marks::SACKED);
            }
            sent.marks.remove(Marks::RESENT);
            if sent.marks.contains(Marks::SACKED) {
                self.sacked += sent.len;
                self.sacked_entries += 1;
            } else {
                sent.marks.insert(Marks::LOST);
                self.lost += sent.len;
            }
        }
        if let (Some(first), Some(last)) = (self.sent.front(), self.sent.back()) {
            self.resend_from = first.seq;
            self.lost_up_to = last.end();
            if reneged {
                self.highest_sacked = first.seq;
                self.latest = None;
            }
        }
    }

    /// Nothing was lost after all: everything is in flight, once.
    pub(in crate::connection) fn forget_losses(&mut self) {
        (self.lost, self.resent) = (0, 0);
        self.resends.clear();
        for sent in &mut self.sent {
            sent.marks.remove(Marks::LOST | Marks::RESENT);
        }
        if let Some(first) = self.sent.front() {
            self.resend_from = first.seq;
            self.lost_up_to = first.seq;
        }
    }
}
