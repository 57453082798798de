//! F-RTO: whether a timeout was one (RFC 5682), for peers without timestamps
//! too.
//!
//! After a timeout only the oldest segment is sent again. When its
//! acknowledgement leaves something outstanding, new data goes out instead of
//! more retransmissions, and the next acknowledgement decides: if it is for
//! data that was not sent again, the originals were only late.

use super::super::ack::AckOutcome;
use super::super::payload::Payload;
use super::super::{Connection, Flags};
use super::Phase;

/// Steps of RFC 5682 2.1 and 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connection) enum Frto {
    /// Not at work: retransmissions go on as usual.
    Off,
    /// Step 2: the oldest segment was sent again.
    Probing,
    /// Step 3: new data was sent.
    Deciding,
}

impl<B: Payload> Connection<B> {
    /// A timeout begins, or goes on (step 1). One that interrupts another
    /// recovery gives no clear answers; one that repeats itself does.
    pub(super) fn start_frto(&mut self) {
        let repeats = self.recovery.frto == Frto::Probing;
        let begins = self.recovery.phase == Phase::Open;
        self.recovery.frto = if begins || repeats { Frto::Probing } else { Frto::Off };
    }

    /// Goes one step on; returns whether the timeout turns out to be spurious.
    pub(super) fn timeout_was_spurious(&mut self, outcome: &AckOutcome) -> bool {
        match self.recovery.frto {
            Frto::Off => false,
            Frto::Probing => {
                self.after_probing(outcome);
                false
            }
            Frto::Deciding => self.decide(outcome),
        }
    }

    /// Step 2: (b) when the window moves, (a) otherwise. SACKs before that do
    /// not count (3.1).
    fn after_probing(&mut self, outcome: &AckOutcome) {
        if outcome.advanced > 0 {
            let go_on = self.snd.una.lt(self.recovery.high) && self.may_send_new();
            self.recovery.frto = if go_on { Frto::Deciding } else { Frto::Off };
        } else if outcome.duplicate && !self.flags.contains(Flags::SACK) {
            self.recovery.frto = Frto::Off;
        }
    }

    /// Step 3.
    fn decide(&mut self, outcome: &AckOutcome) -> bool {
        let original = outcome.delivery.lowest_original.is_some_and(|seq| seq.lt(self.recovery.high));
        if original {
            return true;
        }
        if outcome.delivery.bytes > 0 || outcome.duplicate {
            // The new data has arrived and what was before it has not.
            self.recovery.frto = Frto::Off;
            self.window.cwnd = self.window.cwnd.min(3 * self.smss());
        }
        false
    }
}
