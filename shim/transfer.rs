//! sendfile(2) and splice(2): bytes between a connection and another descriptor.
//!
//! Nothing is lost on the way: a file's position moves by what the connection
//! took, a pipe is asked for no more than the connection has room for, and what a
//! pipe did not take stays in the connection.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::time::Duration;

use libc::{iovec, off64_t};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::boundary::check;
use crate::buffers::{entry, Buffers};
use crate::stream::Stream;
use crate::wait::{self, Patience};
use crate::{cold, io, real};

/// Bytes moved at a time: what a pipe holds by default (pipe(7)).
const PART: usize = 65_536;

/// Memory for one part.
struct Part(Vec<MaybeUninit<u8>>);

impl Part {
    fn new(length: usize) -> Self {
        let mut memory = Vec::with_capacity(length);
        // SAFETY: the capacity was just made, and no byte needs a value.
        unsafe { memory.set_len(length) };
        Self(memory)
    }

    /// The first `length` bytes as a buffer of a call.
    fn entry(&mut self, length: usize) -> iovec {
        entry(self.0[..length].as_mut_ptr().cast(), length)
    }
}

/// sendfile(2) from a file at `offset` (`None`: at its position) to a
/// connection; the offset, or the position, moves by what was sent.
///
/// # Errors
///
/// As sendfile(2).
pub fn send_file(
    stream: Stream,
    file: RawFd,
    mut offset: Option<&mut off64_t>,
    count: usize,
) -> Result<usize, Errno> {
    // SAFETY: F_GETFL only asks.
    let status = check(unsafe { real::fcntl(file, libc::F_GETFL, 0) })?;
    if status & libc::O_ACCMODE == libc::O_WRONLY {
        return Err(Errno::EBADF);
    }
    // SAFETY: no pointers.
    let position = unsafe { real::lseek64(file, 0, libc::SEEK_CUR) };
    let start = match offset.as_deref() {
        Some(_) if position < 0 => return Err(Errno::ESPIPE),
        Some(offset) => *offset,
        None if position < 0 => return Err(Errno::EINVAL),
        None => position,
    };
    if start < 0 {
        return Err(Errno::EINVAL);
    }
    let sent = send_parts(stream, file, start, count);
    let moved = start + *sent.as_ref().unwrap_or(&0) as off64_t;
    match offset.as_mut() {
        Some(offset) => **offset = moved,
        // SAFETY: no pointers.
        None => _ = unsafe { real::lseek64(file, moved, libc::SEEK_SET) },
    }
    sent
}

fn send_parts(stream: Stream, file: RawFd, start: off64_t, count: usize) -> Result<usize, Errno> {
    let mut part = Part::new(count.min(PART));
    let mut done = 0;
    while done < count {
        let iovec = part.entry(PART.min(count - done));
        // SAFETY: a buffer of that length.
        let read = unsafe { real::pread64(file, iovec.iov_base, iovec.iov_len, start + done as off64_t) };
        let sent = match Errno::result(read) {
            Ok(0) => break,
            Ok(read) => send_all(stream, &part.entry(read as usize)).map(|sent| (sent, read as usize)),
            Err(errno) => Err(errno),
        };
        match sent {
            Ok((sent, read)) => {
                done += sent;
                if sent < read {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}

fn send_all(stream: Stream, bytes: &iovec) -> Result<usize, Errno> {
    // SAFETY: memory of our own.
    io::transmit(stream, unsafe { Buffers::one(bytes) }?, 0)
}

/// A pipe between a connection and the program's pipe. Bytes pass it by
/// splice(2), so that the kernel itself applies the rules of the program's pipe.
struct Bridge {
    read: OwnedFd,
    write: OwnedFd,
}

impl Bridge {
    fn new() -> Result<Self, Errno> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { read, write })
    }
}

/// splice(2) from a pipe to a connection.
///
/// # Errors
///
/// As splice(2).
pub fn splice_in(pipe: RawFd, stream: Stream, length: usize, flags: u32) -> Result<usize, Errno> {
    let room = wait_for_room(stream)?;
    let bridge = Bridge::new()?;
    let length = length.min(room).min(PART);
    // SAFETY: null stands for no offset.
    let moved =
        unsafe { real::splice(pipe, null_mut(), bridge.write.as_raw_fd(), null_mut(), length, flags) };
    let moved = Errno::result(moved)? as usize;
    if moved == 0 {
        return Ok(0);
    }
    let mut part = Part::new(moved);
    let iovec = part.entry(moved);
    // SAFETY: a buffer of that length.
    let read = Errno::result(unsafe { real::read(bridge.read.as_raw_fd(), iovec.iov_base, moved) })?;
    send_all(stream, &part.entry(read as usize))
}

/// Waits until the connection takes bytes, and tells how many.
fn wait_for_room(stream: Stream) -> Result<usize, Errno> {
    let limit = if stream.is_nonblocking() { Some(Duration::ZERO) } else { cold::of(stream).send_timeout };
    wait::until(stream.worker()?, &Patience::for_socket(limit), |guard| {
        // A connection that can no longer send has room for nothing, and says so itself.
        match guard.queued(stream.handle).room {
            0 => guard.send(stream.handle, &[]).and(Err(Errno::EAGAIN)),
            room => Ok(room),
        }
    })
    .or_else(|errno| {
        if errno == Errno::EPIPE {
            send_all(stream, &entry(c"".as_ptr().cast(), 0))
        } else {
            Err(errno)
        }
    })
}

/// splice(2) from a connection to a pipe.
///
/// # Errors
///
/// As splice(2).
pub fn splice_out(stream: Stream, pipe: RawFd, length: usize, flags: u32) -> Result<usize, Errno> {
    let mut part = Part::new(length.min(PART));
    let iovec = part.entry(length.min(PART));
    // SAFETY: memory of our own.
    let peeked = unsafe { io::receive(stream, Buffers::one(&iovec)?, libc::MSG_PEEK) }?;
    if peeked == 0 {
        return Ok(0);
    }
    let bridge = Bridge::new()?;
    // SAFETY: as many bytes as were peeked.
    let written = unsafe { real::write(bridge.write.as_raw_fd(), iovec.iov_base, peeked) };
    let written = Errno::result(written)? as usize;
    // SAFETY: null stands for no offset.
    let moved =
        unsafe { real::splice(bridge.read.as_raw_fd(), null_mut(), pipe, null_mut(), written, flags) };
    let moved = Errno::result(moved)? as usize;
    stream.worker()?.lock().discard(stream.handle, moved)
}
