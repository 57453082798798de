//! Descriptor numbers: close, dup, status flags, and numbers that change hands
//! behind our back.

use std::os::fd::RawFd;
use std::sync::Once;

use nix::errno::Errno;
use tpa_stack::Stack;

use crate::boundary::{check, shield};
use crate::stream::Stream;
use crate::table::{self, Flag, Owner, Slot};
use crate::{event_set, fork, real, reserve, watches};

/// close(2) of a number that is not plainly the kernel's.
///
/// # Errors
///
/// The kernel's.
pub fn close(fd: RawFd) -> Result<usize, Errno> {
    let alone = table::flag(fd, Flag::SHARED).then(reserve::lock);
    let mut last = None;
    detach(fd, |stream| last = Some(stream));
    if let Some(stream) = last {
        drop(alone);
        stream.close();
    }
    // The number goes last, so that nobody gets it while it still means a socket.
    // SAFETY: the program's own number.
    check(unsafe { real::close(fd) }).map(|_| 0)
}

/// The number means the kernel's descriptor from now on; what stood behind it
/// goes with its last number. What is watched under a number stays watched until
/// then, as epoll(7) has it.
fn detach(fd: RawFd, release: impl FnOnce(Stream)) {
    let slot = table::slot(fd);
    // In a child of vfork(2) the number is the child's, the socket the parent's.
    if !slot.is_kernel() && fork::is_foreign() {
        return;
    }
    if !table::replace(fd, slot, Slot::KERNEL) {
        return;
    }
    let shared = table::flag(fd, Flag::SHARED);
    table::clear_flags(fd);
    if shared && table::numbers_of(slot).next().is_some() {
        return;
    }
    match slot.owner() {
        Owner::Stream(handle) => release(Stream { fd, handle }),
        Owner::Listener(handle) => {
            watches::take(fd);
            release(Stream { fd, handle });
        }
        Owner::Set(set) => {
            watches::take(fd);
            event_set::release(set);
        }
        Owner::Pending { .. } => _ = watches::take(fd),
        Owner::Kernel if slot.has(Slot::WATCHED) => _ = watches::take(fd),
        Owner::Kernel | Owner::Inert => {}
    }
}

/// A kernel socket will not be accelerated any more: what was noted of it goes.
pub fn forget_facts(fd: RawFd) {
    let slot = table::slot(fd);
    if !slot.is_kernel() || slot.is_plain() {
        return;
    }
    for number in table::numbers_like(fd, slot) {
        if table::replace(number, slot, Slot::KERNEL) && slot.has(Slot::WATCHED) {
            watches::take(number);
        }
        table::clear_flags(number);
    }
}

/// The kernel has just given out this number: whatever the table says of it was
/// closed behind our back (a raw system call, a close_range(2) of a library), and
/// goes now.
#[inline]
pub fn claim(fd: RawFd) {
    if fd >= 0 && !table::slot(fd).is_plain() {
        drop_stale(fd);
    }
}

/// Without landing pads for its callers: see [`crate::cancel::act`].
#[cold]
#[inline(never)]
extern "C" fn drop_stale(fd: RawFd) {
    // The stack's own sockets come this way too, made under a worker's lock.
    shield(|| detach(fd, |stream| stream.release_later()));
}

/// A number that dup(2) or its like has made of another.
///
/// # Errors
///
/// None; for use at the end of a chain.
pub fn adopt_dup(old: RawFd, new: RawFd) -> Result<usize, Errno> {
    claim(new);
    let mut slot = table::slot(old);
    if slot.is_plain() || fork::is_foreign() || !table::covers(new) {
        return Ok(new as usize);
    }
    if slot.is_kernel() && !slot.is_marked() {
        let marked = slot.marked();
        if !table::replace(old, slot, marked) {
            return Ok(new as usize);
        }
        slot = marked;
    }
    table::set_flag(old, Flag::SHARED, true);
    table::copy_flags(old, new);
    table::set(new, slot);
    Ok(new as usize)
}

/// dup2(2) and dup3(2): `real` does it, `new` is closed before.
///
/// # Errors
///
/// The kernel's; `EBUSY` when `new` is one of the stack's own descriptors.
pub fn dup_over(old: RawFd, new: RawFd, real: impl FnOnce() -> i32) -> Result<usize, Errno> {
    if old == new || new < 0 || fork::is_foreign() {
        return check(real()).map(|fd| fd as usize);
    }
    if Stack::get().is_some_and(|stack| stack.is_internal_fd(new)) {
        return Err(Errno::EBUSY);
    }
    // SAFETY: F_GETFD only asks. A bad `old` leaves `new` open (dup2(2)).
    check(unsafe { real::fcntl(old, libc::F_GETFD, 0) })?;
    let mut alone = table::flag(new, Flag::SHARED).then(reserve::lock);
    let mut last = None;
    if !table::slot(new).is_plain() {
        detach(new, |stream| last = Some(stream));
    }
    if let Some(stream) = last {
        alone = None;
        stream.close();
    }
    let new = check(real())?;
    drop(alone);
    adopt_dup(old, new)
}

/// fcntl(2) on an accelerated number; `real` is fcntl or fcntl64. The kernel's
/// descriptor under the number keeps the true flags.
///
/// # Errors
///
/// The kernel's.
pub fn control(fd: RawFd, command: i32, argument: usize, real: impl FnOnce() -> i32) -> Result<usize, Errno> {
    let is_stream = matches!(table::slot(fd).owner(), Owner::Stream(_));
    if command == libc::F_SETFL && argument as i32 & libc::O_ASYNC != 0 && is_stream {
        say_no_sigio();
        return Err(Errno::EINVAL);
    }
    let result = check(real())?;
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => return adopt_dup(fd, result),
        libc::F_SETFL => {
            table::set_flag_shared(fd, Flag::NONBLOCK, argument as i32 & libc::O_NONBLOCK != 0);
        }
        _ => {}
    }
    Ok(result as usize)
}

/// A program asked for `SIGIO` of a connection; said once.
pub fn say_no_sigio() {
    static SAID: Once = Once::new();
    SAID.call_once(|| log::warn!("SIGIO (O_ASYNC, FIOASYNC) is refused: accelerated sockets do not send it"));
}

/// close_range(2) or closefrom(3): numbers from `first` to `last`, without the
/// stack's own. `real` closes a range that is plainly the kernel's.
///
/// # Errors
///
/// The kernel's.
pub fn close_range(
    first: u32,
    last: u32,
    mut real: impl FnMut(u32, u32) -> Result<(), Errno>,
) -> Result<usize, Errno> {
    if first > last {
        return Err(Errno::EINVAL);
    }
    let mut begin = first;
    for (fd, keep) in special_numbers(first, last) {
        if begin < fd {
            real(begin, fd - 1)?;
        }
        if !keep {
            // As close_range(2) does, go on whatever becomes of one number.
            let _ = close(fd as RawFd);
        }
        begin = fd + 1;
    }
    if begin <= last {
        real(begin, last).map(|()| 0)
    } else {
        Ok(0)
    }
}

/// Numbers in a range that are not plainly the kernel's, in order, and whether
/// they are the stack's own.
fn special_numbers(first: u32, last: u32) -> Vec<(u32, bool)> {
    if fork::is_foreign() {
        return Vec::new();
    }
    let known = (0..table::end()).filter(|&fd| !table::slot(fd).is_plain()).map(|fd| (fd as u32, false));
    let mut numbers: Vec<_> = known.collect();
    if let Some(stack) = Stack::get() {
        let own = open_numbers().into_iter().filter(|&fd| stack.is_internal_fd(fd));
        numbers.extend(own.map(|fd| (fd as u32, true)));
    }
    numbers.retain(|(fd, _)| (first..=last).contains(fd));
    numbers.sort_unstable();
    numbers
}

/// The process's open descriptors.
pub fn open_numbers() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};
    use tpa_stack::Handle;

    fn open() -> RawFd {
        std::fs::File::open("/dev/null").unwrap().into_raw_fd()
    }

    fn is_open(fd: RawFd) -> bool {
        // SAFETY: F_GETFD only asks.
        unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
    }

    #[test]
    fn a_number_that_the_kernel_gives_out_again_is_the_kernels() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = file.as_raw_fd();
        table::set(fd, Slot::stream(Handle::from_bits(4)));
        table::set_flag(fd, Flag::NONBLOCK, true);
        claim(fd);
        assert!(table::slot(fd).is_plain() && !table::flag(fd, Flag::NONBLOCK));
    }

    #[test]
    fn a_dup_names_the_same_socket_until_both_are_closed() {
        let slot = Slot::stream(Handle::from_bits(0x1234));
        let old = open();
        table::set(old, slot);
        // SAFETY: no pointers.
        let new = unsafe { libc::dup(old) };
        assert_eq!(adopt_dup(old, new), Ok(new as usize));
        assert_eq!(table::slot(new), slot);
        // SAFETY: no pointers.
        control(new, libc::F_SETFL, libc::O_NONBLOCK as usize, || 0).unwrap();
        assert!(table::flag(old, Flag::NONBLOCK));
        close(old).unwrap();
        assert_eq!(table::numbers_of(slot).collect::<Vec<_>>(), [new]);
        close(new).unwrap();
        assert_eq!(table::numbers_of(slot).next(), None);
    }

    #[test]
    fn a_range_is_closed_around_what_is_ours() {
        for fd in [960_000, 960_003] {
            table::set(fd, Slot::stream(Handle::from_bits(0x99)));
        }
        let mut ranges = Vec::new();
        let result = close_range(959_998, 960_010, |first, last| {
            ranges.push((first, last));
            Ok(())
        });
        assert_eq!(result, Ok(0));
        assert_eq!(ranges, [(959_998, 959_999), (960_001, 960_002), (960_004, 960_010)]);
        assert!(table::slot(960_000).is_plain() && table::slot(960_003).is_plain());
        assert_eq!(close_range(5, 4, |_, _| Ok(())), Err(Errno::EINVAL));
    }

    #[test]
    fn dup_over_a_bad_number_leaves_the_other_open() {
        let fd = open();
        let result = dup_over(-1, fd, || unreachable!());
        assert_eq!(result, Err(Errno::EBADF));
        assert!(is_open(fd));
        close(fd).unwrap();
    }
}
