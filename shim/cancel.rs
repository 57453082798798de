//! pthread_cancel(3) of a thread that waits for an accelerated socket.
//!
//! Our frames cannot be unwound by a cancellation: they hold locks, and Rust
//! cannot catch it. So cancellation is off while they stand ([`NoCancel`]). Who
//! cancels a thread is noted, and sleepers are woken; the thread finds the note,
//! ends its wait with [`CANCELED`], and acts on it at the boundary to C, where
//! nothing of ours is left on the stack ([`act`]).

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use libc::{clockid_t, pthread_t};
use nix::errno::Errno;
use tpa_stack::Stack;

/// What a wait fails with that a cancellation ended. No call of ours returns it.
pub const CANCELED: Errno = Errno::ECANCELED;

/// Threads that were canceled and have not acted on it, by the number of their
/// processor clock: it is made of the thread's kernel number, which, unlike its
/// address, is not soon another thread's.
static CANCELED_THREADS: Mutex<Vec<clockid_t>> = Mutex::new(Vec::new());
/// Their count: zero, as nearly always, means that there is nothing to look up.
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// A [`NoCancel`] lives on this thread, and the program allows cancellation.
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, a cancellation of the thread is only noted.
pub struct NoCancel(c_int);

impl NoCancel {
    /// Starts it.
    pub fn new() -> Self {
        let mut before = PTHREAD_CANCEL_ENABLE;
        // SAFETY: a valid state, and room for the former one.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        if before == PTHREAD_CANCEL_ENABLE {
            ALLOWED.with(|allowed| allowed.set(true));
        }
        Self(before)
    }
}

impl Drop for NoCancel {
    fn drop(&mut self) {
        if self.0 == PTHREAD_CANCEL_ENABLE {
            ALLOWED.with(|allowed| allowed.set(false));
        }
        // SAFETY: a state that the function itself has given.
        unsafe { pthread_setcancelstate(self.0, std::ptr::null_mut()) };
    }
}

// From <pthread.h>; the libc crate lacks them. A cancellation unwinds the stack
// through the caller of `pthread_testcancel`: see `act`.
const PTHREAD_CANCEL_ENABLE: c_int = 0;
const PTHREAD_CANCEL_DISABLE: c_int = 1;

extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_testcancel();
}

/// The thread's clock; `None` when it is no more.
///
/// # Safety
///
/// The thread has not been joined, as pthread_cancel(3) asks for.
pub unsafe fn clock_of(thread: pthread_t) -> Option<clockid_t> {
    let mut clock = 0;
    // SAFETY: the caller's promise, and room for the result.
    (unsafe { libc::pthread_getcpuclockid(thread, &raw mut clock) } == 0).then_some(clock)
}

fn own_clock() -> Option<clockid_t> {
    // SAFETY: a thread has not been joined while it runs.
    unsafe { clock_of(libc::pthread_self()) }
}

/// Notes that the thread of this clock was canceled, and wakes it if it sleeps.
pub fn note(clock: clockid_t) {
    let mut threads = CANCELED_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    // Those that a function of libc itself has ended are gone by now.
    threads.retain(|&other| is_alive(other));
    threads.push(clock);
    COUNT.store(threads.len(), Ordering::Release);
    drop(threads);
    if let Some(stack) = Stack::get() {
        stack.workers().iter().for_each(|worker| worker.lock().wake_sleepers());
    }
}

fn is_alive(clock: clockid_t) -> bool {
    // SAFETY: null: only whether there is such a clock.
    unsafe { libc::clock_getres(clock, std::ptr::null_mut()) == 0 }
}

/// Whether any thread may have been canceled.
#[inline(always)]
pub fn any() -> bool {
    COUNT.load(Ordering::Acquire) != 0
}

/// Whether the calling thread, under a [`NoCancel`], was canceled and may act on it.
#[inline]
pub fn is_due() -> bool {
    any() && ALLOWED.with(Cell::get) && is_noted()
}

#[cold]
fn is_noted() -> bool {
    let threads = CANCELED_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    own_clock().is_some_and(|clock| threads.contains(&clock))
}

fn forget_own() {
    let mut threads = CANCELED_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = own_clock();
    threads.retain(|&other| Some(other) != own);
    COUNT.store(threads.len(), Ordering::Release);
}

/// The start of a call of ours, which is a cancellation point as libc's is.
#[cold]
#[inline(never)]
pub extern "C" fn act_if_due() {
    if prepare() {
        act();
    }
}

#[inline(never)]
extern "C" fn prepare() -> bool {
    let _no_cancel = NoCancel::new();
    let due = is_due();
    if due {
        forget_own();
    }
    due
}

/// Ends the thread, if it was canceled and has not forbidden it meanwhile.
///
/// The cancellation unwinds the stack through this frame and those of the hook.
/// None of them has anything to clean up, so that they have no landing pads and
/// the unwinder passes them by: that is why all around is `extern "C"`, out of
/// line, and owns nothing.
#[cold]
#[inline(never)]
pub extern "C" fn act() {
    // SAFETY: by the above.
    unsafe { pthread_testcancel() };
}

/// The end of a call that failed with [`CANCELED`].
#[cold]
#[inline(never)]
pub extern "C" fn finish() {
    forget();
    act();
    interrupt();
}

#[inline(never)]
extern "C" fn forget() {
    let _no_cancel = NoCancel::new();
    forget_own();
}

/// Not canceled after all: a signal handler has forbidden it meanwhile.
#[inline(never)]
extern "C" fn interrupt() {
    Errno::EINTR.set();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canceled_thread_is_known_until_it_acts_or_ends() {
        assert!(!is_due());
        let (clock_sent, clock) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            clock_sent.send(own_clock().unwrap()).unwrap();
            gone.recv().unwrap();
            let due = {
                let _no_cancel = NoCancel::new();
                is_due()
            };
            forget_own();
            due
        });
        note(clock.recv().unwrap());
        assert!(any());
        {
            let _no_cancel = NoCancel::new();
            assert!(!is_due(), "it is another thread");
        }
        go.send(()).unwrap();
        assert!(thread.join().unwrap());
        assert!(!any());
    }
}
