//! What the program has written and the peer has not acknowledged yet.

use super::audit::require;
use crate::seq::SeqNum;

/// First size of the ring; it doubles on demand.
const SMALLEST: usize = 2048;

/// A ring of bytes that begins at the oldest unacknowledged one. It owns no
/// memory until something is written.
#[derive(Debug)]
pub(super) struct SendBuffer {
    ring: Box<[u8]>,
    head: usize,
    len: usize,
    /// Sequence number of the first byte in the ring.
    start: SeqNum,
}

impl SendBuffer {
    /// An empty buffer whose first byte will have the number `start`.
    pub(super) fn new(start: SeqNum) -> Self {
        Self { ring: Box::default(), head: 0, len: 0, start }
    }

    /// Bytes held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory held, in bytes.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Sequence number behind the last byte.
    #[inline]
    pub(super) fn end(&self) -> SeqNum {
        self.start + self.len as u32
    }

    /// Appends as much of `data` as keeps the length within `limit`; returns
    /// how much that was.
    pub(super) fn push(&mut self, data: &[u8], limit: usize) -> usize {
        let taken = data.len().min(limit.saturating_sub(self.len));
        let Some(data) = data.get(..taken).filter(|data| !data.is_empty()) else { return 0 };
        self.reserve(taken);
        let tail = self.head + self.len;
        let capacity = self.ring.len();
        let at = if tail >= capacity { tail - capacity } else { tail };
        let (wrapped, rest) = self.ring.split_at_mut(at);
        let (first, second) = data.split_at(taken.min(rest.len()));
        copy_prefix(rest, first);
        copy_prefix(wrapped, second);
        self.len += taken;
        taken
    }

    /// Grows the ring so that `more` bytes fit.
    fn reserve(&mut self, more: usize) {
        let needed = self.len + more;
        if needed <= self.ring.len() {
            return;
        }
        let mut ring = vec![0; needed.next_power_of_two().max(SMALLEST)].into_boxed_slice();
        let (first, second) = self.slices(0, self.len);
        let (to_first, rest) = ring.split_at_mut(first.len());
        to_first.copy_from_slice(first);
        copy_prefix(rest, second);
        self.ring = ring;
        self.head = 0;
    }

    /// The `len` bytes from the sequence number `seq` on, in two halves; what
    /// is not in the ring is left out.
    #[inline]
    pub(super) fn range(&self, seq: SeqNum, len: u32) -> (&[u8], &[u8]) {
        self.slices((seq - self.start) as usize, len as usize)
    }

    #[inline]
    fn slices(&self, offset: usize, len: usize) -> (&[u8], &[u8]) {
        if offset >= self.len {
            return (&[], &[]);
        }
        let len = len.min(self.len - offset);
        let capacity = self.ring.len();
        let from = self.head + offset;
        let from = if from >= capacity { from - capacity } else { from };
        let first = len.min(capacity - from);
        (
            self.ring.get(from..from + first).unwrap_or_default(),
            self.ring.get(..len - first).unwrap_or_default(),
        )
    }

    /// Drops the bytes before `seq`: the peer has them.
    #[inline]
    pub(super) fn acknowledge(&mut self, seq: SeqNum) {
        let acked = (seq.since(self.start) as usize).min(self.len);
        self.start += acked as u32;
        self.len -= acked;
        self.head += acked;
        if self.len == 0 {
            // Small replies stay in one piece, at the warm front of the ring.
            self.head = 0;
        } else if self.head >= self.ring.len() {
            self.head -= self.ring.len();
        }
    }

    /// Recounts; see [`super::Connection::audit`].
    pub(super) fn audit(&self, una: SeqNum) -> Result<(), &'static str> {
        require(self.start == una.min(self.end()), "the send buffer does not begin at UNA")?;
        require(self.len <= self.ring.len(), "the send ring holds more than fits")
    }

    /// Drops all bytes and the memory.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.end());
    }

    /// Gives the memory back when nothing is held.
    pub(super) fn release_if_empty(&mut self) {
        if self.len == 0 {
            self.ring = Box::default();
            self.head = 0;
        }
    }
}

#[inline]
fn copy_prefix(to: &mut [u8], from: &[u8]) {
    if let Some(to) = to.get_mut(..from.len()) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(buffer: &SendBuffer, seq: SeqNum, len: u32) -> Vec<u8> {
        let (first, second) = buffer.range(seq, len);
        [first, second].concat()
    }

    #[test]
    fn an_empty_buffer_owns_nothing() {
        let mut buffer = SendBuffer::new(SeqNum(1));
        assert_eq!(buffer.capacity(), 0);
        assert_eq!(buffer.push(b"abc", 10), 3);
        buffer.acknowledge(SeqNum(4));
        buffer.release_if_empty();
        assert_eq!((buffer.capacity(), buffer.end()), (0, SeqNum(4)));
    }

    #[test]
    fn no_more_than_the_limit_is_taken() {
        let mut buffer = SendBuffer::new(SeqNum(0));
        assert_eq!(buffer.push(&[1; 10], 8), 8);
        assert_eq!(buffer.push(&[2; 10], 8), 0);
        buffer.acknowledge(SeqNum(5));
        assert_eq!(buffer.push(&[3; 10], 8), 5);
        assert_eq!(bytes(&buffer, SeqNum(5), 8), [1, 1, 1, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn an_acknowledgement_beyond_the_end_empties_it() {
        let mut buffer = SendBuffer::new(SeqNum(u32::MAX));
        buffer.push(b"xy", 10);
        buffer.acknowledge(SeqNum(2));
        assert_eq!((buffer.len(), buffer.end()), (0, SeqNum(1)));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_vector_holds(
            start: u32,
            steps in proptest::collection::vec((any::<bool>(), 0usize..3000), 1..60),
        ) {
            let mut model: Vec<u8> = Vec::new();
            let mut base = SeqNum(start);
            let mut buffer = SendBuffer::new(base);
            let mut next = 0u8;
            for (write, amount) in steps {
                if write {
                    let data: Vec<u8> = (0..amount).map(|_| { next = next.wrapping_add(1); next }).collect();
                    let taken = buffer.push(&data, 10_000);
                    prop_assert_eq!(taken, amount.min(10_000 - model.len()));
                    model.extend(&data[..taken]);
                } else {
                    let acked = amount.min(model.len());
                    base += acked as u32;
                    buffer.acknowledge(base);
                    model.drain(..acked);
                }
                prop_assert_eq!(buffer.len(), model.len());
                prop_assert_eq!(bytes(&buffer, base, 10_000), model.clone());
                let middle = model.len() / 3;
                prop_assert_eq!(bytes(&buffer, base + middle as u32, 7), model[middle..].iter().copied().take(7).collect::<Vec<_>>());
            }
        }
    }
}
