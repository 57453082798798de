//! Functions that are others of ours by another name.
//!
//! Most are names with underscores under which libc exports the same functions once more,
//! for old programs and some run-time libraries.

use std::ffi::{c_int, c_uint, c_void};

use libc::{fd_set, mmsghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval};
use redhook::hook;

use super::{descriptor, io, messages, poll, socket};

macro_rules! aliases {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty => $hook:ident = $target:path;)+) => { $(
        hook! {
            unsafe fn $name($($argument: $type),*) -> $result => $hook {
                // SAFETY: the caller's promise.
                unsafe { $target($($argument),*) }
            }
        }
    )+ };
}

aliases! {
    fn __read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t => read_alias = io::read::read;
    fn __write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t => write_alias = io::write::write;
    fn __recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t => recv_alias = io::recv::recv;
    fn __send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t => send_alias = io::send::send;
    fn __sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int => sendmmsg_alias = messages::sendmmsg::sendmmsg;
    fn __close(fd: c_int) -> c_int => close_alias = descriptor::close::close;
    fn __dup2(old: c_int, new: c_int) -> c_int => dup2_alias = descriptor::dup2::dup2;
    fn __fcntl(fd: c_int, command: c_int, argument: size_t) -> c_int => fcntl_alias = descriptor::fcntl;
    fn __socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => socket_alias = socket::socket::socket;
    fn __connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int => connect_alias = socket::connect::connect;
    fn __poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int => poll_alias = poll::poll::poll;
    fn __select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int => select_alias = poll::select::select;
}

hook! {
    unsafe fn sockatmark(fd: c_int) -> c_int => sockatmark_hook {
        let mut at_mark: c_int = 0;
        // SAFETY: room for an int.
        let result = unsafe { descriptor::ioctl(fd, descriptor::SIOCATMARK, (&raw mut at_mark) as size_t) };
        if result < 0 { result } else { at_mark }
    }
}
