//! Explicit congestion notification (RFC 3168): the negotiation, the marks that
//! arrive and their echo, and the answer to the peer's echo; with the changes
//! of DCTCP (RFC 8257) on both sides.

use std::collections::VecDeque;

use super::payload::Payload;
use super::recovery::Phase;
use super::{Connection, Pending, State, Transmit};
use crate::config::EcnMode;
use crate::congestion::{CongestionControl, Controller, DctcpInfo, Echo, Signal};
use crate::seq::SeqNum;
use crate::time::Instant;
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr};

/// Both flags of an ECN-setup SYN (RFC 3168 6.1.1).
const SETUP: TcpFlags = TcpFlags::ECE.union(TcpFlags::CWR);

/// Acknowledgements of the past that wait at most: more changes than this do
/// not fit a burst of the device.
const MOST_OWED: usize = 64;

bitflags::bitflags! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct EcnFlags: u16 {
        /// An ECN-setup SYN was sent.
        const ASKED = 1;
        /// An ECN-setup SYN came.
        const OFFERED = 1 << 1;
        /// Its packet was not ECN-capable, as RFC 3168 6.1.1 wants it.
        const OFFERED_PLAINLY = 1 << 2;
        /// Both ends understand marks.
        const CAPABLE = 1 << 3;
        /// A mark is being echoed; with DCTCP: DCTCP.CE (RFC 8257 3.2).
        const ECHO = 1 << 4;
        /// The next new data says that the window was reduced.
        const CWR_DUE = 1 << 5;
        /// The window was reduced for data that is outstanding still.
        const REDUCED = 1 << 6;
        /// The acknowledgement at hand echoes a mark.
        const ECHOED = 1 << 7;
        /// A packet came that the network could have marked.
        const SEEN = 1 << 8;
    }
}

/// The state of ECN.
#[derive(Debug)]
pub(super) struct EcnState {
    flags: EcnFlags,
    /// Every segment is ECN-capable (RFC 8257 3.6), not only new data.
    everywhere: bool,
    /// No further reduction before more than this is acknowledged.
    reduced_until: SeqNum,
    /// Acknowledgements that report what came before a change of the marks, and
    /// whether with ECE (RFC 8257 3.2).
    #[expect(clippy::box_collection, reason = "seldom there, and a box is one word in each connection")]
    owed: Option<Box<VecDeque<(SeqNum, bool)>>>,
}

impl EcnState {
    pub(super) fn new(iss: SeqNum) -> Self {
        Self { flags: EcnFlags::empty(), everywhere: false, reduced_until: iss, owed: None }
    }

    /// Whether both ends understand marks.
    #[inline]
    pub(super) fn is_capable(&self) -> bool {
        self.flags.contains(EcnFlags::CAPABLE)
    }

    /// Whether a segment with this field changes nothing here.
    #[inline]
    pub(super) fn is_usual(&self, field: Ecn) -> bool {
        (field == Ecn::Ce) == self.flags.contains(EcnFlags::ECHO)
    }

    /// A packet came that the network could have marked, or has.
    #[inline]
    pub(super) fn note_capable(&mut self) {
        self.flags.insert(EcnFlags::SEEN);
    }

    /// Whether a packet came that the network could have marked.
    pub(super) fn has_seen_capable(&self) -> bool {
        self.flags.contains(EcnFlags::SEEN)
    }

    /// Whether the acknowledgement at hand echoes a mark.
    #[inline]
    pub(super) fn echoed(&self) -> bool {
        self.flags.contains(EcnFlags::ECHOED)
    }

    /// Whether the window was reduced for data that is outstanding still.
    pub(super) fn has_reduced(&self) -> bool {
        self.flags.contains(EcnFlags::REDUCED)
    }

    /// Whether the next new data must say that the window was reduced.
    #[inline]
    pub(super) fn cwr_due(&self) -> bool {
        self.flags.contains(EcnFlags::CWR_DUE)
    }

    /// The field of a segment without new data.
    #[inline]
    pub(super) fn field(&self) -> Ecn {
        if self.everywhere { Ecn::Ect0 } else { Ecn::NotEct }
    }

    /// The field of a segment from the send buffer, and its CWR. Neither goes
    /// with what is sent again (RFC 3168 6.1.2, 6.1.5).
    #[inline]
    pub(super) fn of_data(&mut self, is_new: bool) -> (Ecn, TcpFlags) {
        if !is_new || !self.is_capable() {
            return (self.field(), TcpFlags::empty());
        }
        let cwr = if self.cwr_due() { TcpFlags::CWR } else { TcpFlags::empty() };
        self.flags.remove(EcnFlags::CWR_DUE);
        (Ecn::Ect0, cwr)
    }

    /// ECE while a mark is being echoed (RFC 3168 6.1.3).
    #[inline]
    pub(super) fn echo(&self) -> TcpFlags {
        if self.flags.contains(EcnFlags::ECHO) { TcpFlags::ECE } else { TcpFlags::empty() }
    }

    /// The window was reduced, for whatever reason; `nxt` is SND.NXT. The peer
    /// is told with the next new data (RFC 3168 6.1.2).
    pub(super) fn note_reduction(&mut self, nxt: SeqNum) {
        if self.is_capable() {
            self.flags.insert(EcnFlags::REDUCED | EcnFlags::CWR_DUE);
            self.reduced_until = nxt;
        }
    }
}

impl<B: Payload> Connection<B> {
    /// The state of DCTCP (`TCP_CC_INFO`), where that is the controller.
    pub fn dctcp_info(&self) -> Option<DctcpInfo> {
        let Controller::Dctcp(dctcp) = &self.controller else { return None };
        let ce = self.ecn.flags.contains(EcnFlags::ECHO);
        Some(DctcpInfo { enabled: self.ecn.is_capable(), ce, ..dctcp.info() })
    }

    /// Whether marks are wanted here although nobody asked: DCTCP cannot do
    /// without, as in Linux.
    fn needs_marks(&self) -> bool {
        self.controller.counts_marks()
    }

    /// Flags and field of our SYN. One that got no answer is repeated without
    /// ECN, for paths that drop it (RFC 3168 6.1.1.1).
    pub(super) fn ecn_of_syn(&mut self) -> (TcpFlags, Ecn) {
        if self.state == State::SynReceived {
            let echo = if self.ecn.is_capable() { TcpFlags::ECE } else { TcpFlags::empty() };
            return (echo, self.ecn.field());
        }
        let wanted = self.config.ecn == EcnMode::On || self.needs_marks();
        if !wanted || self.timers.backoff > 0 {
            return (TcpFlags::empty(), Ecn::NotEct);
        }
        self.ecn.flags.insert(EcnFlags::ASKED);
        (SETUP, if self.needs_marks() { Ecn::Ect0 } else { Ecn::NotEct })
    }

    /// Takes what the peer's SYN or SYN-ACK says of ECN (RFC 3168 6.1.1).
    pub(super) fn negotiate_ecn(&mut self, syn: &TcpRepr) {
        let setup = syn.flags & SETUP;
        if syn.flags.contains(TcpFlags::ACK) {
            // A SYN-ACK with both flags reflects ours: its sender knows nothing of them.
            if setup == TcpFlags::ECE && self.ecn.flags.contains(EcnFlags::ASKED) {
                self.begin_ecn();
            }
        } else {
            self.ecn.flags.set(EcnFlags::OFFERED, setup == SETUP);
            self.ecn.flags.set(EcnFlags::OFFERED_PLAINLY, syn.ecn == Ecn::NotEct);
            self.answer_ecn_offer();
        }
    }

    /// Takes the peer's offer up, or not. A SYN that is ECN-capable itself is
    /// against RFC 3168 6.1.1, but right for DCTCP (RFC 8257 3.6).
    fn answer_ecn_offer(&mut self) {
        let accepts = self.needs_marks()
            || (self.config.ecn != EcnMode::Off && self.ecn.flags.contains(EcnFlags::OFFERED_PLAINLY));
        if accepts && self.ecn.flags.contains(EcnFlags::OFFERED) {
            self.begin_ecn();
        }
    }

    fn begin_ecn(&mut self) {
        self.ecn.flags.insert(EcnFlags::CAPABLE);
        self.ecn.everywhere = self.needs_marks();
    }

    /// The controller is another one now: ECN follows.
    pub(super) fn ecn_follows_controller(&mut self) {
        if self.state == State::SynReceived && self.pending.contains(Pending::SYN) {
            self.answer_ecn_offer();
        }
        self.ecn.everywhere = self.ecn.is_capable() && self.needs_marks();
    }

    /// New payload arrived: takes note of its mark, and of the peer's CWR.
    pub(super) fn take_mark(&mut self, segment: &TcpRepr) {
        if !self.ecn.is_capable() {
            return;
        }
        let marked = segment.ecn == Ecn::Ce;
        if self.needs_marks() {
            return self.follow_mark(marked);
        }
        // CWR goes first: a mark beside it is a new one (RFC 3168 6.1.3, erratum 3639).
        if segment.flags.contains(TcpFlags::CWR) {
            self.ecn.flags.remove(EcnFlags::ECHO);
            // The peer's window may be down to a segment: do not keep it waiting.
            self.pending.insert(Pending::ACK);
        }
        if marked && !self.ecn.flags.contains(EcnFlags::ECHO) {
            self.ecn.flags.insert(EcnFlags::ECHO);
            self.pending.insert(Pending::ACK);
        }
    }

    /// DCTCP's receiver: ECE says of each acknowledgement whether what it covers
    /// was marked, and so each change is acknowledged at once (RFC 8257 3.2).
    fn follow_mark(&mut self, marked: bool) {
        if marked == self.ecn.flags.contains(EcnFlags::ECHO) {
            return;
        }
        let owed = self.ecn.owed.get_or_insert_default();
        let reported = owed.back().map_or(self.rcv.ack_sent, |&(ack, _)| ack);
        if reported != self.rcv.nxt && owed.len() < MOST_OWED {
            owed.push_back((self.rcv.nxt, !marked));
            self.pending.insert(Pending::OLD_ACK);
        }
        self.ecn.flags.set(EcnFlags::ECHO, marked);
        self.pending.insert(Pending::ACK);
    }

    /// The oldest acknowledgement that is owed for what came before a change.
    pub(super) fn commit_old_ack(&mut self, now: Instant) -> Transmit<'static> {
        let owed = self.ecn.owed.as_mut();
        let oldest = owed.and_then(|owed| owed.pop_front());
        let (ack, echo) = oldest.unwrap_or((self.rcv.nxt, false));
        if self.ecn.owed.as_ref().is_none_or(|owed| owed.is_empty()) {
            self.pending.remove(Pending::OLD_ACK);
            self.ecn.owed = None;
        }
        let mut flags = TcpFlags::ACK;
        flags.set(TcpFlags::ECE, echo);
        self.rcv.ack_sent = ack;
        Transmit {
            window: self.rcv.field_behind(ack),
            options: TcpOptions { timestamps: self.timestamps.option(now), ..TcpOptions::default() },
            ..self.bare(self.snd.nxt, ack, flags)
        }
    }

    /// An acceptable ACK, before it is acted upon: takes the peer's echo. The
    /// window falls once for a window of data (RFC 3168 6.1.2, RFC 8257 3.3),
    /// and not beside a recovery from losses.
    #[inline]
    pub(super) fn take_echo(&mut self, segment: &TcpRepr) {
        if self.ecn.is_capable() {
            self.answer_echo(segment);
        }
    }

    fn answer_echo(&mut self, segment: &TcpRepr) {
        let marked = segment.flags.contains(TcpFlags::ECE);
        self.ecn.flags.set(EcnFlags::ECHOED, marked);
        let acked = segment.ack - self.snd.una;
        self.controller.on_echo(&Echo { acked, marked, una: segment.ack, nxt: self.snd.nxt });
        if segment.ack.gt(self.ecn.reduced_until) {
            self.ecn.flags.remove(EcnFlags::REDUCED);
        }
        if !marked {
            return;
        }
        if self.recovery.phase != Phase::Open {
            self.keep_reduction();
        } else if !self.ecn.has_reduced() {
            self.lower_threshold(Signal::Mark, self.flight.bytes());
            self.window.cwnd = self.window.cwnd.min(self.window.ssthresh);
        }
    }
}
