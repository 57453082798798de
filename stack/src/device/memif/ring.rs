//! The ring of buffer descriptors in shared memory, as `memif.h` lays it out.
//!
//! Every load and store here may race with a hostile peer, so all of them are
//! atomic, and a descriptor is read once: two loads, then our own copy.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use std::sync::atomic::Ordering::Relaxed;

/// Marks a ring that its maker has initialised.
pub const COOKIE: u32 = 0x03E3_1F20;
/// Ring flag: the receiver polls and wants no signal.
pub const MASK_INT: u16 = 1;
/// Descriptor flag: the frame goes on in the next slot.
pub const FLAG_NEXT: u16 = 1;
/// Largest ring, as the logarithm of its slots: indices have 16 bits.
pub const MAX_LOG2_SIZE: u8 = 14;
/// Alignment that a ring in a region must have, in bytes.
pub const ALIGNMENT: usize = 16;

/// Head of a ring: three cache lines of 64 bytes less the descriptors' one.
#[repr(C)]
struct Header {
    cookie: AtomicU32,
    flags: AtomicU16,
    head: AtomicU16,
    _rest_of_first_line: [u8; 56],
    tail: AtomicU16,
    _rest_of_second_line: [u8; 62],
}

/// A descriptor in shared memory.
#[repr(C)]
struct SharedDescriptor {
    /// Flags, region and length.
    low: AtomicU64,
    /// Offset and metadata.
    high: AtomicU64,
}

const _: () = assert!(size_of::<Header>() == 128 && size_of::<SharedDescriptor>() == 16);

/// Our copy of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// See [`FLAG_NEXT`].
    pub flags: u16,
    /// Region that holds the buffer.
    pub region: u16,
    /// Bytes of the frame, or room of an empty buffer.
    pub length: u32,
    /// Where the buffer begins in its region, in bytes.
    pub offset: u32,
}

/// One ring in a mapped region.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    header: NonNull<Header>,
    descriptors: NonNull<SharedDescriptor>,
    mask: u16,
}

// SAFETY: a ring only gives atomic access to its memory.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// Bytes that a ring of `1 << log2_size` slots takes.
    pub const fn len_of(log2_size: u8) -> usize {
        size_of::<Header>() + (size_of::<SharedDescriptor>() << log2_size)
    }

    /// The ring at `base`.
    ///
    /// # Safety
    ///
    /// `base` must be aligned to [`ALIGNMENT`] and point at
    /// [`Ring::len_of`]`(log2_size)` bytes of shared memory that stay mapped
    /// while the ring or a copy of it is used; `log2_size` must be at most
    /// [`MAX_LOG2_SIZE`].
    pub unsafe fn new(base: NonNull<u8>, log2_size: u8) -> Self {
        debug_assert!((base.as_ptr() as usize).is_multiple_of(ALIGNMENT) && log2_size <= MAX_LOG2_SIZE);
        // SAFETY: the descriptors follow the header in the same memory, which the caller vouches for.
        let descriptors = unsafe { base.add(size_of::<Header>()) }.cast();
        Self { header: base.cast(), descriptors, mask: (1 << log2_size) - 1 }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: `new` was promised mapped memory; all fields are atomic or never read.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    fn shared(&self, index: u16) -> &SharedDescriptor {
        // SAFETY: the masked index lies within the descriptors that `new` was promised.
        unsafe { self.descriptors.add(self.slot(index)).as_ref() }
    }

    /// Slots of the ring.
    #[inline]
    pub fn size(&self) -> u16 {
        self.mask + 1
    }

    /// Slot that a running index stands for.
    #[inline]
    pub fn slot(&self, index: u16) -> usize {
        usize::from(index & self.mask)
    }

    /// Whether the maker of the ring has initialised it.
    pub fn has_cookie(&self) -> bool {
        self.header().cookie.load(Relaxed) == COOKIE
    }

    /// Marks the ring as initialised.
    pub fn set_cookie(&self) {
        self.header().cookie.store(COOKIE, Relaxed);
    }

    /// The receiver's flags; see [`MASK_INT`].
    #[inline]
    pub fn flags(&self) -> &AtomicU16 {
        &self.header().flags
    }

    /// Index that the client moves: of frames that it sends, or of empty
    /// buffers that it offers to the server.
    #[inline]
    pub fn head(&self) -> &AtomicU16 {
        &self.header().head
    }

    /// Index that the server moves: of frames that it has taken, or of those
    /// that it sends.
    #[inline]
    pub fn tail(&self) -> &AtomicU16 {
        &self.header().tail
    }

    /// Reads a slot's descriptor, once.
    #[inline]
    pub fn read(&self, index: u16) -> Descriptor {
        let shared = self.shared(index);
        let low = shared.low.load(Relaxed).to_le();
        let offset = shared.high.load(Relaxed).to_le() as u32;
        Descriptor { flags: low as u16, region: (low >> 16) as u16, length: (low >> 32) as u32, offset }
    }

    /// Writes a slot's descriptor.
    #[inline]
    pub fn write(&self, index: u16, descriptor: Descriptor) {
        let Descriptor { flags, region, length, offset } = descriptor;
        let low = u64::from(flags) | u64::from(region) << 16 | u64::from(length) << 32;
        let shared = self.shared(index);
        shared.low.store(low.to_le(), Relaxed);
        shared.high.store(u64::from(offset).to_le(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::memif::region::Region;

    #[test]
    fn a_ring_has_the_layout_of_the_protocol() {
        let (region, _fd) = Region::create(4096).unwrap();
        // SAFETY: the region is page-aligned, 4096 bytes long and outlives the ring.
        let ring = unsafe { Ring::new(region.base(), 4) };
        ring.set_cookie();
        ring.flags().store(MASK_INT, Relaxed);
        ring.head().store(0x1122, Relaxed);
        ring.tail().store(0x3344, Relaxed);
        ring.write(17, Descriptor { flags: 1, region: 2, length: 0x0304_0506, offset: 0x0708_090A });
        // SAFETY: as above; nobody writes meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(region.base().as_ptr(), Ring::len_of(4)) };
        assert_eq!(bytes[..8], [0x20, 0x1F, 0xE3, 0x03, 1, 0, 0x22, 0x11]);
        assert_eq!(bytes[64..66], [0x44, 0x33]);
        assert_eq!(bytes[144..160], [1, 0, 2, 0, 6, 5, 4, 3, 10, 9, 8, 7, 0, 0, 0, 0]);
        assert_eq!(ring.read(1), ring.read(17));
        assert_eq!(ring.size(), 16);
    }
}
