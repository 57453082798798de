//! What streams consist of: bytes that tell where they belong.

use std::sync::LazyLock;

use crate::Random;

/// A prime beyond what a checked stream is long, so that a byte at a wrong
/// place is a wrong byte.
const PERIOD: usize = 1_048_583;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(0);
    (0..PERIOD).map(|_| random.bits() as u8).collect()
});

/// The bytes of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    start: usize,
}

impl Content {
    /// The stream number `stream`.
    pub(crate) fn new(stream: u64) -> Self {
        Self { start: Random::new(stream).bits() as usize % PERIOD }
    }

    /// Bytes from `offset` on, at most `len`, as many as lie in one piece.
    pub(crate) fn piece(&self, offset: usize, len: usize) -> &'static [u8] {
        let at = (self.start + offset) % PERIOD;
        &BYTES[at..(at + len).min(PERIOD)]
    }

    /// Whether `bytes` are those from `offset` on.
    pub(crate) fn is_at(&self, mut offset: usize, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let piece = self.piece(offset, bytes.len());
            let (now, rest) = bytes.split_at(piece.len());
            if now != piece {
                return false;
            }
            offset += now.len();
            bytes = rest;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_at_another_place_or_of_another_stream_are_wrong() {
        let content = Content::new(1);
        let piece = content.piece(5000, 100);
        assert!(content.is_at(5000, piece));
        assert!(!content.is_at(5001, piece));
        assert!(!Content::new(2).is_at(5000, piece));
    }

    #[test]
    fn a_stream_goes_on_behind_the_end_of_the_table() {
        let content = Content { start: PERIOD - 3 };
        let bytes = [content.piece(0, 10), content.piece(3, 7)].concat();
        assert_eq!(bytes.len(), 10);
        assert!(content.is_at(0, &bytes));
    }
}
