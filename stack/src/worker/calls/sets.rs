//! epoll_ctl(2) and epoll_wait(2), for the sockets of one worker.

use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::handle::{Handle, SetId};
use crate::worker::WorkerGuard;
use crate::worker::readiness;

impl WorkerGuard<'_> {
    /// `EPOLL_CTL_ADD` of a socket under the number `fd`.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `EBADF`.
    pub fn watch(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let core = &mut *self.core;
        let socket = core.sockets.get_mut(handle).ok_or(Errno::EBADF)?;
        let ready = readiness::of_socket(socket);
        core.interest.add(set, fd, handle, (events, data), socket.watches_mut(), ready)?;
        core.stirred |= ready != 0;
        Ok(())
    }

    /// `EPOLL_CTL_MOD`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EBADF`.
    pub fn rewatch(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let core = &mut *self.core;
        let ready = readiness::of_socket(core.sockets.get(handle).ok_or(Errno::EBADF)?);
        core.stirred |= ready != 0;
        core.interest.modify(set, fd, handle, (events, data), ready)
    }

    /// `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EBADF`.
    pub fn unwatch(&mut self, set: SetId, fd: RawFd, handle: Handle) -> Result<(), Errno> {
        let core = &mut *self.core;
        let socket = core.sockets.get_mut(handle).ok_or(Errno::EBADF)?;
        core.interest.remove(set, fd, handle, socket.watches_mut())
    }

    /// Takes ready events of a set into `out`; returns their number.
    #[inline]
    pub fn harvest(&mut self, set: SetId, out: &mut [libc::epoll_event]) -> usize {
        let core = &mut *self.core;
        if !core.interest.has_ready(set) {
            return 0;
        }
        let sockets = &core.sockets;
        core.interest.harvest(set, out, |handle| sockets.get(handle).map_or(0, readiness::of_socket))
    }

    /// Whether [`WorkerGuard::harvest`] would take anything, and how often something
    /// has become ready so far: a set inside of another set.
    pub fn peek_set(&mut self, set: SetId) -> Option<u64> {
        let core = &mut *self.core;
        let sockets = &core.sockets;
        core.interest.peek(set, |handle| sockets.get(handle).map_or(0, readiness::of_socket))
    }

    /// The event set is closed.
    pub fn drop_set(&mut self, set: SetId) {
        for (handle, index) in self.core.interest.drop_set(set) {
            if let Some(socket) = self.core.sockets.get_mut(handle) {
                socket.watches_mut().retain(|entry| *entry != (set, index));
            }
        }
    }
}
