//! The end of the process. Plain functions, because they never return.
//!
//! exit(3) needs no hook: it runs the handler that was registered when the stack
//! started. fork(2) is met by pthread_atfork(3).

use std::ffi::c_int;

use crate::{fork, real};

/// Ends the stack, then the process.
///
/// # Safety
///
/// As _exit(2).
#[no_mangle]
pub unsafe extern "C" fn _exit(status: c_int) -> ! {
    fork::end_stack();
    // SAFETY: the caller's argument, unchanged.
    unsafe { real::_exit(status) }
}

/// Ends the stack, then the process.
///
/// # Safety
///
/// As _Exit(3).
#[no_mangle]
pub unsafe extern "C" fn _Exit(status: c_int) -> ! {
    fork::end_stack();
    // SAFETY: the caller's argument, unchanged.
    unsafe { real::_Exit(status) }
}
