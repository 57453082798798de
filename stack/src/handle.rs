//! Names of sockets and event sets: plain numbers that can be stored in a
//! descriptor table and never dangle.

use std::fmt;

const INDEX_BITS: u32 = 28;
const GENERATION_BITS: u32 = 20;
const WORKER_BITS: u32 = 8;

/// A socket of the stack: its worker, its place in that worker's table, and
/// the generation of that place, so that a stale handle is noticed.
///
/// Fits [`Handle::BITS`] bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(u64);

impl Handle {
    /// Bits that [`Handle::to_bits`] may use.
    pub const BITS: u32 = INDEX_BITS + GENERATION_BITS + WORKER_BITS;

    /// Generations wrap at this value.
    pub(crate) const GENERATIONS: u32 = 1 << GENERATION_BITS;
    /// Sockets that one worker can hold.
    pub(crate) const MAX_INDEX: u32 = 1 << INDEX_BITS;

    pub(crate) fn new(worker: u8, index: u32, generation: u32) -> Self {
        debug_assert!(index < Self::MAX_INDEX && generation < Self::GENERATIONS);
        Self(
            u64::from(worker) << (INDEX_BITS + GENERATION_BITS)
                | u64::from(generation) << INDEX_BITS
                | u64::from(index),
        )
    }

    /// The handle as a number below `1 << Handle::BITS`.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// A handle from [`Handle::to_bits`].
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << Self::BITS) - 1))
    }

    /// Number of the worker that owns the socket.
    #[inline]
    pub fn worker(self) -> usize {
        (self.0 >> (INDEX_BITS + GENERATION_BITS)) as usize & ((1 << WORKER_BITS) - 1)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        (self.0 & ((1 << INDEX_BITS) - 1)) as usize
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> INDEX_BITS) as u32 & (Self::GENERATIONS - 1)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}#{}", self.worker(), self.index(), self.generation())
    }
}

/// An event set (an epoll instance of the program), numbered by the shim.
/// Small numbers: workers keep arrays by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetId(pub u32);

#[cfg(test)]
mod tests {
    use super::Handle;

    #[test]
    fn a_handle_survives_the_way_through_bits() {
        for (worker, index, generation) in
            [(0, 0, 0), (255, Handle::MAX_INDEX - 1, Handle::GENERATIONS - 1), (3, 77, 12345)]
        {
            let handle = Handle::from_bits(Handle::new(worker, index, generation).to_bits());
            assert_eq!(handle.worker(), worker as usize);
            assert_eq!(handle.index(), index as usize);
            assert_eq!(handle.generation(), generation);
        }
    }
}
