//! What signal handlers mean for a call of ours that they interrupt.

use std::mem::MaybeUninit;
use std::ptr::null;

/// Number of the highest signal (signal(7): `SIGRTMAX`).
const LAST: i32 = 64;

/// Whether every handler of the process asks for calls to be restarted. Only
/// asked after a handler interrupted a call: which one it was nobody tells, so
/// when handlers differ the call fails with `EINTR`.
pub fn all_restart() -> bool {
    (1..=LAST).filter_map(handler_flags).all(|flags| flags & libc::SA_RESTART != 0)
}

/// Flags of the signal's handler; `None` when it has none.
fn handler_flags(signal: i32) -> Option<i32> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: only asks, into memory of the right type.
    if unsafe { libc::sigaction(signal, null(), action.as_mut_ptr()) } != 0 {
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
    use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};

    extern "C" fn handler(_: i32) {}

    #[test]
    fn one_handler_without_restart_is_enough_to_interrupt() {
        let with = |flags| SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
        // SAFETY: the handler does nothing.
        let before = unsafe { sigaction(Signal::SIGUSR1, &with(SaFlags::empty())) }.unwrap();
        assert!(!all_restart());
        assert_eq!(handler_flags(Signal::SIGUSR1 as i32).map(|flags| flags & libc::SA_RESTART), Some(0));
        // SAFETY: as above.
        unsafe { sigaction(Signal::SIGUSR1, &with(SaFlags::SA_RESTART)) }.unwrap();
        assert_ne!(handler_flags(Signal::SIGUSR1 as i32), Some(0));
        // SAFETY: what stood before.
        unsafe { sigaction(Signal::SIGUSR1, &before) }.unwrap();
    }
}
