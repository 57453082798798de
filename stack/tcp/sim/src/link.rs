//! One direction of a path: a line with a queue before it, and what goes wrong
//! on it.

use tpa_tcp::{Duration, Instant};

use crate::Random;
use crate::frame;
use crate::loss::{Loss, LossState};

/// Longest frame that there is.
const LARGEST_FRAME: u64 = 65_549;

/// What a link is like. [`LinkConfig::default`] delivers everything at once.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Propagation delay.
    pub delay: Duration,
    /// Up to this much is added to each delay; order is kept.
    pub jitter: Duration,
    /// Bytes of frames per second; zero for no limit.
    pub rate: u64,
    /// Bytes of frames that wait for the line at most; what does not fit is
    /// dropped (drop-tail). Of no effect without a rate.
    pub queue: u64,
    /// Bytes of waiting frames above which an ECN-capable frame is marked as
    /// RFC 8257 3.1 has it.
    pub mark_above: Option<u64>,
    /// Largest IP packet; larger ones are dropped.
    pub mtu: usize,
    /// The router before it tells the sender so (RFC 1191), and is no black hole.
    pub reports_mtu: bool,
    /// What is lost.
    pub loss: Loss,
    /// Probability that a frame comes too late, and by up to how much.
    pub reordering: f64,
    /// Longest time by which a reordered frame is late.
    pub reordering_extent: Duration,
    /// Probability that a frame arrives twice.
    pub duplication: f64,
    /// Probability that a bit of a frame is wrong.
    pub corruption: f64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: 0,
            queue: u64::MAX,
            mark_above: None,
            mtu: usize::MAX,
            reports_mtu: false,
            loss: Loss::Never,
            reordering: 0.0,
            reordering_extent: Duration::ZERO,
            duplication: 0.0,
            corruption: 0.0,
        }
    }
}

impl LinkConfig {
    /// The longest time that a frame can take that is neither lost nor dropped.
    pub fn longest_delay(&self) -> Duration {
        let most = self.queue.saturating_add(LARGEST_FRAME).saturating_mul(1_000_000);
        let line = Duration::from_micros(most.checked_div(self.rate).unwrap_or(0));
        self.delay + self.jitter + self.reordering_extent + line
    }
}

/// What became of the frames that a link was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Frames given to the link.
    pub frames: u64,
    /// Lost by [`LinkConfig::loss`].
    pub lost: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Dropped because they were too large.
    pub too_large: u64,
    /// Reported to be too large, and not lost on the way back.
    pub reported: u64,
    /// Marked with CE.
    pub marked: u64,
}

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub at: Instant,
    pub frame: Vec<u8>,
    /// A bit is wrong: it will not be understood.
    pub damaged: bool,
}

/// Why a frame goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Lost or dropped.
    Gone,
    /// Larger than the link's MTU.
    TooLarge,
}

/// One direction of a path.
#[derive(Debug)]
pub(crate) struct Link {
    pub config: LinkConfig,
    pub stats: LinkStats,
    random: Random,
    loss: LossState,
    /// Arrival of the latest frame that was not reordered.
    last: Instant,
    /// When the line will have sent what waits for it, in nanoseconds.
    free_at: u64,
}

impl Link {
    pub(crate) fn new(config: LinkConfig, random: Random) -> Self {
        Self {
            config,
            stats: LinkStats::default(),
            random,
            loss: LossState::default(),
            last: Instant::default(),
            free_at: 0,
        }
    }

    /// Whether a frame is larger than the link takes.
    pub(crate) fn is_too_large(&self, frame: &[u8]) -> bool {
        frame::ip_len(frame) > self.config.mtu
    }

    /// Decides what becomes of a frame: one arrival, or two when it is doubled.
    pub(crate) fn carry(
        &mut self,
        mut frame: Vec<u8>,
        now: Instant,
    ) -> Result<(Arrival, Option<Arrival>), Refused> {
        self.stats.frames += 1;
        if self.is_too_large(&frame) {
            self.stats.too_large += 1;
            return Err(Refused::TooLarge);
        }
        let Some(sent) = self.send(&mut frame, now) else {
            self.stats.dropped += 1;
            return Err(Refused::Gone);
        };
        if self.loss.next(&self.config.loss, &mut self.random) {
            self.stats.lost += 1;
            return Err(Refused::Gone);
        }
        let copy = self.random.chance(self.config.duplication).then(|| frame.clone());
        let first = self.deliver(frame, sent);
        Ok((first, copy.map(|copy| self.deliver(copy, sent))))
    }

    /// Waits for the line; returns when the last bit has left, `None` when the
    /// queue is full.
    fn send(&mut self, frame: &mut [u8], now: Instant) -> Option<Instant> {
        let rate = self.config.rate;
        if rate == 0 {
            return Some(now);
        }
        let now = now.as_micros() * 1000;
        let start = self.free_at.max(now);
        let waiting = bytes_in(start - now, rate);
        if waiting + frame.len() as u64 > self.config.queue {
            return None;
        }
        if self.config.mark_above.is_some_and(|limit| waiting > limit) && frame::mark_ce(frame) {
            self.stats.marked += 1;
        }
        self.free_at = start + frame.len() as u64 * 1_000_000_000 / rate;
        Some(Instant::from_micros(self.free_at.div_ceil(1000)))
    }

    fn deliver(&mut self, mut frame: Vec<u8>, sent: Instant) -> Arrival {
        let mut at = sent + self.config.delay + up_to(&mut self.random, self.config.jitter);
        if self.random.chance(self.config.reordering) {
            at += up_to(&mut self.random, self.config.reordering_extent);
        } else {
            at = at.max(self.last);
            self.last = at;
        }
        let damaged = self.random.chance(self.config.corruption);
        if damaged {
            frame::damage(&mut frame, &mut self.random);
        }
        Arrival { at, frame, damaged }
    }
}

/// Bytes that a line sends in `nanos` nanoseconds.
fn bytes_in(nanos: u64, rate: u64) -> u64 {
    (u128::from(nanos) * u128::from(rate) / 1_000_000_000) as u64
}

fn up_to(random: &mut Random, longest: Duration) -> Duration {
    match longest.as_micros() {
        0 => Duration::ZERO,
        micros => Duration::from_micros(random.between(0, micros)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_micros(1_000_000);

    fn link(config: LinkConfig) -> Link {
        Link::new(config, Random::new(1))
    }

    fn after(link: &mut Link, len: usize) -> Option<u64> {
        link.carry(vec![0; len], START).ok().map(|(first, _)| (first.at - START).as_micros())
    }

    #[test]
    fn a_line_sends_one_frame_after_the_other() {
        let delay = Duration::from_millis(5);
        let mut link = link(LinkConfig { delay, rate: 1_000_000, ..LinkConfig::default() });
        assert_eq!(after(&mut link, 1000), Some(6_000));
        assert_eq!(after(&mut link, 500), Some(6_500));
    }

    #[test]
    fn times_below_a_microsecond_add_up() {
        let mut link = link(LinkConfig { rate: 125_000_000, ..LinkConfig::default() });
        let last = (0..1000).filter_map(|_| after(&mut link, 1514)).last();
        assert_eq!(last, Some(12_112));
    }

    #[test]
    fn what_does_not_fit_the_queue_is_dropped() {
        let mut link = link(LinkConfig { rate: 1_000_000, queue: 2500, ..LinkConfig::default() });
        let fates: Vec<bool> = (0..4).map(|_| after(&mut link, 1000).is_some()).collect();
        assert_eq!(fates, [true, true, false, false]);
        assert_eq!(link.stats.dropped, 2);
    }

    #[test]
    fn what_is_larger_than_the_mtu_is_refused() {
        let mut link = link(LinkConfig { mtu: 1500, ..LinkConfig::default() });
        assert_eq!(after(&mut link, 1514), Some(0));
        assert_eq!(link.carry(vec![0; 1515], START).err(), Some(Refused::TooLarge));
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let arrivals = |config| {
            let mut link = link(config);
            (0..100).filter_map(|_| after(&mut link, 100)).collect::<Vec<_>>()
        };
        let span = Duration::from_millis(1);
        let jittered = arrivals(LinkConfig { jitter: span, ..LinkConfig::default() });
        assert!(jittered.is_sorted() && jittered[99] > 0);
        let reordered =
            arrivals(LinkConfig { reordering: 0.1, reordering_extent: span, ..LinkConfig::default() });
        assert!(!reordered.is_sorted());
        assert!(reordered.iter().all(|&at| at <= 1000));
    }

    #[test]
    fn a_doubled_frame_arrives_twice() {
        let mut link = link(LinkConfig { duplication: 1.0, ..LinkConfig::default() });
        let (first, second) = link.carry(vec![7; 60], START).expect("it arrives");
        assert_eq!(Some(first.frame), second.map(|second| second.frame));
    }

    #[test]
    fn a_full_queue_marks_what_is_capable_of_ecn() {
        let config = LinkConfig { rate: 1_000_000, mark_above: Some(1500), ..LinkConfig::default() };
        let mut link = link(config);
        let mut capable = vec![0; 1000];
        capable[15] = 2;
        for _ in 0..4 {
            link.carry(capable.clone(), START).expect("it arrives");
        }
        let mut other = vec![0; 1000];
        other[15] = 0;
        link.carry(other, START).expect("it arrives");
        assert_eq!(link.stats.marked, 2);
    }
}
