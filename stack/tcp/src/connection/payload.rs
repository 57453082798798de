//! Received bytes and the memory that they lie in.

use std::ops::Range;

/// Memory that holds received bytes; dropping it gives it back.
pub trait Payload: AsRef<[u8]> {
    /// Bytes of memory that the buffer occupies, headers and slack included:
    /// what the receive buffer is charged.
    fn true_size(&self) -> usize;
}

impl Payload for Vec<u8> {
    fn true_size(&self) -> usize {
        self.capacity()
    }
}

/// A buffer and where the payload lies in it.
#[derive(Debug)]
pub struct Chunk<B> {
    /// The buffer.
    pub buf: B,
    /// The payload in it; what exceeds the buffer is ignored.
    pub range: Range<usize>,
}

/// Where held bytes are.
#[derive(Debug)]
enum Memory<B> {
    /// In the buffer that they arrived in.
    Arrived(B),
    /// In memory of our own, because arrival buffers were held too wastefully
    /// or run short.
    Copied(Vec<u8>),
}

/// Received bytes, as they are held.
#[derive(Debug)]
pub(super) struct Held<B> {
    memory: Memory<B>,
    start: u32,
    end: u32,
}

impl<B: Payload> Held<B> {
    /// Takes what arrived.
    #[inline]
    pub(super) fn new(chunk: Chunk<B>) -> Self {
        let end = chunk.range.end.min(chunk.buf.as_ref().len());
        let start = chunk.range.start.min(end);
        Self { memory: Memory::Arrived(chunk.buf), start: start as u32, end: end as u32 }
    }

    /// Bytes held.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.end - self.start
    }

    /// The bytes.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::Arrived(buf) => buf.as_ref(),
            Memory::Copied(bytes) => bytes,
        };
        all.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Memory occupied, in bytes.
    #[inline]
    pub(super) fn true_size(&self) -> usize {
        match &self.memory {
            Memory::Arrived(buf) => buf.true_size(),
            Memory::Copied(bytes) => bytes.capacity(),
        }
    }

    /// Forgets the first `count` bytes.
    #[inline]
    pub(super) fn trim_front(&mut self, count: u32) {
        self.start += count.min(self.len());
    }

    /// Forgets all but the first `len` bytes.
    #[inline]
    pub(super) fn truncate(&mut self, len: u32) {
        self.end = self.start + len.min(self.len());
    }

    /// Moves the bytes to memory of our own, of their size, and gives the
    /// arrival buffer back.
    pub(super) fn copy_out(&mut self) {
        if matches!(self.memory, Memory::Arrived(_)) {
            let bytes = self.bytes().to_vec();
            (self.start, self.end) = (0, bytes.len() as u32);
            self.memory = Memory::Copied(bytes);
        }
    }

    /// Appends `bytes` when they fit in memory of our own that is there already.
    pub(super) fn append(&mut self, bytes: &[u8]) -> bool {
        match &mut self.memory {
            Memory::Copied(own)
                if self.end as usize == own.len() && own.capacity() - own.len() >= bytes.len() =>
            {
                own.extend_from_slice(bytes);
                self.end = own.len() as u32;
                true
            }
            _ => false,
        }
    }

    /// A copy of `bytes` with room for `room` in all.
    pub(super) fn copied(bytes: &[u8], room: usize) -> Self {
        let mut own = Vec::with_capacity(room.max(bytes.len()));
        own.extend_from_slice(bytes);
        Self { start: 0, end: own.len() as u32, memory: Memory::Copied(own) }
    }
}
