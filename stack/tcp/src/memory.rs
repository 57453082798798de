//! Memory that connections share, in the way of Linux's `tcp_mem`: beyond three
//! quarters of it buffers stop growing and windows open no further than a few
//! segments; when it is used up, what arrived out of order is thrown away first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes by which a connection takes and gives back: so that the shared
/// account is touched once in many segments (Linux takes pages).
const QUANTUM: usize = 16 * 1024;

/// A budget of memory for buffers, for the connections of one thread or of
/// several: two that take at once may exceed it by what they take.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
}

impl Memory {
    /// A budget of `limit` bytes; `usize::MAX` for no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Bytes that are taken.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether more than three quarters are taken (Linux's `tcp_mem[1]`).
    #[inline]
    pub fn is_pressed(&self) -> bool {
        self.used() > self.limit / 4 * 3
    }

    fn has(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.limit
    }

    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Default for Memory {
    /// No limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

/// A connection's part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    /// Whether the share covers `held` bytes.
    #[inline]
    pub(crate) fn covers(&self, held: usize) -> bool {
        held <= self.bytes
    }

    /// Widens the share to cover `held` bytes, when the budget has them.
    pub(crate) fn try_cover(&mut self, held: usize) -> bool {
        let missing = held.saturating_sub(self.bytes).next_multiple_of(QUANTUM);
        if missing > 0 && !self.memory.has(missing) {
            return false;
        }
        self.widen(missing);
        true
    }

    /// Widens the share to cover `held` bytes, whatever the budget says.
    pub(crate) fn cover(&mut self, held: usize) {
        self.widen(held.saturating_sub(self.bytes).next_multiple_of(QUANTUM));
    }

    fn widen(&mut self, bytes: usize) {
        self.memory.add(bytes);
        self.bytes += bytes;
    }

    /// Gives back what exceeds `held` bytes by more than two quanta.
    #[inline]
    pub(crate) fn trim(&mut self, held: usize) {
        if self.bytes > held + 2 * QUANTUM {
            self.shrink(held);
        }
    }

    /// Gives back all that exceeds `held` bytes.
    #[cold]
    pub(crate) fn shrink(&mut self, held: usize) {
        let kept = held.next_multiple_of(QUANTUM).min(self.bytes);
        self.memory.subtract(self.bytes - kept);
        self.bytes = kept;
    }

    /// Whether the budget runs short.
    #[inline]
    pub(crate) fn is_pressed(&self) -> bool {
        self.memory.is_pressed()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_given_back_with_its_connection() {
        let memory = Arc::new(Memory::new(1 << 20));
        let mut share = Share::new(&memory);
        assert!(share.try_cover(1));
        assert_eq!(memory.used(), QUANTUM);
        assert!(share.covers(QUANTUM) && !share.covers(QUANTUM + 1));
        drop(share);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_budget_that_is_used_up_gives_nothing_but_what_must_be() {
        let memory = Arc::new(Memory::new(3 * QUANTUM));
        let (mut first, mut second) = (Share::new(&memory), Share::new(&memory));
        assert!(first.try_cover(2 * QUANTUM));
        assert!(!memory.is_pressed());
        assert!(!second.try_cover(QUANTUM + 1));
        assert!(second.try_cover(QUANTUM));
        assert!(memory.is_pressed());
        second.cover(5 * QUANTUM);
        assert_eq!(memory.used(), 7 * QUANTUM);
        first.shrink(0);
        assert_eq!(memory.used(), 5 * QUANTUM);
    }

    #[test]
    fn a_little_more_than_needed_is_kept() {
        let memory = Arc::new(Memory::default());
        let mut share = Share::new(&memory);
        share.cover(10 * QUANTUM);
        share.trim(8 * QUANTUM);
        assert_eq!(memory.used(), 10 * QUANTUM);
        share.trim(100);
        assert_eq!(memory.used(), QUANTUM);
    }

    proptest! {
        #[test]
        fn the_account_is_the_sum_of_the_shares(
            limit in 0usize..2_000_000,
            steps in proptest::collection::vec((0usize..4, 0u8..4, 0usize..300_000), 0..60),
        ) {
            let memory = Arc::new(Memory::new(limit));
            let mut shares: Vec<Share> = (0..4).map(|_| Share::new(&memory)).collect();
            for (index, kind, held) in steps {
                let share = &mut shares[index];
                match kind {
                    0 => {
                        let before = memory.used();
                        let covered = share.try_cover(held);
                        prop_assert_eq!(covered, share.covers(held));
                        prop_assert!(memory.used() <= limit.max(before));
                    }
                    1 => share.cover(held),
                    2 => share.trim(held),
                    _ => *share = Share::new(&memory),
                }
                prop_assert_eq!(memory.used(), shares.iter().map(|share| share.bytes).sum::<usize>());
            }
        }
    }
}
