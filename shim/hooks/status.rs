//! fstat(2) and its like: whoever looks behind a number sees a socket.

use std::ffi::{c_char, c_int, c_uint, c_void};

use libc::{stat64, FILE};
use redhook::hook;

use crate::stream::Stream;
use crate::table::{self, Owner};
use crate::{real, reserve, stdio};

/// Lets a kernel socket stand behind an accelerated number. What fails here
/// (no memory) leaves the eventfd to be seen.
#[inline(always)]
fn reveal(fd: c_int) {
    let slot = table::slot(fd);
    if slot.is_kernel() {
        return;
    }
    if let Owner::Stream(handle) = slot.owner() {
        crate::boundary::call(|| reserve::make_socket(Stream { fd, handle }).map(|()| 0));
    }
}

/// The same for a call that names the descriptor itself by an empty path.
#[inline(always)]
fn reveal_if_empty(fd: c_int, flags: c_int) {
    if flags & libc::AT_EMPTY_PATH != 0 {
        reveal(fd);
    }
}

/// A function under one of its names: `struct stat` is `struct stat64` here.
macro_rules! status {
    ($name:ident => $hook:ident: $real:ident($($argument:ident: $type:ty),*), $reveal:expr) => {
        hook! {
            unsafe fn $name($($argument: $type),*) -> c_int => $hook {
                $reveal;
                // SAFETY: the caller's arguments, unchanged.
                unsafe { real::$real($($argument),*) }
            }
        }
    };
}

type Path = *const c_char;
type Status = *mut stat64;

status!(fstat => fstat_hook: fstat64(fd: c_int, status: Status), reveal(fd));
status!(fstat64 => fstat64_hook: fstat64(fd: c_int, status: Status), reveal(fd));
status!(__fxstat => fxstat_hook: __fxstat64(version: c_int, fd: c_int, status: Status), reveal(fd));
status!(__fxstat64 => fxstat64_hook: __fxstat64(version: c_int, fd: c_int, status: Status), reveal(fd));
status!(isfdtype => isfdtype_hook: isfdtype(fd: c_int, kind: c_int), reveal(fd));
status!(
    fstatat => fstatat_hook: fstatat64(fd: c_int, path: Path, status: Status, flags: c_int),
    reveal_if_empty(fd, flags)
);
status!(
    fstatat64 => fstatat64_hook: fstatat64(fd: c_int, path: Path, status: Status, flags: c_int),
    reveal_if_empty(fd, flags)
);
status!(
    __fxstatat => fxstatat_hook:
        __fxstatat64(version: c_int, fd: c_int, path: Path, status: Status, flags: c_int),
    reveal_if_empty(fd, flags)
);
status!(
    __fxstatat64 => fxstatat64_hook:
        __fxstatat64(version: c_int, fd: c_int, path: Path, status: Status, flags: c_int),
    reveal_if_empty(fd, flags)
);
status!(
    statx => statx_hook: statx(fd: c_int, path: Path, flags: c_int, mask: c_uint, status: *mut c_void),
    reveal_if_empty(fd, flags)
);

macro_rules! streams {
    ($($name:ident => $hook:ident),+) => { $(
        hook! {
            unsafe fn $name(fd: c_int, mode: *const c_char) -> *mut FILE => $hook {
                match table::slot(fd).owner() {
                    // SAFETY: the caller's promise.
                    Owner::Stream(_) => unsafe { stdio::open(fd, mode) },
                    // SAFETY: the caller's arguments, unchanged.
                    _ => unsafe { real::fdopen(fd, mode) },
                }
            }
        }
    )+ };
}

streams!(fdopen => fdopen_hook, _IO_fdopen => io_fdopen_hook);
