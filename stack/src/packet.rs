//! One frame in one linear buffer, whoever owns the memory.
//!
//! A packet comes from a device's pool, is written or read in place, and goes
//! back to its pool when dropped. DPDK's mbufs and the memif device's own
//! buffers are both met through [`PoolOps`].

use std::ffi::c_void;
use std::ptr::NonNull;

/// What a pool must offer to have its buffers travel as [`Packet`]s.
#[derive(Debug)]
pub struct PoolOps {
    /// Gives one buffer back to its pool. Called under the lock of the worker
    /// that owns the pool, or of a worker of the same device.
    pub free: unsafe fn(handle: NonNull<c_void>),
}

struct HeapBuffer(Box<[u8]>);

static HEAP: PoolOps = PoolOps { free: free_heap };

unsafe fn free_heap(handle: NonNull<c_void>) {
    // SAFETY: `Packet::copy_of` leaked this box, and a packet is freed once.
    drop(unsafe { Box::from_raw(handle.cast::<HeapBuffer>().as_ptr()) });
}

bitflags::bitflags! {
    /// What a device knows of a frame beside its bytes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PacketFlags: u32 {
        /// Received: the device has verified the IP and TCP checksums, or the
        /// frame never left this host's memory.
        const CHECKSUM_GOOD = 1;
        /// Received: the device found a wrong checksum.
        const CHECKSUM_BAD = 2;
        /// To send: the device is to fill in the TCP checksum; the field holds
        /// the pseudo-header sum.
        const CHECKSUM_OFFLOAD = 4;
        /// Received: from the worker itself, over no device.
        const LOOPED = 8;
    }
}

/// A frame, from its first Ethernet byte on, in memory of its own.
#[derive(Debug)]
pub struct Packet {
    data: NonNull<u8>,
    len: u32,
    capacity: u32,
    /// Facts about the frame from or for the device.
    pub flags: PacketFlags,
    handle: NonNull<c_void>,
    pool: &'static PoolOps,
}

// SAFETY: a packet is the only owner of its buffer, and pools are only touched
// under the lock of the worker that owns them (see `PoolOps::free`).
unsafe impl Send for Packet {}

impl Packet {
    /// Takes ownership of a buffer.
    ///
    /// # Safety
    ///
    /// `data` must be valid for reads and writes of `capacity` bytes until
    /// `pool.free(handle)` is called, `len <= capacity`, and nobody else may
    /// touch the buffer or free it meanwhile.
    #[inline]
    pub unsafe fn from_raw(
        data: NonNull<u8>,
        len: u32,
        capacity: u32,
        flags: PacketFlags,
        handle: NonNull<c_void>,
        pool: &'static PoolOps,
    ) -> Self {
        debug_assert!(len <= capacity);
        Self { data, len, capacity, flags, handle, pool }
    }

    /// A copy on the heap, for when the device's own buffers run short.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut boxed = Box::new(HeapBuffer(bytes[..len as usize].into()));
        let data = NonNull::from(&mut *boxed.0).cast();
        let handle = NonNull::from(Box::leak(boxed)).cast();
        // SAFETY: the leaked box owns `len` bytes at `data` until `free_heap`
        // takes it back.
        unsafe { Self::from_raw(data, len, len, PacketFlags::default(), handle, &HEAP) }
    }

    /// Length of the frame in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the frame holds no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the buffer can hold.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Sets the length of the frame; cut to the capacity.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(self.capacity as usize) as u32;
    }

    /// The frame's bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `from_raw` promised `capacity >= len` readable bytes that we own.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len as usize) }
    }

    /// The whole buffer, to be written before [`Packet::set_len`].
    #[inline]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        // SAFETY: `from_raw` promised `capacity` writable bytes that we own.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.capacity as usize) }
    }

    /// Gives the buffer away without freeing it: its pool's handle, for a
    /// device that passes ownership on (to a transmit ring, say).
    #[inline]
    pub fn into_handle(self) -> NonNull<c_void> {
        let handle = self.handle;
        std::mem::forget(self);
        handle
    }

    /// The pool's handle of the buffer.
    #[inline]
    pub fn handle(&self) -> NonNull<c_void> {
        self.handle
    }

    /// The pool that the buffer came from; compare by address.
    #[inline]
    pub fn pool(&self) -> &'static PoolOps {
        self.pool
    }
}

impl Drop for Packet {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own the buffer and drop it once.
        unsafe { (self.pool.free)(self.handle) }
    }
}

impl AsRef<[u8]> for Packet {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl tpa_tcp::Payload for Packet {
    /// The buffer and the pool's own header beside it.
    #[inline]
    fn true_size(&self) -> usize {
        self.capacity as usize + 128
    }
}

#[cfg(test)]
mod tests {
    use super::Packet;

    #[test]
    fn a_heap_copy_holds_the_bytes_of_the_original() {
        let packet = Packet::copy_of(b"frame");
        assert_eq!(packet.bytes(), b"frame");
        assert_eq!(packet.capacity(), 5);
        assert!(Packet::copy_of(&[]).is_empty());
    }
}
