//! read(2), write(2) and all their like.

use std::ffi::{c_int, c_void};

use libc::{iovec, size_t, sockaddr, socklen_t, ssize_t};
use nix::errno::Errno;
use redhook::hook;

use crate::boundary::call_hot;
use crate::buffers::{entry, Buffers};
use crate::stream::Stream;
use crate::table::{self, Owner};
use crate::{forking, io, memory, real};

/// Runs `ours` for a connection of the stack, and `real` for all else. Closures
/// that own their arguments leave them in registers.
#[inline(always)]
pub fn either(
    fd: c_int,
    real: impl FnOnce() -> ssize_t,
    ours: impl FnOnce(Stream) -> Result<usize, Errno>,
) -> ssize_t {
    let slot = table::slot(fd);
    if slot.is_kernel() {
        return real();
    }
    match slot.owner() {
        Owner::Stream(handle) => call_hot(move || ours(Stream { fd, handle })),
        Owner::Inert => call_hot(|| Err(forking::refuse())),
        // Listeners and event sets: the kernel knows what is wrong with that.
        Owner::Kernel | Owner::Listener(_) | Owner::Pending { .. } | Owner::Set(_) => real(),
    }
}

/// recv(2) into one buffer.
///
/// # Safety
///
/// As recv(2).
#[inline(always)]
unsafe fn receive_one(
    stream: Stream,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
) -> Result<usize, Errno> {
    let entry = entry(buffer, length);
    let buffers = if io::discards(flags) {
        Buffers::unread(&entry)
    } else {
        // SAFETY: the caller's promise.
        unsafe { Buffers::one(&entry) }?
    };
    // SAFETY: the caller's promise.
    unsafe { io::receive(stream, buffers, flags) }
}

/// send(2) from one buffer.
///
/// # Safety
///
/// As send(2).
#[inline(always)]
unsafe fn transmit_one(
    stream: Stream,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
) -> Result<usize, Errno> {
    let entry = entry(buffer, length);
    // SAFETY: the caller's promise.
    io::transmit(stream, unsafe { Buffers::one(&entry) }?, flags)
}

/// The count of readv(2) and writev(2): negative ones are refused like too
/// large ones.
pub fn count_of(count: c_int) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

hook! {
    unsafe fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t => read_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::read(fd, buffer, length) }, move |stream| match length {
            // `sock_read_iter` matches SYS5: nothing is looked at.
            0 => Ok(0),
            // SAFETY: the caller's promise.
            _ => unsafe { receive_one(stream, buffer, length, 0) },
        })
    }
}

hook! {
    unsafe fn readv(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t => readv_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::readv(fd, vector, count) }, move |stream| {
            // SAFETY: the caller's promise.
            let buffers = unsafe { Buffers::new(vector, count_of(count)) }?;
            if buffers.total() == 0 {
                return Ok(0);
            }
            // SAFETY: the caller's promise.
            unsafe { io::receive(stream, buffers, 0) }
        })
    }
}

hook! {
    unsafe fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t => recv_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::recv(fd, buffer, length, flags) }, move |stream| {
            // SAFETY: the caller's promise.
            unsafe { receive_one(stream, buffer, length, flags) }
        })
    }
}

hook! {
    unsafe fn recvfrom(
        fd: c_int,
        buffer: *mut c_void,
        length: size_t,
        flags: c_int,
        address: *mut sockaddr,
        address_length: *mut socklen_t
    ) -> ssize_t => recvfrom_hook {
        either(
            fd,
            // SAFETY: the caller's arguments, unchanged.
            move || unsafe { real::recvfrom(fd, buffer, length, flags, address, address_length) },
            // SAFETY: the caller's promise.
            move |stream| unsafe { receive_from(stream, (buffer, length), flags, (address, address_length)) },
        )
    }
}

/// recvfrom(2): a stream tells no address; its length becomes 0 (`tcp_recvmsg`).
///
/// # Safety
///
/// As recvfrom(2).
unsafe fn receive_from(
    stream: Stream,
    (buffer, length): (*mut c_void, size_t),
    flags: c_int,
    (address, address_length): (*mut sockaddr, *mut socklen_t),
) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let count = unsafe { receive_one(stream, buffer, length, flags) }?;
    if !address.is_null() {
        // SAFETY: the caller's promise.
        unsafe { memory::write(address_length, 0) }?;
    }
    Ok(count)
}

hook! {
    unsafe fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t => read_chk_hook {
        if length > room || table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged. Too long a length ends the program there.
            return unsafe { real::__read_chk(fd, buffer, length, room) };
        }
        // SAFETY: the caller's promise.
        unsafe { read_hook(fd, buffer, length) }
    }
}

hook! {
    unsafe fn __recv_chk(
        fd: c_int,
        buffer: *mut c_void,
        length: size_t,
        room: size_t,
        flags: c_int
    ) -> ssize_t => recv_chk_hook {
        if length > room || table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged. Too long a length ends the program there.
            return unsafe { real::__recv_chk(fd, buffer, length, room, flags) };
        }
        // SAFETY: the caller's promise.
        unsafe { recv_hook(fd, buffer, length, flags) }
    }
}

hook! {
    unsafe fn __recvfrom_chk(
        fd: c_int,
        buffer: *mut c_void,
        length: size_t,
        room: size_t,
        flags: c_int,
        address: *mut sockaddr,
        address_length: *mut socklen_t
    ) -> ssize_t => recvfrom_chk_hook {
        if length > room || table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged. Too long a length ends the program there.
            return unsafe {
                real::__recvfrom_chk(fd, buffer, length, room, flags, address, address_length)
            };
        }
        // SAFETY: the caller's promise.
        unsafe { recvfrom_hook(fd, buffer, length, flags, address, address_length) }
    }
}

hook! {
    unsafe fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t => write_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::write(fd, buffer, length) }, move |stream| {
            // SAFETY: the caller's promise.
            unsafe { transmit_one(stream, buffer, length, 0) }
        })
    }
}

hook! {
    unsafe fn writev(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t => writev_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::writev(fd, vector, count) }, move |stream| {
            // SAFETY: the caller's promise.
            io::transmit(stream, unsafe { Buffers::new(vector, count_of(count)) }?, 0)
        })
    }
}

hook! {
    unsafe fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t => send_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::send(fd, buffer, length, flags) }, move |stream| {
            // SAFETY: the caller's promise.
            unsafe { transmit_one(stream, buffer, length, flags) }
        })
    }
}

hook! {
    unsafe fn sendto(
        fd: c_int,
        buffer: *const c_void,
        length: size_t,
        flags: c_int,
        address: *const sockaddr,
        address_length: socklen_t
    ) -> ssize_t => sendto_hook {
        either(
            fd,
            // SAFETY: the caller's arguments, unchanged.
            move || unsafe { real::sendto(fd, buffer, length, flags, address, address_length) },
            // A connected stream ignores the address (`tcp_sendmsg`).
            // SAFETY: the caller's promise.
            move |stream| unsafe { transmit_one(stream, buffer, length, flags) },
        )
    }
}
