//! The line between C and Rust: results become return values and `errno`,
//! panics become `EIO`.

use std::ffi::c_int;
use std::fmt::Write;
use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};

use arrayvec::ArrayString;
use nix::errno::Errno;

use crate::real;

/// Runs `body` on behalf of a C function and returns what that function is to
/// return: the value, or -1 with `errno` set. On success `errno` is what it was
/// before. A panic fails the call with `EIO`; the real function is never tried
/// after `body` began, since half of its work may be done.
///
/// This is the hot form: `body` makes no system call but under [`NoCancel`].
///
/// A C function itself, out of line: it cannot unwind, so a hook around it needs
/// no landing pad and saves no registers on its way to the kernel.
#[inline(never)]
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
pub extern "C" fn call_hot<B: FnOnce() -> Result<usize, Errno>>(body: B) -> isize {
    run(body)
}

/// [`call_hot`] for a function that returns an `int`, and any `body`.
#[inline(never)]
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
pub extern "C" fn call<B: FnOnce() -> Result<usize, Errno>>(body: B) -> i32 {
    let _no_cancel = NoCancel::new();
    run(body) as i32
}

#[inline(always)]
fn run(body: impl FnOnce() -> Result<usize, Errno>) -> isize {
    let before = Errno::last_raw();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => {
            Errno::set_raw(before);
            value as isize
        }
        Ok(Err(errno)) => {
            errno.set();
            -1
        }
        Err(_) => {
            Errno::EIO.set();
            -1
        }
    }
}

/// While it lives, a pthread_cancel(3) of the thread is only noted. Our frames
/// cannot be unwound by it: they hold locks, and Rust cannot catch it.
pub struct NoCancel(c_int);

impl NoCancel {
    /// Starts it.
    pub fn new() -> Self {
        let mut before = PTHREAD_CANCEL_ENABLE;
        // SAFETY: a valid state, and room for the former one.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        Self(before)
    }
}

impl Drop for NoCancel {
    fn drop(&mut self) {
        // SAFETY: a state that the function itself has given.
        unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
    }
}

// From <pthread.h>; the libc crate lacks them.
const PTHREAD_CANCEL_ENABLE: c_int = 0;
const PTHREAD_CANCEL_DISABLE: c_int = 1;

extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// Runs `body` where no call can fail: exit and fork handlers.
pub fn shield(body: impl FnOnce()) {
    let _no_cancel = NoCancel::new();
    // The panic hook has told what there is to tell.
    let _ = catch_unwind(AssertUnwindSafe(body));
}

/// The value of a C function that reports -1 and `errno`.
pub fn check(result: i32) -> Result<i32, Errno> {
    Errno::result(result)
}

/// Makes panics of this library one line on standard error, written by the real
/// write(2): the default hook would come back through our own.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let what = payload.downcast_ref::<&str>().copied();
    let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)");
    let (file, line) = info.location().map_or(("?", 0), |at| (at.file(), at.line()));
    let mut text = ArrayString::<512>::new();
    // Cannot fail: the parts are cut to fit.
    let _ = writeln!(text, "tpa: bug: {what:.120} at {file:.200}:{line}");
    // SAFETY: the bytes of a string of ours.
    unsafe { real::write(2, text.as_ptr().cast(), text.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_leaves_errno_alone() {
        Errno::EXDEV.set();
        let result = call_hot(|| {
            Errno::EAGAIN.set();
            Ok(7)
        });
        assert_eq!((result, Errno::last()), (7, Errno::EXDEV));
    }

    #[test]
    fn an_error_is_minus_one_and_errno() {
        assert_eq!((call(|| Err(Errno::EPIPE)), Errno::last()), (-1, Errno::EPIPE));
    }

    #[test]
    fn a_panic_fails_the_call_with_eio() {
        let result = call_hot(|| panic!("this panic is part of a test"));
        assert_eq!((result, Errno::last()), (-1, Errno::EIO));
    }
}
