//! Streams of stdio(3) on an accelerated connection.
//!
//! libc's streams read and write their descriptor by calls inside of libc, which
//! no hook sees: they would meet the kernel's descriptor that keeps the number.
//! So fdopen(3) of a connection makes a stream with functions of its own
//! (fopencookie(3)).

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{off64_t, size_t, ssize_t, FILE};
use nix::errno::Errno;

use crate::boundary::{call, call_hot};
use crate::buffers::{entry, Buffers};
use crate::stream::Stream;
use crate::table::{self, Owner};
use crate::{descriptor, io};

/// `cookie_io_functions_t` of <stdio.h>.
#[repr(C)]
struct Functions {
    read: extern "C" fn(*mut c_void, *mut c_char, size_t) -> ssize_t,
    write: extern "C" fn(*mut c_void, *const c_char, size_t) -> ssize_t,
    seek: extern "C" fn(*mut c_void, *mut off64_t, c_int) -> c_int,
    close: extern "C" fn(*mut c_void) -> c_int,
}

extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut FILE;
}

/// Offset of `_fileno` in `struct _IO_FILE` of a 64-bit glibc: behind the flags
/// and thirteen pointers (bits/types/struct_FILE.h, part of its ABI).
const FILENO: usize = 112;

/// A stream was made: unwritten bytes may wait in it when the process ends.
static USED: AtomicBool = AtomicBool::new(false);

/// fdopen(3) of a connection; null with `errno`.
///
/// # Safety
///
/// `mode` is a C string.
pub unsafe fn open(fd: c_int, mode: *const c_char) -> *mut FILE {
    let functions = Functions { read: fill, write: drain, seek, close };
    let cookie = std::ptr::without_provenance_mut(fd as usize);
    // SAFETY: the caller's promise; the functions take what they are given.
    let file = unsafe { fopencookie(cookie, mode, functions) };
    if !file.is_null() {
        USED.store(true, Ordering::Relaxed);
        // For fileno(3).
        // SAFETY: a live stream of the layout above, which nobody else knows yet.
        unsafe { file.cast::<u8>().add(FILENO).cast::<c_int>().write(fd) };
    }
    file
}

/// Before the stack ends with the process: what waits in streams is written.
/// exit(3) itself does so only afterwards.
pub fn flush() {
    if USED.load(Ordering::Relaxed) {
        // SAFETY: null stands for every stream.
        unsafe { libc::fflush(std::ptr::null_mut()) };
    }
}

fn number(cookie: *mut c_void) -> c_int {
    cookie as usize as c_int
}

/// The connection, while it is one.
fn stream_of(cookie: *mut c_void) -> Result<Stream, Errno> {
    let fd = number(cookie);
    match table::slot(fd).owner() {
        Owner::Stream(handle) => Ok(Stream { fd, handle }),
        _ => Err(Errno::EBADF),
    }
}

extern "C" fn fill(cookie: *mut c_void, buffer: *mut c_char, length: size_t) -> ssize_t {
    call_hot(|| {
        let entry = entry(buffer.cast(), length);
        // SAFETY: libc's own buffer.
        unsafe { io::receive(stream_of(cookie)?, Buffers::one(&entry)?, 0) }
    })
}

/// Writes all of it, as libc's own function does. What it returns is what was
/// written, and never an error (fopencookie(3)).
extern "C" fn drain(cookie: *mut c_void, buffer: *const c_char, length: size_t) -> ssize_t {
    let mut done = 0;
    while done < length {
        let count = call_hot(|| {
            let entry = entry(buffer.wrapping_add(done).cast(), length - done);
            // SAFETY: the rest of libc's own buffer.
            io::transmit(stream_of(cookie)?, unsafe { Buffers::one(&entry) }?, 0)
        });
        if count <= 0 {
            break;
        }
        done += count as usize;
    }
    done as ssize_t
}

extern "C" fn seek(_: *mut c_void, _: *mut off64_t, _: c_int) -> c_int {
    Errno::ESPIPE.set();
    -1
}

extern "C" fn close(cookie: *mut c_void) -> c_int {
    call(|| descriptor::close(number(cookie)))
}
