//! What a program that polls the connection gets to see.

use super::payload::Payload;
use super::{Connection, Flags, State};

bitflags::bitflags! {
    /// Level-triggered readiness, as Linux's `tcp_poll` computes it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Readiness: u8 {
        /// Data, end of data or an error can be read: `EPOLLIN`. Data counts
        /// from [`Connection::set_rcvlowat`] on.
        const READABLE = 1;
        /// At least a third of the send buffer is free, or writing fails at
        /// once: `EPOLLOUT`.
        const WRITABLE = 2;
        /// The peer, or `shutdown`, has ended what can be read: `EPOLLRDHUP`.
        const RDHUP = 4;
        /// Both directions are over: `EPOLLHUP`.
        const HUP = 8;
        /// An error waits: `EPOLLERR`.
        const ERR = 16;
        /// Urgent data was announced and not all of it read: `EPOLLPRI`.
        const URGENT = 32;
    }
}

bitflags::bitflags! {
    /// What has happened since the events were last taken: the edges of
    /// `EPOLLET`, and the moment to wake sleepers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Events: u8 {
        /// New data, or its end, can be read.
        const READABLE = 1;
        /// Send space has become free after there was too little.
        const WRITABLE = 2;
        /// The handshake is complete.
        const CONNECTED = 4;
        /// The peer's FIN was reached, or the program shut its receiving side.
        const RDHUP = 8;
        /// The connection died.
        const ERROR = 16;
        /// The connection reached TIME-WAIT or CLOSED: both directions are over.
        const HUP = 32;
        /// The peer's urgent pointer has advanced.
        const URGENT = 64;
    }
}

impl<B: Payload> Connection<B> {
    /// What a poll would report now. A connection that is being opened is
    /// ready for nothing; one that died is ready for everything.
    #[inline]
    pub fn readiness(&self) -> Readiness {
        let closed = self.state == State::Closed;
        let read_over = closed || self.flags.intersects(Flags::FIN_RECEIVED | Flags::READ_SHUT);
        let write_over = closed || self.flags.contains(Flags::WRITE_SHUT);
        let opening = matches!(self.state, State::SynSent | State::SynReceived);
        let mut ready = Readiness::empty();
        if read_over {
            ready |= Readiness::READABLE | Readiness::RDHUP;
        }
        if read_over && write_over {
            ready |= Readiness::HUP;
        }
        if !opening && self.is_readable() {
            ready |= Readiness::READABLE;
        }
        if !opening && (write_over || self.is_writable()) {
            ready |= Readiness::WRITABLE;
        }
        if self.error.is_some() {
            ready |= Readiness::ERR;
        }
        if self.urgent.is_some() && self.urgent_ahead() > 0 {
            ready |= Readiness::URGENT;
        }
        ready
    }

    /// Whether what waits is worth reading: as much as the program wants, or all
    /// that the window lets in (Linux's `tcp_epollin_ready`).
    #[inline]
    fn is_readable(&self) -> bool {
        let waiting = self.rx.len();
        waiting >= self.rcvlowat() as usize
            || (waiting > 0 && self.rcv.window() <= u32::from(self.rcv.seen_mss))
    }

    /// Tells the program of data, when there is enough of it.
    #[inline]
    pub(super) fn note_readable(&mut self) {
        if self.is_readable() {
            self.events.insert(Events::READABLE);
        }
    }

    /// What has happened since the last call.
    #[inline]
    pub fn take_events(&mut self) -> Events {
        std::mem::take(&mut self.events)
    }
}
