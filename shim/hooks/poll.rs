//! poll(2), select(2) and their like.

use std::ffi::c_int;
use std::ptr::null;
use std::time::{Duration, Instant};

use libc::{fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};
use nix::errno::Errno;
use redhook::hook;

use crate::boundary::call;
use crate::polling::{self, Selected};
use crate::{memory, real};

/// A limit in milliseconds; negative: none.
#[inline]
pub fn millis(timeout: c_int) -> Option<Duration> {
    u64::try_from(timeout).ok().map(Duration::from_millis)
}

/// A limit as ppoll(2) passes it; null: none.
///
/// # Errors
///
/// `EINVAL` for a time that is none.
///
/// # Safety
///
/// `timeout` is an impossible address (see [`memory`]) or the program's.
pub unsafe fn limit_of(timeout: *const timespec) -> Result<Option<Duration>, Errno> {
    if timeout.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let timeout = unsafe { memory::read(timeout) }?;
    match (u64::try_from(timeout.tv_sec), u32::try_from(timeout.tv_nsec)) {
        (Ok(seconds), Ok(nanos @ 0..=999_999_999)) => Ok(Some(Duration::new(seconds, nanos))),
        _ => Err(Errno::EINVAL),
    }
}

/// The program's array; `None` when the kernel is to say what is wrong with it,
/// or serves it alone.
///
/// # Safety
///
/// As poll(2).
#[inline]
unsafe fn ours<'a>(fds: *mut pollfd, count: nfds_t) -> Option<&'a mut [pollfd]> {
    /// More than any process can have open.
    const MOST: nfds_t = 1 << 31;
    if count == 0 || count > MOST {
        return None;
    }
    // SAFETY: the caller's promise.
    let fds = unsafe { memory::array(fds, count as usize) }.ok()?;
    polling::concerns(fds).then_some(fds)
}

hook! {
    unsafe fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => poll_hook {
        // SAFETY: the caller's promise.
        match unsafe { ours(fds, count) } {
            Some(fds) => call(|| polling::poll(fds, millis(timeout), null())),
            // SAFETY: the caller's arguments, unchanged.
            None => unsafe { real::poll(fds, count, timeout) },
        }
    }
}

hook! {
    unsafe fn ppoll(
        fds: *mut pollfd,
        count: nfds_t,
        timeout: *const timespec,
        mask: *const sigset_t
    ) -> c_int => ppoll_hook {
        // SAFETY: the caller's promise.
        match unsafe { ours(fds, count) } {
            // SAFETY: the caller's promise.
            Some(fds) => call(|| polling::poll(fds, unsafe { limit_of(timeout) }?, mask)),
            // SAFETY: the caller's arguments, unchanged.
            None => unsafe { real::ppoll(fds, count, timeout, mask) },
        }
    }
}

/// Whether a fortified call's array is as long as it says.
fn fits(count: nfds_t, room: size_t) -> bool {
    room / size_of::<pollfd>() >= count as usize
}

hook! {
    unsafe fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int => poll_chk_hook {
        if !fits(count, room) {
            // SAFETY: the caller's arguments, unchanged; this ends the program.
            return unsafe { real::__poll_chk(fds, count, timeout, room) };
        }
        // SAFETY: the caller's promise.
        unsafe { poll_hook(fds, count, timeout) }
    }
}

hook! {
    unsafe fn __ppoll_chk(
        fds: *mut pollfd,
        count: nfds_t,
        timeout: *const timespec,
        mask: *const sigset_t,
        room: size_t
    ) -> c_int => ppoll_chk_hook {
        if !fits(count, room) {
            // SAFETY: the caller's arguments, unchanged; this ends the program.
            return unsafe { real::__ppoll_chk(fds, count, timeout, mask, room) };
        }
        // SAFETY: the caller's promise.
        unsafe { ppoll_hook(fds, count, timeout, mask) }
    }
}

hook! {
    unsafe fn select(
        count: c_int,
        read: *mut fd_set,
        write: *mut fd_set,
        except: *mut fd_set,
        timeout: *mut timeval
    ) -> c_int => select_hook {
        let sets = Sets { read, write, except };
        // SAFETY: the caller's promise.
        if !unsafe { sets.concern_us(count) } {
            // SAFETY: the caller's arguments, unchanged.
            return unsafe { real::select(count, read, write, except, timeout) };
        }
        call(|| {
            // SAFETY: the caller's promise.
            let timeout = if timeout.is_null() { None } else { Some(unsafe { memory::borrow(timeout) }?) };
            let limit = timeout.as_deref().map(limit_of_timeval).transpose()?;
            let begin = Instant::now();
            // SAFETY: the caller's promise.
            let result = unsafe { sets.wait(count, limit, null()) };
            // Linux counts the time down (select(2)).
            if let (Some(timeout), Some(limit)) = (timeout, limit) {
                *timeout = timeval_of(limit.saturating_sub(begin.elapsed()));
            }
            result
        })
    }
}

hook! {
    unsafe fn pselect(
        count: c_int,
        read: *mut fd_set,
        write: *mut fd_set,
        except: *mut fd_set,
        timeout: *const timespec,
        mask: *const sigset_t
    ) -> c_int => pselect_hook {
        let sets = Sets { read, write, except };
        // SAFETY: the caller's promise.
        if !unsafe { sets.concern_us(count) } {
            // SAFETY: the caller's arguments, unchanged.
            return unsafe { real::pselect(count, read, write, except, timeout, mask) };
        }
        // SAFETY: the caller's promise.
        call(|| unsafe { sets.wait(count, limit_of(timeout)?, mask) })
    }
}

fn limit_of_timeval(timeout: &timeval) -> Result<Duration, Errno> {
    match (u64::try_from(timeout.tv_sec), u64::try_from(timeout.tv_usec)) {
        (Ok(seconds), Ok(micros)) => {
            Ok(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn timeval_of(time: Duration) -> timeval {
    timeval {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: time.subsec_micros().into(),
    }
}

/// The three sets of select(2). They may be longer than `fd_set`: bits are
/// reached word by word, up to the count that the program gave.
#[derive(Clone, Copy)]
struct Sets {
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
}

type Word = libc::c_ulong;
const BITS: usize = Word::BITS as usize;

impl Sets {
    /// In which of the sets a number is.
    ///
    /// # Safety
    ///
    /// Each set is null or has room for the number's bit, in whole words.
    unsafe fn selected(self, fd: c_int) -> Selected {
        // SAFETY: the caller's promise.
        unsafe {
            Selected { read: has(self.read, fd), write: has(self.write, fd), except: has(self.except, fd) }
        }
    }

    /// Whether an accelerated socket is in the sets.
    ///
    /// # Safety
    ///
    /// Each set is null, an impossible address (see [`memory`]), or has room for
    /// `count` bits, in whole words.
    unsafe fn concern_us(self, count: c_int) -> bool {
        let length = (count.max(0) as usize).div_ceil(BITS) * size_of::<Word>();
        let is_possible = |set: *mut fd_set| set.is_null() || memory::is_possible(set.cast(), length);
        [self.read, self.write, self.except].into_iter().all(is_possible)
            && (0..count).any(|fd| {
                // SAFETY: the caller's promise.
                polling::is_ours(fd) && unsafe { self.selected(fd) } != Selected::default()
            })
    }

    /// Waits, and leaves in the sets what is ready.
    ///
    /// # Safety
    ///
    /// Each set is null or has room for `count` bits, in whole words.
    unsafe fn wait(
        self,
        count: c_int,
        limit: Option<Duration>,
        mask: *const sigset_t,
    ) -> Result<usize, Errno> {
        // SAFETY: the caller's promise.
        let all = (0..count).map(|fd| (fd, unsafe { self.selected(fd) }));
        let (mut entries, selected): (Vec<_>, Vec<_>) = all
            .filter(|(_, selected)| *selected != Selected::default())
            .map(|(fd, selected)| (pollfd { fd, events: selected.events(), revents: 0 }, selected))
            .unzip();
        polling::poll(&mut entries, limit, mask)?;
        if entries.iter().any(|entry| entry.revents & libc::POLLNVAL != 0) {
            return Err(Errno::EBADF);
        }
        let mut count = 0;
        for (entry, selected) in entries.iter().zip(selected) {
            let ready = selected.ready(entry.revents);
            count += ready.count();
            // SAFETY: the caller's promise.
            unsafe {
                leave(self.read, entry.fd, ready.read);
                leave(self.write, entry.fd, ready.write);
                leave(self.except, entry.fd, ready.except);
            }
        }
        Ok(count)
    }
}

/// # Safety
///
/// `set` is null or has room for bit `fd`.
unsafe fn has(set: *mut fd_set, fd: c_int) -> bool {
    let at = fd as usize;
    // SAFETY: the caller's promise.
    !set.is_null() && unsafe { *set.cast::<Word>().add(at / BITS) } >> (at % BITS) & 1 != 0
}

/// Clears a bit unless it is ready.
///
/// # Safety
///
/// As [`has`].
unsafe fn leave(set: *mut fd_set, fd: c_int, ready: bool) {
    if !set.is_null() && !ready {
        let at = fd as usize;
        // SAFETY: the caller's promise.
        unsafe { *set.cast::<Word>().add(at / BITS) &= !(1 << (at % BITS)) };
    }
}
