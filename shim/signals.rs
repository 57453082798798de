//! Signal handlers that run while a call of ours waits.
//!
//! In the kernel a handler ends a waiting call, or the call goes on, by
//! `SA_RESTART` (signal(7)). Our waits are in user space but for their sleep, so
//! they must learn which handlers ran. The handlers of a program are installed
//! behind [`deliver`], which notes that they did, for its thread; the program's
//! own view of its handlers stays what it is.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{sighandler_t, siginfo_t, sigset_t, timespec};
use nix::errno::Errno;

use crate::real;

/// Number of the highest signal (signal(7): `SIGRTMAX`).
const LAST: c_int = 64;
/// Signals of a fault at the thread's own instruction: what they interrupt goes on
/// there, if at all.
const FAULTS: [c_int; 7] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV, libc::SIGSYS];
/// Below this are no functions but `SIG_DFL`, `SIG_IGN` and `SIG_HOLD`.
const FIRST_FUNCTION: sighandler_t = 0x1000;

/// The program's handlers, by signal.
static HANDLERS: [AtomicUsize; LAST as usize + 1] = [const { AtomicUsize::new(0) }; LAST as usize + 1];

thread_local! {
    /// Signals whose handlers ran on this thread: bit n - 1 for signal n.
    static RAN: Cell<u64> = const { Cell::new(0) };
    /// Time limit of the sleep that this thread is about to begin, or null.
    static LIMIT: Cell<*mut timespec> = const { Cell::new(null_mut()) };
}

/// What the kernel calls in place of the program's handler.
extern "C" fn deliver(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(handler) = HANDLERS.get(signal as usize) else { return };
    let handler = handler.load(Ordering::Acquire);
    // SAFETY: the program's handler of this signal. One that takes the number alone
    // ignores the other arguments, which the kernel passes in any case.
    unsafe {
        let handler =
            std::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(handler);
        handler(signal, info, context);
    }
    RAN.with(|ran| ran.set(ran.get() | bit(signal)));
    let limit = LIMIT.with(Cell::get);
    if !limit.is_null() {
        // The sleep has not begun, or is over: it must not begin.
        // SAFETY: the thread's own, and alive while it is set.
        unsafe { limit.write_volatile(timespec { tv_sec: 0, tv_nsec: 0 }) };
    }
}

fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

fn is_wrapped(signal: c_int, handler: sighandler_t) -> bool {
    (1..=LAST).contains(&signal)
        && !FAULTS.contains(&signal)
        && handler >= FIRST_FUNCTION
        && handler != libc::SIG_ERR
}

fn wrapper() -> sighandler_t {
    deliver as *const () as sighandler_t
}

/// Installs a handler of the program by `install`, which takes what is to be
/// installed and gives what stood before (`SIG_ERR`: it failed); returns the
/// program's own former one.
pub fn replace(
    signal: c_int,
    handler: sighandler_t,
    install: impl FnOnce(sighandler_t) -> sighandler_t,
) -> sighandler_t {
    let Some(place) = usize::try_from(signal).ok().and_then(|at| HANDLERS.get(at)) else {
        return install(handler);
    };
    let former = place.load(Ordering::Acquire);
    let wraps = is_wrapped(signal, handler);
    if wraps {
        place.store(handler, Ordering::Release);
    }
    let before = install(if wraps { wrapper() } else { handler });
    if before == libc::SIG_ERR && wraps {
        place.store(former, Ordering::Release);
    }
    if before == wrapper() {
        former
    } else {
        before
    }
}

/// sigaction(2).
///
/// # Safety
///
/// As sigaction(2).
pub unsafe fn sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int {
    // SAFETY: the caller's promise.
    let mut action = (!new.is_null()).then(|| unsafe { new.read() });
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    let mut result = 0;
    let handler = action.as_ref().map_or(libc::SIG_DFL, |action| action.sa_sigaction);
    let former = replace(signal, handler, |handler| {
        if let Some(action) = &mut action {
            action.sa_sigaction = handler;
        }
        let action = action.as_ref().map_or(null(), std::ptr::from_ref);
        // SAFETY: null or a live action, and room for the former one.
        result = unsafe { real::sigaction(signal, action, before.as_mut_ptr()) };
        if result == 0 {
            // SAFETY: filled by the successful call.
            unsafe { before.assume_init_ref() }.sa_sigaction
        } else {
            libc::SIG_ERR
        }
    });
    if result == 0 && !old.is_null() {
        // SAFETY: filled by the successful call; `old` by the caller's promise.
        unsafe { old.write(libc::sigaction { sa_sigaction: former, ..before.assume_init() }) };
    }
    result
}

/// What a wait knows of handlers: those that ran since it began.
pub struct Watch {
    /// What a wait that this one interrupts has seen.
    outer: u64,
}

impl Watch {
    /// A wait begins.
    #[inline]
    pub fn begin() -> Self {
        Self { outer: RAN.with(|ran| ran.replace(0)) }
    }

    /// Whether the wait is to end with `EINTR`; one that `restarts` goes on when
    /// all handlers that ran ask for it.
    #[inline]
    pub fn is_over(&self, restarts: bool) -> bool {
        let ran = RAN.with(Cell::get);
        ran != 0 && !(restarts && self.goes_on(ran))
    }

    #[cold]
    fn goes_on(&self, ran: u64) -> bool {
        let all_restart = (1..=LAST)
            .filter(|&signal| ran & bit(signal) != 0)
            .all(|signal| handler_flags(signal).is_none_or(|flags| flags & libc::SA_RESTART != 0));
        if all_restart {
            RAN.with(|all| all.set(all.get() & !ran));
        }
        all_restart
    }

    /// The same after a sleep that a handler ended, perhaps one that was installed
    /// behind our back.
    pub fn is_over_after_sleep(&self, restarts: bool) -> bool {
        match RAN.with(Cell::get) {
            0 => !(restarts && all_restart()),
            _ => self.is_over(restarts),
        }
    }

    /// Sleeps by `sleep`, which takes a time limit that a handler sets to zero
    /// should it run before the sleep begins. `EINTR` when one ran.
    ///
    /// # Errors
    ///
    /// Those of `sleep`.
    pub fn sleep<T>(
        &self,
        mut limit: timespec,
        sleep: impl FnOnce(*mut timespec) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                LIMIT.with(|place| place.set(null_mut()));
            }
        }
        let limit = &raw mut limit;
        LIMIT.with(|place| place.set(limit));
        let _reset = Reset;
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        if RAN.with(Cell::get) != 0 {
            return Err(Errno::EINTR);
        }
        sleep(limit)
    }
}

impl Drop for Watch {
    #[inline]
    fn drop(&mut self) {
        if self.outer != 0 {
            RAN.with(|ran| ran.set(ran.get() | self.outer));
        }
    }
}

/// While it lives, no handler runs on the thread: for waits with a mask of their
/// own, which is in force only while they sleep.
pub struct Blocked(sigset_t);

impl Blocked {
    /// Starts it.
    pub fn new() -> Self {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: sets of our own, filled before they are read.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            FAULTS.iter().for_each(|&fault| _ = libc::sigdelset(all.as_mut_ptr(), fault));
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: a mask that the function itself has given.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, null_mut()) };
    }
}

/// Whether every handler of the process asks for calls to be restarted.
fn all_restart() -> bool {
    (1..=LAST).filter_map(handler_flags).all(|flags| flags & libc::SA_RESTART != 0)
}

/// Flags of the signal's handler; `None` when it has none.
fn handler_flags(signal: c_int) -> Option<c_int> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: only asks, into memory of the right type.
    if unsafe { real::sigaction(signal, null(), action.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: filled by the successful call.
    let action = unsafe { action.assume_init() };
    let handled = action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN;
    handled.then_some(action.sa_flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn handler(_: c_int) {}

    fn install(signal: c_int, flags: c_int) -> libc::sigaction {
        // SAFETY: plain data.
        let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
        new.sa_sigaction = handler as *const () as sighandler_t;
        new.sa_flags = flags;
        let mut old = new;
        // SAFETY: a handler that does nothing.
        assert_eq!(unsafe { sigaction(signal, &raw const new, &raw mut old) }, 0);
        old
    }

    #[test]
    fn a_wait_learns_which_handlers_ran_and_whether_it_goes_on() {
        let signal = libc::SIGUSR2;
        install(signal, 0);
        let watch = Watch::begin();
        assert!(!watch.is_over(false));
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(signal) };
        assert!(watch.is_over(false) && watch.is_over(true));
        let slept = watch.sleep(timespec { tv_sec: 9, tv_nsec: 0 }, |_| Ok(()));
        assert_eq!(slept, Err(Errno::EINTR));
        drop(watch);
        let old = install(signal, libc::SA_RESTART);
        assert_eq!(old.sa_sigaction, handler as *const () as sighandler_t, "the program's own view");
        let watch = Watch::begin();
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(signal) };
        assert!(!watch.is_over(true), "it goes on");
        // SAFETY: the signal has a handler.
        unsafe { libc::raise(signal) };
        assert!(watch.is_over(false), "it never goes on");
        // SAFETY: no handler any more.
        unsafe { real::signal(signal, libc::SIG_DFL) };
    }

    #[test]
    fn a_handler_before_the_sleep_takes_its_time_away() {
        let signal = libc::SIGURG;
        install(signal, 0);
        let watch = Watch::begin();
        let left = watch.sleep(timespec { tv_sec: 9, tv_nsec: 9 }, |limit| {
            // SAFETY: the signal has a handler, and the limit lives.
            unsafe {
                libc::raise(signal);
                Ok(((*limit).tv_sec, (*limit).tv_nsec))
            }
        });
        assert_eq!(left, Ok((0, 0)));
    }
}
