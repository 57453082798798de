//! Checked big-endian access to byte slices.

use super::WireError;

/// The `N` bytes at `offset`.
#[inline]
pub(super) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], WireError> {
    bytes.get(offset..).and_then(<[u8]>::first_chunk).copied().ok_or(WireError::Truncated)
}

/// The 16-bit number at `offset`.
#[inline]
pub(super) fn be16(bytes: &[u8], offset: usize) -> Result<u16, WireError> {
    array(bytes, offset).map(u16::from_be_bytes)
}
