//! Opening a connection (RFC 9293 3.5): active, passive, and both at once.

use std::sync::Arc;

use super::payload::{Held, Payload};
use super::{Connection, Events, Flags, Params, Pending, Request, State};
use crate::config::{Config, MtuProbing};
use crate::error::Error;
use crate::time::Instant;
use crate::wire::{TcpFlags, TcpOptions, TcpRepr, Timestamps};

/// Largest shift that counts (RFC 7323 2.3).
const LARGEST_SHIFT: u8 = 14;

impl<B: Payload> Connection<B> {
    /// Opens a connection actively: the SYN waits in
    /// [`Connection::poll_transmit`].
    pub fn connect(config: &Arc<Config>, params: Params, now: Instant) -> Self {
        let mut connection = Self::new(config, params, now);
        connection.flags.insert(Flags::ACTIVE);
        connection.begin(State::SynSent);
        connection
    }

    /// Opens a connection passively for a SYN: the SYN-ACK waits in
    /// [`Connection::poll_transmit`]. The SYN's payload, if any, is left for
    /// the peer to send again.
    ///
    /// An owner of many half-open connections keeps a [`Request`] for each
    /// instead.
    pub fn accept(config: &Arc<Config>, params: Params, syn: &TcpRepr, now: Instant) -> Self {
        let mut connection = Request::new(params, None, syn).wake(config, now);
        connection.pending.insert(Pending::SYN);
        connection
    }

    pub(super) fn begin(&mut self, state: State) {
        self.state = state;
        self.snd.nxt = self.snd.iss + 1;
        self.pending.insert(Pending::SYN);
    }

    /// Takes what the peer's SYN says.
    pub(super) fn negotiate(&mut self, syn: &TcpRepr, now: Instant) {
        let options = &syn.options;
        self.snd.limit_mss(options.mss);
        self.rcv.start(syn.seq);
        self.autotune.start(self.rcv.edge, now);
        // The window of a SYN is never scaled (RFC 7323 2.2).
        self.snd.set_window(u32::from(syn.window), syn.seq);
        if let Some(shift) = options.window_scale.filter(|_| self.config.window_scaling) {
            self.snd.shift = shift.min(LARGEST_SHIFT);
            self.rcv.shift = self.config.window_shift();
            self.flags.insert(Flags::SCALING);
        }
        if let Some(stamp) = options.timestamps.filter(|_| self.config.timestamps) {
            self.timestamps.start(stamp, now);
        }
        if options.sack_permitted && self.config.sack {
            self.flags.insert(Flags::SACK);
        }
        self.negotiate_ecn(syn);
    }

    /// Options of our SYN or SYN-ACK: the latter only takes up what was offered.
    pub(super) fn syn_options(&self, now: Instant) -> TcpOptions {
        let offers = self.state == State::SynSent;
        let config = &self.config;
        let offered = Timestamps { tsval: self.timestamps.value(now), tsecr: 0 };
        TcpOptions {
            mss: Some(self.rcv.mss),
            window_scale: if offers {
                config.window_scaling.then(|| config.window_shift())
            } else {
                self.flags.contains(Flags::SCALING).then_some(self.rcv.shift)
            },
            sack_permitted: if offers { config.sack } else { self.flags.contains(Flags::SACK) },
            timestamps: if offers {
                config.timestamps.then_some(offered)
            } else {
                self.timestamps.option(now)
            },
            ..TcpOptions::default()
        }
    }

    /// A segment in SYN-SENT (RFC 9293 3.10.7.3).
    pub(super) fn on_syn_sent(&mut self, segment: &TcpRepr, held: Option<Held<B>>, now: Instant) {
        let flags = segment.flags;
        if flags.contains(TcpFlags::ACK) && segment.ack != self.snd.nxt {
            if !flags.contains(TcpFlags::RST) {
                self.reset_reply = Some(segment.ack);
            }
            return;
        }
        if flags.contains(TcpFlags::RST) {
            if flags.contains(TcpFlags::ACK) {
                self.fail(Error::Refused);
            }
            return;
        }
        if !flags.contains(TcpFlags::SYN) {
            return;
        }
        self.negotiate(segment, now);
        if flags.contains(TcpFlags::ACK) {
            self.handshake_complete(segment, now);
            self.pending.insert(Pending::ACK);
            self.take_urgent_pointer(segment);
            if held.is_some() || flags.contains(TcpFlags::FIN) {
                self.on_sequence(&TcpRepr { seq: segment.seq + 1, ..segment.clone() }, held, now);
            }
        } else {
            // Both sides open at once (RFC 9293 figure 7).
            self.state = State::SynReceived;
            self.pending.insert(Pending::SYN);
        }
    }

    /// A SYN in SYN-RECEIVED: the peer's, sent again; its half of a simultaneous
    /// open; or another one, with which a passive open starts over in LISTEN
    /// (RFC 9293 3.10.7.4, fourth). The first is answered no more often than
    /// others are challenged, as in Linux.
    pub(super) fn on_syn_again(&mut self, segment: &TcpRepr, now: Instant) {
        let active = self.flags.contains(Flags::ACTIVE);
        let first = segment.seq == self.rcv.irs;
        if segment.flags.contains(TcpFlags::RST) {
            return;
        }
        match segment.flags.contains(TcpFlags::ACK) {
            false if first => {
                // Or the peer would take the wait for its repetition for a round trip.
                self.timestamps.take(segment.options.timestamps, true, now);
                if self.may_challenge(now) {
                    self.pending.insert(Pending::SYN);
                }
            }
            false if !active && self.is_acceptable(segment, 0) => self.terminate(),
            true if first && active && segment.ack == self.snd.nxt => {
                self.handshake_complete(segment, now);
                self.pending.insert(Pending::ACK);
            }
            _ => self.challenge(now),
        }
    }

    /// Our SYN was acknowledged: data may flow.
    pub(super) fn handshake_complete(&mut self, segment: &TcpRepr, now: Instant) {
        let retries = self.timers.backoff;
        let sample = if retries == 0 {
            Some(now - self.timers.syn_sent_at)
        } else {
            self.timestamps.echoed_rtt(segment.options.timestamps, now)
        };
        if let Some(rtt) = sample {
            self.rtt.sample(rtt, &self.config);
        }
        self.rtt.handshake_done(&self.config);
        self.snd.una = segment.ack;
        // A SYN lost more than once tells of congestion, as Linux reads RFC 6928.
        let initial = if retries > 1 { 1 } else { self.config.initial_window };
        self.window.cwnd = initial * self.smss();
        self.timers.handshake_done();
        if self.config.mtu_probing == MtuProbing::Always {
            self.search_path(now);
        }
        self.pending.remove(Pending::SYN);
        self.state =
            if self.flags.contains(Flags::WRITE_SHUT) { State::FinWait1 } else { State::Established };
        self.events.insert(Events::CONNECTED | Events::WRITABLE);
        self.start_keepalive(now);
    }
}
