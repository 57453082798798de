//! fork(2) and the end of the process.
//!
//! A child of a process whose stack runs is inert: what was accelerated can
//! only be closed, and closing it touches nothing but the number. A child of a
//! process whose stack has not started yet starts one of its own at first use
//! (`daemonize yes`, nginx's workers).

use std::cell::UnsafeCell;
use std::os::unix::process::parent_id;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{MutexGuard, Once};

use tpa_stack::{decisions, Stack};

use crate::boundary::shield;
use crate::table::{self, Owner, Slot};
use crate::watches::{self, Watches};
use crate::{forking, reserve, rouse, start, stdio};

/// The process whose sockets the table describes; 0 while there are none.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The process that has loaded this library, at exec(2).
static LOADED_IN: AtomicU32 = AtomicU32::new(0);
/// The process that this one was forked from; 0: none of this program's.
static PARENT: AtomicU32 = AtomicU32::new(0);
/// The process that has made the listeners; 0: none yet.
static LISTENED_IN: AtomicU32 = AtomicU32::new(0);
/// The stack was shut down: the process ends.
static ENDED: AtomicBool = AtomicBool::new(false);

/// What is held while the process forks, so that the child finds it whole.
struct Held {
    _starting: MutexGuard<'static, ()>,
    _changing: MutexGuard<'static, ()>,
    _watches: MutexGuard<'static, Watches>,
}

/// Carries [`Held`] from one fork handler to the next.
struct Carrier(UnsafeCell<Option<Held>>);

// SAFETY: only touched by a thread that has taken the locks inside `Held`,
// between its `prepare` and its `parent` or `child` handler.
unsafe impl Sync for Carrier {}

static HELD: Carrier = Carrier(UnsafeCell::new(None));

/// Registers the fork handlers; once a process.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        OWNER.store(process::id(), Ordering::Relaxed);
        // SAFETY: handlers of the right type. A failure (no memory) leaves children
        // as they would be without us, except for their copies of our descriptors.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
}

/// Registers the exit handler; once a process.
pub fn install_exit_handler() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: a handler of the right type.
        unsafe { libc::atexit(at_exit) };
    });
}

extern "C" fn prepare() {
    if start::is_inside() {
        return;
    }
    shield(|| {
        forking::prepare();
        let held =
            Held { _starting: start::lock_start(), _changing: reserve::lock(), _watches: watches::lock() };
        // SAFETY: the locks inside `held` are ours.
        unsafe { *HELD.0.get() = Some(held) };
    });
}

extern "C" fn parent() {
    if start::is_inside() {
        return;
    }
    shield(release);
}

extern "C" fn child() {
    if start::is_inside() {
        return;
    }
    shield(|| {
        PARENT.store(OWNER.swap(process::id(), Ordering::Relaxed), Ordering::Relaxed);
        rouse::after_fork_child();
        if let Some(stack) = Stack::get() {
            stack.after_fork_child();
            start::forbid();
            make_inert();
        }
        release();
    });
}

fn release() {
    // SAFETY: `prepare` on this thread took the locks inside.
    drop(unsafe { (*HELD.0.get()).take() });
}

fn make_inert() {
    for fd in 0..table::end() {
        table::set(fd, in_child(table::slot(fd)));
    }
}

/// What a number of the parent's is in the child: streams can only be closed;
/// listeners and event sets are real kernel descriptors, and go on as such.
fn in_child(slot: Slot) -> Slot {
    match slot.owner() {
        Owner::Stream(_) | Owner::Inert => Slot::INERT,
        Owner::Listener(_) | Owner::Pending { .. } | Owner::Set(_) => Slot::KERNEL,
        Owner::Kernel => slot,
    }
}

/// Whether the table describes another process: a child of vfork(2), which
/// shares our memory, or of a bare clone(2). Such a child may change its own
/// descriptors, but not our sockets. One getpid(2); for slow paths.
pub fn is_foreign() -> bool {
    let owner = OWNER.load(Ordering::Relaxed);
    owner != 0 && owner != process::id()
}

/// The library was loaded.
pub fn note_load() {
    LOADED_IN.store(process::id(), Ordering::Relaxed);
}

/// This process has made a listener.
pub fn note_listener() {
    LISTENED_IN.store(process::id(), Ordering::Relaxed);
}

/// This process has a listener of another program, from before exec(2). It may have
/// been forked before anything concerned us.
pub fn note_inherited_listener() {
    // No process has this number.
    LISTENED_IN.store(u32::MAX, Ordering::Relaxed);
    if LOADED_IN.load(Ordering::Relaxed) != process::id() {
        PARENT.store(parent_id(), Ordering::Relaxed);
    }
}

/// Whether this process is one of several that serve the same listeners, as far
/// as can be told.
pub fn is_worker() -> bool {
    let (listened_in, parent) = (LISTENED_IN.load(Ordering::Relaxed), PARENT.load(Ordering::Relaxed));
    serves_beside_others(listened_in, parent, process::id(), parent_id())
}

/// A worker was forked after the listeners were made, and its parent, which it was
/// forked from, lives on with them. The parent of a daemon ends.
fn serves_beside_others(listened_in: u32, forked_from: u32, own: u32, parent: u32) -> bool {
    listened_in != 0 && listened_in != own && forked_from == parent
}

extern "C" fn at_exit() {
    if !is_foreign() {
        stdio::flush();
    }
    end_stack();
    decisions::remove();
}

/// Orderly end of the stack before the process goes. Does nothing in children.
pub fn end_stack() {
    if Stack::get().is_none() || is_foreign() || ENDED.swap(true, Ordering::AcqRel) {
        return;
    }
    shield(|| {
        if let Some(stack) = Stack::get() {
            stack.shutdown();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpa_stack::{Handle, SetId};

    #[test]
    fn a_worker_is_told_from_a_daemon_and_from_who_listens_itself() {
        // A master 10 that has listened in 9, before it became a daemon; init is 1.
        assert!(serves_beside_others(9, 10, 11, 10), "a worker");
        assert!(serves_beside_others(u32::MAX, 10, 11, 10), "a worker of a new binary");
        assert!(!serves_beside_others(9, 9, 10, 1), "a daemon");
        assert!(!serves_beside_others(10, 0, 10, 1), "who listens itself");
        assert!(!serves_beside_others(11, 10, 11, 10), "a child that listens itself");
        assert!(!serves_beside_others(0, 10, 11, 10), "a child without listeners");
    }

    #[test]
    fn in_a_child_streams_can_only_be_closed_and_the_rest_is_the_kernels() {
        let handle = Handle::from_bits(0xabc);
        for (parents, childs) in [
            (Slot::stream(handle), Slot::INERT),
            (Slot::listener(handle), Slot::KERNEL),
            (Slot::pending(1, 5), Slot::KERNEL),
            (Slot::set(SetId(9)), Slot::KERNEL),
            (Slot::kernel_with(Slot::FRESH), Slot::kernel_with(Slot::FRESH)),
        ] {
            assert_eq!(in_child(parents), childs);
        }
    }
}
