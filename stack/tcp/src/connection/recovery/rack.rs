//! RACK: losses told by time (RFC 8985 6).
//!
//! For peers with SACK this takes the place of RFC 6675's IsLost: what was
//! sent a round trip and a reordering window before something that has arrived
//! is lost. Three SACKed segments still mean a loss at once, as long as the
//! path was never seen to reorder (6.2 step 4). The scoreboard, the pipe and
//! the order of retransmissions are RFC 6675's.

use super::super::ack::AckOutcome;
use super::super::flight::Overdue;
use super::super::payload::Payload;
use super::super::{Connection, Flags};
use super::Phase;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Recoveries that a widened reordering window outlives without a D-SACK (RFC
/// 8985 6.2 step 4).
const REO_WND_PERSIST: u8 = 16;

/// Largest reordering degree that is told, in segments (Linux
/// `tcp_max_reordering`).
const MAX_REORDERING: u32 = 300;

/// RACK's variables (RFC 8985 5.3) beside those of the scoreboard.
#[derive(Debug)]
pub(in crate::connection) struct Rack {
    /// RACK.rtt: round trip of what has arrived last.
    rtt: Option<Duration>,
    /// RACK.dsack_round: D-SACKs count once until this is acknowledged.
    dsack_round: Option<SeqNum>,
    /// RACK.reo_wnd_mult.
    reo_wnd_mult: u8,
    /// RACK.reo_wnd_persist.
    reo_wnd_persist: u8,
    /// RACK.reordering_seen.
    pub reordering_seen: bool,
}

impl Rack {
    pub(super) fn new() -> Self {
        Self {
            rtt: None,
            dsack_round: None,
            reo_wnd_mult: 1,
            reo_wnd_persist: REO_WND_PERSIST,
            reordering_seen: false,
        }
    }

    /// Widens the reordering window by a quarter of the smallest round trip,
    /// once a round trip with D-SACKs (6.2 step 4).
    fn widen(&mut self, una: SeqNum, nxt: SeqNum) {
        if self.dsack_round.is_some_and(|round| una.lt(round)) {
            return;
        }
        self.dsack_round = Some(nxt);
        self.reo_wnd_mult = self.reo_wnd_mult.saturating_add(1);
        self.reo_wnd_persist = REO_WND_PERSIST;
    }

    /// RACK.reo_wnd (6.2 step 4). `suspicious` says that a loss is being
    /// recovered, or that as much is SACKed as means one on a path that keeps
    /// the order.
    fn reordering_window(&self, suspicious: bool, min_rtt: Duration, srtt: Duration) -> Duration {
        if suspicious && !self.reordering_seen {
            return Duration::ZERO;
        }
        Duration::from_micros(min_rtt.as_micros() * u64::from(self.reo_wnd_mult) / 4).min(srtt)
    }

    /// A recovery has ended: the widened window lasts for so many of them.
    pub(super) fn recovery_ended(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 1;
        }
    }
}

impl<B: Payload> Connection<B> {
    /// Notes the round trip of what has arrived (RFC 8985 6.2 step 2), for
    /// every acknowledgement.
    #[inline]
    pub(in crate::connection) fn note_latest_rtt(&mut self, outcome: &AckOutcome, now: Instant) {
        if let Some(latest) = outcome.delivery.latest() {
            let elapsed = (now.as_micros() as u32).wrapping_sub(latest.at);
            self.recovery.rack.rtt = Some(Duration::from_micros(u64::from(elapsed)));
        }
    }

    /// What was sent once and arrives below what had arrived before was
    /// overtaken on the way (RFC 8985 6.2 step 3).
    pub(super) fn observe_reordering(&mut self, outcome: &AckOutcome) {
        if let Some(lowest) = outcome.overtaken() {
            self.note_reordering(outcome.fack - lowest);
        }
    }

    /// The path has reordered, by so many bytes.
    pub(super) fn note_reordering(&mut self, distance: u32) {
        let degree = distance.div_ceil(self.smss()).min(MAX_REORDERING);
        self.recovery.rack.reordering_seen = true;
        self.stats.reorderings += 1;
        self.stats.reordering = self.stats.reordering.max(degree);
    }

    /// A D-SACK came that does not come from a tail loss probe: the window for
    /// reordering was too narrow (RFC 8985 6.2 step 4).
    pub(super) fn widen_reordering_window(&mut self) {
        self.recovery.rack.widen(self.snd.una, self.snd.nxt);
    }

    /// What is lost by now.
    fn overdue(&self, now: Instant) -> Overdue {
        let suspicious =
            self.recovery.phase != Phase::Open || self.flight.sacked_reaches_dup_thresh(self.smss());
        let srtt = self.rtt.smoothed().unwrap_or_default();
        let window =
            self.recovery.rack.reordering_window(suspicious, self.rtt.smallest().unwrap_or_default(), srtt);
        Overdue::new(now, self.recovery.rack.rtt.unwrap_or(srtt) + window)
    }

    /// `RACK_detect_loss_and_arm_timer` of RFC 8985 6.2: marks what is lost by
    /// now, and has a timer look again while something may yet arrive. Returns
    /// whether anything is newly lost.
    pub(super) fn detect_losses(&mut self, now: Instant) -> bool {
        let detection = self.flight.mark_lost_by_time(self.overdue(now));
        self.timers.watch_losses(detection.waiting.map_or(Instant::FAR, |rest| now + rest));
        detection.found
    }

    /// Marks what a retransmission timeout says to be lost (RFC 8985 6.3).
    pub(super) fn mark_lost_by_timeout(&mut self, now: Instant) {
        if self.flags.contains(Flags::SACK) {
            self.flight.mark_lost_by_timeout(self.overdue(now), self.smss());
        } else {
            self.flight.mark_all_lost();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN_RTT: Duration = Duration::from_millis(100);

    /// The reordering window in milliseconds while nothing is suspicious.
    fn window(rack: &Rack) -> u64 {
        rack.reordering_window(false, MIN_RTT, Duration::from_millis(120)).as_millis()
    }

    #[test]
    fn the_window_is_a_quarter_of_the_smallest_round_trip() {
        assert_eq!(window(&Rack::new()), 25);
    }

    #[test]
    fn a_path_that_keeps_the_order_has_no_window_in_recovery() {
        let mut rack = Rack::new();
        let window = |rack: &Rack| rack.reordering_window(true, MIN_RTT, MIN_RTT);
        assert_eq!(window(&rack), Duration::ZERO);
        rack.reordering_seen = true;
        assert_eq!(window(&rack), Duration::from_millis(25));
    }

    #[test]
    fn duplicates_widen_the_window_once_a_round_trip() {
        let mut rack = Rack::new();
        rack.widen(SeqNum(100), SeqNum(900));
        assert_eq!(window(&rack), 50);
        rack.widen(SeqNum(899), SeqNum(1500));
        assert_eq!(window(&rack), 50);
        rack.widen(SeqNum(900), SeqNum(1500));
        assert_eq!(window(&rack), 75);
    }

    #[test]
    fn the_window_is_never_wider_than_the_smoothed_round_trip() {
        let mut rack = Rack::new();
        (0..1000).for_each(|n| rack.widen(SeqNum(n), SeqNum(n)));
        assert_eq!(window(&rack), 120);
    }

    #[test]
    fn a_widened_window_lasts_for_sixteen_recoveries() {
        let mut rack = Rack::new();
        rack.widen(SeqNum(0), SeqNum(0));
        (0..15).for_each(|_| rack.recovery_ended());
        rack.widen(SeqNum(1), SeqNum(1));
        (0..15).for_each(|_| rack.recovery_ended());
        assert_eq!(window(&rack), 75);
        rack.recovery_ended();
        assert_eq!(window(&rack), 25);
    }
}
