//! pread(2), preadv2(2), lseek(2) and their like: a socket has no positions, so that all
//! of them fail on it but those that name none.

use std::ffi::{c_int, c_void};

use libc::{iovec, off64_t, size_t, ssize_t};
use nix::errno::Errno;
use redhook::hook;

use super::io::{count_of, either};
use crate::buffers::Buffers;
use crate::stream::Stream;
use crate::{io, real, table};

/// `-1` stands for the current position (preadv2(2)): plain reading or writing.
const NO_POSITION: off64_t = -1;

/// Flags of preadv2(2) that Linux knows (`RWF_SUPPORTED` up to 6.9): those from
/// `RWF_HIPRI` to `RWF_NOAPPEND`.
const KNOWN_FLAGS: c_int = 0x3f;

/// The flags of recv(2) and send(2) that do what those of preadv2(2) ask for.
fn message_flags(flags: c_int) -> Result<c_int, Errno> {
    if flags & !KNOWN_FLAGS != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(if flags & libc::RWF_NOWAIT != 0 { libc::MSG_DONTWAIT } else { 0 })
}

/// What a position on a socket is (`ksys_pread64`).
fn refusal(offset: off64_t) -> Errno {
    if offset < 0 {
        Errno::EINVAL
    } else {
        Errno::ESPIPE
    }
}

/// The program's buffers, when it names no position.
///
/// # Safety
///
/// As [`Buffers::new`].
unsafe fn unpositioned<'a>(
    (vector, count): (*const iovec, c_int),
    offset: off64_t,
) -> Result<Buffers<'a>, Errno> {
    if offset != NO_POSITION {
        return Err(refusal(offset));
    }
    // SAFETY: the caller's promise.
    unsafe { Buffers::new(vector, count_of(count)) }
}

/// # Safety
///
/// As preadv2(2).
unsafe fn receive(
    stream: Stream,
    vectors: (*const iovec, c_int),
    offset: off64_t,
    flags: c_int,
) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let buffers = unsafe { unpositioned(vectors, offset) }?;
    let flags = message_flags(flags)?;
    if buffers.total() == 0 {
        return Ok(0);
    }
    // SAFETY: the caller's promise.
    unsafe { io::receive(stream, buffers, flags) }
}

/// # Safety
///
/// As pwritev2(2).
unsafe fn transmit(
    stream: Stream,
    vectors: (*const iovec, c_int),
    offset: off64_t,
    flags: c_int,
) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let buffers = unsafe { unpositioned(vectors, offset) }?;
    io::transmit(stream, buffers, message_flags(flags)?)
}

/// A function under one of its names: `off_t` is `off64_t` here.
macro_rules! positioned {
    ($name:ident => $hook:ident: $real:ident($($argument:ident: $type:ty),*; $offset:ident)) => {
        hook! {
            unsafe fn $name(fd: c_int, $($argument: $type,)* $offset: off64_t) -> ssize_t => $hook {
                either(
                    fd,
                    // SAFETY: the caller's arguments, unchanged.
                    move || unsafe { real::$real(fd, $($argument,)* $offset) },
                    move |_| Err(refusal($offset)),
                )
            }
        }
    };
}

positioned!(pread => pread_hook: pread64(buffer: *mut c_void, length: size_t; offset));
positioned!(pread64 => pread64_hook: pread64(buffer: *mut c_void, length: size_t; offset));
positioned!(__pread64 => pread64_alias: pread64(buffer: *mut c_void, length: size_t; offset));
positioned!(pwrite => pwrite_hook: pwrite64(buffer: *const c_void, length: size_t; offset));
positioned!(pwrite64 => pwrite64_hook: pwrite64(buffer: *const c_void, length: size_t; offset));
positioned!(__pwrite64 => pwrite64_alias: pwrite64(buffer: *const c_void, length: size_t; offset));
positioned!(preadv => preadv_hook: preadv64(vector: *const iovec, count: c_int; offset));
positioned!(preadv64 => preadv64_hook: preadv64(vector: *const iovec, count: c_int; offset));
positioned!(pwritev => pwritev_hook: pwritev64(vector: *const iovec, count: c_int; offset));
positioned!(pwritev64 => pwritev64_hook: pwritev64(vector: *const iovec, count: c_int; offset));

macro_rules! fortified {
    ($($name:ident => $hook:ident),+) => { $(
        hook! {
            unsafe fn $name(
                fd: c_int,
                buffer: *mut c_void,
                length: size_t,
                offset: off64_t,
                room: size_t
            ) -> ssize_t => $hook {
                if length > room || table::slot(fd).is_kernel() {
                    // SAFETY: the caller's arguments, unchanged. Too long a length ends the program there.
                    return unsafe { real::__pread64_chk(fd, buffer, length, offset, room) };
                }
                // SAFETY: the caller's promise.
                unsafe { pread64_hook(fd, buffer, length, offset) }
            }
        }
    )+ };
}

fortified!(__pread_chk => pread_chk_hook, __pread64_chk => pread64_chk_hook);

macro_rules! flagged {
    ($real:ident, $ours:ident: $($name:ident => $hook:ident),+) => { $(
        hook! {
            unsafe fn $name(
                fd: c_int,
                vector: *const iovec,
                count: c_int,
                offset: off64_t,
                flags: c_int
            ) -> ssize_t => $hook {
                either(
                    fd,
                    // SAFETY: the caller's arguments, unchanged.
                    move || unsafe { real::$real(fd, vector, count, offset, flags) },
                    // SAFETY: the caller's promise.
                    move |stream| unsafe { $ours(stream, (vector, count), offset, flags) },
                )
            }
        }
    )+ };
}

flagged!(preadv64v2, receive: preadv2 => preadv2_hook, preadv64v2 => preadv64v2_hook);
flagged!(pwritev64v2, transmit: pwritev2 => pwritev2_hook, pwritev64v2 => pwritev64v2_hook);

/// lseek(2) under one of its names: `off_t` is `off64_t` here.
macro_rules! seeking {
    ($($name:ident => $hook:ident),+) => { $(
        hook! {
            unsafe fn $name(fd: c_int, offset: off64_t, whence: c_int) -> off64_t => $hook {
                either(
                    fd,
                    // SAFETY: the caller's arguments, unchanged.
                    move || unsafe { real::lseek64(fd, offset, whence) } as ssize_t,
                    move |_| Err(Errno::ESPIPE),
                ) as off64_t
            }
        }
    )+ };
}

seeking!(lseek => lseek_hook, lseek64 => lseek64_hook, __lseek => lseek_alias);
