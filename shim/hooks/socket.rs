//! socket(2), listen(2), accept(2), connect(2), shutdown(2) and addresses.

use std::ffi::c_int;

use libc::{sockaddr, socklen_t};
use nix::errno::Errno;
use redhook::hook;

use crate::address;
use crate::boundary::call;
use crate::descriptor;
use crate::listener::{self, Peer};
use crate::stream::{self, Stream};
use crate::table::{self, Owner, Slot};
use crate::{inherited, pending, real, start};

hook! {
    unsafe fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int => socket_hook {
        // libxdp's, on behalf of the stack's own device.
        if domain == libc::AF_XDP && start::is_inside() {
            if let Some(outcome) = crate::privilege::xdp_socket() {
                return call(|| outcome.map(|fd| fd as usize));
            }
        }
        // SAFETY: the caller's arguments, unchanged.
        let fd = unsafe { real::socket(domain, kind, protocol) };
        descriptor::claim(fd);
        let is_stream = kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) == libc::SOCK_STREAM;
        if fd >= 0 && is_stream && matches!(domain, libc::AF_INET | libc::AF_INET6) {
            table::set(fd, Slot::kernel_with(Slot::FRESH));
        }
        fd
    }
}

hook! {
    unsafe fn listen(fd: c_int, backlog: c_int) -> c_int => listen_hook {
        if start::is_inside() {
            // SAFETY: the caller's arguments, unchanged.
            return unsafe { real::listen(fd, backlog) };
        }
        call(|| listener::listen(fd, backlog))
    }
}

hook! {
    unsafe fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int => accept_hook {
        inherited::look_once();
        if table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged.
            let accepted = unsafe { real::accept(fd, address, length) };
            descriptor::claim(accepted);
            return accepted;
        }
        // SAFETY: the caller's promise.
        unsafe { accept_ours(fd, Peer { address, length }, 0) }
    }
}

hook! {
    unsafe fn accept4(
        fd: c_int,
        address: *mut sockaddr,
        length: *mut socklen_t,
        flags: c_int
    ) -> c_int => accept4_hook {
        inherited::look_once();
        if table::slot(fd).is_kernel() {
            // SAFETY: the caller's arguments, unchanged.
            let accepted = unsafe { real::accept4(fd, address, length, flags) };
            descriptor::claim(accepted);
            return accepted;
        }
        // SAFETY: the caller's promise.
        unsafe { accept_ours(fd, Peer { address, length }, flags) }
    }
}

/// accept4(2) on a number that is not the kernel's alone.
///
/// # Safety
///
/// As accept4(2).
unsafe fn accept_ours(fd: c_int, peer: Peer, flags: c_int) -> c_int {
    call(|| {
        if matches!(table::slot(fd).owner(), Owner::Pending { .. }) {
            pending::promote_all(|number| number == fd)?;
        }
        match table::slot(fd).owner() {
            // SAFETY: the caller's promise.
            Owner::Listener(handle) => unsafe { listener::accept(fd, handle, peer, flags) },
            Owner::Stream(_) => Err(Errno::EINVAL),
            Owner::Inert => Err(Errno::EBADF),
            Owner::Kernel | Owner::Pending { .. } | Owner::Set(_) => {
                // SAFETY: the caller's arguments, unchanged.
                let accepted = Errno::result(unsafe { real::accept4(fd, peer.address, peer.length, flags) })?;
                descriptor::claim(accepted);
                Ok(accepted as usize)
            }
        }
    })
}

hook! {
    unsafe fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int => connect_hook {
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::connect(fd, address, length) };
        // SAFETY: the caller's promise.
        let given = || unsafe { address::read(address, length) };
        match table::slot(fd).owner() {
            Owner::Kernel => {
                let mut kernels = false;
                let result = call(|| stream::connect(fd, given()).unwrap_or_else(|| {
                    kernels = true;
                    Ok(0)
                }));
                if kernels { real() } else { result }
            }
            Owner::Stream(handle) => call(|| Stream { fd, handle }.connect_again(given())),
            Owner::Inert => call(|| Err(Errno::EBADF)),
            Owner::Listener(_) | Owner::Pending { .. } => {
                let result = real();
                if result == 0 {
                    // Only a disconnect(2 connect) succeeds on what listens.
                    call(|| Ok({ listener::cease(fd); 0 }));
                }
                result
            }
            Owner::Set(_) => real(),
        }
    }
}

hook! {
    unsafe fn shutdown(fd: c_int, how: c_int) -> c_int => shutdown_hook {
        match table::slot(fd).owner() {
            Owner::Stream(handle) => call(|| Stream { fd, handle }.shutdown(how)),
            Owner::Inert => call(|| Err(Errno::ENOTCONN)),
            owner => {
                // SAFETY: the caller's arguments, unchanged.
                let result = unsafe { real::shutdown(fd, how) };
                let listens = matches!(owner, Owner::Listener(_) | Owner::Pending { .. });
                if result == 0 && listens && how != libc::SHUT_WR {
                    call(|| Ok({ listener::cease(fd); 0 }));
                }
                result
            }
        }
    }
}

hook! {
    unsafe fn getsockname(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int => getsockname_hook {
        match table::slot(fd).owner() {
            Owner::Stream(handle) => call(|| {
                let stream = Stream { fd, handle };
                let local = stream.local_address()?;
                // SAFETY: the caller's promise.
                unsafe { address::write(address, length, local, stream.is_ipv6()) }.map(|()| 0)
            }),
            Owner::Inert => call(|| Err(Errno::ENOTCONN)),
            Owner::Kernel | Owner::Listener(_) | Owner::Pending { .. } | Owner::Set(_) => {
                // SAFETY: the caller's arguments, unchanged.
                unsafe { real::getsockname(fd, address, length) }
            }
        }
    }
}

hook! {
    unsafe fn getpeername(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int => getpeername_hook {
        match table::slot(fd).owner() {
            Owner::Stream(handle) => call(|| {
                let stream = Stream { fd, handle };
                let peer = stream.peer_address()?;
                // SAFETY: the caller's promise.
                unsafe { address::write(address, length, peer, stream.is_ipv6()) }.map(|()| 0)
            }),
            Owner::Inert => call(|| Err(Errno::ENOTCONN)),
            Owner::Kernel | Owner::Listener(_) | Owner::Pending { .. } | Owner::Set(_) => {
                // SAFETY: the caller's arguments, unchanged.
                unsafe { real::getpeername(fd, address, length) }
            }
        }
    }
}
