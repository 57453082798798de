//! Pools of packet buffers.

use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::library::Dpdk;
use crate::table::{TPA_POOL_DENSE, tpa_pool};
use crate::{Error, Frame, check};

/// How a pool's buffers lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As DPDK likes them for hardware.
    Hardware,
    /// Side by side in one piece, as the AF_XDP driver needs them.
    Dense,
}

/// A pool of packet buffers.
///
/// A pool that was in use is never given back to DPDK, since frames of it may
/// live anywhere: dropping it leaks it. One that no frame left may be
/// [destroyed](Pool::destroy).
#[derive(Debug)]
pub struct Pool {
    dpdk: &'static Dpdk,
    raw: NonNull<tpa_pool>,
    count: u32,
}

// SAFETY: the pool's own lock-free state is made for several threads; the
// mempool's per-thread caches are DPDK's business.
unsafe impl Send for Pool {}

impl Pool {
    /// Makes a pool of `count` buffers for frames of up to `room` bytes. EAL
    /// must run.
    pub fn create(dpdk: &'static Dpdk, count: u32, room: u32, layout: Layout) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tpa_pool_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let name = CString::new(name).unwrap_or_default();
        let flags = if layout == Layout::Dense { TPA_POOL_DENSE } else { 0 };
        let mut raw = std::ptr::null_mut();
        // SAFETY: a NUL-terminated name, and a place for the result.
        let result = unsafe { (dpdk.f().pool_create)(name.as_ptr(), count, room, flags, &mut raw) };
        check("no memory for packet buffers", result)?;
        let raw = NonNull::new(raw).ok_or(Error { what: "pool", errno: libc::EIO, detail: None })?;
        Ok(Self { dpdk, raw, count })
    }

    /// Gives the memory back.
    ///
    /// # Safety
    ///
    /// No frame of the pool, and no queue that uses it, may exist any more.
    pub unsafe fn destroy(self) {
        // SAFETY: the caller's promise; `raw` is not used after.
        unsafe { (self.dpdk.f().pool_free)(self.raw.as_ptr()) }
    }

    /// Buffers of the pool, in use or not.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Buffers that are free.
    pub fn available(&self) -> u32 {
        // SAFETY: `raw` is a pool, and the count is read without locks.
        unsafe { (self.dpdk.f().pool_available)(self.raw.as_ptr()) }
    }

    /// Takes a buffer: an empty frame, which the caller owns from now on.
    #[inline]
    pub fn alloc(&mut self) -> Option<Frame> {
        let mut frame = Frame::default();
        // SAFETY: a pool whose owner's calls come through `&mut`, and a place for
        // the result.
        let taken = unsafe { (self.dpdk.f().alloc)(self.raw.as_ptr(), &mut frame) };
        taken.then_some(frame)
    }

    /// Whether a buffer is one of this pool's.
    ///
    /// # Safety
    ///
    /// `handle` must be the handle of a live frame of some pool.
    #[inline]
    pub unsafe fn owns(&self, handle: NonNull<c_void>) -> bool {
        // SAFETY: the caller's promise.
        unsafe { (self.dpdk.f().pool_owns)(self.raw.as_ptr(), handle.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut tpa_pool {
        self.raw.as_ptr()
    }
}

impl Dpdk {
    /// Gives a buffer back to its pool; in any thread.
    ///
    /// # Safety
    ///
    /// `handle` must be the handle of a frame that the caller owns, which is
    /// not used after.
    #[inline]
    pub unsafe fn free(&self, handle: NonNull<c_void>) {
        // SAFETY: the caller's promise.
        unsafe { (self.f().free)(handle.as_ptr()) }
    }
}
