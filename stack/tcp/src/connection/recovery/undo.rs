//! Taking back what was done about losses that were none.
//!
//! Evidence is one of three: D-SACKs for all that was sent again (RFC 3708
//! 3), a timestamp that is older than the first retransmission (Eifel, RFC
//! 3522), or originals that arrive after a timeout (F-RTO, RFC 5682, in
//! `frto`). The answer is RFC 4015's: the threshold and the controller are as
//! before, and the window comes back without a burst.

use super::super::Connection;
use super::super::ack::AckOutcome;
use super::super::payload::Payload;
use super::Phase;
use crate::congestion::{CongestionControl, Controller, Window};
use crate::seq::SeqNum;
use crate::time::Instant;

/// Retransmissions of one episode that are remembered; with more, D-SACKs no
/// longer undo it.
const MOST_RANGES: usize = 64;

/// What was before the window was reduced, and what was sent again since.
#[derive(Debug)]
pub(in crate::connection) struct Undo {
    window: Window,
    controller: Controller,
    /// Timeouts in a row before this one.
    backoff: u32,
    /// The first retransmission, until the first acknowledgement that covers
    /// it has shown what it was (RFC 3522 3.2).
    first: Option<FirstResend>,
    /// Whether anything was sent again.
    resent: bool,
    /// What was sent again and not reported as a duplicate yet.
    unreported: Vec<(SeqNum, SeqNum)>,
    /// There were too many to remember.
    overflow: bool,
    /// It was taken back; what is reported after that counts all the same.
    done: bool,
}

/// The first retransmission of an episode.
#[derive(Debug, Clone, Copy)]
struct FirstResend {
    at: Instant,
    end: SeqNum,
}

impl Undo {
    fn note_resend(&mut self, seq: SeqNum, end: SeqNum, now: Instant) {
        if !self.resent {
            self.first = Some(FirstResend { at: now, end });
        }
        self.resent = true;
        match self.unreported.last_mut().filter(|last| last.1 == seq) {
            Some(last) => last.1 = end,
            None => self.unreported.push((seq, end)),
        }
        self.bound();
    }

    /// Gives up when there are too many pieces.
    fn bound(&mut self) {
        if self.overflow || self.unreported.len() > MOST_RANGES {
            self.overflow = true;
            self.unreported.clear();
        }
    }

    /// Takes a duplicate off what was sent again, one copy of each byte;
    /// returns whether there was any, which is believed where it is not known.
    fn take_duplicate(&mut self, (left, right): (SeqNum, SeqNum)) -> bool {
        if self.overflow {
            return true;
        }
        let overlap = |&(start, end): &(SeqNum, SeqNum)| start.max(left).lt(end.min(right));
        let Some(index) = self.unreported.iter().position(overlap) else { return false };
        let (start, end) = self.unreported.swap_remove(index);
        let (from, to) = (start.max(left), end.min(right));
        self.unreported.extend([(start, from), (to, end)].into_iter().filter(|(from, to)| from.lt(*to)));
        self.bound();
        for rest in [(left, from), (to, right)] {
            self.take_duplicate(rest);
        }
        true
    }

    /// Everything that was sent again had arrived already.
    fn all_reported(&self) -> bool {
        self.resent && !self.overflow && !self.done && self.unreported.is_empty()
    }
}

impl<B: Payload> Connection<B> {
    /// Remembers what is about to change.
    pub(super) fn prepare_undo(&mut self) {
        self.recovery.undo = Some(Box::new(Undo {
            window: self.window,
            controller: self.controller.clone(),
            backoff: self.timers.backoff,
            first: None,
            resent: false,
            unreported: Vec::new(),
            overflow: false,
            done: false,
        }));
    }

    /// Notes what was sent again.
    pub(in crate::connection) fn note_resend(&mut self, seq: SeqNum, len: u32, now: Instant) {
        if let Some(undo) = &mut self.recovery.undo {
            undo.note_resend(seq, seq + len, now);
        }
    }

    /// A mark tells of congestion, whatever the losses were (RFC 3168 6.1.2): the
    /// window stays reduced.
    pub(in crate::connection) fn keep_reduction(&mut self) {
        if let Some(undo) = &mut self.recovery.undo {
            let ssthresh = self.window.ssthresh;
            undo.window = Window { cwnd: undo.window.cwnd.min(ssthresh), ssthresh };
            undo.controller = self.controller.clone();
        }
    }

    /// Draws the conclusions from a D-SACK (RFC 2883). One for a tail loss
    /// probe tells nothing of the path.
    pub(super) fn observe_dsack(&mut self, outcome: &AckOutcome) {
        let Some(range) = outcome.dsack else { return };
        self.stats.dsacks += 1;
        if self.recovery.probe.is_some_and(|probe| probe.is_reported(outcome)) {
            return;
        }
        if let Some(undo) = &mut self.recovery.undo
            && undo.take_duplicate(range)
        {
            self.stats.spurious_retransmits += (range.1 - range.0).div_ceil(self.smss());
            self.widen_reordering_window();
        }
    }

    /// Whether an acknowledgement shows that nothing was lost when it was
    /// thought so. One that echoes a mark is a sign of congestion all the same
    /// (RFC 4015 3.2).
    pub(super) fn loss_was_spurious(&mut self, outcome: &AckOutcome) -> bool {
        if self.ecn.echoed() {
            return false;
        }
        let by_resend = self.resend_was_spurious(outcome);
        if by_resend && self.recovery.phase != Phase::Loss {
            // The retransmission was too fast: the path reorders.
            self.note_reordering(outcome.fack.since(self.snd.una));
        }
        by_resend || self.timeout_was_spurious(outcome)
    }

    fn resend_was_spurious(&mut self, outcome: &AckOutcome) -> bool {
        let Some(undo) = &mut self.recovery.undo else { return false };
        if outcome.dsack.is_some() && undo.all_reported() {
            return true;
        }
        // RFC 3522 3.2 (4) and (5): the first acknowledgement decides.
        match undo.first {
            Some(first) if outcome.advanced > 0 && self.snd.una.ge(first.end) => {
                undo.first = None;
                !undo.done && self.timestamps.echo_precedes(outcome.stamps, first.at)
            }
            _ => false,
        }
    }

    /// The response of RFC 4015 3: to continue with new data, with the
    /// congestion control as it was.
    pub(super) fn undo(&mut self, outcome: &AckOutcome, now: Instant) {
        let Some(undo) = &mut self.recovery.undo else { return };
        undo.done = true;
        let (before, backoff) = (undo.window, undo.backoff);
        self.stats.undos += 1;
        self.flight.forget_losses();
        self.controller.on_undo(&undo.controller);
        // (ReCC): no burst; slow start leads back to where the window was.
        let mss = self.smss();
        let burst = outcome.delivery.bytes.min(self.config.initial_window * mss).max(mss);
        let resumed = (self.pipe() + burst).min(before.cwnd);
        let reduced = if self.recovery.phase == Phase::Loss { mss } else { self.window.cwnd };
        self.window.cwnd = reduced.max(resumed);
        self.window.ssthresh = before.ssthresh.max(before.cwnd);
        self.timers.backoff = backoff.min(self.timers.backoff);
        self.recovery.reopen();
        self.timers.watch_losses(Instant::FAR);
        if !self.flight.is_empty() {
            self.arm_retransmit(now);
            self.arm_tail_probe(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CongestionAlgorithm;

    fn undo(resent: &[(u32, u32)]) -> Undo {
        let mut undo = Undo {
            window: Window { cwnd: 10_000, ssthresh: u32::MAX },
            controller: Controller::new(CongestionAlgorithm::NewReno),
            backoff: 0,
            first: None,
            resent: false,
            unreported: Vec::new(),
            overflow: false,
            done: false,
        };
        for &(seq, end) in resent {
            undo.note_resend(SeqNum(seq), SeqNum(end), Instant::default());
        }
        undo
    }

    fn take(undo: &mut Undo, left: u32, right: u32) -> bool {
        undo.take_duplicate((SeqNum(left), SeqNum(right)))
    }

    #[test]
    fn nothing_sent_again_is_nothing_to_undo() {
        assert!(!undo(&[]).all_reported());
    }

    #[test]
    fn duplicates_may_come_in_pieces_and_in_any_order() {
        let mut undo = undo(&[(0, 1000), (1000, 2000), (5000, 6000)]);
        assert!(take(&mut undo, 5500, 6000) && take(&mut undo, 400, 1700) && take(&mut undo, 0, 400));
        assert!(!undo.all_reported());
        assert!(take(&mut undo, 1000, 5600));
        assert!(undo.all_reported());
    }

    #[test]
    fn what_was_sent_again_twice_has_to_be_reported_twice() {
        let mut undo = undo(&[(0, 1000), (3000, 4000), (0, 1000)]);
        assert!(take(&mut undo, 0, 4000));
        assert!(!undo.all_reported());
        assert!(take(&mut undo, 0, 1000));
        assert!(undo.all_reported());
        assert!(!take(&mut undo, 0, 1000));
    }

    #[test]
    fn too_many_holes_cannot_be_undone() {
        let holes: Vec<_> = (0..65).map(|n| (2 * n, 2 * n + 1)).collect();
        let mut few = undo(holes.get(1..).expect("64 of them"));
        assert!(take(&mut few, 0, 1000) && few.all_reported());
        let mut many = undo(&holes);
        take(&mut many, 0, 1000);
        assert!(!many.all_reported());
        let mut crumbs = undo(&[(0, 1000)]);
        (0..64).for_each(|n| assert!(take(&mut crumbs, 2 * n + 1, 2 * n + 2)));
        assert!(take(&mut crumbs, 0, 1000) && !crumbs.all_reported());
    }
}
