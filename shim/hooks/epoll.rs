//! epoll(7).

use std::ffi::c_int;
use std::ptr::null;
use std::time::Duration;

use libc::{epoll_event, sigset_t, timespec};
use nix::errno::Errno;
use redhook::hook;

use tpa_stack::Stack;

use super::poll::{limit_of, millis};
use crate::boundary::call;
use crate::table::{self, Owner, Slot};
use crate::{descriptor, event_set, inherited, memory, pending, real, rouse};

/// `EP_MAX_EVENTS`: the most that one wait may ask for.
const MAX_EVENTS: usize = i32::MAX as usize / size_of::<epoll_event>();

/// A new event set: so that its dup(2)s will be known as the same one.
fn note_set(fd: c_int) {
    descriptor::claim(fd);
    if fd >= 0 {
        rouse::new_set(fd);
        table::set(fd, Slot::kernel_with(Slot::EVENTS));
    }
}

hook! {
    unsafe fn epoll_create(size: c_int) -> c_int => epoll_create_hook {
        // SAFETY: the caller's argument, unchanged.
        let fd = unsafe { real::epoll_create(size) };
        note_set(fd);
        fd
    }
}

hook! {
    unsafe fn epoll_create1(flags: c_int) -> c_int => epoll_create1_hook {
        // SAFETY: the caller's argument, unchanged.
        let fd = unsafe { real::epoll_create1(flags) };
        note_set(fd);
        fd
    }
}

hook! {
    unsafe fn epoll_ctl(
        epfd: c_int,
        operation: c_int,
        fd: c_int,
        event: *mut epoll_event
    ) -> c_int => epoll_ctl_hook {
        inherited::look_once();
        if table::slot(fd).is_plain() {
            // SAFETY: the caller's arguments, unchanged.
            return unsafe { real::epoll_ctl(epfd, operation, fd, event) };
        }
        call(|| {
            // EPOLL_CTL_DEL ignores the event, which may be anything (epoll_ctl(2)).
            let wanted = operation != libc::EPOLL_CTL_DEL;
            // SAFETY: the caller's promise.
            let event = wanted.then(|| unsafe { memory::read(event) }).transpose()?;
            event_set::control(epfd, operation, fd, event)
        })
    }
}

hook! {
    unsafe fn epoll_wait(
        epfd: c_int,
        events: *mut epoll_event,
        room: c_int,
        timeout: c_int
    ) -> c_int => epoll_wait_hook {
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::epoll_wait(epfd, events, room, timeout) };
        if timeout == 0 && table::slot(epfd).is_kernel() {
            return real();
        }
        // SAFETY: the caller's promise.
        unsafe { wait(epfd, (events, room), millis(timeout), null(), real) }
    }
}

hook! {
    unsafe fn epoll_pwait(
        epfd: c_int,
        events: *mut epoll_event,
        room: c_int,
        timeout: c_int,
        mask: *const sigset_t
    ) -> c_int => epoll_pwait_hook {
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::epoll_pwait(epfd, events, room, timeout, mask) };
        if timeout == 0 && table::slot(epfd).is_kernel() {
            return real();
        }
        // SAFETY: the caller's promise.
        unsafe { wait(epfd, (events, room), millis(timeout), mask, real) }
    }
}

/// Plain, because a libc before 2.35 lacks it.
///
/// # Safety
///
/// As epoll_pwait2(2).
#[no_mangle]
pub unsafe extern "C" fn epoll_pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    room: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's arguments, unchanged.
    let real = || unsafe { real::epoll_pwait2(epfd, events, room, timeout, mask) };
    // SAFETY: the caller's promise.
    match unsafe { limit_of(timeout) } {
        // SAFETY: the caller's promise.
        Ok(limit) => unsafe { wait(epfd, (events, room), limit, mask, real) },
        // The kernel says what is wrong first.
        Err(_) if table::slot(epfd).is_kernel() => real(),
        Err(errno) => call(move || Err(errno)),
    }
}

/// A wait on a set. One of the kernel's alone may be adopted meanwhile.
///
/// # Safety
///
/// As epoll_pwait(2).
///
/// A C function for the sake of [`crate::cancel::act`].
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
unsafe extern "C" fn wait(
    epfd: c_int,
    (events, room): (*mut epoll_event, c_int),
    limit: Option<Duration>,
    mask: *const sigset_t,
    real: impl Fn() -> c_int,
) -> c_int {
    let mut limit = limit;
    if table::slot(epfd).is_kernel() {
        let began = if limit.is_some() { rouse::clock() } else { 0 };
        if let Some(ready) = rouse::sleep(epfd, &real) {
            // SAFETY: the kernel has just written that many.
            let left = unsafe { rouse::after_sleep(epfd, events, ready) };
            if ready <= 0 || left > 0 {
                return left;
            }
        }
        limit = limit.map(|limit| limit.saturating_sub(Duration::from_micros(rouse::clock() - began)));
    }
    // SAFETY: the caller's promise.
    unsafe { wait_adopted(epfd, (events, room), limit, mask, real) }
}

/// A wait on an adopted set, or on what only looks like one.
///
/// # Safety
///
/// As epoll_pwait(2).
///
/// A C function for the sake of [`crate::cancel::act`].
#[allow(improper_ctypes_definitions)] // Only ever called from Rust.
unsafe extern "C" fn wait_adopted(
    epfd: c_int,
    (events, room): (*mut epoll_event, c_int),
    limit: Option<Duration>,
    mask: *const sigset_t,
    real: impl Fn() -> c_int,
) -> c_int {
    let mut limit = limit;
    loop {
        if pending::is_due() {
            let promoted = call(|| pending::promote_watched().map(|()| 0));
            if promoted < 0 {
                return promoted;
            }
        }
        if Stack::get().is_some() {
            break;
        }
        // The kernel's side is all there is: the stack could not start, is gone, or
        // waits for a queue. In the last case the wait is one in parts.
        let part = pending::look_again_after().filter(|part| limit.is_none_or(|limit| *part < limit));
        let Some(part) = part else { return real() };
        let millis = part.as_millis() as c_int;
        // SAFETY: the caller's arguments but for the time.
        let ready = unsafe { real::epoll_pwait(epfd, events, room, millis, mask) };
        if ready != 0 {
            return ready;
        }
        limit = limit.map(|limit| limit.saturating_sub(part));
    }
    let Owner::Set(set) = table::slot(epfd).owner() else { return real() };
    call(|| {
        let room = usize::try_from(room).unwrap_or(0);
        if !(1..=MAX_EVENTS).contains(&room) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the caller's promise; epoll_event is packed on x86-64, so that any
        // address will do.
        let out = unsafe { memory::array(events, room) }?;
        event_set::wait(epfd, set, out, limit, mask)
    })
}
