//! Listeners that are to be accelerated and wait for their first use.
//!
//! listen(2) itself starts nothing: `daemonize yes` and nginx's master listen
//! first and fork later, and it is the child that serves. The stack starts when
//! somebody accepts from, or waits for, such a listener; then all of them move.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;
use tpa_stack::{Purpose, Stack};

use crate::start::{self, Settings};
use crate::stream::{self, Stream};
use crate::table::{self, Flag, Owner, Slot};
use crate::{address, event_set, options};

/// Numbers whose slot is pending. A hint: zero means that there is none.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Tells pending listeners apart.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// A kernel listener waits for the stack from now on. Moves it at once when
/// the stack runs already.
///
/// # Errors
///
/// Under `strict`, why it cannot be served.
pub fn add(fd: RawFd, backlog: u32) -> Result<(), Errno> {
    let slot = Slot::pending(NEXT_ID.fetch_add(1, Ordering::Relaxed), backlog);
    let numbers = table::numbers_like(fd, table::slot(fd));
    let shared = numbers.len() > 1;
    for number in numbers {
        COUNT.fetch_add(1, Ordering::Release);
        table::set_flag(number, Flag::SHARED, shared);
        table::set(number, slot);
        event_set::adopt_sets_of(number);
    }
    if Stack::get().is_some() {
        promote_all()
    } else {
        Ok(())
    }
}

/// A number was given to a pending listener by dup(2), or taken by close(2).
pub fn count(numbers: isize) {
    COUNT.fetch_add(numbers as usize, Ordering::Release);
}

/// Whether any listener waits for the stack.
#[inline]
pub fn any() -> bool {
    COUNT.load(Ordering::Acquire) != 0
}

/// Starts the stack and moves every pending listener to it; those that cannot
/// be served become the kernel's alone. Of several threads one does it, and the
/// others wait.
///
/// # Errors
///
/// Under `strict`, why the stack does not run or a listener cannot be served.
#[cold]
pub fn promote_all() -> Result<(), Errno> {
    let Some(settings) = start::settings() else { return Ok(()) };
    let pending = || {
        let is_pending = |fd: &RawFd| matches!(table::slot(*fd).owner(), Owner::Pending { .. });
        (0..table::end()).find(is_pending)
    };
    let local = loop {
        let Some(first) = pending() else { return Ok(()) };
        match address::of_listener(first) {
            Some(local) => break local,
            // Closed behind our back.
            None => settle(first, table::slot(first), Slot::KERNEL),
        }
    };
    let stack = start::stack(Purpose::Listen(local))?;
    let _alone = start::lock_start();
    let mut result = Ok(());
    while let Some(fd) = pending() {
        let slot = table::slot(fd);
        let moved = match stack {
            Some(stack) => promote(fd, stack, settings),
            None => Ok(Slot::KERNEL),
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
        |why: &str, errno| settings.decline(Purpose::Listen(local), why, errno).map(|()| Slot::KERNEL);
    if local.is_ipv6() {
        return decline("IPv6", Errno::EAFNOSUPPORT);
    }
    if !stack.serves(local.ip()) {
        return decline("the device does not have this address", Errno::EADDRNOTAVAIL);
    }
    match listen(fd, stack, local, backlog) {
        Ok(slot) => {
            log::info!("listener on {local} is accelerated on {}", stack.device());
            Ok(slot)
        }
        Err(errno) => decline(errno.desc(), errno),
    }
}

fn listen(fd: RawFd, stack: &Stack, local: SocketAddr, backlog: u32) -> Result<Slot, Errno> {
    let mapped = address::of_kernel_socket(fd).is_some_and(|address| address.is_ipv6());
    let options = options::of_kernel_socket(fd, Slot::KERNEL);
    let handle = stack.home().lock().listen(local, backlog, options)?;
    stream::adopt_flags(fd, mapped)?;
    stream::adopt_read_backs(Stream { fd, handle }, true);
    Ok(Slot::listener(handle))
}

/// Gives every number of the listener its new slot.
fn settle(fd: RawFd, old: Slot, new: Slot) {
    for number in table::numbers_of(old) {
        if number != fd {
            table::copy_flags(fd, number);
        }
        if table::replace(number, old, new) {
            count(-1);
        }
        if let Owner::Listener(handle) = new.owner() {
            event_set::move_listener(number, handle);
        }
    }
    if !new.is_kernel() && table::numbers_of(new).count() > 1 {
        table::set_flag_shared(fd, Flag::SHARED, true);
    }
}
