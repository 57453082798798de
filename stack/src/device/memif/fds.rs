//! Descriptors that a forked child must not keep.
//!
//! A child that holds a copy of a memif socket would hide our death from the
//! peer. Every descriptor of the device is therefore written down in one flat
//! table, which a child can walk right after fork(2): it takes no lock and
//! allocates nothing.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Descriptors that the table has room for; later ones go unlisted.
const SLOTS: usize = 1024;
/// Marks a free place of the table.
const FREE: RawFd = -1;

static OPEN: [AtomicI32; SLOTS] = [const { AtomicI32::new(FREE) }; SLOTS];

/// The descriptors that memif devices of this process hold, for the child of a
/// fork(2) to close. Async-signal-safe.
pub fn open_fds() -> impl Iterator<Item = RawFd> {
    OPEN.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|&fd| fd != FREE)
}

/// Owns a descriptor that [`open_fds`] lists until this is dropped.
#[derive(Debug)]
pub struct Listed<T> {
    fd: T,
    slot: Option<&'static AtomicI32>,
}

/// A plain descriptor that is listed.
pub type ListedFd = Listed<OwnedFd>;

impl<T: AsFd> From<T> for Listed<T> {
    fn from(fd: T) -> Self {
        let raw = fd.as_fd().as_raw_fd();
        let claim = |slot: &&AtomicI32| {
            slot.compare_exchange(FREE, raw, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        Self { slot: OPEN.iter().find(claim), fd }
    }
}

impl<T> Drop for Listed<T> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.store(FREE, Ordering::Relaxed);
        }
    }
}

impl<T> Deref for Listed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.fd
    }
}

impl<T: AsFd> AsFd for Listed<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Listed<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_listed_while_it_lives() {
        let listed = ListedFd::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let raw = listed.as_raw_fd();
        assert!(open_fds().any(|fd| fd == raw));
        let slot = listed.slot.unwrap();
        drop(listed);
        assert_ne!(slot.load(Ordering::Relaxed), raw);
    }
}
