//! Servers that fork for each connection they accept, and let the child serve it.
//!
//! The stack is the parent's; a child can only close what it inherits of it. Some
//! such servers are known by name (the policy's built-in rule). Of others the first
//! child tells: it reads from or writes to a connection of its parent's, in vain.
//! The parent's listeners then go back to the kernel, which serves such programs
//! well, when it next accepts.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{mmap_anonymous, MapFlags, ProtFlags};
use tpa_stack::Stack;

/// In memory that parent and children share: a child has used a connection of its
/// parent's. Null until the first fork of a process whose stack runs.
static USED: AtomicPtr<AtomicBool> = AtomicPtr::new(null_mut());

/// Before a fork, in the parent.
pub fn prepare() {
    if Stack::get().is_some() && USED.load(Ordering::Relaxed).is_null() {
        if let Some(memory) = share() {
            USED.store(memory.cast::<AtomicBool>().as_ptr(), Ordering::Release);
        }
    }
}

/// A page of zeros that children share.
fn share() -> Option<NonNull<c_void>> {
    let (access, kind) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
    // SAFETY: new memory, at no particular place.
    unsafe { mmap_anonymous(None, NonZeroUsize::MIN, access, kind) }.ok()
}

fn used() -> Option<&'static AtomicBool> {
    // SAFETY: null, or a page that is never unmapped.
    unsafe { USED.load(Ordering::Acquire).as_ref() }
}

/// In a child: it uses a connection of its parent's, which fails with this.
#[cold]
pub fn refuse() -> Errno {
    if let Some(used) = used() {
        used.store(true, Ordering::Relaxed);
    }
    Errno::EBADF
}

/// In the parent: whether a child of it has.
pub fn is_recognised() -> bool {
    used().is_some_and(|used| used.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_does_is_seen_by_its_parent() {
        let memory = share().unwrap().cast::<AtomicBool>();
        // SAFETY: a page of zeros that stays.
        let shared = unsafe { memory.as_ref() };
        // SAFETY: the child calls nothing but _exit(2).
        match unsafe { libc::fork() } {
            0 => {
                shared.store(true, Ordering::Relaxed);
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) }
            }
            // SAFETY: a child of ours, no status wanted.
            child => assert_eq!(unsafe { libc::waitpid(child, null_mut(), 0) }, child),
        }
        assert!(shared.load(Ordering::Relaxed));
    }

    #[test]
    fn without_a_fork_nothing_is_recognised() {
        assert_eq!(refuse(), Errno::EBADF);
        assert!(!is_recognised());
    }
}
