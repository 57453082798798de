//! One direction of a path.

use tpa_tcp::{Duration, Instant};

use super::Random;

/// A frame that will arrive, and when.
pub struct Fate {
    pub at: Instant,
    pub frame: Vec<u8>,
}

/// Delay, and what goes wrong, in thousandths.
pub struct Link {
    pub random: Random,
    pub delay: Duration,
    /// Up to this much is added to each delay; order is kept.
    pub jitter: Duration,
    pub loss: u64,
    pub duplication: u64,
    pub reordering: u64,
    pub corruption: u64,
    /// Bytes per second; zero for no limit.
    pub rate: u64,
    /// Bytes that wait for the line at most.
    pub queue: u64,
    last: Instant,
    free_at: Instant,
}

impl Link {
    /// A path without faults.
    pub fn clean(seed: u64, delay: Duration) -> Self {
        Self {
            random: Random::new(seed),
            delay,
            jitter: Duration::ZERO,
            loss: 0,
            duplication: 0,
            reordering: 0,
            corruption: 0,
            rate: 0,
            queue: u64::MAX,
            last: Instant::default(),
            free_at: Instant::default(),
        }
    }

    /// Decides what becomes of a frame.
    pub fn carry(&mut self, frame: Vec<u8>, now: Instant) -> Vec<Fate> {
        let Some(sent) = self.send(frame.len() as u64, now) else { return Vec::new() };
        if self.random.chance(self.loss) {
            return Vec::new();
        }
        let mut fates = vec![self.deliver(frame.clone(), sent)];
        if self.random.chance(self.duplication) {
            fates.push(self.deliver(frame, sent));
        }
        fates
    }

    /// Waits for the line; `None` when the queue is full.
    fn send(&mut self, len: u64, now: Instant) -> Option<Instant> {
        if self.rate == 0 {
            return Some(now);
        }
        let start = self.free_at.max(now);
        if (start - now).as_micros() * self.rate / 1_000_000 > self.queue {
            return None;
        }
        self.free_at = start + Duration::from_micros(len * 1_000_000 / self.rate);
        Some(self.free_at)
    }

    fn deliver(&mut self, mut frame: Vec<u8>, sent: Instant) -> Fate {
        let jitter = self.random.between(0, self.jitter.as_micros());
        let mut at = sent + self.delay + Duration::from_micros(jitter);
        if self.random.chance(self.reordering) {
            at += Duration::from_micros(self.random.between(0, 2 * self.delay.as_micros() + 1000));
        } else {
            at = at.max(self.last);
            self.last = at;
        }
        if self.random.chance(self.corruption) {
            let index = self.random.next() as usize % frame.len();
            frame[index] ^= 1 << self.random.between(0, 7);
        }
        Fate { at, frame }
    }
}
