//! One worker's share of the program's event sets (epoll(7)).
//!
//! An event set has a shard on every worker that owns sockets of it. A shard
//! knows who watches which socket, and keeps a queue of watches that are ready.
//! Everything here happens under the worker's lock, so that readiness needs no
//! lock of its own.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use nix::errno::Errno;
use smallvec::SmallVec;

use crate::handle::{Handle, SetId};

/// Bits that are reported whether asked for or not (epoll_ctl(2)).
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// All that may stand beside `EPOLLEXCLUSIVE` (`EPOLLEXCLUSIVE_OK_BITS`).
const BESIDE_EXCLUSIVE: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLWAKEUP | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32
        | ALWAYS;

/// Where a socket is watched: the set, and the watch's place in the shard.
pub type Watches = SmallVec<[(SetId, u32); 1]>;

struct Watch {
    fd: RawFd,
    handle: Handle,
    events: u32,
    data: u64,
    /// In the ready queue.
    queued: bool,
    /// A one-shot watch that has fired, until the next `rewatch`.
    disabled: bool,
}

#[derive(Default)]
struct Shard {
    watches: Vec<Option<Watch>>,
    free: Vec<u32>,
    by_key: HashMap<(RawFd, u64), u32, RandomState>,
    ready: VecDeque<u32>,
    /// How often something that is watched has happened.
    arrivals: u64,
}

impl Shard {
    fn queue(&mut self, index: u32) {
        self.arrivals += 1;
        if let Some(watch) = self.watches.get_mut(index as usize).and_then(Option::as_mut)
            && !watch.queued
        {
            watch.queued = true;
            self.ready.push_back(index);
        }
    }
}

/// The shards of one worker, by [`SetId`].
#[derive(Default)]
pub struct Interest {
    shards: Vec<Shard>,
}

impl Interest {
    fn shard(&mut self, set: SetId) -> Option<&mut Shard> {
        self.shards.get_mut(set.0 as usize)
    }

    /// `EPOLL_CTL_ADD`; `EINVAL` for bits that do not go together. `watches` is
    /// the socket's own list, `readiness` its present state.
    pub fn add(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        (events, data): (u32, u64),
        watches: &mut Watches,
        readiness: u32,
    ) -> Result<(), Errno> {
        if events & EXCLUSIVE != 0 && events & !BESIDE_EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        let at = set.0 as usize;
        if self.shards.len() <= at {
            self.shards.resize_with(at + 1, Shard::default);
        }
        let shard = &mut self.shards[at];
        let key = (fd, handle.to_bits());
        if shard.by_key.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let watch = Watch { fd, handle, events, data, queued: false, disabled: false };
        let index = match shard.free.pop() {
            Some(index) => {
                shard.watches[index as usize] = Some(watch);
                index
            }
            None => {
                shard.watches.push(Some(watch));
                // As many queue places as watches: queueing never allocates.
                shard.ready.reserve(shard.watches.len() - shard.ready.len());
                shard.watches.len() as u32 - 1
            }
        };
        shard.by_key.insert(key, index);
        watches.push((set, index));
        if readiness & (events | ALWAYS) != 0 {
            shard.queue(index);
        }
        Ok(())
    }

    /// `EPOLL_CTL_MOD`: new interest, armed again; `EINVAL` for an exclusive watch.
    pub fn modify(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        (events, data): (u32, u64),
        readiness: u32,
    ) -> Result<(), Errno> {
        let shard = self.shard(set).ok_or(Errno::ENOENT)?;
        let index = *shard.by_key.get(&(fd, handle.to_bits())).ok_or(Errno::ENOENT)?;
        let watch = shard.watches[index as usize].as_mut().ok_or(Errno::ENOENT)?;
        if watch.events & EXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        watch.events = events;
        watch.data = data;
        watch.disabled = false;
        if readiness & (events | ALWAYS) != 0 {
            shard.queue(index);
        }
        Ok(())
    }

    /// `EPOLL_CTL_DEL`.
    pub fn remove(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        watches: &mut Watches,
    ) -> Result<(), Errno> {
        let shard = self.shard(set).ok_or(Errno::ENOENT)?;
        let index = shard.by_key.remove(&(fd, handle.to_bits())).ok_or(Errno::ENOENT)?;
        watches.retain(|entry| *entry != (set, index));
        Self::release(shard, index);
        Ok(())
    }

    /// A socket goes: it leaves every set.
    pub fn forget(&mut self, watches: &mut Watches) {
        for (set, index) in watches.drain(..) {
            let Some(shard) = self.shards.get_mut(set.0 as usize) else { continue };
            if let Some(watch) = &shard.watches[index as usize] {
                shard.by_key.remove(&(watch.fd, watch.handle.to_bits()));
                Self::release(shard, index);
            }
        }
    }

    fn release(shard: &mut Shard, index: u32) {
        let queued = shard.watches[index as usize].take().is_some_and(|watch| watch.queued);
        if queued {
            shard.ready.retain(|&other| other != index);
        }
        shard.free.push(index);
    }

    /// The set goes. Returns the sockets that were in it, so that their own
    /// lists can be mended.
    pub fn drop_set(&mut self, set: SetId) -> Vec<(Handle, u32)> {
        let Some(shard) = self.shard(set) else { return Vec::new() };
        let shard = std::mem::take(shard);
        (0..).zip(shard.watches).filter_map(|(index, watch)| Some((watch?.handle, index))).collect()
    }

    /// Something happened on a socket: `edges` are the bits that became true
    /// (again), as tcp_poll would report them. The latest watch comes first, as in
    /// Linux, whose wait queues grow at the head.
    #[inline]
    pub fn notify(&mut self, watches: &Watches, edges: u32) {
        for &(set, index) in watches.iter().rev() {
            let Some(shard) = self.shards.get_mut(set.0 as usize) else { continue };
            let Some(watch) = &mut shard.watches[index as usize] else { continue };
            if !watch.disabled && edges & (watch.events | ALWAYS) != 0 {
                shard.arrivals += 1;
                if !watch.queued {
                    watch.queued = true;
                    shard.ready.push_back(index);
                }
            }
        }
    }

    /// Whether the set may have something to report.
    #[inline]
    pub fn has_ready(&self, set: SetId) -> bool {
        self.shards.get(set.0 as usize).is_some_and(|shard| !shard.ready.is_empty())
    }

    /// Whether anything is ready (`None`: nothing), and the arrivals so far.
    pub fn peek(&mut self, set: SetId, mut readiness: impl FnMut(Handle) -> u32) -> Option<u64> {
        let shard = self.shard(set)?;
        while let Some(&index) = shard.ready.front() {
            if let Some(watch) = &mut shard.watches[index as usize] {
                if !watch.disabled && readiness(watch.handle) & (watch.events | ALWAYS) != 0 {
                    return Some(shard.arrivals);
                }
                watch.queued = false;
            }
            shard.ready.pop_front();
        }
        None
    }

    /// Writes what is ready into `out` and returns how much. Level-triggered
    /// watches go back to the end of the queue, so that a later call starts
    /// with others.
    pub fn harvest(
        &mut self,
        set: SetId,
        out: &mut [libc::epoll_event],
        mut readiness: impl FnMut(Handle) -> u32,
    ) -> usize {
        let Some(shard) = self.shard(set) else { return 0 };
        let mut count = 0;
        for _ in 0..shard.ready.len() {
            if count == out.len() {
                break;
            }
            let Some(index) = shard.ready.pop_front() else { break };
            let Some(watch) = &mut shard.watches[index as usize] else { continue };
            let bits = readiness(watch.handle) & (watch.events | ALWAYS);
            if bits == 0 || watch.disabled {
                watch.queued = false;
                continue;
            }
            out[count] = libc::epoll_event { events: bits, u64: watch.data };
            count += 1;
            if watch.events & ONESHOT != 0 {
                watch.disabled = true;
                watch.queued = false;
            } else if watch.events & EDGE != 0 {
                watch.queued = false;
            } else {
                shard.ready.push_back(index);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN: u32 = libc::EPOLLIN as u32;
    const OUT: u32 = libc::EPOLLOUT as u32;
    const SET: SetId = SetId(0);

    fn handle(index: u32) -> Handle {
        Handle::new(0, index, 1)
    }

    fn harvest(
        interest: &mut Interest,
        room: usize,
        readiness: impl FnMut(Handle) -> u32,
    ) -> Vec<(u32, u64)> {
        let mut out = vec![libc::epoll_event { events: 0, u64: 0 }; room];
        let count = interest.harvest(SET, &mut out, readiness);
        out[..count].iter().map(|event| (event.events, event.u64)).collect()
    }

    #[test]
    fn a_level_watch_reports_until_the_socket_is_no_longer_ready() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (IN, 7), &mut watches, 0).unwrap();
        assert!(harvest(&mut interest, 8, |_| IN).is_empty());
        interest.notify(&watches, IN);
        assert_eq!(harvest(&mut interest, 8, |_| IN), [(IN, 7)]);
        assert_eq!(harvest(&mut interest, 8, |_| IN), [(IN, 7)]);
        assert!(harvest(&mut interest, 8, |_| 0).is_empty());
        assert!(harvest(&mut interest, 8, |_| IN).is_empty());
    }

    #[test]
    fn an_edge_watch_reports_once_an_edge() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (IN | OUT | EDGE, 7), &mut watches, OUT).unwrap();
        assert_eq!(harvest(&mut interest, 8, |_| OUT), [(OUT, 7)]);
        assert!(harvest(&mut interest, 8, |_| OUT).is_empty());
        interest.notify(&watches, IN);
        assert_eq!(harvest(&mut interest, 8, |_| IN | OUT), [(IN | OUT, 7)]);
        assert!(harvest(&mut interest, 8, |_| IN | OUT).is_empty());
        interest.modify(SET, 5, handle(0), (IN | EDGE, 8), IN).unwrap();
        assert_eq!(harvest(&mut interest, 8, |_| IN | OUT), [(IN, 8)]);
    }

    #[test]
    fn a_peek_takes_nothing_and_counts_what_arrived() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (IN, 7), &mut watches, 0).unwrap();
        assert_eq!(interest.peek(SET, |_| 0), None);
        interest.notify(&watches, IN);
        let first = interest.peek(SET, |_| IN).unwrap();
        assert_eq!(interest.peek(SET, |_| IN), Some(first));
        interest.notify(&watches, IN);
        assert_eq!(interest.peek(SET, |_| IN), Some(first + 1), "still queued, and yet an arrival");
        assert_eq!(harvest(&mut interest, 8, |_| IN), [(IN, 7)]);
        assert_eq!(interest.peek(SET, |_| 0), None);
    }

    #[test]
    fn an_exclusive_watch_takes_few_bits_and_no_change() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        let wrong = IN | EXCLUSIVE | ONESHOT;
        assert_eq!(interest.add(SET, 5, handle(0), (wrong, 7), &mut watches, 0), Err(Errno::EINVAL));
        interest.add(SET, 5, handle(0), (IN | EXCLUSIVE, 7), &mut watches, 0).unwrap();
        assert_eq!(interest.modify(SET, 5, handle(0), (IN, 7), 0), Err(Errno::EINVAL));
    }

    #[test]
    fn a_one_shot_watch_is_silent_until_it_is_armed_again() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (IN | OUT | ONESHOT, 7), &mut watches, IN).unwrap();
        assert_eq!(harvest(&mut interest, 8, |_| IN), [(IN, 7)]);
        interest.notify(&watches, OUT);
        assert!(harvest(&mut interest, 8, |_| IN | OUT).is_empty());
        interest.modify(SET, 5, handle(0), (IN | ONESHOT, 9), IN).unwrap();
        assert_eq!(harvest(&mut interest, 8, |_| IN), [(IN, 9)]);
    }

    #[test]
    fn more_ready_sockets_than_room_take_turns() {
        let mut interest = Interest::default();
        let mut lists = vec![Watches::new(); 5];
        for (i, watches) in (0..).zip(&mut lists) {
            interest.add(SET, i as RawFd, handle(i), (IN, i.into()), watches, IN).unwrap();
        }
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.extend(harvest(&mut interest, 2, |_| IN).iter().map(|event| event.1));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn errors_and_hang_ups_are_reported_unasked() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (0, 7), &mut watches, 0).unwrap();
        interest.notify(&watches, libc::EPOLLHUP as u32);
        assert_eq!(harvest(&mut interest, 8, |_| IN | libc::EPOLLHUP as u32), [(libc::EPOLLHUP as u32, 7)]);
    }

    #[test]
    fn adding_twice_and_changing_the_absent_fail_as_epoll_ctl_does() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (IN, 7), &mut watches, 0).unwrap();
        assert_eq!(interest.add(SET, 5, handle(0), (IN, 7), &mut watches, 0), Err(Errno::EEXIST));
        interest.add(SET, 6, handle(0), (IN, 7), &mut watches, 0).unwrap();
        interest.remove(SET, 5, handle(0), &mut watches).unwrap();
        assert_eq!(interest.remove(SET, 5, handle(0), &mut watches), Err(Errno::ENOENT));
        assert_eq!(interest.modify(SET, 5, handle(0), (IN, 7), 0), Err(Errno::ENOENT));
        assert_eq!(watches.len(), 1);
    }

    #[test]
    fn a_socket_that_goes_leaves_every_set() {
        let (mut interest, mut watches) = (Interest::default(), Watches::new());
        interest.add(SET, 5, handle(0), (IN, 7), &mut watches, IN).unwrap();
        interest.add(SetId(3), 5, handle(0), (IN, 8), &mut watches, IN).unwrap();
        interest.forget(&mut watches);
        assert!(watches.is_empty());
        assert!(!interest.has_ready(SET) && !interest.has_ready(SetId(3)));
        assert!(harvest(&mut interest, 8, |_| IN).is_empty());
    }
}
