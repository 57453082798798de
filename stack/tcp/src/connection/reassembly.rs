//! What arrived ahead of a gap (RFC 9293 3.10.7.4), and the SACK blocks that
//! tell the peer of it (RFC 2018).

use std::collections::VecDeque;

use super::audit::require;
use super::payload::{Held, Payload};
use super::timestamps::LateLimit;
use crate::seq::SeqNum;

/// Payload behind a gap, sorted, without overlaps.
#[derive(Debug)]
pub(super) struct Reassembly<B> {
    segments: VecDeque<(SeqNum, Held<B>)>,
    /// The runs that the segments form, the one that grew last first: in the
    /// order in which RFC 2018 section 4 wants them reported.
    blocks: Vec<(SeqNum, SeqNum)>,
    bytes: u32,
    charge: usize,
    /// How old what fills the gaps may be.
    pub late: LateLimit,
}

impl<B: Payload> Reassembly<B> {
    pub(super) fn new(late: LateLimit) -> Self {
        Self { segments: VecDeque::new(), blocks: Vec::new(), bytes: 0, charge: 0, late }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Memory that they occupy.
    pub(super) fn charge(&self) -> usize {
        self.charge
    }

    /// Runs of received bytes, the one that grew last first.
    pub(super) fn blocks(&self) -> &[(SeqNum, SeqNum)] {
        &self.blocks
    }

    /// The first part of a range that has come before.
    pub(super) fn known(&self, from: SeqNum, to: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let overlaps = self.blocks.iter().filter(|(left, right)| left.lt(to) && from.lt(*right));
        overlaps.map(|&(left, right)| (left.max(from), right.min(to))).min_by_key(|(left, _)| *left - from)
    }

    /// Stores `held`, which begins at `seq`. Overlaps are cut on either side,
    /// so that each byte is held once.
    pub(super) fn insert(&mut self, seq: SeqNum, mut held: Held<B>) {
        let (mut start, end) = (seq, seq + held.len());
        // Segments before `index` begin before the new one.
        let index = self.segments.partition_point(|(at, _)| at.lt(start));
        if let Some((at, before)) = index.checked_sub(1).and_then(|index| self.segments.get(index)) {
            let covered = (*at + before.len()).since(start);
            if covered >= held.len() {
                // Its run is news again (RFC 2883 4).
                self.note_block((seq, end));
                return;
            }
            held.trim_front(covered);
            start += covered;
        }
        while let Some((at, after)) = self.segments.get_mut(index) {
            if at.ge(end) {
                break;
            }
            let covered = end - *at;
            if covered < after.len() {
                // The new segment ends inside this one: its last part is known.
                held.truncate(*at - start);
                break;
            }
            // The new segment covers this one whole.
            self.bytes -= after.len();
            self.charge -= after.true_size();
            self.segments.remove(index);
        }
        if held.len() == 0 {
            return;
        }
        self.bytes += held.len();
        self.charge += held.true_size();
        let stored = (start, start + held.len());
        self.segments.insert(index, (start, held));
        self.note_block(stored);
    }

    /// Throws away what lies highest until no more than `segments` are left that
    /// occupy no more than `charge` bytes. What lies lower fills the gap sooner.
    pub(super) fn prune(&mut self, segments: usize, charge: usize) {
        while self.segments.len() > segments || self.charge > charge {
            self.drop_highest();
        }
    }

    /// Where the highest segment begins.
    pub(super) fn highest(&self) -> Option<SeqNum> {
        self.segments.back().map(|(at, _)| *at)
    }

    /// Throws the highest segment away: it is no longer reported (RFC 2018 8),
    /// and its sender will send it again.
    pub(super) fn drop_highest(&mut self) {
        let Some((at, held)) = self.segments.pop_back() else { return };
        self.bytes -= held.len();
        self.charge -= held.true_size();
        self.blocks.iter_mut().for_each(|(_, right)| *right = (*right).min(at));
        self.blocks.retain(|(left, right)| left.lt(*right));
    }

    /// Joins a run with those that it touches and puts it first.
    fn note_block(&mut self, (mut left, mut right): (SeqNum, SeqNum)) {
        self.blocks.retain(|&(from, to)| {
            let apart = to.lt(left) || right.lt(from);
            if !apart {
                left = left.min(from);
                right = right.max(to);
            }
            apart
        });
        self.blocks.insert(0, (left, right));
    }

    /// Takes the segment that continues at `next`, cut to begin there; drops
    /// what lies before.
    pub(super) fn pop(&mut self, next: SeqNum) -> Option<Held<B>> {
        while let Some((at, _)) = self.segments.front() {
            if at.gt(next) {
                return None;
            }
            let (at, mut held) = self.segments.pop_front()?;
            self.bytes -= held.len();
            self.charge -= held.true_size();
            held.trim_front(next.since(at));
            self.blocks.retain(|(left, _)| left.gt(next));
            if held.len() > 0 {
                return Some(held);
            }
        }
        None
    }

    /// Recounts; see [`super::Connection::audit`]. Everything lies behind a gap
    /// at `next` and within the window up to `edge`.
    pub(super) fn audit(&self, next: SeqNum, edge: SeqNum) -> Result<(), &'static str> {
        let (mut behind, mut bytes, mut charge) = (next, 0, 0);
        let mut runs: Vec<(SeqNum, SeqNum)> = Vec::new();
        for (at, held) in &self.segments {
            require(
                at.ge(behind) && *at != next && held.len() > 0,
                "waiting segments overlap or are out of order",
            )?;
            behind = *at + held.len();
            match runs.last_mut() {
                Some(run) if run.1 == *at => run.1 = behind,
                _ => runs.push((*at, behind)),
            }
            bytes += held.len();
            charge += held.true_size();
        }
        require(behind.le(edge), "a waiting segment lies beyond the window")?;
        require(bytes == self.bytes && charge == self.charge, "wrong sums of waiting segments")?;
        let same = runs.len() == self.blocks.len() && self.blocks.iter().all(|block| runs.contains(block));
        require(same, "SACK blocks differ from what waits")
    }

    /// Gives the arrival buffers back and keeps the bytes in own memory.
    pub(super) fn copy_out(&mut self) {
        self.segments.iter_mut().for_each(|(_, held)| held.copy_out());
        self.charge = self.segments.iter().map(|(_, held)| held.true_size()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Chunk;
    use proptest::prelude::*;

    fn held(bytes: &[u8]) -> Held<Vec<u8>> {
        Held::new(Chunk { buf: bytes.to_vec(), range: 0..bytes.len() })
    }

    fn blocks(reassembly: &Reassembly<Vec<u8>>) -> Vec<(u32, u32)> {
        reassembly.blocks().iter().map(|(left, right)| (left.0, right.0)).collect()
    }

    #[test]
    fn the_newest_run_is_reported_first() {
        let mut reassembly = Reassembly::new(LateLimit::default());
        for start in [10, 30, 50] {
            reassembly.insert(SeqNum(start), held(&[0; 5]));
        }
        assert_eq!(blocks(&reassembly), [(50, 55), (30, 35), (10, 15)]);
        reassembly.insert(SeqNum(15), held(&[0; 15]));
        assert_eq!(blocks(&reassembly), [(10, 35), (50, 55)]);
    }

    #[test]
    fn the_highest_are_thrown_away_first_and_no_longer_reported() {
        let mut reassembly = Reassembly::new(LateLimit::default());
        for start in [10, 20, 21, 30] {
            reassembly.insert(SeqNum(start), held(b"a"));
        }
        reassembly.prune(3, 1000);
        assert_eq!((blocks(&reassembly), reassembly.bytes()), (vec![(20, 22), (10, 11)], 3));
        reassembly.prune(2, 1000);
        assert_eq!((blocks(&reassembly), reassembly.bytes()), (vec![(20, 21), (10, 11)], 2));
        assert_eq!(reassembly.highest(), Some(SeqNum(20)));
        reassembly.prune(100, 1);
        assert_eq!((blocks(&reassembly), reassembly.charge()), (vec![(10, 11)], 1));
        reassembly.prune(0, 0);
        assert!(reassembly.is_empty() && reassembly.blocks().is_empty());
    }

    #[test]
    fn a_run_that_is_reached_is_no_longer_reported() {
        let mut reassembly = Reassembly::new(LateLimit::default());
        reassembly.insert(SeqNum(10), held(b"abcde"));
        reassembly.insert(SeqNum(20), held(b"xyz"));
        assert!(reassembly.pop(SeqNum(9)).is_none());
        let found = reassembly.pop(SeqNum(12)).map(|held| held.bytes().to_vec());
        assert_eq!(found.as_deref(), Some(&b"cde"[..]));
        assert_eq!(blocks(&reassembly), [(20, 23)]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_naive_model(
            origin: u32,
            steps in proptest::collection::vec((0u32..300, 1u32..60, any::<bool>(), any::<bool>()), 1..60),
        ) {
            // The stream's byte at offset n is n; the model knows which have come.
            let byte = |offset: u32| (offset % 251) as u8;
            let mut known = vec![false; 5000];
            let mut next = 0u32;
            let mut reassembly = Reassembly::new(LateLimit::default());
            for (at, len, take, drop) in steps {
                let at = at.max(next + 1);
                let bytes: Vec<u8> = (at..at + len).map(byte).collect();
                // A duplicate is the first run of what has come before.
                let first = (at..at + len).find(|&offset| known[offset as usize]);
                let expected = first.map(|from| {
                    let to = (from..at + len).find(|&offset| !known[offset as usize]).unwrap_or(at + len);
                    (SeqNum(origin) + from, SeqNum(origin) + to)
                });
                prop_assert_eq!(reassembly.known(SeqNum(origin) + at, SeqNum(origin) + at + len), expected);
                reassembly.insert(SeqNum(origin) + at, held(&bytes));
                known[at as usize..(at + len) as usize].iter_mut().for_each(|known| *known = true);
                if drop && let Some(highest) = reassembly.highest() {
                    reassembly.drop_highest();
                    let from = highest - SeqNum(origin);
                    known[from as usize..].iter_mut().for_each(|known| *known = false);
                }
                if take {
                    // The byte at `next` arrives in order.
                    next += 1;
                    while let Some(held) = reassembly.pop(SeqNum(origin) + next) {
                        for (offset, &found) in held.bytes().iter().enumerate() {
                            prop_assert_eq!(found, byte(next + offset as u32));
                            prop_assert!(known[next as usize + offset]);
                        }
                        next += held.len();
                    }
                    prop_assert!(!known[next as usize], "stopped before a byte that had come");
                }
                let waiting = (next..5000).filter(|&offset| known[offset as usize]).count();
                prop_assert_eq!(reassembly.bytes() as usize, waiting);
                let mut in_blocks = vec![false; 5000];
                for (left, right) in reassembly.blocks() {
                    for offset in (*left - SeqNum(origin))..(*right - SeqNum(origin)) {
                        prop_assert!(!in_blocks[offset as usize], "blocks overlap");
                        in_blocks[offset as usize] = true;
                    }
                }
                prop_assert_eq!(&in_blocks[next as usize..], &known[next as usize..]);
            }
        }
    }
}
