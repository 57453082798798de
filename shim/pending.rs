//! Listeners that are to be accelerated and wait for their first use.
//!
//! listen(2) itself starts nothing: `daemonize yes` and nginx's master listen
//! first and fork later, and it is the child that serves. The stack starts when
//! somebody accepts from, or waits for, such a listener, which then moves. Others
//! stay: with `SO_REUSEPORT` a worker of nginx holds its siblings' listeners too.
//!
//! When other processes have all receive queues, listeners stay pending, and the
//! kernel serves them until a queue becomes free.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use tpa_stack::config::Reason;
use tpa_stack::{Purpose, Stack};

use crate::start::{self, Settings};
use crate::stream::{self, Stream};
use crate::table::{self, Flag, Owner, Slot};
use crate::{address, event_set, fork, options, watches};

/// An event set may watch a pending listener: it is to move at the next wait.
static DUE: AtomicBool = AtomicBool::new(false);
/// Tells pending listeners apart.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// A kernel listener waits for the stack from now on. Moves it at once when
/// the stack runs already.
///
/// # Errors
///
/// Under `strict`, why it cannot be served.
pub fn add(fd: RawFd, backlog: u32) -> Result<(), Errno> {
    fork::note_listener();
    make(fd, backlog);
    if Stack::get().is_some() {
        promote_all(|number| number == fd)
    } else {
        Ok(())
    }
}

/// A kernel listener that another program has made waits for the stack.
pub fn add_inherited(fd: RawFd, backlog: u32) {
    fork::note_inherited_listener();
    make(fd, backlog);
}

fn make(fd: RawFd, backlog: u32) {
    let slot = Slot::pending(NEXT_ID.fetch_add(1, Ordering::Relaxed), backlog);
    let numbers = table::numbers_like(fd, table::slot(fd));
    let shared = numbers.len() > 1;
    for number in numbers {
        table::set_flag(number, Flag::SHARED, shared);
        table::set(number, slot);
        event_set::adopt_sets_of(number);
    }
}

/// An event set watches a pending listener from now on.
pub fn note_watched() {
    DUE.store(true, Ordering::Release);
}

/// Whether a listener that an event set watches waits for the stack, and it is
/// time to try.
#[inline]
pub fn is_due() -> bool {
    DUE.load(Ordering::Acquire) && start::time_to_retry().is_none_or(|left| left.is_zero())
}

/// How long the kernel may wait for an event set before the pending listeners are to
/// be looked at again; `None`: as long as it likes.
pub fn look_again_after() -> Option<Duration> {
    DUE.load(Ordering::Acquire).then(retry_after).flatten()
}

/// The same for a call that waits for a pending listener itself.
pub fn retry_after() -> Option<Duration> {
    /// So that a wait which is due lasts at all.
    const SHORTEST: Duration = Duration::from_millis(1);
    start::time_to_retry().map(|left| left.max(SHORTEST))
}

/// Moves the listeners that event sets watch.
///
/// # Errors
///
/// As [`promote_all`].
#[cold]
pub fn promote_watched() -> Result<(), Errno> {
    let is_watched = |fd| watches::lock().get(&fd).is_some_and(|watches| !watches.is_empty());
    promote_all(is_watched)?;
    DUE.store(false, Ordering::Release);
    // One that waits for a queue, or that another thread has added meanwhile.
    if next_pending(is_watched).is_some() {
        note_watched();
    }
    Ok(())
}

/// The first number of a pending listener that is among the `chosen` ones.
fn next_pending(chosen: impl Fn(RawFd) -> bool) -> Option<RawFd> {
    let is_pending = |fd| matches!(table::slot(fd).owner(), Owner::Pending { .. });
    (0..table::end()).find(|&fd| is_pending(fd) && chosen(fd))
}

/// Starts the stack and moves the `chosen` pending listeners to it; those that
/// cannot be served become the kernel's alone. Of several threads one does it, and
/// the others wait.
///
/// # Errors
///
/// Under `strict`, why the stack does not run or a listener cannot be served.
#[cold]
pub fn promote_all(chosen: impl Fn(RawFd) -> bool) -> Result<(), Errno> {
    let Some(settings) = start::settings() else { return Ok(()) };
    let pending = || next_pending(&chosen);
    let local = loop {
        let Some(first) = pending() else { return Ok(()) };
        match address::of_listener(first) {
            Some(local) => break local,
            // Closed behind our back.
            None => settle(first, table::slot(first), Slot::KERNEL),
        }
    };
    let without = |local| settings.settle(Purpose::Listen(local), start::why_none());
    let stack = start::stack(Purpose::Listen(local)).inspect_err(|_| without(local))?;
    if stack.is_none() && start::time_to_retry().is_some() {
        return Ok(());
    }
    let _alone = start::lock_start();
    let mut result = Ok(());
    while let Some(fd) = pending() {
        let slot = table::slot(fd);
        let moved = match stack {
            Some(stack) => promote(fd, stack, settings),
            None => {
                address::of_listener(fd).into_iter().for_each(without);
                Ok(Slot::KERNEL)
            }
        };
        let new = moved.unwrap_or_else(|errno| {
            result = Err(errno);
            Slot::KERNEL
        });
        settle(fd, slot, new);
    }
    result
}

/// The listener's slot on the stack, or the kernel's when it stays there.
fn promote(fd: RawFd, stack: &Stack, settings: &Settings) -> Result<Slot, Errno> {
    let Owner::Pending { backlog } = table::slot(fd).owner() else { return Ok(Slot::KERNEL) };
    let Some(local) = address::of_listener(fd) else { return Ok(Slot::KERNEL) };
    let decline =
        |reason, errno| settings.decline(Purpose::Listen(local), reason, errno).map(|()| Slot::KERNEL);
    if !stack.serves(local.ip()) {
        return decline(Reason::NotOwnAddress, Errno::EADDRNOTAVAIL);
    }
    match listen(fd, stack, local, backlog) {
        Ok(slot) => {
            settings.settle(Purpose::Listen(local), Reason::Accelerated);
            Ok(slot)
        }
        Err(errno) => decline(Reason::Refused, errno),
    }
}

fn listen(fd: RawFd, stack: &Stack, local: SocketAddr, backlog: u32) -> Result<Slot, Errno> {
    let ipv6 = address::of_kernel_socket(fd).is_some_and(|address| address.is_ipv6());
    let is_dual = local.is_ipv6() && local.ip().is_unspecified() && !address::is_v6_only(fd);
    let options = options::of_kernel_socket(fd, Slot::KERNEL);
    let handle = match is_dual {
        true => stack.home().lock().listen_dual(local.port(), backlog, options)?,
        false => stack.home().lock().listen(local, backlog, options)?,
    };
    stream::adopt_flags(fd, ipv6)?;
    stream::adopt_read_backs(Stream { fd, handle }, true);
    Ok(Slot::listener(handle))
}

/// Gives every number of the listener its new slot.
fn settle(fd: RawFd, old: Slot, new: Slot) {
    for number in table::numbers_of(old) {
        if number != fd {
            table::copy_flags(fd, number);
        }
        table::replace(number, old, new);
        if let Owner::Listener(handle) = new.owner() {
            event_set::move_listener(number, handle);
        }
    }
    if !new.is_kernel() && table::numbers_of(new).count() > 1 {
        table::set_flag_shared(fd, Flag::SHARED, true);
    }
}
