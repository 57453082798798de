//! sendfile(2) and splice(2).

use std::ffi::{c_int, c_uint};

use libc::{off64_t, size_t, ssize_t};
use nix::errno::Errno;
use redhook::hook;

use crate::boundary::call_hot;
use crate::cancel::NoCancel;
use crate::stream::Stream;
use crate::table::{self, Owner};
use crate::{memory, real, transfer};

/// `SPLICE_F_ALL`.
const SPLICE_FLAGS: c_uint =
    libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;

hook! {
    unsafe fn sendfile(out: c_int, input: c_int, offset: *mut off64_t, count: size_t) -> ssize_t => sendfile_hook {
        // SAFETY: the caller's promise.
        unsafe { sendfile64_hook(out, input, offset, count) }
    }
}

hook! {
    unsafe fn sendfile64(out: c_int, input: c_int, offset: *mut off64_t, count: size_t) -> ssize_t => sendfile64_hook {
        match (table::slot(out).owner(), table::slot(input).owner()) {
            (Owner::Inert, _) | (_, Owner::Inert) => call_hot(|| Err(Errno::EBADF)),
            // A socket cannot be read at a position (`splice_direct_to_actor`).
            (_, Owner::Stream(_)) => call_hot(|| Err(if offset.is_null() { Errno::EINVAL } else { Errno::ESPIPE })),
            (Owner::Stream(handle), _) => call_hot(|| {
                let _no_cancel = NoCancel::new();
                let stream = Stream { fd: out, handle };
                if offset.is_null() {
                    return transfer::send_file(stream, input, None, count);
                }
                // SAFETY: the caller's promise.
                let mut at = unsafe { memory::read(offset) }?;
                let result = transfer::send_file(stream, input, Some(&mut at), count);
                // SAFETY: an offset was read from there.
                unsafe { memory::write(offset, at) }?;
                result
            }),
            // SAFETY: the caller's arguments, unchanged.
            _ => unsafe { real::sendfile64(out, input, offset, count) },
        }
    }
}

hook! {
    unsafe fn splice(
        input: c_int,
        input_offset: *mut off64_t,
        out: c_int,
        out_offset: *mut off64_t,
        length: size_t,
        flags: c_uint
    ) -> ssize_t => splice_hook {
        let offsets = [input_offset, out_offset].map(|offset| !offset.is_null());
        let ends = match (table::slot(input).owner(), table::slot(out).owner()) {
            (Owner::Inert, _) | (_, Owner::Inert) => return call_hot(|| Err(Errno::EBADF)),
            (Owner::Stream(_), Owner::Stream(_)) => return call_hot(|| Err(Errno::EINVAL)),
            (Owner::Stream(handle), _) => Ends::FromStream(Stream { fd: input, handle }, out),
            (_, Owner::Stream(handle)) => Ends::ToStream(input, Stream { fd: out, handle }),
            _ => {
                // SAFETY: the caller's arguments, unchanged.
                return unsafe { real::splice(input, input_offset, out, out_offset, length, flags) };
            }
        };
        call_hot(|| {
            let _no_cancel = NoCancel::new();
            ends.splice(offsets, length, flags)
        })
    }
}

/// A connection and what should be a pipe.
#[derive(Clone, Copy)]
enum Ends {
    FromStream(Stream, c_int),
    ToStream(c_int, Stream),
}

impl Ends {
    /// splice(2) with the checks of `do_splice`, in its order.
    fn splice(
        self,
        [input_offset, out_offset]: [bool; 2],
        length: size_t,
        flags: c_uint,
    ) -> Result<usize, Errno> {
        if length == 0 {
            return Ok(0);
        }
        if flags & !SPLICE_FLAGS != 0 {
            return Err(Errno::EINVAL);
        }
        let (pipe, wrong_mode, pipes_offset, streams_offset) = match self {
            Self::FromStream(_, pipe) => (pipe, libc::O_RDONLY, out_offset, input_offset),
            Self::ToStream(pipe, _) => (pipe, libc::O_WRONLY, input_offset, out_offset),
        };
        // SAFETY: F_GETFL only asks.
        let status = Errno::result(unsafe { real::fcntl(pipe, libc::F_GETFL, 0) })?;
        if status & libc::O_ACCMODE == wrong_mode {
            return Err(Errno::EBADF);
        }
        // SAFETY: only asks, and only a pipe answers.
        let is_pipe = unsafe { real::fcntl(pipe, libc::F_GETPIPE_SZ, 0) } >= 0;
        if is_pipe && pipes_offset {
            return Err(Errno::ESPIPE);
        }
        if !is_pipe || streams_offset {
            return Err(Errno::EINVAL);
        }
        match self {
            Self::FromStream(stream, pipe) => transfer::splice_out(stream, pipe, length, flags),
            Self::ToStream(pipe, stream) => transfer::splice_in(pipe, stream, length, flags),
        }
    }
}
