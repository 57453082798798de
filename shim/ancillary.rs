//! Control messages of recvmsg(2).

use std::mem::size_of;

use libc::{c_int, cmsghdr, msghdr};

use crate::cold;
use crate::stream::Stream;

/// Bytes of the one message that there is: a header and an int.
const LENGTH: usize = size_of::<cmsghdr>() + size_of::<c_int>();
/// Bytes that it takes: messages are aligned like a `size_t`.
const SPACE: usize = LENGTH.next_multiple_of(size_of::<usize>());

/// Fills in what recvmsg(2) gives back beside data: with `TCP_INQ` the bytes
/// that are left (tcp(7)), and nothing else.
///
/// # Safety
///
/// As recvmsg(2): the message's control buffer is null or writable for its length.
pub unsafe fn tell(stream: Stream, message: &mut msghdr) {
    let room = message.msg_controllen;
    (message.msg_controllen, message.msg_flags) = (0, 0);
    if !cold::of(stream).tells_rest {
        return;
    }
    if message.msg_control.is_null() || room < LENGTH {
        message.msg_flags = libc::MSG_CTRUNC;
        return;
    }
    let mut bytes = [0; SPACE];
    write(rest(stream), &mut bytes);
    let length = SPACE.min(room);
    // SAFETY: not null, and the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), message.msg_control.cast(), length) };
    message.msg_controllen = length;
}

/// `tcp_inq`: the bytes that wait; 1 when none do and none will come.
fn rest(stream: Stream) -> c_int {
    let Ok(worker) = stream.worker() else { return 0 };
    let guard = worker.lock();
    let waiting = guard.queued(stream.handle).receive;
    let is_over = guard.readiness(stream.handle) & libc::EPOLLRDHUP as u32 != 0;
    if waiting == 0 && is_over {
        return 1;
    }
    c_int::try_from(waiting).unwrap_or(c_int::MAX)
}

/// The `cmsghdr` and its value.
fn write(rest: c_int, bytes: &mut [u8; SPACE]) {
    let words = [libc::SOL_TCP, libc::TCP_CM_INQ, rest].map(c_int::to_ne_bytes);
    let message = LENGTH.to_ne_bytes().into_iter().chain(words.into_iter().flatten());
    bytes.iter_mut().zip(message).for_each(|(to, byte)| *to = byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_reads_back_by_libcs_macros() {
        let mut bytes = [0_u64; SPACE / 8];
        let mut written = [0; SPACE];
        write(77, &mut written);
        // SAFETY: two live buffers of that length.
        unsafe { std::ptr::copy_nonoverlapping(written.as_ptr(), bytes.as_mut_ptr().cast(), SPACE) };
        // SAFETY: plain integers and pointers, for which zero is valid.
        let mut message: msghdr = unsafe { std::mem::zeroed() };
        message.msg_control = bytes.as_mut_ptr().cast();
        message.msg_controllen = SPACE;
        // SAFETY: a well-formed message in a live, aligned buffer.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            assert_eq!((*header).cmsg_len, libc::CMSG_LEN(4) as usize);
            assert_eq!(((*header).cmsg_level, (*header).cmsg_type), (libc::SOL_TCP, libc::TCP_INQ));
            assert_eq!(libc::CMSG_DATA(header).cast::<c_int>().read_unaligned(), 77);
            assert!(libc::CMSG_NXTHDR(&raw const message, header).is_null());
        }
        assert_eq!(SPACE, libc_space());
    }

    fn libc_space() -> usize {
        // SAFETY: only computes.
        unsafe { libc::CMSG_SPACE(4) as usize }
    }
}
