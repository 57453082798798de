//! A naive recount of everything that is kept up to date step by step, for
//! the simulator and the fuzzers.

use super::payload::Payload;
use super::{Connection, Flags, State};

/// `Err(what)` unless `holds`.
pub(super) fn require(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

impl<B: Payload> Connection<B> {
    /// Recounts sums, order and memory, and looks whether each thing that is
    /// waited for has a timer. To be called when [`Connection::poll_transmit`]
    /// has nothing left to send. Slow: it walks all that is held.
    ///
    /// # Errors
    ///
    /// What does not add up.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), &'static str> {
        self.rx.audit()?;
        if let Some(waiting) = &self.reassembly {
            require(!waiting.is_empty(), "an empty reassembly queue is kept")?;
            waiting.audit(self.rcv.nxt, self.rcv.edge)?;
        }
        if matches!(self.state, State::Closed | State::SynSent | State::SynReceived) {
            require(self.flight.is_empty(), "something is in flight without a connection")?;
        } else {
            self.audit_sending()?;
        }
        self.audit_timers()?;
        self.audit_memory()
    }

    fn audit_sending(&self) -> Result<(), &'static str> {
        require(self.snd.una.le(self.snd.nxt), "SND.UNA is beyond SND.NXT")?;
        self.flight.audit(self.snd.una, self.snd.nxt)?;
        if self.state == State::TimeWait {
            return Ok(());
        }
        let fin = u32::from(self.flags.contains(Flags::FIN_SENT));
        require(self.snd.nxt.le(self.tx.end() + fin), "more was sent than was written")?;
        self.tx.audit(self.snd.una)
    }

    fn audit_timers(&self) -> Result<(), &'static str> {
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        let owed = opening || !self.flight.is_empty() || self.has_unsent();
        require(
            !owed || self.timers.retransmit_armed(),
            "something waits to be acknowledged or sent without a timer",
        )?;
        let receiving = self.state.can_receive();
        let unacknowledged = receiving && self.rcv.nxt != self.rcv.ack_sent;
        require(
            !unacknowledged || self.timers.ack_delayed(),
            "received data waits for its ACK without a timer",
        )?;
        require(self.state != State::TimeWait || self.next_timer().is_some(), "TIME-WAIT lasts for ever")
    }

    /// What the program and the peer can make a connection hold: the receive
    /// buffer once in arrival buffers and once more in copies, whose blocks may
    /// be half empty, and the send buffer in a ring that doubles.
    fn audit_memory(&self) -> Result<(), &'static str> {
        const SLACK: usize = 64 * 1024;
        // What was offered before the buffer shrank stays offered.
        let promised = self.rx.len() + self.rcv.window() as usize;
        let rcvbuf = self.rcvbuf().max(self.config.rcvbuf).max(promised);
        require(self.recv_charge() <= 2 * rcvbuf + SLACK, "received payload takes too much memory")?;
        // What was written before the program made the buffer smaller stays.
        let locked = self.flags.contains(Flags::SNDBUF_LOCKED);
        let sndbuf = self.sndbuf.max(self.config.sndbuf).max(if locked { self.config.sndbuf_max } else { 0 });
        require(self.tx.len() <= sndbuf, "the send buffer is larger than its limit")?;
        require(self.tx.capacity() <= (2 * sndbuf).max(SLACK), "the send ring takes too much memory")
    }
}
