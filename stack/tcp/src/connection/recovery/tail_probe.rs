//! Tail loss probes (RFC 8985 7): when the acknowledgements of the last
//! segments stay out, one segment more brings them, and with them RACK's
//! evidence, long before a timeout would.

use super::super::ack::AckOutcome;
use super::super::payload::Payload;
use super::super::{Connection, Flags, Pending};
use super::Phase;
use crate::congestion::Signal;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Probe timeout before the first RTT sample (RFC 8985 7.2).
const WITHOUT_RTT: Duration = Duration::from_secs(1);

/// Added to two round trips: what a peer or a timer may be late even on the
/// shortest path (Linux `TCP_TIMEOUT_MIN`).
const SLACK: Duration = Duration::from_millis(2);

/// A probe that was sent and whose outcome is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct TailProbe {
    /// TLP.end_seq: SND.NXT after the probe.
    end: SeqNum,
    /// TLP.is_retrans: it was no new data.
    is_retransmit: bool,
}

/// What an acknowledgement says about a probe (RFC 8985 7.4).
enum Verdict {
    /// Nothing yet.
    Open,
    /// Nothing was lost, or RACK sees to it.
    Harmless,
    /// The probe has repaired a loss.
    Repaired,
}

impl TailProbe {
    /// `TLP_process_ack`.
    fn judge(&self, una: SeqNum, outcome: &AckOutcome) -> Verdict {
        if una.lt(self.end) {
            Verdict::Open
        } else if !self.is_retransmit || self.is_reported(outcome) {
            Verdict::Harmless
        } else if una.gt(self.end) {
            Verdict::Repaired
        } else if outcome.duplicate_without_sack {
            // The original and the probe have both arrived.
            Verdict::Harmless
        } else {
            Verdict::Open
        }
    }

    /// Whether the peer tells that it has the probe twice.
    pub(super) fn is_reported(&self, outcome: &AckOutcome) -> bool {
        self.is_retransmit && outcome.dsack.is_some_and(|(_, right)| right == self.end)
    }
}

impl<B: Payload> Connection<B> {
    /// (Re)starts the probe timer (RFC 8985 7.2): after new data was sent, and
    /// after a cumulative acknowledgement that leaves some outstanding.
    #[inline]
    pub(in crate::connection) fn arm_tail_probe(&mut self, now: Instant) {
        if self.may_probe_tail() {
            self.timers.probe_tail(now + self.probe_timeout());
        }
    }

    /// Whether a probe would tell something that nothing else does.
    #[inline]
    pub(super) fn may_probe_tail(&self) -> bool {
        !self.flight.is_empty()
            && self.flight.sacked() == 0
            && self.recovery.phase == Phase::Open
            && self.recovery.probe.is_none()
            && self.flags.contains(Flags::SACK)
            && self.config.tail_loss_probe
    }

    /// `TLP_calc_PTO`.
    #[inline]
    fn probe_timeout(&self) -> Duration {
        let Some(srtt) = self.rtt.smoothed() else { return WITHOUT_RTT };
        // A lone segment may wait for the peer's delayed ACK.
        let alone = self.flight.bytes() <= self.smss();
        srtt * 2 + if alone { self.config.max_ack_delay } else { SLACK }
    }

    /// Whether a tail loss probe is to leave with the next segment.
    #[must_use]
    pub fn is_tail_probe_due(&self) -> bool {
        self.pending.contains(Pending::TAIL_PROBE)
    }

    /// The probe timer has expired: a probe is due, and a whole timeout after
    /// it (RFC 8985 7.3).
    pub(super) fn tail_probe_expired(&mut self, now: Instant) {
        self.note_stall(now);
        self.pending.insert(Pending::TAIL_PROBE);
        self.arm_retransmit(now);
    }

    /// A probe has left.
    pub(in crate::connection) fn tail_probe_sent(&mut self, is_retransmit: bool) {
        self.pending.remove(Pending::TAIL_PROBE);
        self.stats.tail_probes += 1;
        self.recovery.probe = Some(TailProbe { end: self.snd.nxt, is_retransmit });
        self.timers.watch_losses(Instant::FAR);
    }

    /// Finds out what a probe has done (RFC 8985 7.4). A loss that it repaired
    /// is congestion as any other.
    pub(super) fn judge_tail_probe(&mut self, outcome: &AckOutcome) {
        let Some(probe) = self.recovery.probe else { return };
        match probe.judge(self.snd.una, outcome) {
            Verdict::Open => return,
            Verdict::Harmless => {}
            Verdict::Repaired => {
                self.lower_threshold(Signal::Loss, self.flight.bytes() + outcome.advanced);
                self.window.cwnd = self.window.ssthresh;
            }
        }
        self.recovery.probe = None;
    }
}
