//! Threads that wait in the kernel for an event set which is adopted meanwhile:
//! another thread has put the set's first accelerated member into it. They
//! have to come out, and wait for both sides from then on.
//!
//! They are woken by an eventfd(2) that is always readable, put into the set
//! for one event (`EPOLLONESHOT`) under a word that no program uses. The hook
//! takes that event out again, and puts it back for the next thread.

use std::os::fd::RawFd;
use std::sync::atomic::{fence, AtomicI32, AtomicU32, Ordering};

use libc::{epoll_event, EPOLLIN, EPOLLONESHOT, EPOLL_CTL_ADD, EPOLL_CTL_MOD};

use crate::{real, table};

/// Numbers of sets that are told apart; those that share a place are roused in
/// vain now and then.
const PLACES: usize = 1024;

/// Threads that are about to sleep in the kernel for a set of its own, by the
/// set's number.
static SLEEPERS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];

fn sleepers(epfd: RawFd) -> &'static AtomicU32 {
    &SLEEPERS[epfd as usize % PLACES]
}

/// A new set has this number: nobody sleeps for it.
pub fn new_set(epfd: RawFd) {
    sleepers(epfd).store(0, Ordering::Relaxed);
}

/// The eventfd; -1 until it is first needed.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// Its address is the word.
static WORD: u8 = 0;

fn word() -> u64 {
    &raw const WORD as u64
}

/// A wait of the kernel's on a set that is its own so far: `None` when it was
/// adopted before the thread slept.
#[inline]
pub fn sleep(epfd: RawFd, real: impl Fn() -> i32) -> Option<i32> {
    // A thread that is canceled in there is counted as long as there is the set,
    // which is then roused in vain: that does no harm.
    sleepers(epfd).fetch_add(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    let ready = table::slot(epfd).is_kernel().then(real);
    let _ = sleepers(epfd).fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1));
    ready
}

/// The set with these numbers is adopted from now on: who sleeps for it in the
/// kernel, under whichever of them, is woken.
pub fn after_adoption(numbers: impl IntoIterator<Item = RawFd>) {
    fence(Ordering::SeqCst);
    if let Some(epfd) = numbers.into_iter().find(|&epfd| sleepers(epfd).load(Ordering::SeqCst) > 0) {
        next(epfd);
    }
}

/// What a thread that slept in the kernel for the set tells its program: the
/// number of events, less the one that only wakes. With that one alone, nothing.
///
/// A C function: nothing that could unwind may stand in a frame that
/// pthread_cancel(3) unwinds, see [`crate::cancel::act`].
///
/// # Safety
///
/// `events` are as many as `ready` says.
pub unsafe extern "C" fn after_sleep(epfd: RawFd, events: *mut epoll_event, ready: i32) -> i32 {
    if ready <= 0 || table::slot(epfd).is_kernel() {
        return ready;
    }
    // SAFETY: the caller's promise.
    let left = strip(unsafe { std::slice::from_raw_parts_mut(events, ready as usize) }) as i32;
    if left < ready {
        next(epfd);
    }
    left
}

/// Microseconds of the monotonic clock; a C function as [`after_sleep`] is.
pub extern "C" fn clock() -> u64 {
    tpa_stack::now().as_micros()
}

/// Wakes the next thread that sleeps for the set in the kernel.
fn next(epfd: RawFd) {
    let Some(fd) = descriptor() else { return };
    let mut event = epoll_event { events: (EPOLLIN | EPOLLONESHOT) as u32, u64: word() };
    // SAFETY: a live event.
    let mut put = |operation| unsafe { real::epoll_ctl(epfd, operation, fd, &raw mut event) };
    // It is in there already when it has woken another thread.
    if put(EPOLL_CTL_MOD) != 0 && put(EPOLL_CTL_ADD) != 0 {
        log::warn!("a thread that waits for an event set may miss what the stack has for it");
    }
}

/// Takes the event that only wakes out of those that a program gets; returns how
/// many are left.
#[inline]
pub fn strip(events: &mut [epoll_event]) -> usize {
    if DESCRIPTOR.load(Ordering::Relaxed) < 0 {
        return events.len();
    }
    match events.iter().position(|event| { event.u64 } == word()) {
        Some(at) => {
            events.copy_within(at + 1.., at);
            events.len() - 1
        }
        None => events.len(),
    }
}

fn descriptor() -> Option<RawFd> {
    let fd = DESCRIPTOR.load(Ordering::Acquire);
    if fd >= 0 {
        return Some(fd);
    }
    let fd = tpa_stack::always_readable().inspect_err(|error| log::warn!("eventfd: {error}")).ok()?;
    match DESCRIPTOR.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(fd),
        // Another thread was faster, and one more does no harm.
        Err(first) => Some(first),
    }
}

/// In a forked child the descriptor is closed with the stack's others.
pub fn after_fork_child() {
    DESCRIPTOR.store(-1, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_event_that_wakes_is_taken_out() {
        let _ = descriptor().expect("an eventfd");
        let event = |u64| epoll_event { events: 1, u64 };
        let mut events = [event(1), event(word()), event(3)];
        assert_eq!(strip(&mut events), 2);
        assert_eq!([{ events[0].u64 }, { events[1].u64 }], [1, 3]);
        assert_eq!(strip(&mut events[..2]), 2);
    }
}
