//! getsockopt(2) and setsockopt(2).

use std::ffi::{c_int, c_void};

use libc::socklen_t;
use nix::errno::Errno;
use redhook::hook;

use crate::boundary::call;
use crate::options::{self, Input, Output};
use crate::stream::Stream;
use crate::table::{self, Owner, Slot};
use crate::{privilege, real, start};

hook! {
    unsafe fn getsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *mut c_void,
        length: *mut socklen_t
    ) -> c_int => getsockopt_hook {
        match table::slot(fd).owner() {
            Owner::Stream(handle) => call(|| {
                // SAFETY: the caller's promise.
                let mut out = unsafe { Output::new(value, length) }?;
                options::get(Stream { fd, handle }, level, name, &mut out)
            }),
            Owner::Listener(handle) if (level, name) == (libc::IPPROTO_TCP, libc::TCP_INFO) => call(|| {
                // SAFETY: the caller's promise.
                let mut out = unsafe { Output::new(value, length) }?;
                options::listener_info(Stream { fd, handle }, &mut out)
            }),
            Owner::Inert => call(|| Err(Errno::EBADF)),
            Owner::Kernel | Owner::Listener(_) | Owner::Pending { .. } | Owner::Set(_) => {
                // SAFETY: the caller's arguments, unchanged.
                unsafe { real::getsockopt(fd, level, name, value, length) }
            }
        }
    }
}

hook! {
    unsafe fn setsockopt(
        fd: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: socklen_t
    ) -> c_int => setsockopt_hook {
        // libxdp's, on behalf of the stack's own device.
        if (level, name) == (libc::SOL_XDP, libc::XDP_UMEM_REG) && start::is_inside() {
            // SAFETY: the caller's promise.
            let registration = unsafe { std::slice::from_raw_parts(value.cast(), length as usize) };
            if let Some(outcome) = privilege::register_memory(fd, registration) {
                return call(|| outcome.map(|()| 0));
            }
        }
        // SAFETY: the caller's arguments, unchanged.
        let real = || unsafe { real::setsockopt(fd, level, name, value, length) };
        match table::slot(fd).owner() {
            Owner::Stream(handle) => call(|| {
                // SAFETY: the caller's promise.
                options::set(Stream { fd, handle }, level, name, unsafe { Input::new(value, length) }?)
            }),
            Owner::Listener(handle) => call(|| {
                Errno::result(real())?;
                // SAFETY: the caller's promise.
                options::follow(Stream { fd, handle }, level, name, unsafe { Input::new(value, length) }?);
                Ok(0)
            }),
            Owner::Inert => call(|| Err(Errno::EBADF)),
            Owner::Kernel | Owner::Pending { .. } | Owner::Set(_) => {
                table::note(fd, Slot::OPTIONED);
                real()
            }
        }
    }
}
