//! Arriving segments: the checks of RFC 9293 3.10.7, with RFC 7323 (PAWS) and
//! RFC 5961 (blind attacks).

use super::payload::{Chunk, Held, Payload};
use super::{Connection, Flags, Pending, State};
use crate::error::Error;
use crate::time::Instant;
use crate::wire::{Ecn, TcpFlags, TcpRepr};

impl<B: Payload> Connection<B> {
    /// Takes a segment that arrived for this connection. `payload` is `None`
    /// when it carries none. Afterwards [`Connection::take_events`] tells what
    /// became of it and [`Connection::poll_transmit`] what has to be sent.
    #[inline]
    pub fn on_segment(&mut self, segment: &TcpRepr, payload: Option<Chunk<B>>, now: Instant) {
        let held = payload.map(Held::new).filter(|held| held.len() > 0);
        self.stats.segments_in += 1;
        self.stats.data_segments_in += u32::from(held.is_some());
        if segment.ecn != Ecn::NotEct {
            self.ecn.note_capable();
        }
        if self.is_predicted(segment, held.as_ref(), now) {
            self.timers.last_received = now;
            return self.on_predicted(segment, held, now);
        }
        match self.state {
            State::Closed => {}
            State::SynSent => self.on_syn_sent(segment, held, now),
            _ => self.on_synchronized(segment, held, now),
        }
    }

    /// Header prediction: the next segment in order of an established
    /// connection in which nothing unusual goes on.
    #[inline]
    fn is_predicted(&self, segment: &TcpRepr, held: Option<&Held<B>>, now: Instant) -> bool {
        let len = held.map_or(0, Held::len);
        self.state == State::Established
            && segment.flags.difference(TcpFlags::PSH) == TcpFlags::ACK
            && segment.seq == self.rcv.nxt
            && self.snd.scaled(segment.window) == self.snd.wnd
            && segment.ack.ge(self.snd.una)
            && segment.ack.le(self.snd.nxt)
            && (len > 0 || segment.ack != self.snd.una)
            && len <= self.rcv.window()
            && self.reassembly.is_none()
            && self.rcv.fin.is_none()
            && segment.options.sack.is_empty()
            && self.recovery.is_quiet()
            && self.ecn.is_usual(segment.ecn)
            && segment.options.timestamps.is_some() == self.timestamps.enabled
            && !self.timestamps.is_old(segment.options.timestamps, now)
    }

    #[inline]
    fn on_predicted(&mut self, segment: &TcpRepr, held: Option<Held<B>>, now: Instant) {
        let covers_ack = segment.seq.le(self.rcv.ack_sent);
        self.timestamps.take(segment.options.timestamps, covers_ack, now);
        self.snd.wl1 = segment.seq;
        if segment.ack != self.snd.una {
            self.acknowledge(segment, now);
        }
        if let Some(held) = held {
            self.receive_in_order(segment, held, now);
        }
    }

    /// A segment in SYN-RECEIVED or any later state (RFC 9293 3.10.7.4).
    fn on_synchronized(&mut self, segment: &TcpRepr, held: Option<Held<B>>, now: Instant) {
        let flags = segment.flags;
        let payload = held.as_ref().map_or(0, Held::len);
        let len = payload + u32::from(flags.contains(TcpFlags::FIN));
        if self.state == State::SynReceived && flags.contains(TcpFlags::SYN) {
            return self.on_syn_again(segment, now);
        }
        if !flags.contains(TcpFlags::RST)
            && self.timestamps.is_old(segment.options.timestamps, now)
            && !(payload > 0 && self.may_be_late(segment))
        {
            return self.answer_unacceptable(segment, len, now);
        }
        if !self.is_acceptable(segment, len) {
            if !flags.contains(TcpFlags::RST) {
                self.answer_unacceptable(segment, len, now);
            }
            return;
        }
        if flags.contains(TcpFlags::RST) {
            return self.on_reset(segment, now);
        }
        if flags.contains(TcpFlags::SYN) {
            // RFC 5961 4.2.
            return self.challenge(now);
        }
        if !flags.contains(TcpFlags::ACK) {
            return;
        }
        self.timers.last_received = now;
        let covers_ack = segment.seq.le(self.rcv.ack_sent);
        if !self.on_ack(segment, now) {
            return;
        }
        self.timestamps.take(segment.options.timestamps, covers_ack, now);
        self.take_urgent_pointer(segment);
        if len > 0 {
            self.on_sequence(segment, held, now);
        }
    }

    /// Whether a segment with payload may be an original that is only late: PAWS
    /// does not concern it (see [`LateLimit`](super::timestamps::LateLimit)).
    fn may_be_late(&self, segment: &TcpRepr) -> bool {
        let late = self.reassembly.as_ref().map(|waiting| waiting.late);
        segment.options.timestamps.is_some_and(|stamp| late.is_some_and(|late| late.admits(stamp)))
    }

    /// The acceptability test (RFC 9293 3.10.7.4, first), as wide as Linux's:
    /// what ends at the last acknowledgement that we sent or begins at the
    /// very edge of the window still brings its ACK.
    #[inline]
    pub(super) fn is_acceptable(&self, segment: &TcpRepr, len: u32) -> bool {
        (segment.seq + len).ge(self.rcv.ack_sent) && segment.seq.le(self.rcv.edge.max(self.rcv.nxt))
    }

    /// Answers a segment that was refused. Data and FINs get their ACK at
    /// once, or their sender would go on for ever; what is empty could be the
    /// answer to our own answer and is limited.
    fn answer_unacceptable(&mut self, segment: &TcpRepr, len: u32, now: Instant) {
        if len == 0 {
            return self.challenge(now);
        }
        if self.state == State::TimeWait && segment.flags.contains(TcpFlags::FIN) {
            self.restart_time_wait(now);
        }
        self.note_duplicate(segment.seq, segment.seq + len);
        self.pending.insert(Pending::ACK);
    }

    /// Sends an ACK that lets a peer in good faith find out where we are, at a
    /// limited rate (RFC 5961 7).
    pub(super) fn challenge(&mut self, now: Instant) {
        if self.may_challenge(now) {
            self.pending.insert(Pending::ACK);
        }
    }

    /// Whether the limit lets another answer out to a segment that anybody
    /// could have sent. Each connection has a limit of its own: one that all
    /// share would tell an attacker what happens on the others (CVE-2016-5696).
    pub(super) fn may_challenge(&mut self, now: Instant) -> bool {
        let may = now >= self.timers.next_challenge;
        if may {
            self.timers.next_challenge = now + self.config.challenge_interval;
        }
        may
    }

    /// A RST in the window: only one with the very next sequence number counts
    /// (RFC 5961 3.2).
    fn on_reset(&mut self, segment: &TcpRepr, now: Instant) {
        if self.state == State::TimeWait {
            // RFC 1337: TIME-WAIT is not to be cut short.
            return;
        }
        if segment.seq != self.rcv.nxt {
            return self.challenge(now);
        }
        self.fail(match self.state {
            // Back to LISTEN: nobody needs to know (RFC 9293 3.10.7.4, second).
            State::SynReceived if !self.flags.contains(Flags::ACTIVE) => return self.terminate(),
            State::SynReceived => Error::Refused,
            State::CloseWait => Error::BrokenPipe,
            _ => Error::Reset,
        });
    }

    /// The ACK field (RFC 9293 3.10.7.4, fifth). Returns whether the rest of
    /// the segment counts.
    fn on_ack(&mut self, segment: &TcpRepr, now: Instant) -> bool {
        let ack = segment.ack;
        if self.state == State::SynReceived {
            if ack != self.snd.nxt {
                self.reset_reply = Some(ack);
                return false;
            }
            self.handshake_complete(segment, now);
        }
        // RFC 5961 5.2: neither what was never sent nor what is long gone.
        if ack.gt(self.snd.nxt) || ack.lt(self.snd.una - self.snd.max_wnd) {
            self.challenge(now);
            return false;
        }
        if ack.ge(self.snd.una) {
            self.acknowledge(segment, now);
        }
        self.state != State::Closed
    }

    /// Payload and FIN (RFC 9293 3.10.7.4, seventh and eighth).
    pub(super) fn on_sequence(&mut self, segment: &TcpRepr, held: Option<Held<B>>, now: Instant) {
        if self.state.can_receive() {
            return self.receive(segment, held, now);
        }
        // The peer has finished: this can only be something sent again.
        if self.state == State::TimeWait && segment.flags.contains(TcpFlags::FIN) {
            self.restart_time_wait(now);
        }
        self.note_duplicate(segment.seq, segment.seq + segment.sequence_len());
        self.pending.insert(Pending::ACK);
    }
}
