//! The functions that our hooks stand in front of: libc's own, or those of a
//! library that is preloaded after us.
//!
//! One flat table of addresses, filled by [`resolve_all`] when the library is
//! loaded and, for calls that other libraries' constructors make even earlier,
//! at first use. No allocation, no lock. A symbol that this libc lacks resolves
//! to a function that fails with `ENOSYS`.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    epoll_event, fd_set, iovec, mmsghdr, msghdr, nfds_t, off64_t, pollfd, pthread_t, rlimit, sighandler_t,
    sigset_t, size_t, sockaddr, socklen_t, ssize_t, stat64, timespec, timeval, uid_t, FILE,
};

macro_rules! real_functions {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy)]
        enum Symbol { $($name),* }

        /// Names of the table's entries, each ended by NUL.
        const NAMES: &[&str] = &[$(concat!(stringify!($name), "\0")),*];

        static ADDRESSES: [AtomicPtr<c_void>; NAMES.len()] =
            [const { AtomicPtr::new(null_mut()) }; NAMES.len()];

        $(
            #[doc = concat!("The real `", stringify!($name), "`.")]
            ///
            /// # Safety
            ///
            /// As the C function.
            #[inline(always)]
            #[allow(non_snake_case)]
            pub unsafe fn $name($($argument: $type),*) -> $result {
                let address = address_of(Symbol::$name);
                // SAFETY: the address is that of the C function of this name and type.
                let function = unsafe {
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> $result>(address)
                };
                // SAFETY: the caller's promise.
                unsafe { function($($argument),*) }
            }
        )*
    };
}

real_functions! {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
    fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int;
    fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    fn shutdown(fd: c_int, how: c_int) -> c_int;
    fn getsockname(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    fn getpeername(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int;
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t) -> c_int;

    fn close(fd: c_int) -> c_int;
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    fn dup(fd: c_int) -> c_int;
    fn dup2(old: c_int, new: c_int) -> c_int;
    fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int;
    fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int;

    fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t;
    fn readv(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t;
    fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t;
    fn recvfrom(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int, address: *mut sockaddr, address_length: *mut socklen_t) -> ssize_t;
    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t;
    fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, timeout: *mut timespec) -> c_int;
    fn lseek64(fd: c_int, offset: off64_t, whence: c_int) -> off64_t;
    fn vasprintf(text: *mut *mut c_char, format: *const c_char, arguments: *mut c_void) -> c_int;
    fn __vasprintf_chk(text: *mut *mut c_char, flag: c_int, format: *const c_char, arguments: *mut c_void) -> c_int;
    fn vdprintf(fd: c_int, format: *const c_char, arguments: *mut c_void) -> c_int;
    fn __vdprintf_chk(fd: c_int, flag: c_int, format: *const c_char, arguments: *mut c_void) -> c_int;
    fn pread64(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t) -> ssize_t;
    fn __pread64_chk(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t, room: size_t) -> ssize_t;
    fn preadv64(fd: c_int, vector: *const iovec, count: c_int, offset: off64_t) -> ssize_t;
    fn preadv64v2(fd: c_int, vector: *const iovec, count: c_int, offset: off64_t, flags: c_int) -> ssize_t;
    fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t;
    fn __recv_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t, flags: c_int) -> ssize_t;
    fn __recvfrom_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t, flags: c_int, address: *mut sockaddr, address_length: *mut socklen_t) -> ssize_t;
    fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t;
    fn writev(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t;
    fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t;
    fn sendto(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int, address: *const sockaddr, address_length: socklen_t) -> ssize_t;
    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t;
    fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int;
    fn pwrite64(fd: c_int, buffer: *const c_void, length: size_t, offset: off64_t) -> ssize_t;
    fn pwritev64(fd: c_int, vector: *const iovec, count: c_int, offset: off64_t) -> ssize_t;
    fn pwritev64v2(fd: c_int, vector: *const iovec, count: c_int, offset: off64_t, flags: c_int) -> ssize_t;
    fn sendfile64(out: c_int, input: c_int, offset: *mut off64_t, count: size_t) -> ssize_t;
    fn splice(input: c_int, input_offset: *mut off64_t, out: c_int, out_offset: *mut off64_t, length: size_t, flags: c_uint) -> ssize_t;
    fn syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long;

    fn fstat64(fd: c_int, status: *mut stat64) -> c_int;
    fn fstatat64(fd: c_int, path: *const c_char, status: *mut stat64, flags: c_int) -> c_int;
    fn statx(fd: c_int, path: *const c_char, flags: c_int, mask: c_uint, status: *mut c_void) -> c_int;
    fn __fxstat64(version: c_int, fd: c_int, status: *mut stat64) -> c_int;
    fn __fxstatat64(version: c_int, fd: c_int, path: *const c_char, status: *mut stat64, flags: c_int) -> c_int;
    fn isfdtype(fd: c_int, kind: c_int) -> c_int;
    fn sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int;
    fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn sysv_signal(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn sigset(signal: c_int, handler: sighandler_t) -> sighandler_t;
    fn pthread_cancel(thread: pthread_t) -> c_int;
    fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE;

    fn epoll_create(size: c_int) -> c_int;
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epfd: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> c_int;
    fn epoll_wait(epfd: c_int, events: *mut epoll_event, room: c_int, timeout: c_int) -> c_int;
    fn epoll_pwait(epfd: c_int, events: *mut epoll_event, room: c_int, timeout: c_int, mask: *const sigset_t) -> c_int;
    fn epoll_pwait2(epfd: c_int, events: *mut epoll_event, room: c_int, timeout: *const timespec, mask: *const sigset_t) -> c_int;
    fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int;
    fn ppoll(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int;
    fn __poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int;
    fn __ppoll_chk(fds: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t) -> c_int;
    fn select(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *mut timeval) -> c_int;
    fn pselect(count: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, timeout: *const timespec, mask: *const sigset_t) -> c_int;

    fn setrlimit(resource: c_uint, limit: *const rlimit) -> c_int;
    fn setrlimit64(resource: c_uint, limit: *const rlimit) -> c_int;
    fn setuid(uid: uid_t) -> c_int;
    fn seteuid(effective: uid_t) -> c_int;
    fn setreuid(user: uid_t, effective: uid_t) -> c_int;
    fn setresuid(user: uid_t, effective: uid_t, saved: uid_t) -> c_int;

    fn _exit(status: c_int) -> !;
    fn _Exit(status: c_int) -> !;
}

#[inline(always)]
fn address_of(symbol: Symbol) -> *mut c_void {
    let address = ADDRESSES[symbol as usize].load(Ordering::Relaxed);
    if address.is_null() {
        resolve(symbol as usize)
    } else {
        address
    }
}

/// Looks every function up. Called once by the library's constructor.
pub fn resolve_all() {
    for index in 0..NAMES.len() {
        resolve(index);
    }
}

#[cold]
extern "C" fn resolve(index: usize) -> *mut c_void {
    // SAFETY: the name ends with NUL; RTLD_NEXT needs nothing else.
    let mut address = unsafe { libc::dlsym(libc::RTLD_NEXT, NAMES[index].as_ptr().cast::<c_char>()) };
    if address.is_null() {
        address = missing as *mut c_void;
    }
    ADDRESSES[index].store(address, Ordering::Relaxed);
    address
}

/// What a program gets that calls a function which its libc lacks.
extern "C" fn missing() -> isize {
    nix::errno::Errno::ENOSYS.set();
    -1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolved_function_does_what_libc_does() {
        let mut pipe = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        let mut byte = 0_u8;
        // SAFETY: both buffers are one byte long.
        unsafe {
            assert_eq!(write(pipe[1], (&raw const *b"x").cast(), 1), 1);
            assert_eq!(read(pipe[0], (&raw mut byte).cast(), 1), 1);
            assert_eq!(close(pipe[0]), 0);
            assert_eq!(close(pipe[1]), 0);
        }
        assert_eq!(byte, b'x');
    }

    #[test]
    fn a_missing_function_fails_with_enosys() {
        assert_eq!(missing(), -1);
        assert_eq!(nix::errno::Errno::last(), nix::errno::Errno::ENOSYS);
    }
}
