//! TIME-WAIT, put away: what a connection has to remember for a minute after
//! its end (RFC 9293 3.6.1; Linux's `inet_timewait_sock`). Just as small is one
//! in FIN-WAIT-2 that no program holds: it has nothing to say any more, and
//! waits for the peer's FIN (Linux's `tcp_fin_timeout`).
//!
//! Like a [`Request`](super::Request) it is woken up as a whole [`Connection`]
//! for each segment, so that there is one state machine.

use std::sync::Arc;

use super::payload::{Chunk, Payload};
use super::timestamps::TimestampClock;
use super::{Connection, Flags, Params, State, Transmit};
use crate::config::Config;
use crate::seq::SeqNum;
use crate::time::Instant;
use crate::wire::TcpRepr;

/// A connection that nobody holds, in TIME-WAIT or FIN-WAIT-2.
#[derive(Debug, Clone)]
pub struct TimeWait {
    state: State,
    snd_nxt: SeqNum,
    max_wnd: u32,
    rcv_nxt: SeqNum,
    edge: SeqNum,
    timestamps: TimestampClock,
    flags: Flags,
    mss: u16,
    shift: u8,
    deadline: Instant,
    next_challenge: Instant,
}

impl TimeWait {
    /// Puts a connection away; `None` unless it is in TIME-WAIT, or given up by
    /// its program in FIN-WAIT-2, and has nothing left to say.
    pub fn of<B: Payload>(connection: &Connection<B>) -> Option<Self> {
        let rests = match connection.state {
            State::TimeWait => true,
            State::FinWait2 => connection.flags.contains(Flags::ORPHAN) && connection.reassembly.is_none(),
            _ => false,
        };
        if !rests || connection.wants_transmit() || connection.timers.ack_delayed() {
            return None;
        }
        Some(Self {
            state: connection.state,
            snd_nxt: connection.snd.nxt,
            max_wnd: connection.snd.max_wnd,
            rcv_nxt: connection.rcv.nxt,
            edge: connection.rcv.edge,
            timestamps: connection.timestamps,
            flags: connection.flags,
            mss: connection.rcv.mss,
            shift: connection.rcv.shift,
            deadline: connection.timers.linger(),
            next_challenge: connection.timers.next_challenge,
        })
    }

    fn wake<B: Payload>(&self, config: &Arc<Config>, now: Instant) -> Connection<B> {
        let params = Params { isn: self.snd_nxt, ts_offset: 0, mss: self.mss };
        let mut connection = Connection::new(config, params, now);
        connection.state = self.state;
        connection.flags = self.flags | Flags::ORPHAN;
        connection.timestamps = self.timestamps;
        connection.snd.max_wnd = self.max_wnd;
        connection.rcv.nxt = self.rcv_nxt;
        connection.rcv.ack_sent = self.rcv_nxt;
        connection.rcv.edge = self.edge;
        connection.rcv.shift = self.shift;
        connection.timers.start_linger(self.deadline);
        connection.timers.next_challenge = self.next_challenge;
        connection
    }

    /// Takes a segment of this connection (RFC 9293 3.10.7.4); returns what is
    /// left of it, with a deadline that may have moved, and the answer. Nothing is
    /// left of FIN-WAIT-2 after a RST, or after data, which gets one.
    pub fn on_segment<B: Payload>(
        self,
        config: &Arc<Config>,
        segment: &TcpRepr,
        payload: Option<Chunk<B>>,
        now: Instant,
    ) -> (Option<Self>, Option<Transmit<'static>>) {
        let mut connection = self.wake(config, now);
        connection.on_segment(segment, payload, now);
        let answer = connection.next_bare(now);
        let over = connection.state == State::Closed;
        // A FIN ahead of a gap comes again.
        let rest = if over { None } else { Some(Self::of(&connection).unwrap_or(self)) };
        (rest, answer)
    }

    /// Its state of RFC 9293.
    pub fn state(&self) -> State {
        self.state
    }

    /// When it is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The initial number for the new incarnation that `syn` opens, when this
    /// one may give way to it (see [`Connection::may_reuse`]).
    pub fn next_isn(&self, config: &Arc<Config>, syn: &TcpRepr, now: Instant) -> Option<SeqNum> {
        let connection = self.wake::<Vec<u8>>(config, now);
        connection.may_reuse(syn).then(|| connection.next_isn_after())
    }
}
