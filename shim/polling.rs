//! poll(2), select(2) and their like when accelerated sockets are among the
//! descriptors.

use std::time::Duration;

use libc::{nfds_t, pollfd, sigset_t};
use nix::errno::Errno;
use smallvec::SmallVec;
use tpa_stack::{Handle, SetId, Stack, WorkerGuard};

use crate::boundary::check;
use crate::table::{self, Owner};
use crate::wait::{self, Patience, Wait};
use crate::{nested, pending, real};

/// Bits that are reported whether asked for or not (poll(2)).
const ALWAYS: i16 = libc::POLLERR | libc::POLLHUP;

/// Whether poll(2) with these descriptors is more than the kernel's business.
#[inline]
pub fn concerns(fds: &[pollfd]) -> bool {
    fds.iter().any(|entry| is_ours(entry.fd))
}

/// Whether the kernel alone cannot tell if a descriptor is ready.
#[inline]
pub fn is_ours(fd: i32) -> bool {
    !table::slot(fd).is_kernel()
}

/// poll(2): waits until a descriptor is ready, and says which are.
///
/// # Errors
///
/// As poll(2).
pub fn poll(fds: &mut [pollfd], limit: Option<Duration>, mask: *const sigset_t) -> Result<usize, Errno> {
    let mut limit = limit;
    loop {
        let mut part = None;
        if fds.iter().any(|entry| matches!(table::slot(entry.fd).owner(), Owner::Pending { .. })) {
            pending::promote_all(|fd| fds.iter().any(|entry| entry.fd == fd))?;
            // While a listener waits for a queue, the wait is one in parts.
            part = pending::retry_after().filter(|part| limit.is_none_or(|limit| *part < limit));
        }
        match poll_once(fds, part.or(limit), mask)? {
            0 => {}
            ready => return Ok(ready),
        }
        let Some(part) = part else { return Ok(0) };
        limit = limit.map(|limit| limit.saturating_sub(part));
    }
}

fn poll_once(fds: &mut [pollfd], limit: Option<Duration>, mask: *const sigset_t) -> Result<usize, Errno> {
    let workers = Stack::get().map_or(&[][..], Stack::workers);
    let mut poll = Poll::new(fds);
    if poll.sweep_inert() {
        return poll.finish();
    }
    match wait::wait(workers, &mut poll, &Patience::for_events(limit, mask))? {
        Some(result) => result?,
        None => poll.fds.iter_mut().for_each(|entry| entry.revents = 0),
    }
    poll.finish()
}

/// A poll(2) under way.
struct Poll<'a> {
    fds: &'a mut [pollfd],
    /// Accelerated ones: place in `fds`, and the socket.
    ours: SmallVec<[(usize, Handle); 16]>,
    /// Event sets, which the kernel looks at as well.
    sets: SmallVec<[(usize, SetId); 1]>,
    /// What the kernel looks at, place for place; our connections are left out
    /// by a negative number.
    kernels: SmallVec<[pollfd; 16]>,
    /// Whether there is anything in `kernels` to look at.
    mixed: bool,
}

impl<'a> Poll<'a> {
    fn new(fds: &'a mut [pollfd]) -> Self {
        let (ours, sets) = (SmallVec::new(), SmallVec::new());
        let mut poll = Self { ours, sets, kernels: SmallVec::from_slice(fds), mixed: false, fds };
        for (at, entry) in poll.kernels.iter_mut().enumerate() {
            match table::slot(entry.fd).owner() {
                Owner::Stream(handle) => {
                    poll.ours.push((at, handle));
                    entry.fd = -1;
                }
                Owner::Listener(handle) => {
                    poll.ours.push((at, handle));
                    poll.mixed = true;
                }
                Owner::Set(set) => {
                    poll.sets.push((at, set));
                    poll.mixed = true;
                }
                Owner::Inert => entry.fd = -1,
                Owner::Kernel | Owner::Pending { .. } => poll.mixed |= entry.fd >= 0,
            }
        }
        poll
    }

    /// Marks what a forked child can no longer use; tells whether there is any.
    fn sweep_inert(&mut self) -> bool {
        let mut any = false;
        for entry in self.fds.iter_mut() {
            let inert = table::slot(entry.fd).owner() == Owner::Inert;
            entry.revents = if inert { libc::POLLNVAL } else { 0 };
            any |= inert;
        }
        any
    }

    /// Adds what the kernel reports to what `fds` say; tells whether there is any.
    fn add_kernels(&mut self) -> Result<bool, Errno> {
        if !self.mixed {
            return Ok(false);
        }
        // SAFETY: a live array and its length.
        let ready = unsafe { real::poll(self.kernels.as_mut_ptr(), self.kernels.len() as nfds_t, 0) };
        check(ready)?;
        for (entry, kernels) in self.fds.iter_mut().zip(&self.kernels) {
            if kernels.fd >= 0 {
                entry.revents |= kernels.revents;
            }
        }
        Ok(ready > 0)
    }

    fn finish(self) -> Result<usize, Errno> {
        Ok(self.fds.iter().filter(|entry| entry.revents != 0).count())
    }
}

impl Wait for Poll<'_> {
    type Outcome = Result<(), Errno>;

    fn look(&mut self, guard: &mut WorkerGuard<'_>) -> Option<Self::Outcome> {
        let mut any = false;
        for &(at, handle) in &self.ours {
            let entry = &mut self.fds[at];
            // epoll(7)'s bits are poll(2)'s.
            entry.revents = guard.readiness(handle) as i16 & (entry.events | ALWAYS);
            any |= entry.revents != 0;
        }
        for &(at, set) in &self.sets {
            let entry = &mut self.fds[at];
            let bits = nested::arrivals(guard, set).map_or(0, |_| libc::POLLIN | libc::POLLRDNORM);
            entry.revents = bits & entry.events;
            any |= entry.revents != 0;
        }
        any.then(|| self.add_kernels().map(drop))
    }

    fn look_at_kernel(&mut self) -> Option<Self::Outcome> {
        match self.add_kernels() {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(errno) => Some(Err(errno)),
        }
    }

    fn descriptors(&self) -> &[pollfd] {
        if self.mixed {
            &self.kernels
        } else {
            &[]
        }
    }
}

/// Bits of one descriptor in the three sets of select(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selected {
    /// In the first set.
    pub read: bool,
    /// In the second.
    pub write: bool,
    /// In the third.
    pub except: bool,
}

/// What select(2) calls readable, writable and exceptional, in poll(2)'s bits
/// (`POLLIN_SET` and its fellows in the kernel).
const READABLE: i16 = libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLIN | libc::POLLHUP | libc::POLLERR;
const WRITABLE: i16 = libc::POLLWRBAND | libc::POLLWRNORM | libc::POLLOUT | libc::POLLERR;
const EXCEPTIONAL: i16 = libc::POLLPRI;

impl Selected {
    /// The bits to ask poll(2) for.
    pub fn events(self) -> i16 {
        let bits = |wanted, bits| if wanted { bits } else { 0 };
        bits(self.read, libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND)
            | bits(self.write, libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND)
            | bits(self.except, libc::POLLPRI)
    }

    /// Of what was asked for, what poll(2) says is so.
    pub fn ready(self, revents: i16) -> Self {
        Self {
            read: self.read && revents & READABLE != 0,
            write: self.write && revents & WRITABLE != 0,
            except: self.except && revents & EXCEPTIONAL != 0,
        }
    }

    /// In how many sets it is.
    pub fn count(self) -> usize {
        usize::from(self.read) + usize::from(self.write) + usize::from(self.except)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Slot;

    fn entry(fd: i32, events: i16) -> pollfd {
        pollfd { fd, events, revents: 99 }
    }

    #[test]
    fn only_accelerated_sockets_concern_us() {
        let fd = 950_001;
        let fds = [entry(0, libc::POLLIN), entry(-1, 0), entry(fd, libc::POLLIN)];
        assert!(!concerns(&fds));
        table::set(fd, Slot::stream(Handle::from_bits(1)));
        assert!(concerns(&fds));
        table::set(fd, Slot::KERNEL);
    }

    #[test]
    fn descriptors_of_the_kernel_are_polled_beside_ours() {
        let mut pipe = [0; 2];
        // SAFETY: room for two descriptors.
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        let mut fds = [entry(pipe[0], libc::POLLIN), entry(pipe[1], libc::POLLOUT), entry(-1, libc::POLLIN)];
        assert_eq!(poll(&mut fds, None, std::ptr::null()), Ok(1));
        assert_eq!(fds.map(|entry| entry.revents), [0, libc::POLLOUT, 0]);
        let nothing = poll(&mut fds[..1], Some(Duration::from_millis(2)), std::ptr::null());
        assert_eq!((nothing, fds[0].revents), (Ok(0), 0));
        // SAFETY: ours.
        unsafe { (libc::close(pipe[0]), libc::close(pipe[1])) };
    }

    #[test]
    fn an_inert_descriptor_is_reported_as_not_open() {
        let fd = 950_002;
        table::set(fd, Slot::INERT);
        let mut fds = [entry(fd, libc::POLLIN)];
        assert_eq!(poll(&mut fds, None, std::ptr::null()), Ok(1));
        assert_eq!(fds[0].revents, libc::POLLNVAL);
        table::set(fd, Slot::KERNEL);
    }

    #[test]
    fn select_reads_a_hang_up_as_readable_and_an_error_as_both() {
        let all = Selected { read: true, write: true, except: true };
        assert_eq!(all.ready(libc::POLLHUP), Selected { read: true, ..Selected::default() });
        assert_eq!(all.ready(libc::POLLERR), Selected { except: false, ..all });
        let read = Selected { read: true, ..Selected::default() };
        assert_eq!(read.ready(libc::POLLOUT | libc::POLLERR), read);
        assert_eq!(read.events() & libc::POLLOUT, 0);
    }
}
