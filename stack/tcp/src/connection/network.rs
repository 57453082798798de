//! What the network itself reports: that something could not be delivered
//! (ICMP; RFC 1122 4.2.3.9, RFC 5927).

use super::payload::Payload;
use super::{Connection, State};
use crate::error::Error;
use crate::seq::SeqNum;

impl<B: Payload> Connection<B> {
    /// Whether this number is of something that is under way. A report that
    /// quotes any other is old, or from somebody who cannot see the connection
    /// and must be ignored (RFC 5927 4.1).
    pub fn is_outstanding(&self, seq: SeqNum) -> bool {
        seq.ge(self.snd.una) && seq.lt(self.snd.nxt)
    }

    /// The network could not deliver a segment. That ends an attempt to
    /// connect; an established connection goes on, and names this reason
    /// should it ever time out. As in Linux that holds for all errors: not even
    /// the hard ones of RFC 1122 can be trusted to be true.
    pub fn on_unreachable(&mut self, error: Error) {
        match self.state {
            State::Closed | State::TimeWait => {}
            State::SynSent | State::SynReceived => self.fail(error),
            _ => self.soft_error = Some(error),
        }
    }

    /// The peer has not answered for too long.
    pub(super) fn time_out(&mut self) {
        let error = self.soft_error.take().unwrap_or(Error::TimedOut);
        self.fail(error);
    }
}
