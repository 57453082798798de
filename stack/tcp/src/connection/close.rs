//! Ending a connection (RFC 9293 3.6): shutdown, close, abort, and death.

use super::payload::Payload;
use super::{Connection, Events, Flags, Pending, State};
use crate::error::Error;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::{TcpFlags, TcpRepr};

impl<B: Payload> Connection<B> {
    /// Ends sending (`SHUT_WR`): a FIN follows what was written.
    pub fn shutdown_write(&mut self, _now: Instant) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            // The FIN waits for the handshake.
            State::SynSent | State::SynReceived => self.state,
            _ => return,
        };
        self.flags.insert(Flags::WRITE_SHUT | Flags::FLUSH);
        // Writing fails at once from now on, which counts as writable.
        self.events.insert(Events::WRITABLE);
        if self.flags.contains(Flags::FIN_RECEIVED) {
            self.events.insert(Events::HUP);
        }
    }

    /// Ends receiving (`SHUT_RD`). As in Linux nothing is sent, and what
    /// arrives can still be read.
    pub fn shutdown_read(&mut self) {
        self.flags.insert(Flags::READ_SHUT);
        self.events.insert(Events::RDHUP | Events::READABLE);
    }

    /// The program gives the connection up. What it has written is still
    /// delivered, then a FIN; the connection lives on until
    /// [`Connection::is_closed`]. When there is data that it has not read the
    /// peer gets a RST instead (RFC 2525 2.17).
    pub fn close(&mut self, now: Instant) {
        self.flags.insert(Flags::ORPHAN);
        match self.state {
            State::SynSent => return self.terminate(),
            State::TimeWait | State::Closed => return self.rx.clear(),
            _ => {}
        }
        if !self.rx.is_empty() {
            return self.abort(now);
        }
        self.shutdown_write(now);
        self.shutdown_read();
        if self.state == State::FinWait2 {
            self.await_fin(now);
        }
    }

    /// An orphan in FIN-WAIT-2 waits for the peer's FIN no longer than it has to
    /// (`tcp_fin_timeout`, `TCP_LINGER2`).
    fn await_fin(&mut self, now: Instant) {
        if self.fin_wait2() == Duration::ZERO {
            return self.abort(now);
        }
        self.timers.start_linger(now + self.fin_wait2());
    }

    /// Ends the connection at once; the peer gets a RST.
    pub fn abort(&mut self, _now: Instant) {
        let resets = match self.state {
            State::SynReceived
            | State::Established
            | State::CloseWait
            | State::FinWait1
            | State::FinWait2 => true,
            // Both sides have said all (RFC 9293 3.10.5), unless our FIN still waits.
            State::Closing | State::LastAck => !self.flags.contains(Flags::FIN_SENT),
            State::SynSent | State::TimeWait | State::Closed => false,
        };
        if !self.flags.contains(Flags::ORPHAN) {
            self.error = Some(Error::Aborted);
        }
        self.flags.insert(Flags::ORPHAN);
        self.terminate();
        if resets {
            self.pending.insert(Pending::RST);
        }
    }

    /// The connection dies of `error`.
    pub(super) fn fail(&mut self, error: Error) {
        self.error = Some(error);
        self.events.insert(Events::ERROR);
        self.terminate();
    }

    /// Enters CLOSED. Only what was received and not read yet remains.
    pub(super) fn terminate(&mut self) {
        self.state = State::Closed;
        self.pending = Pending::empty();
        self.timers.stop_all();
        self.tx.clear();
        self.flight.clear(self.snd.una);
        self.reassembly = None;
        if self.flags.contains(Flags::ORPHAN) {
            self.rx.clear();
        }
        self.events.insert(Events::HUP | Events::READABLE | Events::WRITABLE);
    }

    /// The peer has our FIN.
    pub(super) fn fin_acknowledged(&mut self, now: Instant) {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.flags.contains(Flags::ORPHAN) {
                    self.await_fin(now);
                }
            }
            State::Closing => self.enter_time_wait(now),
            State::LastAck => self.terminate(),
            _ => {}
        }
    }

    /// Whether a connection in TIME-WAIT may give way to the new incarnation
    /// that `syn` opens: its numbers or timestamps lie beyond the old ones
    /// (RFC 6191, RFC 9293 3.6.1). The owner then drops this one and calls
    /// [`Connection::accept`] with an initial number beyond
    /// [`Connection::next_isn_after`].
    pub fn may_reuse(&self, syn: &TcpRepr) -> bool {
        let controls = TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK;
        if self.state != State::TimeWait || syn.flags & controls != TcpFlags::SYN {
            return false;
        }
        match syn.options.timestamps.filter(|_| self.timestamps.enabled) {
            Some(stamp) if stamp.tsval != self.timestamps.recent() => {
                (self.timestamps.recent().wrapping_sub(stamp.tsval) as i32) < 0
            }
            _ => syn.seq.gt(self.rcv.nxt),
        }
    }

    /// An initial sequence number for the next incarnation that lies beyond
    /// anything that this one has sent (Linux does the same).
    pub fn next_isn_after(&self) -> SeqNum {
        self.snd.nxt + 65_535 + 2
    }
}
