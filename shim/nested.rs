//! An event set inside of another one, or in poll(2): it is ready when something
//! in it is.
//!
//! The kernel knows its own members of the inner set; of the accelerated ones it
//! knows nothing, so that waits on the outer set ask here.

use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::epoll_event;
use tpa_stack::{SetId, WorkerGuard};

/// What a set reports (`ep_eventpoll_poll`).
const READY: u32 = (libc::EPOLLIN | libc::EPOLLRDNORM) as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
/// `EP_MAX_NESTS`.
const MAX_DEPTH: u32 = 5;

/// A set in a set.
struct Member {
    outer: SetId,
    inner: SetId,
    /// The inner one's number, by which the program put it there.
    fd: RawFd,
    events: u32,
    data: u64,
    /// Arrivals in the inner set at the last report, for `EPOLLET`.
    seen: u64,
    /// It has fired its one shot.
    disabled: bool,
}

static MEMBERS: Mutex<Vec<Member>> = Mutex::new(Vec::new());

fn members() -> MutexGuard<'static, Vec<Member>> {
    MEMBERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernel has taken, changed or (`None`) dropped a set in another one.
pub fn put(outer: SetId, inner: SetId, fd: RawFd, event: Option<epoll_event>) {
    let mut members = members();
    members.retain(|member| (member.outer, member.fd) != (outer, fd));
    if let Some(epoll_event { events, u64: data }) = event {
        members.push(Member { outer, inner, fd, events, data, seen: 0, disabled: false });
    }
}

/// A set is closed.
pub fn forget(set: SetId) {
    members().retain(|member| member.outer != set && member.inner != set);
}

/// The arrivals in a set that has something accelerated to report, in itself or in
/// a set inside of it.
pub fn arrivals(guard: &mut WorkerGuard<'_>, set: SetId) -> Option<u64> {
    arrivals_within(guard, &members(), set, 0)
}

fn arrivals_within(guard: &mut WorkerGuard<'_>, members: &[Member], set: SetId, depth: u32) -> Option<u64> {
    let own = guard.peek_set(set);
    if own.is_some() || depth == MAX_DEPTH {
        return own;
    }
    let inner = members.iter().filter(|member| member.outer == set && member.events & READY != 0);
    inner.filter_map(|member| arrivals_within(guard, members, member.inner, depth + 1)).max()
}

/// Writes the events of the sets inside of one into `out`; returns their number.
pub fn harvest(guard: &mut WorkerGuard<'_>, outer: SetId, out: &mut [epoll_event]) -> usize {
    let mut members = members();
    let mut count = 0;
    for at in 0..members.len() {
        let member = &members[at];
        let bits = member.events & READY;
        if member.outer != outer || member.disabled || bits == 0 || count == out.len() {
            continue;
        }
        let Some(arrivals) = arrivals_within(guard, &members, member.inner, 1) else { continue };
        let member = &mut members[at];
        if member.events & EDGE != 0 && member.seen == arrivals {
            continue;
        }
        member.seen = arrivals;
        member.disabled = member.events & ONESHOT != 0;
        out[count] = epoll_event { events: bits, u64: member.data };
        count += 1;
    }
    count
}
