//! listen(2) and accept(2): one number, two listeners. Connections over the
//! device come from the stack, those over loopback and other interfaces from
//! the kernel's listener that stays behind the same number.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libc::{pollfd, sockaddr, socklen_t};
use nix::errno::Errno;
use tpa_stack::config::Reason;
use tpa_stack::{Handle, Purpose, Stack, WorkerGuard};

use crate::boundary::check;
use crate::stream::Stream;
use crate::table::{self, Flag, Owner, Slot};
use crate::wait::{self, Patience, Wait};
use crate::{address, cold, descriptor, forking, options, pending, real, reserve, start, watches};

/// Accepts from the stack between two that try the kernel first.
const ACCEPTS_PER_KERNEL_TURN: u32 = 16;

/// listen(2).
///
/// # Errors
///
/// The kernel's, and under `strict` why the listener cannot be accelerated.
pub fn listen(fd: RawFd, backlog: i32) -> Result<usize, Errno> {
    match table::slot(fd).owner() {
        // Connected, or about to be (`inet_listen`).
        Owner::Stream(_) => return Err(Errno::EINVAL),
        Owner::Inert => return Err(Errno::EBADF),
        Owner::Kernel | Owner::Listener(_) | Owner::Pending { .. } | Owner::Set(_) => {}
    }
    // SAFETY: no pointers.
    check(unsafe { real::listen(fd, backlog) })?;
    // Linux reads a negative backlog as the largest (`inet_listen`: unsigned compare).
    let backlog = backlog as u32;
    match table::slot(fd).owner() {
        Owner::Kernel => listen_anew(fd, backlog)?,
        Owner::Pending { .. } => pending::add(fd, backlog)?,
        Owner::Listener(handle) => {
            let stack = Stack::get().ok_or(Errno::EBADF)?;
            stack.worker(handle).lock().set_backlog(handle, backlog)?;
        }
        Owner::Stream(_) | Owner::Set(_) | Owner::Inert => {}
    }
    Ok(0)
}

fn listen_anew(fd: RawFd, backlog: u32) -> Result<(), Errno> {
    if is_wanted(fd) {
        return pending::add(fd, backlog);
    }
    descriptor::forget_facts(fd);
    Ok(())
}

/// Whether a kernel listener is one to accelerate.
pub fn is_wanted(fd: RawFd) -> bool {
    table::covers(fd)
        && start::settings().is_some_and(|settings| {
            address::of_listener(fd).is_some_and(|local| settings.wants_listener(local))
        })
        && options::is_tcp(fd)
}

/// The kernel's socket no longer listens: shutdown(2) or a disconnect(2 connect)
/// ended it. It is a fresh one again, which may listen anew.
pub fn cease(fd: RawFd) {
    let slot = table::slot(fd);
    let watched = if watches::lock().contains_key(&fd) { Slot::WATCHED } else { 0 };
    let fresh = Slot::kernel_with(Slot::FRESH | Slot::OPTIONED | watched).marked();
    let numbers = table::numbers_like(fd, slot);
    numbers.into_iter().for_each(|number| _ = table::replace(number, slot, fresh));
    if let Owner::Listener(handle) = slot.owner() {
        Stream { fd, handle }.release();
    }
}

/// Where accept(2) puts the peer's address.
#[derive(Clone, Copy)]
pub struct Peer {
    /// Null: it is not asked for.
    pub address: *mut sockaddr,
    /// Room, and then true length.
    pub length: *mut socklen_t,
}

/// accept4(2) on a listener of the stack.
///
/// # Errors
///
/// As accept4(2).
///
/// # Safety
///
/// `peer` as accept4(2) asks for it.
pub unsafe fn accept(fd: RawFd, handle: Handle, peer: Peer, flags: i32) -> Result<usize, Errno> {
    if flags & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let stack = Stack::get().ok_or(Errno::EBADF)?;
    if forking::is_recognised() {
        give_back(fd, handle)?;
        // SAFETY: the caller's promise.
        let accepted = check(unsafe { real::accept4(fd, peer.address, peer.length, flags) })?;
        descriptor::claim(accepted);
        return Ok(accepted as usize);
    }
    let nonblocking = table::flag(fd, Flag::NONBLOCK);
    let descriptor = [pollfd { fd, events: libc::POLLIN, revents: 0 }];
    let mut accept = Accept { fd, handle, peer, flags, nonblocking, descriptor };
    if accept.is_kernels_turn() {
        if let Some(result) = accept.look_at_kernel() {
            return result;
        }
    }
    let worker = stack.worker(handle);
    let first = accept.look(&mut worker.lock());
    if let Some(result) = first {
        return result;
    }
    let limit =
        if nonblocking { Some(Duration::ZERO) } else { options::kernel_timeout(fd, libc::SO_RCVTIMEO) };
    let patience = Patience::for_socket(limit);
    wait::wait(std::slice::from_ref(worker), &mut accept, &patience)?.unwrap_or(Err(Errno::EAGAIN))
}

/// The kernel alone serves a listener from now on: its program forks for each
/// connection.
fn give_back(fd: RawFd, handle: Handle) -> Result<(), Errno> {
    let slot = Slot::listener(handle);
    for number in table::numbers_like(fd, slot) {
        table::replace(number, slot, Slot::KERNEL);
        watches::take(number);
    }
    Stream { fd, handle }.release();
    match (start::settings(), address::of_listener(fd)) {
        (Some(settings), Some(local)) => {
            settings.decline(Purpose::Listen(local), Reason::Forks, Errno::ECONNABORTED)
        }
        _ => Ok(()),
    }
}

/// An accept4(2) under way.
struct Accept {
    fd: RawFd,
    handle: Handle,
    peer: Peer,
    flags: i32,
    nonblocking: bool,
    descriptor: [pollfd; 1],
}

impl Accept {
    /// Whether this call tries the kernel's side first, so that a busy stack
    /// never starves it.
    fn is_kernels_turn(&self) -> bool {
        static ACCEPTS: AtomicU32 = AtomicU32::new(0);
        ACCEPTS.fetch_add(1, Ordering::Relaxed) % ACCEPTS_PER_KERNEL_TURN == ACCEPTS_PER_KERNEL_TURN - 1
    }

    /// The kernel's next connection.
    fn kernels_next(&self) -> Result<usize, Errno> {
        // SAFETY: the program's pointers, as it passed them.
        let fd = unsafe { real::accept4(self.fd, self.peer.address, self.peer.length, self.flags) };
        let fd = check(fd)?;
        descriptor::claim(fd);
        Ok(fd as usize)
    }

    /// [`Accept::kernels_next`] on a listener whose accept(2) would wait: only
    /// when a connection is there, and by one thread at a time, so that another
    /// cannot take it in between.
    fn kernels_next_without_waiting(&self) -> Result<usize, Errno> {
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fds = self.descriptor;
        match wait::sleep_on(&mut fds, Some(Duration::ZERO), std::ptr::null())? {
            0 => Err(Errno::EAGAIN),
            _ => self.kernels_next(),
        }
    }

    /// The stack's next connection, with a number of its own. A process that is
    /// out of numbers leaves the connection where it is.
    fn stacks_next(&self, guard: &mut WorkerGuard<'_>) -> Result<usize, Errno> {
        if guard.readiness(self.handle) & libc::EPOLLIN as u32 == 0 {
            return Err(Errno::EAGAIN);
        }
        let fd = reserve::take(self.flags)?;
        let handle = guard.accept(self.handle).inspect_err(|_| reserve::release(fd))?;
        // As in Linux, a connection whose address cannot be told is lost.
        if let Err(errno) = guard.accepted_from(handle).and_then(|peer| self.tell_peer(peer)) {
            guard.close(handle);
            reserve::release(fd);
            return Err(errno);
        }
        descriptor::claim(fd);
        table::inherit_flags(self.fd, fd);
        table::set_flag(fd, Flag::NONBLOCK, self.flags & libc::SOCK_NONBLOCK != 0);
        table::set(fd, Slot::stream(handle));
        cold::inherit(Stream { fd: self.fd, handle: self.handle }, Stream { fd, handle });
        Ok(fd as usize)
    }

    fn tell_peer(&self, peer: SocketAddr) -> Result<(), Errno> {
        if self.peer.address.is_null() {
            return Ok(());
        }
        // SAFETY: the program's promise.
        unsafe { address::write(self.peer.address, self.peer.length, peer, table::flag(self.fd, Flag::IPV6)) }
    }
}

impl Wait for Accept {
    type Outcome = Result<usize, Errno>;

    fn look(&mut self, guard: &mut WorkerGuard<'_>) -> Option<Self::Outcome> {
        unless_empty(self.stacks_next(guard))
    }

    fn look_at_kernel(&mut self) -> Option<Self::Outcome> {
        unless_empty(if self.nonblocking { self.kernels_next() } else { self.kernels_next_without_waiting() })
    }

    fn descriptors(&self) -> &[pollfd] {
        &self.descriptor
    }
}

fn unless_empty(result: Result<usize, Errno>) -> Option<Result<usize, Errno>> {
    Some(result).filter(|result| *result != Err(Errno::EAGAIN))
}
