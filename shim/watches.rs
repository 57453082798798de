//! Kernel event sets that hold sockets which may still be accelerated.
//!
//! A program may add a socket to an event set before it calls connect(2) or
//! listen(2). When the socket moves to the stack, its place in those sets has
//! to move as well; the kernel does not tell it, so it is noted here.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One socket in one event set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The set's epoll descriptor.
    pub epfd: RawFd,
    /// Bits of epoll(7).
    pub events: u32,
    /// The program's own word.
    pub data: u64,
}

/// By socket.
pub type Watches = BTreeMap<RawFd, Vec<Watch>>;

static WATCHES: Mutex<Watches> = Mutex::new(BTreeMap::new());

/// Takes the lock; held over fork(2).
pub fn lock() -> MutexGuard<'static, Watches> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a socket's place in a set, or its change.
pub fn note(fd: RawFd, watch: Watch) {
    let mut watches = lock();
    let watches = watches.entry(fd).or_default();
    watches.retain(|known| known.epfd != watch.epfd);
    watches.push(watch);
}

/// The socket left the set.
pub fn remove(fd: RawFd, epfd: RawFd) {
    if let Some(watches) = lock().get_mut(&fd) {
        watches.retain(|known| known.epfd != epfd);
    }
}

/// Takes out all that is known of a socket: it moves, or is closed.
pub fn take(fd: RawFd) -> Vec<Watch> {
    lock().remove(&fd).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_known_once_a_set_with_its_last_interest() {
        let fd = 920_001;
        for (epfd, events) in [(3, 1), (4, 2), (3, 5)] {
            note(fd, Watch { epfd, events, data: 9 });
        }
        remove(fd, 4);
        assert_eq!(take(fd), [Watch { epfd: 3, events: 5, data: 9 }]);
        assert_eq!(take(fd), []);
    }
}
