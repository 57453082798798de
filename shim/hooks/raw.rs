//! syscall(2) with the number of a call that may touch a socket.
//!
//! libuv closes its sockets that way. What is not a call of ours goes on at once.
//! The exported functions stand here, not what is behind them: they are C
//! functions, so that this one has no landing pads either (see [`crate::cancel`]).

use std::ffi::{c_int, c_long, c_uint};

use libc::size_t;
use nix::errno::Errno;

use super::{descriptor, epoll, io, messages, options, poll, positioned, process, socket, status, transfer};
use crate::boundary::call_hot;
use crate::{real, start};

/// Plain, because it is variadic.
///
/// # Safety
///
/// As syscall(2).
#[no_mangle]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let fd = a as c_int;
    macro_rules! pass {
        ($hook:path $(, $argument:expr)*) => {
            // SAFETY: the caller's promise: the arguments are those of this call.
            unsafe { $hook($($argument),*) as c_long }
        };
    }
    match number {
        libc::SYS_read => pass!(io::read::read, fd, b as _, c as _),
        libc::SYS_readv => pass!(io::readv::readv, fd, b as _, c as _),
        libc::SYS_recvfrom => pass!(io::recvfrom::recvfrom, fd, b as _, c as _, d as _, e as _, f as _),
        libc::SYS_recvmsg => pass!(messages::recvmsg::recvmsg, fd, b as _, c as _),
        libc::SYS_recvmmsg => pass!(messages::recvmmsg::recvmmsg, fd, b as _, c as _, d as _, e as _),
        libc::SYS_preadv2 => pass!(positioned::preadv64v2::preadv64v2, fd, b as _, c as _, d, f as _),
        libc::SYS_write => pass!(io::write::write, fd, b as _, c as _),
        libc::SYS_writev => pass!(io::writev::writev, fd, b as _, c as _),
        libc::SYS_sendto => pass!(io::sendto::sendto, fd, b as _, c as _, d as _, e as _, f as _),
        libc::SYS_sendmsg => pass!(messages::sendmsg::sendmsg, fd, b as _, c as _),
        libc::SYS_sendmmsg => pass!(messages::sendmmsg::sendmmsg, fd, b as _, c as _, d as _),
        libc::SYS_pwritev2 => pass!(positioned::pwritev64v2::pwritev64v2, fd, b as _, c as _, d, f as _),
        libc::SYS_sendfile => pass!(transfer::sendfile64::sendfile64, fd, b as _, c as _, d as _),
        libc::SYS_splice => pass!(transfer::splice::splice, fd, b as _, c as _, d as _, e as _, f as _),
        libc::SYS_socket => pass!(socket::socket::socket, fd, b as _, c as _),
        libc::SYS_listen => pass!(socket::listen::listen, fd, b as _),
        libc::SYS_accept => pass!(socket::accept::accept, fd, b as _, c as _),
        libc::SYS_accept4 => pass!(socket::accept4::accept4, fd, b as _, c as _, d as _),
        libc::SYS_connect => pass!(socket::connect::connect, fd, b as _, c as _),
        libc::SYS_shutdown => pass!(socket::shutdown::shutdown, fd, b as _),
        libc::SYS_getsockname => pass!(socket::getsockname::getsockname, fd, b as _, c as _),
        libc::SYS_getpeername => pass!(socket::getpeername::getpeername, fd, b as _, c as _),
        libc::SYS_getsockopt => pass!(options::getsockopt::getsockopt, fd, b as _, c as _, d as _, e as _),
        libc::SYS_setsockopt => pass!(options::setsockopt::setsockopt, fd, b as _, c as _, d as _, e as _),
        libc::SYS_close => pass!(descriptor::close::close, fd),
        libc::SYS_close_range => pass!(descriptor::close_range, a as c_uint, b as _, c as _),
        libc::SYS_dup => pass!(descriptor::dup::dup, fd),
        libc::SYS_dup3 => pass!(descriptor::dup3::dup3, fd, b as _, c as _),
        libc::SYS_fcntl => pass!(descriptor::fcntl, fd, b as _, c as size_t),
        libc::SYS_ioctl => pass!(descriptor::ioctl, fd, b as _, c as size_t),
        libc::SYS_fstat => pass!(status::fstat64::fstat64, fd, b as _),
        libc::SYS_newfstatat => pass!(status::fstatat64::fstatat64, fd, b as _, c as _, d as _),
        libc::SYS_statx => pass!(status::statx::statx, fd, b as _, c as _, d as _, e as _),
        libc::SYS_epoll_create1 => pass!(epoll::epoll_create1::epoll_create1, fd),
        libc::SYS_epoll_ctl => pass!(epoll::epoll_ctl::epoll_ctl, fd, b as _, c as _, d as _),
        libc::SYS_epoll_pwait => pass!(epoll::epoll_pwait::epoll_pwait, fd, b as _, c as _, d as _, e as _),
        libc::SYS_epoll_pwait2 => pass!(epoll::epoll_pwait2, fd, b as _, c as _, d as _, e as _),
        libc::SYS_ppoll => pass!(poll::ppoll::ppoll, a as _, b as _, c as _, d as _),
        libc::SYS_exit_group => pass!(process::_exit, fd),
        libc::SYS_io_uring_setup if start::refuses_io_uring() => call_hot(|| Err(Errno::ENOSYS)) as c_long,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 => pass!(descriptor::dup2::dup2, fd, b as _),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => pass!(poll::poll::poll, a as _, b as _, c as _),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => pass!(poll::select::select, fd, b as _, c as _, d as _, e as _),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_create => pass!(epoll::epoll_create::epoll_create, fd),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => pass!(epoll::epoll_wait::epoll_wait, fd, b as _, c as _, d as _),
        // SAFETY: the caller's arguments, unchanged.
        _ => unsafe { real::syscall(number, a, b, c, d, e, f) },
    }
}
