//! close(2), dup(2), fcntl(2), ioctl(2).

use std::ffi::{c_int, c_uint, c_ulong};

use libc::size_t;
use nix::errno::Errno;
use redhook::hook;

use crate::boundary::{call, check};
use crate::stream::Stream;
use crate::table::{self, Flag, Owner};
use crate::{descriptor, memory, real, reserve};

hook! {
    unsafe fn close(fd: c_int) -> c_int => close_hook {
        if table::slot(fd).is_plain() {
            // SAFETY: the caller's argument, unchanged.
            return unsafe { real::close(fd) };
        }
        call(|| descriptor::close(fd))
    }
}

/// Plain, because a libc before 2.34 lacks it.
///
/// # Safety
///
/// As close_range(2).
#[no_mangle]
pub unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    // Setting close-on-exec closes nothing yet; other flags are the kernel's.
    let closes = flags as c_uint & !libc::CLOSE_RANGE_UNSHARE == 0;
    // SAFETY: no pointers.
    let real = |first, last| unsafe { real::close_range(first, last, flags) };
    if closes {
        call(|| descriptor::close_range(first, last, |a, b| check(real(a, b)).map(drop)))
    } else {
        real(first, last)
    }
}

/// Plain, because a libc before 2.34 lacks it.
///
/// # Safety
///
/// As closefrom(3).
#[no_mangle]
pub unsafe extern "C" fn closefrom(first: c_int) {
    let first = first.max(0) as c_uint;
    call(|| {
        descriptor::close_range(first, c_uint::MAX, |first, last| {
            // SAFETY: no pointers.
            check(unsafe { real::close_range(first, last, 0) }).map(drop)
        })
    });
}

hook! {
    unsafe fn dup(fd: c_int) -> c_int => dup_hook {
        // SAFETY: the caller's argument, unchanged.
        let new = unsafe { real::dup(fd) };
        if new < 0 || (table::slot(fd).is_plain() && table::slot(new).is_plain()) {
            return new;
        }
        call(|| descriptor::adopt_dup(fd, new))
    }
}

hook! {
    unsafe fn dup2(old: c_int, new: c_int) -> c_int => dup2_hook {
        // SAFETY: the caller's arguments, unchanged.
        call(|| descriptor::dup_over(old, new, || unsafe { real::dup2(old, new) }))
    }
}

hook! {
    unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int => dup3_hook {
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::dup3(old, new, flags) };
        // dup3(2): equal numbers and unknown flags are errors.
        if old == new || flags & !libc::O_CLOEXEC != 0 {
            return real();
        }
        call(|| descriptor::dup_over(old, new, real))
    }
}

/// Plain, because it is variadic.
///
/// # Safety
///
/// As fcntl(2).
#[no_mangle]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: size_t) -> c_int {
    // SAFETY: the caller's arguments, unchanged.
    control(fd, command, argument, || unsafe { real::fcntl(fd, command, argument) })
}

/// Plain, because it is variadic.
///
/// # Safety
///
/// As fcntl(2).
#[no_mangle]
pub unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: size_t) -> c_int {
    // SAFETY: the caller's arguments, unchanged.
    control(fd, command, argument, || unsafe { real::fcntl64(fd, command, argument) })
}

#[inline(always)]
fn control(fd: c_int, command: c_int, argument: usize, real: impl FnOnce() -> c_int) -> c_int {
    let slot = table::slot(fd);
    if slot.is_kernel() {
        let result = real();
        if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) && result >= 0 {
            return call(|| descriptor::adopt_dup(fd, result));
        }
        return result;
    }
    call(|| descriptor::control(fd, command, argument, real))
}

/// Plain, because it is variadic.
///
/// # Safety
///
/// As ioctl(2).
#[no_mangle]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: size_t) -> c_int {
    let slot = table::slot(fd);
    // SAFETY: the caller's arguments, unchanged.
    let real = || unsafe { real::ioctl(fd, request, argument) };
    if slot.is_kernel() {
        return real();
    }
    match (slot.owner(), request) {
        (_, libc::FIONBIO) => call(|| {
            check(real())?;
            // SAFETY: the kernel has just read this int.
            let on = unsafe { *(argument as *const c_int) } != 0;
            table::set_flag_shared(fd, Flag::NONBLOCK, on);
            Ok(0)
        }),
        (Owner::Stream(handle), _) => {
            // SAFETY: the caller's promise.
            call(|| unsafe { control_stream(Stream { fd, handle }, request, argument as *mut c_int, real) })
        }
        _ => real(),
    }
}

/// Bytes that wait and were not sent (linux/sockios.h).
const SIOCOUTQNSD: c_ulong = 0x894b;
/// Whether urgent data is next (linux/sockios.h).
pub const SIOCATMARK: c_ulong = 0x8905;

/// ioctl(2) on a connection: what the stack knows; all else is asked of a kernel
/// socket.
///
/// # Safety
///
/// As ioctl(2).
unsafe fn control_stream(
    stream: Stream,
    request: c_ulong,
    out: *mut c_int,
    real: impl FnOnce() -> c_int,
) -> Result<usize, Errno> {
    let value = match request {
        libc::FIONREAD => stream.queued()?.receive,
        libc::TIOCOUTQ => stream.queued()?.send,
        SIOCOUTQNSD => stream.queued()?.unsent,
        SIOCATMARK => stream.worker()?.lock().at_mark(stream.handle)?.into(),
        libc::FIOCLEX | libc::FIONCLEX => return check(real()).map(|value| value as usize),
        // SAFETY: the caller's promise.
        libc::FIOASYNC if unsafe { memory::read(out) }? != 0 => {
            descriptor::say_no_sigio();
            return Err(Errno::ENOTTY);
        }
        _ => {
            reserve::make_socket(stream)?;
            return check(real()).map(|value| value as usize);
        }
    };
    // SAFETY: the caller's promise.
    unsafe { memory::write(out, c_int::try_from(value).unwrap_or(c_int::MAX)) }.map(|()| 0)
}
