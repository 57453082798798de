//! What to do about losses: fast retransmit and recovery with SACK (RFC 6675)
//! and without (RFC 6582), limited transmit (RFC 3042), and the way out of a
//! timeout (RFC 5681 3.1).
//!
//! Limited transmit needs no code of its own: each duplicate acknowledgement
//! takes a segment out of the pipe, and the window lets a new one in.

use super::ack::AckOutcome;
use super::flight::DUP_THRESH;
use super::payload::Payload;
use super::{Connection, Flags};
use crate::congestion::{CongestionControl, Signal};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Where in the recovery from losses a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No loss is known.
    Open,
    /// Fast recovery: a loss was seen from duplicate acknowledgements.
    Recovery,
    /// A timeout: everything outstanding is sent again.
    Loss,
}

/// The state of loss recovery.
#[derive(Debug)]
pub(super) struct Recovery {
    pub phase: Phase,
    /// The retransmission that begins fast recovery is due, whatever the
    /// window says (RFC 6675 5 (4.3)).
    pub resend_now: bool,
    /// The last look for something to send ended at the congestion window.
    pub cwnd_limited: bool,
    /// Duplicate acknowledgements in a row.
    dup_acks: u32,
    /// Bytes that duplicate acknowledgements without SACK show to have arrived.
    presumed: u32,
    /// Recovery ends when this is acknowledged.
    high: SeqNum,
}

impl Recovery {
    pub(super) fn new(iss: SeqNum) -> Self {
        Self {
            phase: Phase::Open,
            resend_now: false,
            cwnd_limited: false,
            dup_acks: 0,
            presumed: 0,
            high: iss,
        }
    }

    /// Nothing is being recovered or suspected.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.phase == Phase::Open && self.dup_acks == 0
    }

    fn forget_duplicates(&mut self) {
        self.dup_acks = 0;
        self.presumed = 0;
    }
}

impl<B: Payload> Connection<B> {
    /// Bytes thought to be in the network.
    #[inline]
    pub(super) fn pipe(&self) -> u32 {
        self.flight.pipe().saturating_sub(self.recovery.presumed)
    }

    /// Draws the conclusions from an acknowledgement.
    #[inline]
    pub(super) fn recover(&mut self, outcome: &AckOutcome, now: Instant) {
        match self.recovery.phase {
            Phase::Open => self.watch_for_loss(outcome, now),
            _ if self.snd.una.ge(self.recovery.high) => self.leave_recovery(),
            Phase::Recovery => self.continue_recovery(outcome),
            Phase::Loss => self.grow_window(outcome, now),
        }
    }

    #[inline]
    fn watch_for_loss(&mut self, outcome: &AckOutcome, now: Instant) {
        if outcome.advanced > 0 {
            self.recovery.forget_duplicates();
            // Kept within the reach of comparisons.
            self.recovery.high = self.recovery.high.max(self.snd.una - (1 << 30));
        }
        if outcome.duplicate {
            self.count_duplicate();
        }
        if (self.flight.sacked() > 0 || outcome.duplicate) && self.loss_is_evident() {
            return self.enter_recovery();
        }
        self.grow_window(outcome, now);
    }

    fn count_duplicate(&mut self) {
        self.recovery.dup_acks += 1;
        if !self.flags.contains(Flags::SACK) {
            self.recovery.presumed = (self.recovery.presumed + self.smss()).min(self.flight.bytes());
        }
    }

    fn loss_is_evident(&mut self) -> bool {
        let thrice = self.recovery.dup_acks >= DUP_THRESH;
        if self.flags.contains(Flags::SACK) {
            // RFC 6675 5 (1) and (2).
            self.flight.mark_lost_by_sack(self.smss()) || thrice
        } else {
            // RFC 6582 3.2 (2): duplicates of what a former recovery sent twice
            // say nothing.
            thrice && self.snd.una.gt(self.recovery.high)
        }
    }

    fn enter_recovery(&mut self) {
        let mss = self.smss();
        self.stats.recoveries += 1;
        self.window.ssthresh =
            self.controller.on_congestion(&self.window, Signal::Loss, self.flight.bytes(), mss);
        self.window.cwnd = self.window.ssthresh;
        self.recovery.phase = Phase::Recovery;
        self.recovery.high = self.snd.nxt;
        self.recovery.resend_now = true;
        if self.flight.lost() == 0 {
            self.flight.mark_first_lost(mss);
        }
    }

    fn continue_recovery(&mut self, outcome: &AckOutcome) {
        let mss = self.smss();
        if self.flags.contains(Flags::SACK) {
            self.flight.mark_lost_by_sack(mss);
            // A partial ACK that stops below SACKed data stops at a hole.
            if outcome.advanced > 0 && self.snd.una.lt(self.flight.highest_sacked()) {
                self.flight.mark_first_lost(mss);
            }
        } else if outcome.advanced > 0 {
            // RFC 6582 3.2 (3): a partial ACK stops at the next hole.
            self.recovery.presumed = self.recovery.presumed.saturating_sub(outcome.advanced);
            self.flight.mark_first_lost(mss);
        } else if outcome.duplicate {
            self.count_duplicate();
        }
    }

    fn leave_recovery(&mut self) {
        if self.recovery.phase == Phase::Recovery && !self.flags.contains(Flags::SACK) {
            // RFC 6582 3.2 (3), full acknowledgement: no burst.
            let mss = self.smss();
            self.window.cwnd = self.window.ssthresh.min(self.flight.pipe().max(mss) + mss);
        }
        self.recovery.phase = Phase::Open;
        self.recovery.resend_now = false;
        self.recovery.forget_duplicates();
    }

    /// The retransmission timer has expired (RFC 6298 5.4 to 5.6, RFC 5681 3.1).
    pub(super) fn enter_loss(&mut self) {
        let mss = self.smss();
        // The threshold falls once an episode, not with each timeout.
        if self.recovery.phase == Phase::Open {
            self.window.ssthresh =
                self.controller.on_congestion(&self.window, Signal::Timeout, self.flight.bytes(), mss);
        }
        self.window.cwnd = mss;
        self.recovery.phase = Phase::Loss;
        self.recovery.high = self.snd.nxt;
        self.recovery.resend_now = true;
        self.recovery.forget_duplicates();
        self.flight.mark_all_lost();
    }

    /// Sending resumes after a silence of more than a timeout: the window
    /// halves for each timeout that has passed, down to the initial one
    /// (RFC 5681 4.1, RFC 7661).
    pub(super) fn restart_after_idle(&mut self, silence: Duration) {
        let rto = self.rtt.rto();
        let smallest = (self.config.initial_window * self.smss()).min(self.window.cwnd);
        self.window.ssthresh = self.window.ssthresh.max(self.window.cwnd / 4 * 3);
        let mut left = silence.saturating_sub(rto);
        while left > Duration::ZERO && self.window.cwnd > smallest {
            self.window.cwnd /= 2;
            left = left.saturating_sub(rto);
        }
        self.window.cwnd = self.window.cwnd.max(smallest);
        self.controller.on_restart();
    }
}
