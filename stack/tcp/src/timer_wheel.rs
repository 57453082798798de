//! A hashed timing wheel for many connections' timers.
//!
//! One entry per connection is enough: the wheel fires when the earliest
//! deadline that it was told has come, and the owner asks the connection for
//! its true deadline then and inserts it again (lazy re-arm). A deadline that
//! moves later therefore costs nothing; one that moves earlier is inserted
//! once more, and the older entry fires harmlessly.
//!
//! Keys are `Copy`; put a generation in them, so that an entry of a connection
//! that is gone is recognised.

use crate::time::{Duration, Instant};

/// Slots of the wheel; a power of two.
const SLOTS: usize = 4096;

/// Microseconds per slot, as a power of two: 1024 µs.
const TICK_SHIFT: u32 = 10;

/// One armed timer.
#[derive(Debug, Clone, Copy)]
struct Entry<K> {
    key: K,
    tick: u64,
}

/// A hashed wheel of deadlines with a granularity of about a millisecond;
/// entries fire late by less than one tick, never early.
#[derive(Debug)]
pub struct TimerWheel<K> {
    slots: Vec<Vec<Entry<K>>>,
    /// Occupied slots, one bit each.
    occupied: Vec<u64>,
    /// First tick that has not been fired yet.
    cursor: u64,
    len: usize,
}

impl<K: Copy> TimerWheel<K> {
    /// An empty wheel whose time is `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: vec![0; SLOTS / 64],
            cursor: now.as_micros() >> TICK_SHIFT,
            len: 0,
        }
    }

    /// Entries that have not fired yet.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Arms an entry; [`TimerWheel::advance`] hands `key` out once at or just
    /// after `deadline`. [`Instant::FAR`] is never armed.
    #[inline]
    pub fn insert(&mut self, key: K, deadline: Instant) {
        if deadline == Instant::FAR {
            return;
        }
        // Rounded up, so that nothing fires early.
        let tick =
            (deadline.as_micros().saturating_add((1 << TICK_SHIFT) - 1) >> TICK_SHIFT).max(self.cursor);
        let slot = tick as usize % SLOTS;
        self.slots[slot].push(Entry { key, tick });
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.len += 1;
    }

    /// Fires every entry whose deadline has come: calls `fire` with its key.
    /// The wheel may not be touched from inside; collect and re-insert after.
    #[inline]
    pub fn advance(&mut self, now: Instant, mut fire: impl FnMut(K)) {
        let now_tick = now.as_micros() >> TICK_SHIFT;
        if now_tick < self.cursor {
            return;
        }
        let ticks = (now_tick - self.cursor + 1).min(SLOTS as u64);
        let first = self.cursor;
        self.cursor = now_tick + 1;
        for tick in first..first + ticks {
            let slot = tick as usize % SLOTS;
            if self.occupied[slot / 64] & (1 << (slot % 64)) != 0 {
                self.fire_slot(slot, now_tick, &mut fire);
            }
        }
    }

    fn fire_slot(&mut self, slot: usize, now_tick: u64, fire: &mut impl FnMut(K)) {
        let entries = &mut self.slots[slot];
        let before = entries.len();
        entries.retain(|entry| {
            let due = entry.tick <= now_tick;
            if due {
                fire(entry.key);
            }
            !due
        });
        self.len -= before - entries.len();
        if entries.is_empty() {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// A time before which nothing fires: how long a sleep may be. `None` when
    /// nothing is armed. It may be early by whole turns of the wheel (about
    /// four seconds each), never late.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let distance = (0..SLOTS as u64).find(|distance| {
            let slot = (self.cursor + distance) as usize % SLOTS;
            self.occupied[slot / 64] & (1 << (slot % 64)) != 0
        })?;
        Some(Instant::from_micros((self.cursor + distance) << TICK_SHIFT))
    }

    /// Span that one slot covers.
    pub const fn granularity() -> Duration {
        Duration::from_micros(1 << TICK_SHIFT)
    }
}
