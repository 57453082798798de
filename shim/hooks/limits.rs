//! setrlimit(2): the last moment at which a program still may start threads.

use std::ffi::{c_int, c_uint};

use libc::rlimit;
use redhook::hook;

use crate::boundary::shield;
use crate::{pending, real};

hook! {
    unsafe fn setrlimit(resource: c_uint, limit: *const rlimit) -> c_int => setrlimit_hook {
        // SAFETY: the caller's promise.
        unsafe { start_threads_before(resource, limit) };
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::setrlimit(resource, limit) }
    }
}

hook! {
    unsafe fn setrlimit64(resource: c_uint, limit: *const rlimit) -> c_int => setrlimit64_hook {
        // SAFETY: the caller's promise.
        unsafe { start_threads_before(resource, limit) };
        // SAFETY: the caller's arguments, unchanged.
        unsafe { real::setrlimit64(resource, limit) }
    }
}

/// A program that allows itself no further process (haproxy, once it has started)
/// allows the stack no thread either, and will not fork any more: its listeners
/// move now instead of at their first use. What that fails with, the first use says.
///
/// # Safety
///
/// `limit` is null or points to a limit.
unsafe fn start_threads_before(resource: c_uint, limit: *const rlimit) {
    if resource != libc::RLIMIT_NPROC || limit.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    if unsafe { (*limit).rlim_cur } == 0 {
        shield(|| _ = pending::promote_all(|_| true));
    }
}
