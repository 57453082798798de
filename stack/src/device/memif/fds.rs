//! Descriptors that a forked child must not keep.
//!
//! A child that holds a copy of a memif socket would hide our death from the
//! peer, so every descriptor of the device is noted as long as it lives.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::fork;

/// Owns a descriptor that [`fork::is_internal`] knows until this is dropped.
#[derive(Debug)]
pub struct Listed<T: AsFd>(T);

/// A plain descriptor that is listed.
pub type ListedFd = Listed<OwnedFd>;

impl<T: AsFd> From<T> for Listed<T> {
    fn from(fd: T) -> Self {
        fork::note(fd.as_fd().as_raw_fd());
        Self(fd)
    }
}

impl<T: AsFd> Drop for Listed<T> {
    fn drop(&mut self) {
        fork::forget(self.as_raw_fd());
    }
}

impl<T: AsFd> Deref for Listed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsFd> AsFd for Listed<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Listed<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::FromRawFd;

    #[test]
    fn a_descriptor_is_listed_while_it_lives() {
        // A number that no other test of this process is handed meanwhile.
        let fd = std::fs::File::open("/dev/null").unwrap();
        let high = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(900)).unwrap();
        // SAFETY: fcntl has just made this number, and nobody else knows it.
        let listed = ListedFd::from(unsafe { OwnedFd::from_raw_fd(high) });
        assert!(fork::is_internal(high));
        drop(listed);
        assert!(!fork::is_internal(high));
    }
}
