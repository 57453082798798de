//! Programs that drop root before they serve: what has to happen before.

use std::os::fd::{IntoRawFd, RawFd};

use libc::uid_t;
use nix::errno::Errno;
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use tpa_stack::{privilege, Stack};

use crate::boundary::shield;
use crate::start;

/// setreuid(2): "leave it as it is".
const UNCHANGED: uid_t = uid_t::MAX;

/// The program is about to become the user `effective`. When it is one whose
/// sockets the stack may have to serve afterwards, tpad is started, which keeps
/// the privileges, and enough memory may be locked for AF_XDP. A memif needs none
/// of that, but the folder of the counters does.
pub fn keep_before(effective: uid_t) {
    if effective == 0 || effective == UNCHANGED || !nix::unistd::geteuid().is_root() {
        return;
    }
    shield(|| {
        if let (Some(settings), None) = (start::settings(), Stack::get()) {
            allow_locked_memory(settings.device_memory());
            if let Err(error) = start::inside(privilege::start) {
                log::warn!("privileges cannot be kept for the stack: {error}");
            }
        }
    });
}

/// An AF_XDP socket of tpad's; `None` where the kernel can be asked.
pub fn xdp_socket() -> Option<Result<RawFd, Errno>> {
    let outcome = privilege::xdp_socket()?;
    Some(
        outcome
            .map(IntoRawFd::into_raw_fd)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EPERM))),
    )
}

/// Registers memory for an AF_XDP socket through tpad; `None` where the kernel has
/// to be asked.
pub fn register_memory(socket: RawFd, registration: &[u8]) -> Option<Result<(), Errno>> {
    let outcome = privilege::register_memory(socket, registration)?;
    Some(outcome.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EPERM))))
}

/// Raises `RLIMIT_MEMLOCK`, which a process that is not root may not exceed with
/// the packet memory of AF_XDP: as far as wanted, or as this process may.
fn allow_locked_memory(bytes: u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return };
    let wanted = setrlimit(Resource::RLIMIT_MEMLOCK, soft.max(bytes), hard.max(bytes));
    if let Err(error) = wanted.or_else(|_| setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)) {
        log::debug!("locked memory stays limited: {error}");
    }
}
