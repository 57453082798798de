//! Packet buffers of fixed size in one anonymous mapping.
//!
//! The free list is a plain stack: the buffer freed last, whose lines are
//! still in the cache, goes out first. It has no lock of its own. Invariant:
//! a pool and every packet of it are only touched under the lock of the worker
//! that owns the device's face, or by one thread alone.

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use memmap2::{Advice, MmapMut};

use crate::packet::{Packet, PacketFlags, PoolOps};

/// Bytes of a cache line.
const LINE: usize = 64;

/// One buffer: what a [`Packet`]'s handle points at.
struct Buffer {
    pool: NonNull<Shared>,
    data: NonNull<u8>,
}

/// The pool itself, which lives until it is retired and its last packet back.
struct Shared {
    /// Free buffers; never grows beyond its first capacity.
    free: Vec<NonNull<Buffer>>,
    buffers: Box<[Buffer]>,
    buffer_size: u32,
    /// The owner is gone.
    retired: bool,
    /// Keeps the buffers mapped.
    _memory: MmapMut,
}

static OPS: PoolOps = PoolOps { free: free_buffer };

/// Gives a buffer back; the last one of a retired pool ends the pool.
///
/// # Safety
///
/// `handle` must be of a packet of a [`Pool`] that is given back once.
unsafe fn free_buffer(handle: NonNull<c_void>) {
    let buffer = handle.cast::<Buffer>();
    // SAFETY: a buffer lives as long as its pool, and a pool as long as a packet of it.
    let shared_at = unsafe { buffer.as_ref().pool };
    // SAFETY: as above; the module's invariant makes us the only one to touch it now.
    let shared = unsafe { &mut *shared_at.as_ptr() };
    shared.free.push(buffer);
    if shared.retired && shared.free.len() == shared.buffers.len() {
        // SAFETY: no packet is left and the owner is gone: this is the last reference.
        drop(unsafe { Box::from_raw(shared_at.as_ptr()) });
    }
}

/// A pool of equal packet buffers.
#[derive(Debug)]
pub struct Pool {
    shared: NonNull<Shared>,
}

// SAFETY: the module's invariant: one thread at a time, under the worker's lock.
unsafe impl Send for Pool {}

impl Pool {
    /// Makes a pool of `count` buffers of `buffer_size` bytes. Their memory is
    /// only taken when they are first used, and a forked child does not have
    /// it.
    pub fn new(count: usize, buffer_size: u32) -> io::Result<Self> {
        let stride = stride_of(buffer_size as usize);
        let mut memory = MmapMut::map_anon(count.max(1) * stride)?;
        memory.advise(Advice::DontFork)?;
        let base = memory.as_mut_ptr();
        let shared = NonNull::from(Box::leak(Box::new(Shared {
            free: Vec::with_capacity(count),
            buffers: Box::new([]),
            buffer_size,
            retired: false,
            _memory: memory,
        })));
        let buffer = |index| Buffer {
            pool: shared,
            // SAFETY: `index < count`, so this lies in the mapping, which is not at zero.
            data: unsafe { NonNull::new_unchecked(base.add(index * stride)) },
        };
        let buffers: Box<[Buffer]> = (0..count).map(buffer).collect();
        // SAFETY: we have just made it and nobody else knows it yet.
        let inner = unsafe { &mut *shared.as_ptr() };
        inner.buffers = buffers;
        inner.free.extend(inner.buffers.iter().rev().map(NonNull::from));
        Ok(Self { shared })
    }

    /// An empty packet, or `None` when all buffers are out.
    #[inline]
    pub fn alloc(&mut self) -> Option<Packet> {
        // SAFETY: the pool lives as long as we do, and is ours to touch.
        let shared = unsafe { &mut *self.shared.as_ptr() };
        let buffer = shared.free.pop()?;
        // SAFETY: a buffer lives as long as its pool.
        let data = unsafe { buffer.as_ref().data };
        // SAFETY: the buffer has `buffer_size` bytes, and being off the free list it is the packet's alone.
        Some(unsafe {
            Packet::from_raw(data, 0, shared.buffer_size, PacketFlags::empty(), buffer.cast(), &OPS)
        })
    }

    /// Share of the buffers that are free, in 1/256.
    pub fn free_share(&self) -> u32 {
        // SAFETY: the pool lives as long as we do, and is ours to touch.
        let shared = unsafe { self.shared.as_ref() };
        (shared.free.len() * 256 / shared.buffers.len().max(1)) as u32
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the pool lives until we or the last packet free it.
        let shared = unsafe { &mut *self.shared.as_ptr() };
        shared.retired = true;
        if shared.free.len() == shared.buffers.len() {
            // SAFETY: no packet is left: this is the last reference.
            drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
        }
    }
}

/// Distance of buffers of `size` bytes: whole cache lines, an odd number of
/// them, so that the first lines of neighbours spread over all cache sets.
pub fn stride_of(size: usize) -> usize {
    size.next_multiple_of(LINE) | LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_buffer_goes_out_once_and_comes_back() {
        let mut pool = Pool::new(8, 100).unwrap();
        let packets: Vec<Packet> = std::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!(packets.len(), 8);
        let mut places: Vec<_> = packets.iter().map(Packet::handle).collect();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), 8);
        assert_eq!(pool.free_share(), 0);
        drop(packets);
        assert_eq!(pool.free_share(), 256);
    }

    #[test]
    fn buffers_do_not_overlap() {
        let mut pool = Pool::new(4, 100).unwrap();
        let mut packets: Vec<Packet> = std::iter::from_fn(|| pool.alloc()).collect();
        for (fill, packet) in packets.iter_mut().enumerate() {
            packet.buffer_mut().fill(fill as u8);
            packet.set_len(100);
        }
        for (fill, packet) in packets.iter().enumerate() {
            assert_eq!(packet.bytes(), [fill as u8; 100]);
        }
    }

    #[test]
    fn the_buffer_freed_last_goes_out_first() {
        let mut pool = Pool::new(8, 100).unwrap();
        let (first, second) = (pool.alloc().unwrap(), pool.alloc().unwrap());
        let place = first.handle();
        drop(second);
        drop(first);
        assert_eq!(pool.alloc().unwrap().handle(), place);
    }

    #[test]
    fn packets_outlive_their_pool() {
        let mut pool = Pool::new(2, 100).unwrap();
        let (mut first, second) = (pool.alloc().unwrap(), pool.alloc().unwrap());
        drop(pool);
        drop(second);
        first.buffer_mut().fill(7);
        first.set_len(100);
        assert_eq!(first.bytes(), [7; 100]);
    }

    #[test]
    fn strides_are_odd_counts_of_cache_lines() {
        assert_eq!(stride_of(2048), 2048 + 64);
        assert_eq!(stride_of(65535), 65536 + 64);
        assert_eq!(stride_of(2049), 2112);
    }
}
