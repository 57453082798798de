//! What is sent, and whether it arrived.

use std::path::Path;

/// Bytes in which nothing repeats, so that no misplaced one goes unseen:
/// xorshift64 by Marsaglia.
#[must_use]
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    });
    words.flatten().take(size).collect()
}

/// Asserts that one file holds what another does.
///
/// # Panics
///
/// When it does not, or a file cannot be read.
pub fn assert_same(sent: &Path, received: &Path) {
    let sent = std::fs::read(sent).expect("what was sent");
    let received = std::fs::read(received).expect("what was received");
    let differs = sent.iter().zip(&received).position(|(a, b)| a != b);
    assert_eq!((differs, received.len()), (None, sent.len()), "first byte that differs, and the length");
}
