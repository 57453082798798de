//! Deadlines: retransmission (RFC 6298), persist (RFC 9293 3.8.6.1), delayed
//! ACK, keepalive (RFC 9293 3.8.4), TIME-WAIT and its kin, and idleness.
//!
//! Deadlines are plain fields. Moving one costs a store; the owner learns the
//! earliest from [`Connection::next_timer`] when its own timer fires.

use super::payload::Payload;
use super::{Connection, Events, Flags, Pending, State};
use crate::config::Keepalive;
use crate::time::{Duration, Instant};

/// Retransmissions after which a path may swallow full segments (Linux
/// `tcp_retries1`).
const RETRIES_UNTIL_SUSPICION: u32 = 3;

/// How long a partial segment is held back by `TCP_CORK` or `MSG_MORE` once
/// everything before it is acknowledged (tcp(7): "a 200 millisecond ceiling").
pub const CORK_CEILING: Duration = Duration::from_millis(200);

/// The low 32 bits of a time: enough for round trips of up to an hour.
#[inline]
pub(super) fn micros32(now: Instant) -> u32 {
    now.as_micros() as u32
}

/// Deadlines and the times that they derive from.
#[derive(Debug)]
pub(super) struct Timers {
    /// Retransmission while something is in flight, persist otherwise.
    retransmit: Instant,
    /// Next look for losses: RACK's reordering timer while something is SACKed
    /// or being recovered, the tail loss probe otherwise (RFC 8985 5.4).
    losses: Instant,
    /// Until then pacing holds data back.
    pace: Instant,
    /// Delayed ACK.
    ack: Instant,
    /// Next look at the keepalive.
    keepalive: Instant,
    /// End of TIME-WAIT, or of an orphan's FIN-WAIT-2.
    linger: Instant,
    /// Next look whether memory can be given back.
    idle: Instant,
    /// When something last arrived.
    pub last_received: Instant,
    /// When payload last arrived.
    pub last_data_received: Instant,
    /// When payload was last sent.
    pub last_sent: Instant,
    /// When our SYN was last sent.
    pub syn_sent_at: Instant,
    /// Since when the peer owes an acknowledgement, once a timer has expired.
    pub stalled_since: Instant,
    /// Earliest time of the next challenge ACK.
    pub next_challenge: Instant,
    /// Timeouts in a row (RFC 6298 5.5).
    pub backoff: u32,
    /// Persist timeouts in a row.
    pub persist_backoff: u32,
    /// Probes, persist or keepalive, that were not answered.
    pub probes: u32,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            retransmit: Instant::FAR,
            losses: Instant::FAR,
            pace: Instant::FAR,
            ack: Instant::FAR,
            keepalive: Instant::FAR,
            linger: Instant::FAR,
            idle: Instant::FAR,
            last_received: now,
            last_data_received: now,
            last_sent: now,
            syn_sent_at: now,
            stalled_since: Instant::FAR,
            next_challenge: Instant::default(),
            backoff: 0,
            persist_backoff: 0,
            probes: 0,
        }
    }

    /// The earliest deadline.
    #[inline]
    fn next(&self) -> Instant {
        self.retransmit
            .min(self.losses)
            .min(self.ack)
            .min(self.pace)
            .min(self.keepalive)
            .min(self.linger)
            .min(self.idle)
    }

    #[inline]
    pub(super) fn retransmit_armed(&self) -> bool {
        self.retransmit != Instant::FAR
    }

    #[inline]
    pub(super) fn stop_retransmit(&mut self) {
        self.retransmit = Instant::FAR;
        self.losses = Instant::FAR;
    }

    /// Has the connection look for losses at `deadline`.
    #[inline]
    pub(super) fn watch_losses(&mut self, deadline: Instant) {
        self.losses = deadline;
    }

    /// Has the connection probe for a lost tail at `deadline`, or when the
    /// retransmission timer would expire (RFC 8985 7.2).
    #[inline]
    pub(super) fn probe_tail(&mut self, deadline: Instant) {
        self.losses = deadline.min(self.retransmit);
    }

    /// Holds data back until `deadline`.
    #[inline]
    pub(super) fn hold_until(&mut self, deadline: Instant) {
        self.pace = deadline;
    }

    /// Whether pacing holds data back.
    #[inline]
    pub(super) fn holds(&self) -> bool {
        self.pace != Instant::FAR
    }

    /// Has an ACK sent by `deadline` at the latest.
    #[inline]
    pub(super) fn delay_ack(&mut self, deadline: Instant) {
        self.ack = self.ack.min(deadline);
    }

    /// Whether an ACK is delayed.
    pub(super) fn ack_delayed(&self) -> bool {
        self.ack != Instant::FAR
    }

    #[inline]
    pub(super) fn ack_sent(&mut self) {
        self.ack = Instant::FAR;
    }

    /// Takes a handshake up where it was put away.
    pub(super) fn resume_handshake(
        &mut self,
        backoff: u32,
        sent_at: Instant,
        deadline: Instant,
        next_challenge: Instant,
    ) {
        self.backoff = backoff;
        self.syn_sent_at = sent_at;
        self.stalled_since = sent_at;
        self.retransmit = deadline;
        self.next_challenge = next_challenge;
    }

    pub(super) fn handshake_done(&mut self) {
        self.stop_retransmit();
        self.stalled_since = Instant::FAR;
        self.backoff = 0;
    }

    /// Something was sent or received: memory is in use.
    #[inline]
    pub(super) fn note_activity(&mut self, now: Instant, idle_release: Duration) {
        if self.idle == Instant::FAR {
            self.idle = now + idle_release;
        }
    }

    pub(super) fn stop_all(&mut self) {
        self.stop_retransmit();
        self.pace = Instant::FAR;
        self.ack = Instant::FAR;
        self.keepalive = Instant::FAR;
        self.linger = Instant::FAR;
        self.idle = Instant::FAR;
    }

    /// When TIME-WAIT, or an orphan's FIN-WAIT-2, is over.
    pub(super) fn linger(&self) -> Instant {
        self.linger
    }

    pub(super) fn start_linger(&mut self, deadline: Instant) {
        self.linger = deadline;
    }
}

impl<B: Payload> Connection<B> {
    /// When [`Connection::on_timer`] wants to be called next. The value may
    /// move later without notice; it moves earlier only by calls to this
    /// connection.
    #[inline]
    pub fn next_timer(&self) -> Option<Instant> {
        Some(self.timers.next()).filter(|&next| next != Instant::FAR)
    }

    /// Acts on the deadlines that have passed. Calls at other times do nothing.
    pub fn on_timer(&mut self, now: Instant) {
        if self.timers.ack <= now {
            self.delayed_ack_expired();
        }
        if self.timers.pace <= now {
            self.timers.hold_until(Instant::FAR);
        }
        if self.timers.losses <= now {
            self.losses_expired(now);
        }
        if self.timers.retransmit <= now {
            self.retransmit_expired(now);
        }
        if self.timers.keepalive <= now {
            self.keepalive_expired(now);
        }
        if self.timers.linger <= now {
            self.terminate();
        }
        if self.timers.idle <= now {
            self.idle_expired(now);
        }
    }

    /// (Re)starts the retransmission timer (RFC 6298 5.1, 5.3).
    #[inline]
    pub(super) fn arm_retransmit(&mut self, now: Instant) {
        self.timers.retransmit = self.retransmit_deadline(now, self.timers.backoff);
    }

    /// Starts the persist timer (RFC 9293 3.8.6.1), or the one that ends a cork.
    pub(super) fn arm_persist(&mut self, now: Instant) {
        self.timers.retransmit = if self.waits_for_uncorking() {
            now + CORK_CEILING
        } else {
            self.retransmit_deadline(now, self.timers.persist_backoff)
        };
    }

    /// Whether the window has room for all that waits and only the program holds
    /// it back. A window that is too narrow is a matter of persisting, cork or not.
    fn waits_for_uncorking(&self) -> bool {
        let room = self.snd.edge().since(self.snd.nxt);
        self.is_corked() && !self.flags.contains(Flags::WRITE_SHUT) && room > 0 && room >= self.unsent()
    }

    #[inline]
    fn retransmit_deadline(&self, now: Instant, backoff: u32) -> Instant {
        let deadline = now + self.rtt.rto().backed_off(backoff, self.config.rto_max);
        if self.user_timeout == Duration::ZERO || self.timers.stalled_since == Instant::FAR {
            return deadline;
        }
        // Not to miss the user timeout by a long back-off.
        deadline.min(self.timers.stalled_since + self.user_timeout).max(now + Duration::from_millis(1))
    }

    fn delayed_ack_expired(&mut self) {
        self.timers.ack_sent();
        self.pending.insert(Pending::ACK);
        // No answer of the program came in time: do not count on the next.
        self.flags.remove(Flags::INTERACTIVE);
    }

    fn retransmit_expired(&mut self, now: Instant) {
        self.timers.stop_retransmit();
        match self.state {
            State::SynSent | State::SynReceived => self.syn_expired(now),
            _ if !self.flight.is_empty() => self.data_expired(now),
            _ if self.has_unsent() => self.persist_expired(now),
            _ => {}
        }
    }

    /// It is time to look for losses.
    fn losses_expired(&mut self, now: Instant) {
        self.timers.watch_losses(Instant::FAR);
        if !self.flight.is_empty() {
            self.look_again(now);
        }
    }

    fn syn_expired(&mut self, now: Instant) {
        let active = self.flags.contains(Flags::ACTIVE);
        let limit = if active { self.syn_retries() } else { self.config.synack_retries };
        if self.timers.backoff >= limit || self.user_timeout_expired(now) {
            return self.time_out();
        }
        self.timers.backoff += 1;
        self.pending.insert(Pending::SYN);
        self.arm_retransmit(now);
    }

    /// A timer has expired: the peer owes an acknowledgement since the oldest
    /// segment was sent.
    pub(super) fn note_stall(&mut self, now: Instant) {
        if self.timers.stalled_since == Instant::FAR {
            let outstanding = self.flight.oldest_sent_at().map_or(0, |sent| micros32(now).wrapping_sub(sent));
            self.timers.stalled_since = now - Duration::from_micros(u64::from(outstanding));
        }
    }

    fn data_expired(&mut self, now: Instant) {
        self.note_stall(now);
        if now - self.timers.stalled_since >= self.patience() {
            return self.time_out();
        }
        self.stats.timeouts += 1;
        self.timers.hold_until(Instant::FAR);
        self.forget_path_probe();
        self.enter_loss(now);
        let long = now - self.timers.stalled_since >= self.time_for(RETRIES_UNTIL_SUSPICION);
        if long && self.snd.wnd > 0 && self.may_be_too_large() {
            self.suspect_black_hole(now);
        }
        self.timers.backoff += 1;
        self.arm_retransmit(now);
    }

    /// A window that stays shut, or too small, is probed for ever, as long as
    /// the peer answers (RFC 9293 3.8.6.1); not so for an orphan.
    fn persist_expired(&mut self, now: Instant) {
        if self.waits_for_uncorking() {
            self.flags.insert(Flags::FLUSH);
            return;
        }
        if self.timers.stalled_since == Instant::FAR {
            self.timers.stalled_since = now;
        }
        let orphan = self.flags.contains(Flags::ORPHAN);
        let given_up = self.timers.probes > self.config.data_retries
            || (orphan && self.timers.persist_backoff > self.config.orphan_retries);
        if given_up || self.user_timeout_expired(now) {
            return self.time_out();
        }
        self.timers.probes += 1;
        self.timers.persist_backoff += 1;
        let shut = self.snd.edge().le(self.snd.nxt);
        self.pending.insert(if shut { Pending::PROBE } else { Pending::OVERRIDE });
        self.arm_persist(now);
    }

    fn user_timeout_expired(&self, now: Instant) -> bool {
        self.user_timeout != Duration::ZERO && now - self.timers.stalled_since >= self.user_timeout
    }

    /// Time after which unacknowledged data means that the connection is dead, R2
    /// of RFC 9293 3.8.3: the user timeout, be it shorter or longer, or what the
    /// configured number of retransmissions takes with a timeout of `rto_min` that
    /// doubles each time (Linux `retransmits_timed_out`).
    fn patience(&self) -> Duration {
        if self.user_timeout != Duration::ZERO {
            return self.user_timeout;
        }
        let orphan = self.flags.contains(Flags::ORPHAN);
        self.time_for(if orphan { self.config.orphan_retries } else { self.config.data_retries })
    }

    /// What so many retransmissions take, see [`Connection::patience`].
    fn time_for(&self, retries: u32) -> Duration {
        (0..=retries)
            .map(|attempt| self.config.rto_min.backed_off(attempt, self.config.rto_max))
            .fold(Duration::ZERO, |sum, span| sum + span)
    }

    /// Begins the watch over a silent peer, when that is wanted.
    pub(super) fn start_keepalive(&mut self, now: Instant) {
        self.timers.keepalive = match self.keepalive {
            Some(Keepalive { idle, .. }) if self.is_synchronized() => now + idle,
            _ => Instant::FAR,
        };
    }

    fn is_synchronized(&self) -> bool {
        self.state.can_receive() || self.state.can_transmit()
    }

    fn keepalive_expired(&mut self, now: Instant) {
        self.timers.keepalive = Instant::FAR;
        let Some(Keepalive { idle, interval, count }) = self.keepalive.filter(|_| self.is_synchronized())
        else {
            return;
        };
        let silence = now - self.timers.last_received;
        if !self.flight.is_empty() || self.has_unsent() {
            // The other timers watch already.
            self.timers.keepalive = now + idle;
            return;
        }
        if silence < idle {
            self.timers.probes = 0;
            self.timers.keepalive = self.timers.last_received + idle;
            return;
        }
        let dead = if self.user_timeout == Duration::ZERO {
            self.timers.probes >= count
        } else {
            self.timers.probes > 0 && silence >= self.user_timeout
        };
        if dead {
            self.time_out();
            self.pending.insert(Pending::RST);
            return;
        }
        self.timers.probes += 1;
        self.pending.insert(Pending::PROBE);
        self.timers.keepalive = now + interval;
    }

    /// Nothing has happened for a while: the connection shrinks to its struct.
    fn idle_expired(&mut self, now: Instant) {
        self.timers.idle = Instant::FAR;
        let last = self.timers.last_received.max(self.timers.last_sent);
        if now - last < self.config.idle_release {
            self.timers.idle = last + self.config.idle_release;
            return;
        }
        self.tx.release_if_empty();
        self.rx.release_if_empty();
        self.flight.release_if_empty();
        self.share.shrink(self.held());
        self.recovery.release_if_quiet();
        if self.held_memory() > 0 {
            self.timers.idle = now + self.config.idle_release;
        }
    }

    fn held_memory(&self) -> usize {
        self.tx.capacity() + self.rx.capacity() + self.flight.capacity()
    }

    /// Enters TIME-WAIT (RFC 9293 3.6): nothing is left but to answer.
    pub(super) fn enter_time_wait(&mut self, now: Instant) {
        self.state = State::TimeWait;
        self.timers.stop_all();
        self.tx.clear();
        self.flight.clear(self.snd.una);
        self.events.insert(Events::HUP);
        self.restart_time_wait(now);
    }

    pub(super) fn restart_time_wait(&mut self, now: Instant) {
        self.timers.start_linger(now + self.config.time_wait);
    }
}
