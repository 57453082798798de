//! What the peer acknowledges (RFC 9293 3.10.7.4, fifth; RFC 5681; RFC 2018).

use super::flight::{AckTime, Delivery};
use super::payload::Payload;
use super::timers::micros32;
use super::{Connection, Flags, Occupation};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::{TcpFlags, TcpRepr, Timestamps};

/// Back-off that outlives an acknowledgement which gives no RTT sample: 16
/// times the timeout, more than round trips grow at once.
const BACKOFF_KEPT: u32 = 4;

/// What one acknowledgement has changed.
#[derive(Debug)]
pub(super) struct AckOutcome {
    /// Bytes newly acknowledged.
    pub advanced: u32,
    /// Bytes newly SACKed.
    pub sacked: u32,
    /// It counts as a duplicate: RFC 5681 2, or new SACK information (RFC 6675 2).
    pub duplicate: bool,
    /// It repeats the last one and says nothing beside, outstanding data or not.
    pub duplicate_without_sack: bool,
    /// What has arrived, by either.
    pub delivery: Delivery,
    /// End of the highest byte that had arrived before.
    pub fack: SeqNum,
    /// A range that the peer has received twice (RFC 2883).
    pub dsack: Option<(SeqNum, SeqNum)>,
    /// Its timestamps.
    pub stamps: Option<Timestamps>,
}

impl AckOutcome {
    /// Where the lowest segment begins that was sent once and arrives only now,
    /// after something above it.
    #[inline]
    pub(super) fn overtaken(&self) -> Option<SeqNum> {
        self.delivery.lowest_original.filter(|lowest| lowest.lt(self.fack))
    }
}

impl<B: Payload> Connection<B> {
    /// Takes an acknowledgement between SND.UNA and SND.NXT.
    #[inline]
    pub(super) fn acknowledge(&mut self, segment: &TcpRepr, now: Instant) {
        let window_before = self.snd.wnd;
        self.take_echo(segment);
        self.timers.probes = 0;
        self.soft_error = None;
        let mut outcome = AckOutcome {
            advanced: segment.ack - self.snd.una,
            sacked: 0,
            duplicate: false,
            duplicate_without_sack: false,
            delivery: Delivery::default(),
            fack: self.flight.highest_sacked(),
            dsack: None,
            stamps: segment.options.timestamps,
        };
        self.update_send_window(segment, outcome.advanced > 0);
        if outcome.advanced > 0 {
            self.advance(segment, &mut outcome.delivery, now);
        }
        if !segment.options.sack.is_empty() && self.flags.contains(Flags::SACK) {
            self.take_sack(segment, &mut outcome, now);
        }
        outcome.duplicate_without_sack = outcome.advanced == 0
            && segment.options.sack.is_empty()
            && segment.payload_len == 0
            && self.snd.wnd == window_before
            && !segment.flags.contains(TcpFlags::FIN);
        outcome.duplicate = !self.flight.is_empty()
            && (outcome.duplicate_without_sack || (outcome.advanced == 0 && outcome.sacked > 0));
        self.stats.delivered += outcome.delivery.segments;
        if self.ecn.is_capable() && segment.flags.contains(TcpFlags::ECE) {
            self.stats.delivered_ce += outcome.delivery.segments;
        }
        self.rate.acked(self.snd.una, self.snd.nxt, self.stats.delivered, now);
        self.recover(&outcome, now);
        if self.snd.wnd == 0 && !self.flight.is_empty() {
            // The peer lives, whatever it does with our retransmissions.
            self.timers.stalled_since = Instant::FAR;
        }
    }

    /// Everything before the segment's ACK has arrived.
    #[inline]
    fn advance(&mut self, segment: &TcpRepr, delivery: &mut Delivery, now: Instant) {
        let una = segment.ack;
        let before = self.tx.len();
        let (mss, stamps) = (self.smss(), segment.options.timestamps);
        let time = AckTime { now, mss, rtt: &self.rtt, stamps, clock: &self.timestamps };
        self.flight.acknowledge(una, &time, delivery);
        self.snd.una = una;
        self.snd.small_end = self.snd.small_end.max(una);
        self.tx.acknowledge(una);
        if self.path.is_some() {
            self.judge_path_probe();
        }
        self.stats.bytes_acked += (before - self.tx.len()) as u64;
        self.timers.stalled_since = Instant::FAR;
        // What was held back and then sent has arrived: not a shut window.
        self.timers.persist_backoff = 0;
        let sample = match delivery.rtt_from() {
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
            if !self.has_unsent() {
                self.chrono.enter(Occupation::Idle, now);
            }
        } else {
            self.arm_retransmit(now);
        }
        if self.flags.contains(Flags::FIN_SENT) && una == self.snd.nxt {
            self.fin_acknowledged(now);
        }
        self.space_freed();
    }

    /// Marks what the peer reports as received.
    fn take_sack(&mut self, segment: &TcpRepr, outcome: &mut AckOutcome, now: Instant) {
        let blocks = &segment.options.sack;
        outcome.dsack = duplicate_block(segment).filter(|&(left, right)| {
            left.lt(right) && right.le(self.snd.nxt) && left.ge(self.snd.una - self.snd.max_wnd)
        });
        let (mss, stamps) = (self.smss(), segment.options.timestamps);
        let time = AckTime { now, mss, rtt: &self.rtt, stamps, clock: &self.timestamps };
        for &(left, right) in blocks {
            outcome.sacked += self.flight.sack(left, right, &time, &mut outcome.delivery);
        }
    }

    /// The send buffer has become emptier: grows its limit with the congestion
    /// window, as Linux does, and tells a program that waits for space.
    #[inline]
    fn space_freed(&mut self) {
        let wanted = self.window.cwnd.saturating_mul(2) as usize;
        if wanted > self.sndbuf && !self.flags.contains(Flags::SNDBUF_LOCKED) && !self.share.is_pressed() {
            self.sndbuf = self.sndbuf.max(wanted.min(self.config.sndbuf_max));
        }
        self.note_writable();
    }
}

/// The first block of a segment, when it reports a duplicate: it lies below the
/// acknowledgement or within the second block (RFC 2883 4).
fn duplicate_block(segment: &TcpRepr) -> Option<(SeqNum, SeqNum)> {
    let mut blocks = segment.options.sack.iter();
    let &(left, right) = blocks.next()?;
    let within = |&(outer_left, outer_right): &(SeqNum, SeqNum)| left.ge(outer_left) && right.le(outer_right);
    (right.le(segment.ack) || blocks.next().is_some_and(within)).then_some((left, right))
}
