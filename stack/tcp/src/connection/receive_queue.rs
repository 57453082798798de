//! What arrived in order and waits for the program.

use std::collections::VecDeque;

use super::audit::require;
use super::payload::{Held, Payload};

/// Room of a block that gathers small payloads.
const GATHER: usize = 16 * 1024;

/// Payload in arrival buffers, in order. Nothing is copied on the way in as
/// long as the buffers are well filled.
#[derive(Debug)]
pub(super) struct ReceiveQueue<B> {
    queue: VecDeque<Held<B>>,
    len: usize,
    charge: usize,
}

impl<B: Payload> ReceiveQueue<B> {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), len: 0, charge: 0 }
    }

    /// Bytes that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory that the bytes occupy.
    #[inline]
    pub(super) fn charge(&self) -> usize {
        self.charge
    }

    /// Memory of the queue itself, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.queue.capacity() * size_of::<Held<B>>()
    }

    /// Appends. When the memory charged would exceed `limit`, the bytes are
    /// copied together instead, so that small payloads in large buffers cost no
    /// more than their size.
    #[inline]
    pub(super) fn push(&mut self, held: Held<B>, limit: usize) {
        self.len += held.len() as usize;
        if self.charge + held.true_size() <= limit {
            self.charge += held.true_size();
            self.queue.push_back(held);
        } else {
            self.gather(&held);
        }
    }

    #[cold]
    fn gather(&mut self, held: &Held<B>) {
        if self.queue.back_mut().is_some_and(|last| last.append(held.bytes())) {
            return;
        }
        let block = Held::copied(held.bytes(), GATHER);
        self.charge += block.true_size();
        self.queue.push_back(block);
    }

    /// Moves bytes out to `buf`; returns how many.
    #[inline]
    pub(super) fn read(&mut self, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(first) = self.queue.front_mut() {
            let rest = buf.get_mut(done..).unwrap_or_default();
            let count = copy(rest, first.bytes());
            first.trim_front(count as u32);
            done += count;
            if first.len() > 0 {
                break;
            }
            self.charge -= first.true_size();
            self.queue.pop_front();
        }
        self.len -= done;
        done
    }

    /// Copies bytes from `offset` on to `buf` and leaves them; returns how many.
    pub(super) fn peek(&self, mut offset: usize, buf: &mut [u8]) -> usize {
        let mut done = 0;
        for held in &self.queue {
            let bytes = held.bytes();
            let skipped = offset.min(bytes.len());
            offset -= skipped;
            let rest = buf.get_mut(done..).unwrap_or_default();
            done += copy(rest, bytes.get(skipped..).unwrap_or_default());
        }
        done
    }

    /// Gives the arrival buffers back and keeps the bytes in own memory.
    pub(super) fn copy_out(&mut self) {
        let mut queue: VecDeque<Held<B>> = VecDeque::new();
        for mut held in self.queue.drain(..) {
            if !queue.back_mut().is_some_and(|last| last.append(held.bytes())) {
                if (held.len() as usize) < GATHER / 4 {
                    held = Held::copied(held.bytes(), GATHER);
                } else {
                    held.copy_out();
                }
                queue.push_back(held);
            }
        }
        self.charge = queue.iter().map(Held::true_size).sum();
        self.queue = queue;
    }

    /// Recounts; see [`super::Connection::audit`].
    pub(super) fn audit(&self) -> Result<(), &'static str> {
        let len = self.queue.iter().map(|held| held.len() as usize).sum::<usize>();
        let charge = self.queue.iter().map(Held::true_size).sum::<usize>();
        require(len == self.len, "wrong sum of bytes that wait for the program")?;
        require(charge == self.charge, "wrong charge of bytes that wait for the program")
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Gives the queue's own memory back when nothing waits.
    pub(super) fn release_if_empty(&mut self) {
        if self.len == 0 {
            self.clear();
        }
    }
}

#[inline]
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let count = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Chunk;
    use proptest::prelude::*;

    /// `bytes` in the middle of a buffer that is `waste` larger.
    fn held(bytes: &[u8], waste: usize) -> Held<Vec<u8>> {
        let mut buf = vec![0xee; waste / 2];
        buf.extend(bytes);
        buf.resize(bytes.len() + waste, 0xee);
        Held::new(Chunk { buf, range: waste / 2..waste / 2 + bytes.len() })
    }

    #[test]
    fn buffers_are_given_back_as_they_empty() {
        let mut queue = ReceiveQueue::new();
        queue.push(held(b"abc", 10), 1000);
        queue.push(held(b"defg", 10), 1000);
        let full = queue.charge();
        let mut buf = [0; 5];
        assert_eq!(queue.read(&mut buf), 5);
        assert_eq!(&buf, b"abcde");
        assert!(queue.charge() < full);
        assert_eq!(queue.read(&mut buf), 2);
        assert_eq!((queue.charge(), queue.len()), (0, 0));
    }

    #[test]
    fn tiny_payloads_in_large_buffers_are_copied_together() {
        let mut queue = ReceiveQueue::new();
        for _ in 0..5000 {
            queue.push(held(b"x", 2000), 50_000);
        }
        assert_eq!(queue.len(), 5000);
        assert!(queue.charge() <= 50_000 + GATHER, "{}", queue.charge());
    }

    #[test]
    fn copying_out_keeps_the_bytes() {
        let mut queue = ReceiveQueue::new();
        queue.push(held(b"abc", 5000), 100_000);
        queue.push(held(&[7; 9000], 5000), 100_000);
        queue.copy_out();
        assert!(queue.charge() <= 9003 + GATHER);
        let mut buf = [0; 9003];
        assert_eq!(queue.read(&mut buf), 9003);
        assert!(buf.starts_with(b"abc") && buf[3..].iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_range_beyond_its_buffer_is_cut() {
        let held = Held::new(Chunk { buf: vec![1, 2, 3], range: 2..9 });
        assert_eq!(held.bytes(), [3]);
        assert_eq!(Held::new(Chunk { buf: vec![1, 2, 3], range: 7..9 }).len(), 0);
    }

    proptest! {
        #[test]
        fn it_reads_like_a_plain_vector(
            steps in proptest::collection::vec((0u8..4, 0usize..40, 0usize..100), 1..80),
        ) {
            let mut model: Vec<u8> = Vec::new();
            let mut queue = ReceiveQueue::new();
            let mut next = 0u8;
            for (kind, amount, waste) in steps {
                match kind {
                    0 | 1 => {
                        let bytes: Vec<u8> = (0..amount).map(|_| { next = next.wrapping_add(1); next }).collect();
                        queue.push(held(&bytes, waste), 300);
                        model.extend(&bytes);
                    }
                    2 => {
                        let mut buf = vec![0; amount];
                        let count = queue.read(&mut buf);
                        prop_assert_eq!(count, amount.min(model.len()));
                        prop_assert_eq!(&buf[..count], &model[..count]);
                        model.drain(..count);
                    }
                    _ => queue.copy_out(),
                }
                prop_assert_eq!(queue.len(), model.len());
                let mut buf = [0; 50];
                let offset = amount.min(model.len());
                let count = queue.peek(offset, &mut buf);
                prop_assert_eq!(&buf[..count], &model[offset..(offset + 50).min(model.len())]);
            }
        }
    }
}
