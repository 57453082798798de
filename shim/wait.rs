//! How a thread waits: it runs the stack while it may, then sleeps in the
//! kernel until a frame, a timer or one of the program's descriptors wakes it.
//!
//! One engine serves every call that can block, from recv(2) to select(2); a
//! call says what it waits for as a [`Wait`]. No lock is held while the thread
//! sleeps.

use std::cell::OnceCell;
use std::ptr::null;
use std::time::{Duration, Instant};

use libc::{pollfd, sigset_t};
use nix::errno::Errno;
use smallvec::SmallVec;
use tpa_stack::{Worker, WorkerGuard, MAX_WAIT_FDS};

use crate::boundary::check;
use crate::cancel::{self, NoCancel};
use crate::signals::{Blocked, Watch};
use crate::{real, start};

/// While spinning, rounds of the stack between two looks at the kernel's side,
/// which cost a system call each.
const ROUNDS_PER_KERNEL_LOOK: u32 = 16;

/// What a call waits for.
pub trait Wait {
    /// What the call returns when it has come.
    type Outcome;

    /// Looks at the stack's side, after each round of a worker.
    fn look(&mut self, guard: &mut WorkerGuard<'_>) -> Option<Self::Outcome>;

    /// Looks at the kernel's side, without waiting.
    fn look_at_kernel(&mut self) -> Option<Self::Outcome> {
        None
    }

    /// The kernel's descriptors that the call waits for too.
    fn descriptors(&self) -> &[pollfd] {
        &[]
    }
}

/// How long a call waits, and what ends it early. The time runs from the first
/// moment that something has to be waited for: a call that finds what it wants
/// reads no clock.
pub struct Patience {
    limit: Option<Duration>,
    times: OnceCell<Times>,
    mask: *const sigset_t,
    restarts: bool,
}

#[derive(Clone, Copy)]
struct Times {
    deadline: Option<Instant>,
    spin_until: Instant,
}

impl Patience {
    /// For the calls of epoll(7) and poll(2): they wait for `limit` (`None`: for
    /// ever) under the signal mask `mask` (null: the thread's own), and any
    /// signal handler ends them.
    #[inline]
    pub fn for_events(limit: Option<Duration>, mask: *const sigset_t) -> Self {
        Self { limit, times: OnceCell::new(), mask, restarts: false }
    }

    /// For calls on one socket, with its `SO_RCVTIMEO` or `SO_SNDTIMEO`. Without
    /// such a limit a handler with `SA_RESTART` does not end them (signal(7)).
    pub fn for_socket(limit: Option<Duration>) -> Self {
        Self { restarts: limit.is_none(), ..Self::for_events(limit, null()) }
    }

    fn times(&self, now: Instant) -> Times {
        *self.times.get_or_init(|| Times {
            // A deadline beyond the clock's range is none.
            deadline: self.limit.and_then(|limit| now.checked_add(limit)),
            spin_until: now + start::spin_time(),
        })
    }

    /// Time that is left; `None`: no limit.
    pub fn remaining(&self) -> Option<Duration> {
        if self.limit.is_none_or(|limit| limit.is_zero()) {
            return self.limit;
        }
        let now = Instant::now();
        self.times(now).deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Whether something ends the wait that is not what it waits for.
    fn check(&self, watch: &Watch) -> Result<(), Errno> {
        if cancel::is_due() {
            return Err(cancel::CANCELED);
        }
        if !self.mask.is_null() {
            // Handlers that the mask lets through run here.
            sleep_on(&mut [], Some(Duration::ZERO), self.mask)?;
        }
        if watch.is_over(self.restarts) {
            Err(Errno::EINTR)
        } else {
            Ok(())
        }
    }

    fn may_spin(&self) -> bool {
        let now = Instant::now();
        let times = self.times(now);
        now < times.spin_until && times.deadline.is_none_or(|deadline| now < deadline)
    }
}

/// Waits on these workers and the kernel. `Ok(None)`: the time is over.
///
/// # Errors
///
/// `EINTR` when a signal handler ran, [`cancel::CANCELED`], or another error of
/// ppoll(2).
pub fn wait<W: Wait>(
    workers: &[Worker],
    what: &mut W,
    patience: &Patience,
) -> Result<Option<W::Outcome>, Errno> {
    let _no_cancel = NoCancel::new();
    let _blocked = (!patience.mask.is_null()).then(Blocked::new);
    let watch = Watch::begin();
    loop {
        if let Some(outcome) = look(workers, what).or_else(|| what.look_at_kernel()) {
            return Ok(Some(outcome));
        }
        if patience.remaining() == Some(Duration::ZERO) {
            return Ok(None);
        }
        while patience.may_spin() {
            for _ in 0..ROUNDS_PER_KERNEL_LOOK {
                if let Some(outcome) = look(workers, what) {
                    return Ok(Some(outcome));
                }
                std::hint::spin_loop();
            }
            if let Some(outcome) = what.look_at_kernel() {
                return Ok(Some(outcome));
            }
            patience.check(&watch)?;
        }
        if let Some(outcome) = sleep(workers, what, patience, &watch)? {
            return Ok(Some(outcome));
        }
    }
}

/// One round of every worker, and a look after each.
fn look<W: Wait>(workers: &[Worker], what: &mut W) -> Option<W::Outcome> {
    workers.iter().find_map(|worker| {
        let mut guard = worker.lock();
        guard.poll();
        what.look(&mut guard)
    })
}

/// Workers that have been told that this thread sleeps; ends the sleep of each.
struct Asleep<'a>(SmallVec<[&'a Worker; 4]>);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|worker| worker.finish_sleep());
    }
}

/// Arms every worker, looks once more under the same lock, and sleeps. Returns
/// early with what the last look found, or nothing when a worker is busy.
fn sleep<W: Wait>(
    workers: &[Worker],
    what: &mut W,
    patience: &Patience,
    watch: &Watch,
) -> Result<Option<W::Outcome>, Errno> {
    let mut fds: SmallVec<[pollfd; MAX_WAIT_FDS + 4]> = SmallVec::from_slice(what.descriptors());
    let mut limit = patience.remaining();
    let mut asleep = Asleep(SmallVec::new());
    for worker in workers {
        let mut guard = worker.lock();
        guard.poll();
        if let Some(outcome) = what.look(&mut guard) {
            return Ok(Some(outcome));
        }
        let Ok(timer) = guard.prepare_sleep() else { return Ok(None) };
        drop(guard);
        asleep.0.push(worker);
        limit = limit.into_iter().chain(timer).min();
        fds.extend(worker.wait_fds().iter().map(|&fd| pollfd { fd, events: libc::POLLIN, revents: 0 }));
    }
    // Who cancels the thread from here on rings a doorbell.
    if cancel::is_due() {
        return Err(cancel::CANCELED);
    }
    let slept = watch.sleep(limit.map_or(FOREVER, timespec_of), |limit| {
        // Not libc's ppoll, which copies the time before it enters the kernel.
        let mask_size = size_of::<libc::c_ulong>() as libc::c_long;
        // SAFETY: a live array and its length, a live time; the mask is null or the
        // program's.
        let ready = unsafe {
            real::syscall(
                libc::SYS_ppoll,
                fds.as_mut_ptr() as libc::c_long,
                fds.len() as libc::c_long,
                limit as libc::c_long,
                patience.mask as libc::c_long,
                mask_size,
                0,
            )
        };
        Errno::result(ready).map(drop)
    });
    match slept {
        Err(Errno::EINTR) if !watch.is_over_after_sleep(patience.restarts) => Ok(None),
        Ok(()) if watch.is_over(patience.restarts) => Err(Errno::EINTR),
        slept => slept.map(|()| None),
    }
}

/// As long as ppoll(2) knows.
const FOREVER: libc::timespec = libc::timespec { tv_sec: libc::time_t::MAX, tv_nsec: 0 };

/// ppoll(2) with a limit in time.
pub fn sleep_on(fds: &mut [pollfd], limit: Option<Duration>, mask: *const sigset_t) -> Result<usize, Errno> {
    let limit = limit.map(timespec_of);
    let limit = limit.as_ref().map_or(null(), std::ptr::from_ref);
    // SAFETY: a live array and its length; the mask is null or the program's own.
    let ready = unsafe { real::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, limit, mask) };
    check(ready).map(|ready| ready as usize)
}

fn timespec_of(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos() as i32),
    }
}

/// Waits on one worker until `attempt` gives something else than `EAGAIN`, and
/// gives `EAGAIN` when the time is over.
///
/// # Errors
///
/// Those of `attempt`, and `EINTR`.
pub fn until<T>(
    worker: &Worker,
    patience: &Patience,
    attempt: impl FnMut(&mut WorkerGuard<'_>) -> Result<T, Errno>,
) -> Result<T, Errno> {
    struct Attempt<F>(F);
    impl<T, F: FnMut(&mut WorkerGuard<'_>) -> Result<T, Errno>> Wait for Attempt<F> {
        type Outcome = Result<T, Errno>;
        fn look(&mut self, guard: &mut WorkerGuard<'_>) -> Option<Self::Outcome> {
            Some((self.0)(guard)).filter(|result| !matches!(result, Err(Errno::EAGAIN)))
        }
    }
    wait(std::slice::from_ref(worker), &mut Attempt(attempt), patience)?.unwrap_or(Err(Errno::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Kernel {
        looks: u32,
        ready_at: u32,
    }

    impl Wait for Kernel {
        type Outcome = u32;
        fn look(&mut self, _: &mut WorkerGuard<'_>) -> Option<u32> {
            None
        }
        fn look_at_kernel(&mut self) -> Option<u32> {
            self.looks += 1;
            (self.looks >= self.ready_at).then_some(self.looks)
        }
    }

    fn wait_without_stack(ready_at: u32, limit: Option<Duration>) -> Result<Option<u32>, Errno> {
        wait(&[], &mut Kernel { looks: 0, ready_at }, &Patience::for_events(limit, null()))
    }

    #[test]
    fn what_is_there_already_needs_no_time() {
        assert_eq!(wait_without_stack(1, Some(Duration::ZERO)), Ok(Some(1)));
    }

    #[test]
    fn a_limit_is_kept_to_the_millisecond_and_below() {
        for limit in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(20)] {
            let begin = Instant::now();
            assert_eq!(wait_without_stack(u32::MAX, Some(limit)), Ok(None));
            assert!(begin.elapsed() >= limit);
        }
    }

    #[test]
    fn a_limit_beyond_the_clock_is_none() {
        assert!(Patience::for_events(Some(Duration::MAX), null()).remaining().is_none());
    }

    #[test]
    fn times_survive_as_timespec() {
        let time = timespec_of(Duration::new(3, 999_999_999));
        assert_eq!((time.tv_sec, time.tv_nsec), (3, 999_999_999));
        assert_eq!(timespec_of(Duration::MAX).tv_sec, libc::time_t::MAX);
    }
}
