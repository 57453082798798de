//! epoll(7): the program's event sets.
//!
//! An epoll descriptor is a real one, and the kernel's descriptors stay in it.
//! When the first accelerated socket joins, the set is *adopted*: it gets a
//! number by which the workers keep the set's accelerated members, and waits go
//! to both sides. Sets made before the stack started, or inherited, are adopted
//! just so.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use libc::{epoll_event, pollfd, sigset_t};
use nix::errno::Errno;
use tpa_stack::{Handle, SetId, Stack, WorkerGuard};

use crate::boundary::check;
use crate::stream::Stream;
use crate::table::{self, Flag, Owner, Slot};
use crate::wait::{self, Patience, Wait};
use crate::watches::{self, Watch};
use crate::{nested, pending, real, rouse};

/// Event sets with accelerated members that a process can have at a time.
const MAX_SETS: usize = 1024;

/// While the stack always has something to report, waits between two looks at
/// the kernel's side, which cost a system call each.
const WAITS_PER_KERNEL_LOOK: u32 = 16;

/// What the shim itself knows of an adopted set.
struct State {
    used: AtomicBool,
    /// Waits so far.
    waits: AtomicU32,
    /// Has held a listener or a set: the kernel's side may report the same thing.
    listens: AtomicBool,
    /// Has held a set.
    nests: AtomicBool,
}

static STATES: [State; MAX_SETS] = [const {
    State {
        used: AtomicBool::new(false),
        waits: AtomicU32::new(0),
        listens: AtomicBool::new(false),
        nests: AtomicBool::new(false),
    }
}; MAX_SETS];

impl State {
    fn of(set: SetId) -> &'static State {
        &STATES[set.0 as usize % MAX_SETS]
    }

    /// Whether this wait looks at the kernel's side even though the stack has
    /// something to report.
    #[inline]
    fn is_kernel_due(&self) -> bool {
        self.waits.fetch_add(1, Ordering::Relaxed).is_multiple_of(WAITS_PER_KERNEL_LOOK)
    }
}

/// The number of the set behind an epoll descriptor, adopted if it is new.
fn adopt(epfd: RawFd) -> Result<SetId, Errno> {
    let slot = table::slot(epfd);
    match slot.owner() {
        Owner::Set(set) => return Ok(set),
        Owner::Kernel if table::covers(epfd) => {}
        Owner::Kernel => return Err(Errno::ENOSPC),
        _ => return Err(Errno::EINVAL),
    }
    // epoll_ctl(2): ENOSPC is what a user hears who watches too much.
    let (id, state) = (0..).zip(&STATES).find(|(_, state)| state.claim()).ok_or(Errno::ENOSPC)?;
    state.listens.store(false, Ordering::Relaxed);
    state.nests.store(false, Ordering::Relaxed);
    if table::replace(epfd, slot, Slot::set(SetId(id))) {
        table::set_flag(epfd, Flag::SHARED, slot.is_marked());
        if slot.is_marked() {
            table::replace_all(epfd, slot, Slot::set(SetId(id)));
        }
        adopt_outer(SetId(id));
        rouse::after_adoption(table::numbers_of(Slot::set(SetId(id))));
        return Ok(SetId(id));
    }
    // Another thread was faster.
    state.used.store(false, Ordering::Release);
    adopt(epfd)
}

/// Sets that hold a set which is adopted now are adopted as well.
fn adopt_outer(inner: SetId) {
    for fd in table::numbers_of(Slot::set(inner)) {
        let watches = watches::lock().get(&fd).cloned().unwrap_or_default();
        for Watch { epfd, events, data } in watches {
            let event = epoll_event { events, u64: data };
            // A set that was closed meanwhile no longer holds it.
            if is_member(epfd, fd, event) {
                if let Err(errno) = nest(epfd, inner, fd, Some(event)) {
                    log::warn!("an event set cannot watch accelerated sockets: {errno}");
                }
            }
        }
    }
}

/// A set is in another one, or (`None`) no longer.
fn nest(epfd: RawFd, inner: SetId, fd: RawFd, event: Option<epoll_event>) -> Result<(), Errno> {
    let outer = adopt(epfd)?;
    let state = State::of(outer);
    state.listens.store(true, Ordering::Relaxed);
    state.nests.store(true, Ordering::Relaxed);
    nested::put(outer, inner, fd, event);
    Ok(())
}

impl State {
    fn claim(&self) -> bool {
        self.used.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The set's last number is closed.
pub fn release(set: SetId) {
    nested::forget(set);
    if let Some(stack) = Stack::get() {
        stack.workers().iter().for_each(|worker| worker.lock().drop_set(set));
    }
    State::of(set).used.store(false, Ordering::Release);
}

/// epoll_ctl(2) with a socket that is not plainly the kernel's.
///
/// # Errors
///
/// As epoll_ctl(2).
pub fn control(epfd: RawFd, operation: i32, fd: RawFd, event: Option<epoll_event>) -> Result<usize, Errno> {
    match table::slot(fd).owner() {
        Owner::Stream(handle) => control_stream(epfd, operation, Stream { fd, handle }, event),
        Owner::Listener(handle) => control_listener(epfd, operation, fd, handle, event),
        Owner::Pending { .. } => {
            control_kernel(epfd, operation, fd, event)?;
            pending::note_watched();
            adopt(epfd).map(|_| 0)
        }
        Owner::Set(inner) => {
            control_kernel(epfd, operation, fd, event)?;
            nest(epfd, inner, fd, event.filter(|_| operation != libc::EPOLL_CTL_DEL)).map(|()| 0)
        }
        Owner::Kernel => control_kernel(epfd, operation, fd, event),
        Owner::Inert => Err(Errno::EBADF),
    }
}

/// The kernel's set is told; what may move to the stack later is noted.
fn control_kernel(
    epfd: RawFd,
    operation: i32,
    fd: RawFd,
    event: Option<epoll_event>,
) -> Result<usize, Errno> {
    kernel_control(epfd, operation, fd, event)?;
    match event {
        _ if operation == libc::EPOLL_CTL_DEL => watches::remove(fd, epfd),
        Some(epoll_event { events, u64: data }) => {
            watches::note(fd, Watch { epfd, events, data });
            table::note(fd, Slot::WATCHED);
        }
        None => {}
    }
    Ok(0)
}

/// What epoll_ctl(2) refuses whatever is watched.
fn check_operation(operation: i32, event: Option<epoll_event>) -> Result<(), Errno> {
    let exclusive = event.is_some_and(|event| event.events & libc::EPOLLEXCLUSIVE as u32 != 0);
    match operation {
        libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_DEL => Ok(()),
        libc::EPOLL_CTL_MOD if !exclusive => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

fn kernel_control(epfd: RawFd, operation: i32, fd: RawFd, event: Option<epoll_event>) -> Result<(), Errno> {
    let mut event = event;
    let event = event.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    // SAFETY: null or a live event.
    check(unsafe { real::epoll_ctl(epfd, operation, fd, event) }).map(drop)
}

fn control_stream(
    epfd: RawFd,
    operation: i32,
    stream: Stream,
    event: Option<epoll_event>,
) -> Result<usize, Errno> {
    let set = match table::slot(epfd).owner() {
        Owner::Set(set) => set,
        // The kernel tells whether this is an epoll descriptor: taking out what
        // is not in it gives ENOENT there, and EBADF or EINVAL elsewhere.
        _ => match kernel_control(epfd, libc::EPOLL_CTL_DEL, stream.fd, None).or_else(|errno| {
            if errno == Errno::ENOENT {
                check_operation(operation, event)
            } else {
                Err(errno)
            }
        }) {
            Ok(()) if operation == libc::EPOLL_CTL_ADD => adopt(epfd)?,
            Ok(()) => return Err(Errno::ENOENT),
            Err(errno) => return Err(errno),
        },
    };
    check_operation(operation, event)?;
    control_stack(set, operation, stream, event)
}

/// The stack's side of one member.
fn control_stack(
    set: SetId,
    operation: i32,
    stream: Stream,
    event: Option<epoll_event>,
) -> Result<usize, Errno> {
    let Stream { fd, handle } = stream;
    let mut guard = stream.worker()?.lock();
    let wanted = || event.ok_or(Errno::EFAULT);
    match operation {
        libc::EPOLL_CTL_ADD => wanted().and_then(|e| guard.watch(set, fd, handle, e.events, e.u64)),
        libc::EPOLL_CTL_MOD => wanted().and_then(|e| guard.rewatch(set, fd, handle, e.events, e.u64)),
        libc::EPOLL_CTL_DEL => guard.unwatch(set, fd, handle),
        _ => Err(Errno::EINVAL),
    }
    .map(|()| 0)
}

/// A listener is in both sides of a set.
fn control_listener(
    epfd: RawFd,
    operation: i32,
    fd: RawFd,
    handle: Handle,
    event: Option<epoll_event>,
) -> Result<usize, Errno> {
    control_kernel(epfd, operation, fd, event)?;
    let set = adopt(epfd)?;
    State::of(set).listens.store(true, Ordering::Relaxed);
    control_stack(set, operation, Stream { fd, handle }, event)
}

/// A listener is pending from now on: waits on the sets that it is in must
/// notice.
pub fn adopt_sets_of(fd: RawFd) {
    let sets: Vec<RawFd> = watches::lock().get(&fd).into_iter().flatten().map(|watch| watch.epfd).collect();
    for epfd in sets {
        pending::note_watched();
        if let Err(errno) = adopt(epfd) {
            log::warn!("an event set cannot watch accelerated sockets: {errno}");
        }
    }
}

/// A kernel socket became a connection of the stack: it leaves the kernel's
/// sets and joins them on the stack's side.
pub fn move_stream(stream: Stream, before: Slot) {
    if !before.has(Slot::WATCHED) {
        return;
    }
    for watch in watches::take(stream.fd) {
        // A set that was closed meanwhile no longer holds the socket.
        if kernel_control(watch.epfd, libc::EPOLL_CTL_DEL, stream.fd, None).is_ok() {
            join(stream, watch);
        }
    }
}

/// A kernel listener became one of the stack as well: it joins its sets on the
/// stack's side too.
pub fn move_listener(fd: RawFd, handle: Handle) {
    let watches = watches::lock().get(&fd).cloned().unwrap_or_default();
    for watch in watches {
        let event = epoll_event { events: watch.events, u64: watch.data };
        // A set that was closed meanwhile no longer holds the socket.
        if is_member(watch.epfd, fd, event) {
            join(Stream { fd, handle }, watch);
        }
    }
}

/// Whether the kernel's set holds a descriptor. Asked by adding it, since
/// epoll_ctl(2) refuses to change a member that is `EPOLLEXCLUSIVE`.
fn is_member(epfd: RawFd, fd: RawFd, event: epoll_event) -> bool {
    match kernel_control(epfd, libc::EPOLL_CTL_ADD, fd, Some(event)) {
        Err(errno) => errno == Errno::EEXIST,
        Ok(()) => {
            // It was not; the program must not find it there.
            let _ = kernel_control(epfd, libc::EPOLL_CTL_DEL, fd, None);
            false
        }
    }
}

fn join(stream: Stream, watch: Watch) {
    let event = epoll_event { events: watch.events, u64: watch.data };
    let joined = adopt(watch.epfd).and_then(|set| {
        State::of(set).listens.store(true, Ordering::Relaxed);
        control_stack(set, libc::EPOLL_CTL_ADD, stream, Some(event))
    });
    if let Err(errno) = joined {
        log::warn!("an event set cannot watch accelerated sockets: {errno}");
    }
}

/// epoll_wait(2) and its like on an adopted set.
///
/// # Errors
///
/// As epoll_wait(2).
pub fn wait(
    epfd: RawFd,
    set: SetId,
    out: &mut [epoll_event],
    limit: Option<Duration>,
    mask: *const sigset_t,
) -> Result<usize, Errno> {
    let stack = Stack::get().ok_or(Errno::EBADF)?;
    let state = State::of(set);
    let descriptor = [pollfd { fd: epfd, events: libc::POLLIN, revents: 0 }];
    let mut both = Both { epfd, set, out, mask, descriptor };
    if state.is_kernel_due() {
        // Half of the room, so that the stack's side is not kept out either.
        let room = both.out.len().div_ceil(2);
        if let Some(kernels) = both.kernel(room) {
            let kernels = kernels?;
            let stacks = both.harvest(stack, kernels);
            return Ok(merge(both.out, kernels, stacks, state.listens.load(Ordering::Relaxed)));
        }
    }
    wait::wait(stack.workers(), &mut both, &Patience::for_events(limit, mask))?.unwrap_or(Ok(0))
}

/// Both sides of a set.
struct Both<'a> {
    epfd: RawFd,
    set: SetId,
    out: &'a mut [epoll_event],
    mask: *const sigset_t,
    descriptor: [pollfd; 1],
}

impl Both<'_> {
    /// What the kernel has to report now, at most `room` events.
    fn kernel(&mut self, room: usize) -> Option<Result<usize, Errno>> {
        let room = room.min(i32::MAX as usize) as i32;
        // SAFETY: no more than the array holds; the mask is null or the program's.
        let ready = unsafe { real::epoll_pwait(self.epfd, self.out.as_mut_ptr(), room, 0, self.mask) };
        match check(ready).map(|ready| rouse::strip(&mut self.out[..ready as usize])) {
            Ok(0) => None,
            ready => Some(ready),
        }
    }

    /// What the stack has to report now, behind the first `at` events.
    fn harvest(&mut self, stack: &Stack, at: usize) -> usize {
        let mut end = at;
        for worker in stack.workers() {
            let mut guard = worker.lock();
            guard.poll();
            end += guard.harvest(self.set, &mut self.out[end..]);
            if State::of(self.set).nests.load(Ordering::Relaxed) {
                end += nested::harvest(&mut guard, self.set, &mut self.out[end..]);
            }
        }
        end - at
    }
}

impl Wait for Both<'_> {
    type Outcome = Result<usize, Errno>;

    #[inline]
    fn look(&mut self, guard: &mut WorkerGuard<'_>) -> Option<Self::Outcome> {
        let mut count = guard.harvest(self.set, self.out);
        if State::of(self.set).nests.load(Ordering::Relaxed) {
            count += nested::harvest(guard, self.set, &mut self.out[count..]);
        }
        (count > 0).then_some(Ok(count))
    }

    fn look_at_kernel(&mut self) -> Option<Self::Outcome> {
        self.kernel(self.out.len())
    }

    fn descriptors(&self) -> &[pollfd] {
        &self.descriptor
    }
}

/// Joins the events of both sides: a listener that is ready on both is one
/// event. Members are told apart by the program's own word; two with the same
/// word the program cannot tell apart either.
fn merge(out: &mut [epoll_event], kernels: usize, stacks: usize, may_repeat: bool) -> usize {
    if !may_repeat {
        return kernels + stacks;
    }
    let mut end = kernels;
    for at in kernels..kernels + stacks {
        let event = out[at];
        let data = event.u64;
        match out[..kernels].iter_mut().find(|known| { known.u64 } == data) {
            Some(known) => known.events |= event.events,
            None => {
                out[end] = event;
                end += 1;
            }
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: u32 = libc::EPOLLIN as u32;
    const HUP: u32 = libc::EPOLLHUP as u32;

    fn events(list: &[(u32, u64)]) -> Vec<epoll_event> {
        list.iter().map(|&(events, u64)| epoll_event { events, u64 }).collect()
    }

    #[test]
    fn a_listener_ready_on_both_sides_is_one_event() {
        let mut out = events(&[(IN, 1), (IN, 2), (HUP, 1), (IN, 3)]);
        assert_eq!(merge(&mut out, 2, 2, true), 3);
        let merged: Vec<_> = out[..3].iter().map(|event| (event.events, event.u64)).collect();
        assert_eq!(merged, [(IN | HUP, 1), (IN, 2), (IN, 3)]);
    }

    #[test]
    fn without_listeners_nothing_is_merged() {
        let mut out = events(&[(IN, 1), (IN, 1)]);
        assert_eq!(merge(&mut out, 1, 1, false), 2);
    }

    #[test]
    fn the_kernels_side_is_looked_at_every_so_often() {
        let state = State {
            used: AtomicBool::new(true),
            waits: AtomicU32::new(0),
            listens: AtomicBool::new(false),
            nests: AtomicBool::new(false),
        };
        let due = (0..4 * WAITS_PER_KERNEL_LOOK).filter(|_| state.is_kernel_due()).count();
        assert_eq!(due, 4);
    }

    #[test]
    fn a_set_is_adopted_once_and_its_number_used_again() {
        let epfd = 940_001;
        let first = adopt(epfd).unwrap();
        assert_eq!(adopt(epfd), Ok(first));
        assert_eq!(table::slot(epfd).owner(), Owner::Set(first));
        table::set(epfd, Slot::KERNEL);
        release(first);
        assert!(State::of(first).claim());
        release(first);
    }

    #[test]
    fn a_socket_cannot_be_an_event_set() {
        let fd = 940_002;
        table::set(fd, Slot::listener(Handle::from_bits(3)));
        assert_eq!(adopt(fd), Err(Errno::EINVAL));
        table::set(fd, Slot::KERNEL);
    }
}
