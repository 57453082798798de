//! What to do about losses: the phases of recovery.
//!
//! Peers with SACK are served by RACK-TLP (RFC 8985, `rack` and `tail_probe`)
//! over the scoreboard of RFC 6675, others by NewReno (RFC 6582). The rate of
//! sending in fast recovery is PRR's (RFC 9937, `prr`) for both. A timeout is
//! RFC 5681 3.1's, watched by F-RTO (RFC 5682, `frto`). What turns out to have
//! been no loss is taken back (`undo`).
//!
//! Limited transmit (RFC 3042) needs no code of its own: each duplicate
//! acknowledgement takes a segment out of the pipe, and the window lets a new
//! one in.

mod frto;
mod prr;
mod rack;
mod tail_probe;
mod undo;

use super::ack::AckOutcome;
use super::flight::DUP_THRESH;
use super::payload::Payload;
use super::{Connection, Flags};
use crate::congestion::{CongestionControl, Signal};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
pub(super) use frto::Frto;
use prr::{Progress, Prr};
use rack::Rack;
use tail_probe::TailProbe;
use undo::Undo;

/// Where in the recovery from losses a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No loss is known.
    Open,
    /// Fast recovery: a loss was seen from acknowledgements.
    Recovery,
    /// A timeout: what is outstanding is sent again.
    Loss,
}

/// The state of loss recovery.
#[derive(Debug)]
pub(super) struct Recovery {
    pub phase: Phase,
    /// The retransmission that begins recovery is due, whatever the window
    /// says (RFC 6675 5 (4.3)).
    pub resend_now: bool,
    /// The last look for something to send ended at the congestion window.
    pub cwnd_limited: bool,
    pub frto: Frto,
    rack: Rack,
    probe: Option<TailProbe>,
    prr: Prr,
    undo: Option<Box<Undo>>,
    /// Duplicate acknowledgements in a row, from a peer without SACK.
    dup_acks: u32,
    /// Bytes that these show to have arrived.
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
            frto: Frto::Off,
            rack: Rack::new(),
            probe: None,
            prr: Prr::default(),
            undo: None,
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

    /// Nothing is known to be lost any more.
    fn reopen(&mut self) {
        self.phase = Phase::Open;
        self.resend_now = false;
        self.frto = Frto::Off;
        self.forget_duplicates();
    }

    fn forget_duplicates(&mut self) {
        self.dup_acks = 0;
        self.presumed = 0;
    }

    /// Notes what was sent.
    #[inline]
    pub(super) fn note_sent(&mut self, bytes: u32) {
        if self.phase == Phase::Recovery {
            self.prr.sent(bytes);
        }
    }

    /// Gives back what only matters while something is being recovered.
    pub(super) fn release_if_quiet(&mut self) {
        if self.is_quiet() {
            self.undo = None;
        }
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
        self.note_latest_rtt(outcome, now);
        if self.is_usual(outcome) {
            // Kept within the reach of comparisons.
            self.recovery.high = self.recovery.high.max(self.snd.una - (1 << 30));
            self.grow_window(outcome, now);
        } else {
            self.recover_from(outcome, now);
        }
        if outcome.advanced > 0 {
            self.arm_tail_probe(now);
        }
    }

    /// Whether an acknowledgement just tells that all goes well.
    #[inline]
    fn is_usual(&self, outcome: &AckOutcome) -> bool {
        outcome.advanced > 0
            && outcome.dsack.is_none()
            && outcome.overtaken().is_none()
            && self.flight.sacked() == 0
            && self.recovery.is_quiet()
            && self.recovery.probe.is_none()
    }

    fn recover_from(&mut self, outcome: &AckOutcome, now: Instant) {
        self.observe_reordering(outcome);
        self.observe_dsack(outcome);
        self.judge_tail_probe(outcome);
        if self.loss_was_spurious(outcome) {
            self.undo(outcome, now);
        }
        let delivered = self.delivered_data(outcome);
        let mut lost = self.look_for_losses(outcome, now);
        if self.recovery.phase == Phase::Loss || (self.recovery.phase == Phase::Open && !lost) {
            self.grow_window(outcome, now);
        }
        if self.recovery.phase != Phase::Open && self.snd.una.ge(self.recovery.high) {
            self.leave_recovery();
            // Of what was sent since it began.
            lost |= self.flight.lost() > 0;
        }
        match self.recovery.phase {
            Phase::Open if lost => self.enter_recovery(outcome, delivered),
            Phase::Recovery => self.limit_rate(outcome, delivered, lost),
            Phase::Open | Phase::Loss => {}
        }
    }

    /// Marks what an acknowledgement shows to be lost; returns whether that is
    /// anything new.
    fn look_for_losses(&mut self, outcome: &AckOutcome, now: Instant) -> bool {
        if !self.flags.contains(Flags::SACK) {
            self.look_for_losses_without_sack(outcome)
        } else if self.flight.sacked() > 0 || self.recovery.phase != Phase::Open {
            self.detect_losses(now)
        } else {
            false
        }
    }

    /// The retransmission and the recovery of RFC 6582 3.2.
    fn look_for_losses_without_sack(&mut self, outcome: &AckOutcome) -> bool {
        let mss = self.smss();
        // After a timeout only F-RTO's new segments can arrive so.
        if outcome.duplicate && (self.recovery.phase != Phase::Loss || self.snd.nxt.gt(self.recovery.high)) {
            self.recovery.dup_acks += 1;
            self.recovery.presumed = (self.recovery.presumed + mss).min(self.flight.bytes());
        }
        let lost = match self.recovery.phase {
            Phase::Open | Phase::Loss if outcome.advanced > 0 => {
                self.recovery.forget_duplicates();
                false
            }
            // (2): duplicates of what a former recovery sent twice say nothing.
            Phase::Open => {
                outcome.duplicate
                    && self.recovery.dup_acks >= DUP_THRESH
                    && self.snd.una.gt(self.recovery.high)
            }
            // (3): a partial ACK stops at the next hole, which is filled at once.
            Phase::Recovery => {
                self.recovery.presumed = self.recovery.presumed.saturating_sub(outcome.advanced);
                let partial = outcome.advanced > 0 && self.snd.una.lt(self.recovery.high);
                self.recovery.resend_now |= partial;
                partial
            }
            Phase::Loss => false,
        };
        if lost {
            self.flight.mark_first_lost(mss);
        }
        lost
    }

    fn enter_recovery(&mut self, outcome: &AckOutcome, delivered: u32) {
        if self.path_probe_lost() {
            return;
        }
        // RFC 9937 6: what was SACKed before has left the network; what this
        // acknowledgement brings is delivered during recovery.
        let sacked_before = self.flight.sacked() - outcome.sacked.min(self.flight.sacked());
        let flight_size = self.flight.bytes() + outcome.advanced;
        self.begin_recovery(flight_size, flight_size - sacked_before);
        self.limit_rate(outcome, delivered, true);
    }

    fn begin_recovery(&mut self, flight_size: u32, recover_fs: u32) {
        self.stats.recoveries += 1;
        self.prepare_undo();
        self.lower_threshold(Signal::Loss, flight_size);
        self.recovery.prr = Prr::new(recover_fs);
        self.recovery.phase = Phase::Recovery;
        self.recovery.probe = None;
        self.recovery.high = self.snd.nxt;
        self.recovery.resend_now = true;
    }

    /// Lets out what PRR allows in answer to an acknowledgement that brought
    /// `delivered` bytes, and news of losses or not.
    fn limit_rate(&mut self, outcome: &AckOutcome, delivered: u32, lost: bool) {
        if delivered == 0 && !self.recovery.resend_now {
            return;
        }
        // The next hole that a peer without SACK shows is no further loss.
        let further_loss = lost && self.flags.contains(Flags::SACK);
        let in_flight = self.pipe();
        let allowance = self.recovery.prr.allowance(Progress {
            delivered,
            in_flight,
            ssthresh: self.window.ssthresh,
            mss: self.smss(),
            safe: outcome.advanced > 0 && !further_loss,
        });
        self.window.cwnd = in_flight + allowance;
    }

    /// DeliveredData of RFC 9937 5: without SACK a segment for each duplicate,
    /// which the advance that follows does not bring again.
    fn delivered_data(&self, outcome: &AckOutcome) -> u32 {
        if self.flags.contains(Flags::SACK) {
            outcome.delivery.bytes
        } else if outcome.duplicate {
            self.smss()
        } else {
            outcome.advanced.saturating_sub(self.recovery.presumed).max(outcome.advanced.min(self.smss()))
        }
    }

    /// Recovery is complete. RFC 9937 6: the window is the threshold.
    fn leave_recovery(&mut self) {
        if self.recovery.phase == Phase::Recovery {
            self.window.cwnd = self.window.ssthresh;
        }
        self.recovery.rack.recovery_ended();
        self.recovery.reopen();
    }

    /// A timer asks for a look at losses: RACK's reordering timer, or the tail
    /// loss probe's.
    pub(super) fn look_again(&mut self, now: Instant) {
        if self.may_probe_tail() {
            return self.tail_probe_expired(now);
        }
        let allowance = self.window.cwnd.saturating_sub(self.pipe());
        if !self.detect_losses(now) {
            return;
        }
        match self.recovery.phase {
            Phase::Open => {
                if self.path_probe_lost() {
                    return;
                }
                let flight_size = self.flight.bytes();
                self.begin_recovery(flight_size, flight_size - self.flight.sacked());
                self.window.cwnd = self.pipe() + self.smss();
            }
            // No more may go out for that than before.
            Phase::Recovery => self.window.cwnd = self.pipe() + allowance,
            Phase::Loss => {}
        }
    }

    /// The retransmission timer has expired (RFC 6298 5.4 to 5.6, RFC 5681 3.1).
    pub(super) fn enter_loss(&mut self, now: Instant) {
        // The threshold falls once an episode, not with each timeout.
        if self.recovery.phase == Phase::Open {
            self.prepare_undo();
            self.lower_threshold(Signal::Timeout, self.flight.bytes());
        }
        self.start_frto();
        self.window.cwnd = self.smss();
        self.recovery.phase = Phase::Loss;
        self.recovery.probe = None;
        self.recovery.high = self.snd.nxt;
        self.recovery.resend_now = true;
        self.recovery.forget_duplicates();
        self.mark_lost_by_timeout(now);
    }

    /// The path takes smaller segments than what is under way: that is sent
    /// again at once. It tells nothing of congestion, so the window stays
    /// (RFC 5681 3.1; Linux `tcp_simple_retransmit`).
    pub(super) fn resend_longer(&mut self) {
        self.recovery.frto = Frto::Off;
        if !self.flight.mark_longer_lost(self.smss()) || self.recovery.phase == Phase::Loss {
            return;
        }
        self.recovery.reopen();
        self.recovery.phase = Phase::Loss;
        self.recovery.undo = None;
        self.recovery.probe = None;
        self.recovery.high = self.snd.nxt;
        self.recovery.resend_now = true;
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
