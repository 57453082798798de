//! Reading from and writing to a connection of the stack.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{raise, Signal};
use tpa_stack::WorkerGuard;

use crate::buffers::Buffers;
use crate::cold;
use crate::stream::Stream;
use crate::wait::{self, Patience};

/// `recv` flags that change nothing on a TCP socket without control messages.
const HARMLESS: i32 = libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC;

/// Whether with these flags the bytes are not copied but thrown away (tcp(7):
/// `MSG_TRUNC`), or only counted.
#[inline]
pub fn discards(flags: i32) -> bool {
    flags & libc::MSG_TRUNC != 0
}

/// recv(2) and its like into the program's buffers.
///
/// # Errors
///
/// As recv(2).
///
/// # Safety
///
/// The buffers are the program's to be written to.
#[inline]
pub unsafe fn receive(stream: Stream, buffers: Buffers<'_>, flags: i32) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let fill = |guard: &mut WorkerGuard<'_>, done| unsafe { fill(guard, stream, buffers, flags, done) };
    let first = fill(&mut stream.worker()?.lock(), 0);
    match first {
        Err(Errno::EAGAIN) => {}
        Ok(count) if count > 0 && count < least(stream, buffers.total(), flags) => {}
        result => return result,
    }
    let least = least(stream, buffers.total(), flags);
    receive_more(stream, least, flags, first.unwrap_or(0), fill)
}

/// Bytes that a call which may wait waits for (Linux's `sock_rcvlowat`).
#[inline]
fn least(stream: Stream, total: usize, flags: i32) -> usize {
    if flags & libc::MSG_PEEK != 0 {
        1
    } else if flags & libc::MSG_WAITALL != 0 {
        total
    } else {
        cold::of(stream).low_water.map_or(1, |bytes| total.min(bytes as usize))
    }
}

/// The rest of a receive that the first look did not satisfy.
#[cold]
fn receive_more(
    stream: Stream,
    least: usize,
    flags: i32,
    mut done: usize,
    mut fill: impl FnMut(&mut WorkerGuard<'_>, usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    if flags & libc::MSG_OOB != 0 {
        // Urgent data stays in line (RFC 6093); Linux says the same of SO_OOBINLINE.
        return Err(Errno::EINVAL);
    }
    if flags & libc::MSG_ERRQUEUE != 0 {
        // It is empty, and nobody waits for it (`inet_recv_error`).
        return Err(Errno::EAGAIN);
    }
    let limit = time_limit(stream, flags, || cold::of(stream).receive_timeout);
    let patience = Patience::for_socket(limit);
    let worker = stream.worker()?;
    loop {
        match wait::until(worker, &patience, |guard| fill(guard, done)) {
            Ok(0) => return Ok(done),
            Ok(count) => done += count,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
        if done >= least {
            return Ok(done);
        }
    }
}

/// Moves what waits into the buffers behind their first `done` bytes.
///
/// # Safety
///
/// As [`receive`].
#[inline]
unsafe fn fill(
    guard: &mut WorkerGuard<'_>,
    stream: Stream,
    buffers: Buffers<'_>,
    flags: i32,
    done: usize,
) -> Result<usize, Errno> {
    if flags & !HARMLESS != 0 {
        if flags & (libc::MSG_OOB | libc::MSG_ERRQUEUE) != 0 {
            return Err(Errno::EAGAIN);
        }
        if discards(flags) && flags & libc::MSG_PEEK != 0 {
            nothing_to_fill(guard, stream)?;
            return Ok(guard.queued(stream.handle).receive.min(buffers.total()));
        }
        if discards(flags) {
            return guard.discard(stream.handle, buffers.total() - done);
        }
    }
    let peek = flags & libc::MSG_PEEK != 0;
    let mut count = 0;
    // SAFETY: the caller's promise.
    for slice in unsafe { buffers.slices_mut(done) } {
        match guard.recv(stream.handle, slice, peek) {
            Ok(part) => {
                count += part;
                // A peek always starts at the first byte: one buffer is all that it can fill.
                if part < slice.len() || peek {
                    return Ok(count);
                }
            }
            Err(_) if count > 0 => return Ok(count),
            Err(errno) => return Err(errno),
        }
    }
    if buffers.total() == 0 {
        nothing_to_fill(guard, stream)
    } else {
        Ok(count)
    }
}

/// recv(2) of no bytes waits like any other, and takes none (tcp_recvmsg:
/// the low-water mark is at least one byte).
fn nothing_to_fill(guard: &mut WorkerGuard<'_>, stream: Stream) -> Result<usize, Errno> {
    guard.recv(stream.handle, &mut [0], true).map(|_| 0)
}

/// send(2) and its like from the program's buffers. Raises `SIGPIPE` where
/// Linux does.
///
/// # Errors
///
/// As send(2).
#[inline]
pub fn transmit(stream: Stream, buffers: Buffers<'_>, flags: i32) -> Result<usize, Errno> {
    let first = drain(&mut stream.worker()?.lock(), stream, buffers, flags, 0);
    let result = match first {
        Ok(count) if count == buffers.total() => return Ok(count),
        Ok(count) => transmit_more(stream, buffers, flags, count),
        Err(Errno::EAGAIN) => transmit_more(stream, buffers, flags, 0),
        error => error,
    };
    if result == Err(Errno::EPIPE) && flags & libc::MSG_NOSIGNAL == 0 {
        // Fails for no signal that exists.
        let _ = raise(Signal::SIGPIPE);
    }
    result
}

/// The rest of a send for which the buffer had no room.
#[cold]
fn transmit_more(stream: Stream, buffers: Buffers<'_>, flags: i32, mut done: usize) -> Result<usize, Errno> {
    let limit = time_limit(stream, flags, || cold::of(stream).send_timeout);
    if limit == Some(Duration::ZERO) && done > 0 {
        return Ok(done);
    }
    let patience = Patience::for_socket(limit);
    let worker = stream.worker()?;
    while done < buffers.total() || done == 0 {
        match wait::until(worker, &patience, |guard| drain(guard, stream, buffers, flags, done)) {
            Ok(count) => done += count,
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
        if buffers.total() == 0 {
            break;
        }
    }
    Ok(done)
}

/// Hands the stack what is left of the buffers after their first `done` bytes,
/// as far as there is room.
#[inline]
fn drain(
    guard: &mut WorkerGuard<'_>,
    stream: Stream,
    buffers: Buffers<'_>,
    flags: i32,
    done: usize,
) -> Result<usize, Errno> {
    let send = match flags & (libc::MSG_OOB | libc::MSG_MORE) {
        0 => WorkerGuard::send,
        libc::MSG_MORE => WorkerGuard::send_more,
        _ => WorkerGuard::send_urgent,
    };
    let mut count = 0;
    for slice in buffers.slices(done) {
        match send(guard, stream.handle, slice) {
            Ok(part) => {
                count += part;
                if part < slice.len() {
                    return Ok(count);
                }
            }
            Err(_) if count > 0 => return Ok(count),
            Err(errno) => return Err(errno),
        }
    }
    // Nothing to send still tells whether sending is possible.
    if buffers.total() == 0 {
        guard.send(stream.handle, &[])
    } else {
        Ok(count)
    }
}

/// How long the call may wait: not at all, or the socket's limit.
fn time_limit(stream: Stream, flags: i32, limit: impl FnOnce() -> Option<Duration>) -> Option<Duration> {
    if flags & libc::MSG_DONTWAIT != 0 || stream.is_nonblocking() {
        Some(Duration::ZERO)
    } else {
        limit()
    }
}
