//! What a forked child must not keep: descriptors of ours, closed in the
//! child, since an orphan that holds a queue's descriptor makes the queue
//! unusable after the parent's death. (Mappings carry `MADV_DONTFORK` where
//! they are made.)

use std::fs;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// Descriptors that can be remembered: queues, maps, sockets and port
/// reservations.
const CAPACITY: usize = 4096;

static INTERNAL: [AtomicI32; CAPACITY] = [const { AtomicI32::new(-1) }; CAPACITY];

/// Notes a descriptor as the stack's own, once however often it is said. Beyond
/// the capacity nothing is noted: the descriptor then stays open in a child.
pub fn note(fd: RawFd) {
    if is_internal(fd) {
        return;
    }
    for place in &INTERNAL {
        if place.compare_exchange(-1, fd, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Forgets a descriptor that is about to be closed.
pub fn forget(fd: RawFd) {
    for place in &INTERNAL {
        if place.compare_exchange(fd, -1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Whether a descriptor is the stack's own.
pub fn is_internal(fd: RawFd) -> bool {
    INTERNAL.iter().any(|place| place.load(Ordering::Relaxed) == fd)
}

/// Closes them all. For a forked child: async-signal-safe.
pub fn close_all() {
    for fd in INTERNAL.iter().map(|place| place.swap(-1, Ordering::Relaxed)).filter(|&fd| fd >= 0) {
        // SAFETY: the descriptor is ours alone, and nothing in the child uses it.
        unsafe { libc::syscall(libc::SYS_close, fd) };
    }
}

/// The process's open descriptors, without the one that reads them.
pub fn open_descriptors() -> Vec<RawFd> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let named: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The directory's own descriptor is closed by now.
    // SAFETY: F_GETFD only asks.
    named.into_iter().filter(|&fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0).collect()
}

/// Whether a descriptor that appeared while a device was opened can be the
/// device's. Another thread may open one at the same time; its files and pipes
/// are told apart so.
pub fn may_be_a_devices(fd: RawFd) -> bool {
    let Ok(target) = fs::read_link(format!("/proc/self/fd/{fd}")) else { return false };
    let target = target.to_string_lossy();
    ["anon_inode:", "socket:", "/memfd:", "/dev/"].iter().any(|kind| target.starts_with(kind))
        || target.contains("huge")
}

/// Held by tests that fork, and shared by those whose descriptors a child must
/// not hold meanwhile.
#[cfg(test)]
pub static FORKS: std::sync::RwLock<()> = std::sync::RwLock::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_descriptor_is_internal_until_forgotten() {
        note(100_007);
        note(100_007);
        assert!(is_internal(100_007));
        forget(100_007);
        assert!(!is_internal(100_007));
    }
}
