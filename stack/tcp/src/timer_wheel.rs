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

/// Entries that a search for the earliest deadline looks at.
const LOOKS: usize = 1024;

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
    /// No entry is due before this tick.
    earliest: u64,
    len: usize,
}

impl<K: Copy> TimerWheel<K> {
    /// An empty wheel whose time is `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: vec![0; SLOTS / 64],
            cursor: now.as_micros() >> TICK_SHIFT,
            earliest: u64::MAX,
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

    /// Takes every entry out without firing it, and gives their memory back.
    pub fn clear(&mut self) {
        self.slots.fill_with(Vec::new);
        self.occupied.fill(0);
        self.earliest = u64::MAX;
        self.len = 0;
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
        self.earliest = self.earliest.min(tick);
        self.len += 1;
    }

    /// Fires every entry whose deadline has come: calls `fire` with its key.
    /// The wheel may not be touched from inside; collect and re-insert after.
    #[inline]
    pub fn advance(&mut self, now: Instant, mut fire: impl FnMut(K)) {
        let now_tick = now.as_micros() >> TICK_SHIFT;
        if now_tick < self.earliest {
            self.cursor = self.cursor.max(now_tick);
            return;
        }
        // Before the earliest there is nothing to find.
        let first = self.cursor.max(self.earliest);
        let ticks = (now_tick + 1).saturating_sub(first).min(SLOTS as u64);
        self.cursor = self.cursor.max(now_tick + 1);
        for tick in first..first + ticks {
            let slot = tick as usize % SLOTS;
            if self.is_occupied(slot) {
                self.fire_slot(slot, now_tick, &mut fire);
            }
        }
        self.earliest = self.search();
    }

    fn is_occupied(&self, slot: usize) -> bool {
        self.occupied[slot / 64] & (1 << (slot % 64)) != 0
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

    /// The earliest deadline: how long a sleep may be. `None` when nothing is
    /// armed. With very many entries it may be too early, never too late.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.len > 0).then(|| Instant::from_micros(self.earliest << TICK_SHIFT))
    }

    /// Looks for the earliest entry from the cursor on.
    fn search(&self) -> u64 {
        let mut earliest = u64::MAX;
        let mut budget = LOOKS;
        let mut tick = self.cursor;
        while self.len > 0 && tick < self.cursor + SLOTS as u64 && earliest > tick {
            let slot = tick as usize % SLOTS;
            if slot.is_multiple_of(64) && self.occupied[slot / 64] == 0 {
                tick += 64;
                continue;
            }
            if self.is_occupied(slot) {
                let entries = &self.slots[slot];
                budget = budget.saturating_sub(entries.len());
                let first = entries.iter().map(|entry| entry.tick).min().filter(|_| budget > 0);
                earliest = earliest.min(first.unwrap_or(tick));
            }
            tick += 1;
        }
        earliest
    }

    /// Span that one slot covers.
    pub const fn granularity() -> Duration {
        Duration::from_micros(1 << TICK_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn due(wheel: &mut TimerWheel<u32>, millis: u64) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.advance(Instant::from_millis(millis), |key| fired.push(key));
        fired.sort_unstable();
        fired
    }

    #[test]
    fn an_entry_fires_once_and_not_early() {
        let mut wheel = TimerWheel::new(Instant::default());
        wheel.insert(1, Instant::from_millis(40));
        assert!(due(&mut wheel, 39).is_empty());
        assert_eq!(due(&mut wheel, 42), [1]);
        assert!(due(&mut wheel, 10_000).is_empty());
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_wheel_that_was_cleared_fires_only_what_comes_after() {
        let mut wheel = TimerWheel::new(Instant::default());
        wheel.insert(1, Instant::from_millis(40));
        wheel.clear();
        assert!(wheel.is_empty() && wheel.next_deadline().is_none());
        wheel.insert(2, Instant::from_millis(50));
        assert_eq!(due(&mut wheel, 60), [2]);
    }

    #[test]
    fn an_entry_beyond_the_wheel_waits_for_its_turn() {
        let mut wheel = TimerWheel::new(Instant::default());
        wheel.insert(1, Instant::from_millis(60_000));
        for millis in (0..60_000).step_by(500) {
            assert!(due(&mut wheel, millis).is_empty(), "{millis}");
        }
        assert_eq!(due(&mut wheel, 60_002), [1]);
    }

    #[test]
    fn a_deadline_in_the_past_fires_next() {
        let mut wheel = TimerWheel::new(Instant::from_millis(1000));
        assert!(due(&mut wheel, 2000).is_empty());
        wheel.insert(1, Instant::from_millis(5));
        assert_eq!(due(&mut wheel, 2002), [1]);
    }

    #[test]
    fn a_long_sleep_fires_everything() {
        let mut wheel = TimerWheel::new(Instant::default());
        (0..100).for_each(|n| wheel.insert(n, Instant::from_millis(u64::from(n) * 97)));
        assert_eq!(due(&mut wheel, 1_000_000).len(), 100);
    }

    #[test]
    fn a_lone_far_deadline_is_known_exactly() {
        let mut wheel = TimerWheel::new(Instant::default());
        wheel.insert(1, Instant::from_micros(60_000 << TICK_SHIFT));
        assert_eq!(wheel.next_deadline(), Some(Instant::from_micros(60_000 << TICK_SHIFT)));
    }

    #[test]
    fn what_is_never_due_is_not_armed() {
        let mut wheel: TimerWheel<u32> = TimerWheel::new(Instant::default());
        wheel.insert(1, Instant::FAR);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_sorted_list(
            start in 0u64..u64::MAX / 4,
            steps in proptest::collection::vec((any::<bool>(), 0u64..20_000_000), 1..100),
        ) {
            let mut now = Instant::from_micros(start);
            let mut wheel = TimerWheel::new(now);
            let mut model: Vec<(u32, Instant)> = Vec::new();
            let granularity = TimerWheel::<u32>::granularity();
            for (key, (insert, micros)) in steps.into_iter().enumerate() {
                if insert {
                    let deadline = now + Duration::from_micros(micros);
                    wheel.insert(key as u32, deadline);
                    model.push((key as u32, deadline));
                    continue;
                }
                let next = wheel.next_deadline();
                let earliest = model.iter().map(|(_, deadline)| *deadline).min();
                prop_assert_eq!(next.is_none(), earliest.is_none());
                if let (Some(next), Some(earliest)) = (next, earliest) {
                    prop_assert!(next <= earliest.max(now) + granularity, "a sleep would be too long");
                }
                now += Duration::from_micros(micros);
                let mut fired = Vec::new();
                wheel.advance(now, |key| fired.push(key));
                for key in &fired {
                    let index = model.iter().position(|(other, _)| other == key);
                    prop_assert!(index.is_some(), "fired twice");
                    let (_, deadline) = model.swap_remove(index.unwrap());
                    prop_assert!(deadline <= now, "early");
                }
                prop_assert!(model.iter().all(|(_, deadline)| *deadline + granularity > now), "late");
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
