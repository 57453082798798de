//! Signal handlers and cancellation: see [`crate::signals`] and [`crate::cancel`].

use std::ffi::c_int;

use libc::{pthread_t, sighandler_t};
use redhook::hook;

use crate::{cancel, real, signals};

hook! {
    unsafe fn sigaction(
        number: c_int,
        new: *const libc::sigaction,
        old: *mut libc::sigaction
    ) -> c_int => sigaction_hook {
        // SAFETY: the caller's promise.
        unsafe { signals::sigaction(number, new, old) }
    }
}

hook! {
    unsafe fn __sigaction(
        number: c_int,
        new: *const libc::sigaction,
        old: *mut libc::sigaction
    ) -> c_int => sigaction_alias {
        // SAFETY: the caller's promise.
        unsafe { signals::sigaction(number, new, old) }
    }
}

/// A function of the signal(2) kind, each with flags of its own.
macro_rules! signal {
    ($($name:ident => $hook:ident: $real:ident;)+) => { $(
        hook! {
            unsafe fn $name(number: c_int, handler: sighandler_t) -> sighandler_t => $hook {
                // SAFETY: the caller's arguments, or our own handler.
                signals::replace(number, handler, |handler| unsafe { real::$real(number, handler) })
            }
        }
    )+ };
}

signal! {
    signal => signal_hook: signal;
    ssignal => ssignal_hook: signal;
    bsd_signal => bsd_signal_hook: signal;
    sysv_signal => sysv_signal_hook: sysv_signal;
    __sysv_signal => sysv_signal_alias: sysv_signal;
    sigset => sigset_hook: sigset;
}

hook! {
    unsafe fn pthread_cancel(thread: pthread_t) -> c_int => pthread_cancel_hook {
        // SAFETY: the caller's promise. Asked for now: a moment later the thread may
        // be gone.
        let clock = unsafe { cancel::clock_of(thread) };
        // SAFETY: the caller's argument, unchanged.
        let result = unsafe { real::pthread_cancel(thread) };
        if let Some(clock) = clock.filter(|_| result == 0) {
            crate::boundary::shield(|| cancel::note(clock));
        }
        result
    }
}
