//! The line between C and Rust: results become return values and `errno`,
//! panics become `EIO`.

use std::fmt::Write;
use std::panic::{catch_unwind, AssertUnwindSafe, PanicHookInfo};

use arrayvec::ArrayString;
use nix::errno::Errno;

use crate::cancel::{self, NoCancel};
use crate::real;

/// Runs `body` on behalf of a C function and returns what that function is to
/// return: the value, or -1 with `errno` set. On success `errno` is what it was
/// before. A panic fails the call with `EIO`; the real function is never tried
/// after `body` began, since half of its work may be done.
///
/// This is the hot form: `body` makes no system call but under [`NoCancel`].
///
/// A C function itself, out of line: it cannot unwind, so a hook around it needs
/// no landing pad and saves no registers on its way to the kernel. Nor has it one
/// itself: see [`cancel::act`].
#[inline(never)]
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
pub extern "C" fn call_hot<B: FnOnce() -> Result<usize, Errno>>(body: B) -> isize {
    if cancel::any() {
        cancel::act_if_due();
    }
    let result = run(body);
    // SAFETY: libc's own place; read here, because a call that could unwind would
    // need a landing pad.
    if result < 0 && unsafe { *libc::__errno_location() } == cancel::CANCELED as i32 {
        cancel::finish();
    }
    result
}

/// [`call_hot`] for a function that returns an `int`, and any `body`.
#[inline(never)]
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
pub extern "C" fn call<B: FnOnce() -> Result<usize, Errno>>(body: B) -> i32 {
    call_hot(move || {
        let _no_cancel = NoCancel::new();
        body()
    }) as i32
}

#[inline(never)]
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
extern "C" fn run<B: FnOnce() -> Result<usize, Errno>>(body: B) -> isize {
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

/// Runs `body` where no call can fail: exit and fork handlers, and what has to be
/// done before a call of the kernel's. `errno` stays what it was.
pub fn shield(body: impl FnOnce()) {
    let before = Errno::last_raw();
    let _no_cancel = NoCancel::new();
    // The panic hook has told what there is to tell.
    let _ = catch_unwind(AssertUnwindSafe(body));
    Errno::set_raw(before);
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
    fn a_shielded_body_leaves_errno_alone() {
        Errno::EXDEV.set();
        shield(|| Errno::EAGAIN.set());
        assert_eq!(Errno::last(), Errno::EXDEV);
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
