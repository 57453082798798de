//! What the peer acknowledges (RFC 9293 3.10.7.4, fifth; RFC 5681; RFC 2018).

use super::payload::Payload;
use super::timers::micros32;
use super::{Connection, Events, Flags};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::{TcpFlags, TcpRepr};

/// Back-off that outlives an acknowledgement which gives no RTT sample: 16
/// times the timeout, more than round trips grow at once.
const BACKOFF_KEPT: u32 = 4;

/// What one acknowledgement has changed.
#[derive(Debug)]
pub(super) struct AckOutcome {
    /// Bytes newly acknowledged.
    pub advanced: u32,
    /// It counts as a duplicate: RFC 5681 2, or new SACK information (RFC 6675 2).
    pub duplicate: bool,
}

impl<B: Payload> Connection<B> {
    /// Takes an acknowledgement between SND.UNA and SND.NXT.
    #[inline]
    pub(super) fn acknowledge(&mut self, segment: &TcpRepr, now: Instant) {
        let window_before = self.snd.wnd;
        let advanced = segment.ack - self.snd.una;
        self.timers.probes = 0;
        self.update_send_window(segment, advanced > 0);
        if advanced > 0 {
            self.advance(segment, now);
        }
        let sacked = self.take_sack(segment);
        let duplicate = advanced == 0
            && !self.flight.is_empty()
            && (sacked > 0
                || (segment.payload_len == 0
                    && self.snd.wnd == window_before
                    && !segment.flags.contains(TcpFlags::FIN)));
        self.recover(&AckOutcome { advanced, duplicate }, now);
        if self.snd.wnd == 0 && !self.flight.is_empty() {
            // The peer lives, whatever it does with our retransmissions.
            self.timers.stalled_since = Instant::FAR;
        }
    }

    /// Everything before the segment's ACK has arrived.
    #[inline]
    fn advance(&mut self, segment: &TcpRepr, now: Instant) {
        let una = segment.ack;
        let before = self.tx.len();
        let acked = self.flight.acknowledge(una);
        self.snd.una = una;
        self.snd.small_end = self.snd.small_end.max(una);
        self.tx.acknowledge(una);
        self.stats.bytes_acked += (before - self.tx.len()) as u64;
        self.timers.stalled_since = Instant::FAR;
        // What was held back and then sent has arrived: not a shut window.
        self.timers.persist_backoff = 0;
        let sample = match acked.sent_at {
            Some(sent_at) => Some(Duration::from_micros(u64::from(micros32(now).wrapping_sub(sent_at)))),
            // A retransmission is told from its original by the echo (RFC 7323 4.1).
            None => self.timestamps.echoed_rtt(segment.options.timestamps, now),
        };
        if let Some(rtt) = sample {
            self.rtt.sample(rtt, &self.config);
            self.timers.backoff = 0;
        }
        // Karn keeps the back-off until there is a sample; but when all is sent
        // twice none comes, and progress need not wait for minutes.
        self.timers.backoff = self.timers.backoff.min(BACKOFF_KEPT);
        if self.flight.is_empty() {
            self.timers.stop_retransmit();
        } else {
            self.arm_retransmit(now);
        }
        if self.flags.contains(Flags::FIN_SENT) && una == self.snd.nxt {
            self.fin_acknowledged(now);
        }
        self.space_freed();
    }

    /// Marks what the peer reports as received; returns how much was news.
    #[inline]
    fn take_sack(&mut self, segment: &TcpRepr) -> u32 {
        if segment.options.sack.is_empty() || !self.flags.contains(Flags::SACK) {
            return 0;
        }
        segment
            .options
            .sack
            .iter()
            .map(|&(left, right): &(SeqNum, SeqNum)| self.flight.sack(left, right))
            .sum()
    }

    /// The send buffer has become emptier: grows its limit with the congestion
    /// window, as Linux does, and tells a program that waits for space.
    #[inline]
    fn space_freed(&mut self) {
        let wanted = self.window.cwnd.saturating_mul(2) as usize;
        if wanted > self.sndbuf && !self.flags.contains(Flags::SNDBUF_LOCKED) {
            self.sndbuf = self.sndbuf.max(wanted.min(self.config.sndbuf_max));
        }
        if self.flags.contains(Flags::NO_SPACE) && self.is_writable() {
            self.flags.remove(Flags::NO_SPACE);
            self.events.insert(Events::WRITABLE);
        }
    }
}
