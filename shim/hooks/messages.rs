//! recvmsg(2), sendmsg(2), and their like for several messages.

use std::ffi::{c_int, c_uint};
use std::time::{Duration, Instant};

use libc::{mmsghdr, msghdr, ssize_t, timespec};
use nix::errno::Errno;
use redhook::hook;

use super::io::either;
use super::poll::limit_of;
use crate::boundary::call;
use crate::buffers::{Buffers, MAX_COUNT};
use crate::forking;
use crate::stream::Stream;
use crate::table::{self, Owner};
use crate::{ancillary, io, memory, real};

hook! {
    unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t => recvmsg_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::recvmsg(fd, message, flags) }, move |stream| {
            // SAFETY: the caller's promise.
            unsafe { receive(stream, message, flags) }
        })
    }
}

hook! {
    unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t => sendmsg_hook {
        // SAFETY: the caller's arguments, unchanged.
        either(fd, move || unsafe { real::sendmsg(fd, message, flags) }, move |stream| {
            // SAFETY: the caller's promise.
            unsafe { send(stream, message, flags) }
        })
    }
}

/// A message's buffers; too many are not `EINVAL` here but `EMSGSIZE`.
///
/// # Safety
///
/// As recvmsg(2).
unsafe fn buffers_of<'a>(message: &msghdr) -> Result<Buffers<'a>, Errno> {
    if message.msg_iovlen > MAX_COUNT {
        return Err(Errno::EMSGSIZE);
    }
    // SAFETY: the caller's promise.
    unsafe { Buffers::new(message.msg_iov, message.msg_iovlen) }
}

/// recvmsg(2): a stream tells no address, and of control messages only `TCP_INQ`.
///
/// # Safety
///
/// As recvmsg(2).
unsafe fn receive(stream: Stream, message: *mut msghdr, flags: c_int) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let message = unsafe { memory::borrow(message) }?;
    // SAFETY: the caller's promise.
    let count = unsafe { io::receive(stream, buffers_of(message)?, flags) }?;
    if !message.msg_name.is_null() {
        message.msg_namelen = 0;
    }
    // SAFETY: the caller's promise.
    unsafe { ancillary::tell(stream, message) };
    Ok(count)
}

/// sendmsg(2): control messages are checked and have no effect.
///
/// # Safety
///
/// As sendmsg(2).
unsafe fn send(stream: Stream, message: *const msghdr, flags: c_int) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let message = unsafe { memory::read(message) }?;
    // SAFETY: the caller's promise.
    let buffers = unsafe { buffers_of(&message) }?;
    if message.msg_controllen > 0 {
        // SAFETY: the caller's promise.
        unsafe { check_control(&message) }?;
    }
    io::transmit(stream, buffers, flags)
}

/// `sock_cmsg_send`: a length that is none is an error, and so is a message for
/// the socket level other than descriptors and credentials, which a stream that
/// is no Unix socket ignores.
///
/// # Safety
///
/// As sendmsg(2).
unsafe fn check_control(message: &msghdr) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { memory::array(message.msg_control.cast::<u8>(), message.msg_controllen) }?;
    let end = message.msg_control as usize + message.msg_controllen;
    // SAFETY: a message whose control part was just checked.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give whole headers only.
        let this = unsafe { header.read_unaligned() };
        if this.cmsg_len < size_of::<libc::cmsghdr>() || this.cmsg_len > end - header as usize {
            return Err(Errno::EINVAL);
        }
        let ignored = matches!(this.cmsg_type, libc::SCM_RIGHTS | libc::SCM_CREDENTIALS);
        if this.cmsg_level == libc::SOL_SOCKET && !ignored {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the same message, and a header in it.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    Ok(())
}

hook! {
    unsafe fn recvmmsg(
        fd: c_int,
        messages: *mut mmsghdr,
        count: c_uint,
        flags: c_int,
        timeout: *mut timespec
    ) -> c_int => recvmmsg_hook {
        match table::slot(fd).owner() {
            // SAFETY: the caller's promise.
            Owner::Stream(handle) => call(|| unsafe {
                receive_many(Stream { fd, handle }, (messages, count), flags, timeout)
            }),
            Owner::Inert => call(|| Err(forking::refuse())),
            // SAFETY: the caller's arguments, unchanged.
            _ => unsafe { real::recvmmsg(fd, messages, count, flags, timeout) },
        }
    }
}

/// recvmmsg(2). As in Linux, an error behind the first message is not reported
/// by this call, and the time is looked at between messages only.
///
/// # Safety
///
/// As recvmmsg(2).
unsafe fn receive_many(
    stream: Stream,
    (messages, count): (*mut mmsghdr, c_uint),
    mut flags: c_int,
    timeout: *mut timespec,
) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    let limit = unsafe { limit_of(timeout) }?;
    let begin = Instant::now();
    let mut done = 0;
    while done < count as usize {
        let place = messages.wrapping_add(done);
        // SAFETY: the caller's promise.
        let received = unsafe {
            memory::borrow(place)
                .and_then(|entry| receive(stream, &raw mut entry.msg_hdr, flags & !libc::MSG_WAITFORONE))
        };
        match received {
            // SAFETY: the place of a message that could be received.
            Ok(bytes) => unsafe { (*place).msg_len = bytes as c_uint },
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        done += 1;
        if flags & libc::MSG_WAITFORONE != 0 {
            flags |= libc::MSG_DONTWAIT;
        }
        if limit.is_some_and(|limit| begin.elapsed() >= limit) {
            break;
        }
    }
    if let Some(limit) = limit {
        // SAFETY: a time was read from there.
        unsafe { timeout.write(timespec_of(limit.saturating_sub(begin.elapsed()))) };
    }
    Ok(done)
}

fn timespec_of(time: Duration) -> timespec {
    timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() }
}

hook! {
    unsafe fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int => sendmmsg_hook {
        match table::slot(fd).owner() {
            // SAFETY: the caller's promise.
            Owner::Stream(handle) => call(|| unsafe {
                send_many(Stream { fd, handle }, (messages, count), flags)
            }),
            Owner::Inert => call(|| Err(forking::refuse())),
            // SAFETY: the caller's arguments, unchanged.
            _ => unsafe { real::sendmmsg(fd, messages, count, flags) },
        }
    }
}

/// sendmmsg(2): stops at the first message that is not sent as a whole.
///
/// # Safety
///
/// As sendmmsg(2).
unsafe fn send_many(
    stream: Stream,
    (messages, count): (*mut mmsghdr, c_uint),
    flags: c_int,
) -> Result<usize, Errno> {
    let count = (count as usize).min(MAX_COUNT);
    for done in 0..count {
        let place = messages.wrapping_add(done);
        // SAFETY: the caller's promise.
        let sent =
            unsafe { memory::borrow(place).and_then(|entry| send(stream, &raw const entry.msg_hdr, flags)) };
        match sent {
            // SAFETY: the place of a message that could be sent.
            Ok(bytes) => unsafe { (*place).msg_len = bytes as c_uint },
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => return Ok(done),
        }
    }
    Ok(count)
}
