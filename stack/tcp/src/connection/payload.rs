//! What the engine asks of the memory that payload arrives in.

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
