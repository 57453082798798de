//! Children of ours whose end is none of the program's business.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

/// Runs what starts a child and waits for its end, without a `SIGCHLD` for the
/// program: its handler might wait for a child that is not there. (As far as this
/// thread goes: with several threads another one may get the signal.)
pub fn without_sigchld<T>(run: impl FnOnce() -> T) -> T {
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    let mut before = SigSet::empty();
    if pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&child), Some(&mut before)).is_err() {
        return run();
    }
    let result = run();
    if !is_any_child_to_wait_for()
        && let Err(error) = take_pending(&child)
    {
        log::debug!("the program hears of a child of ours: {error}");
    }
    // Cannot fail: the mask is the one of before.
    let _ = before.thread_set_mask();
    result
}

/// Whether a child of the program's has something to tell: the pending signal may
/// be its own then, since pending ones are not counted.
fn is_any_child_to_wait_for() -> bool {
    let changes = WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WCONTINUED;
    let looking = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::All, changes | looking), Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD))
}

fn take_pending(signals: &SigSet) -> nix::Result<()> {
    SignalFd::with_flags(signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?.read_signal().map(drop)
}
