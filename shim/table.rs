//! Who owns a descriptor number: one slot a number in a flat array.
//!
//! A hook's first and, for the kernel's descriptors, only question is one load
//! from here. The array lives in `.bss`, so that memory is taken only where
//! numbers are used. Numbers beyond [`CAPACITY`] belong to the kernel.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};

use tpa_stack::{Handle, SetId};

/// Numbers that can be accelerated. A hard limit of `RLIMIT_NOFILE` above the
/// kernel's own default ceiling (`fs.nr_open`, 1048576) is met by the kernel alone.
pub const CAPACITY: usize = 1 << 20;

static SLOTS: [AtomicU64; CAPACITY] = [const { AtomicU64::new(0) }; CAPACITY];
static FLAGS: [AtomicU8; CAPACITY] = [const { AtomicU8::new(0) }; CAPACITY];
/// No slot at or above this number was ever set.
static USED: AtomicUsize = AtomicUsize::new(0);

const PAYLOAD_BITS: u32 = Handle::BITS;
const PAYLOAD: u64 = (1 << PAYLOAD_BITS) - 1;

const STREAM: u64 = 1;
const LISTENER: u64 = 2;
const PENDING: u64 = 3;
const SET: u64 = 4;
const INERT: u64 = 5;

/// What stands behind a number, as it is kept: 8 bits of kind, 56 of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u64);

/// What stands behind a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The kernel, alone.
    Kernel,
    /// A connection of the stack.
    Stream(Handle),
    /// A listener of the stack, with the kernel's listener behind the same number.
    Listener(Handle),
    /// A listener that moves to the stack when it is first used.
    Pending {
        /// As given to listen(2).
        backlog: u32,
    },
    /// A real epoll descriptor whose accelerated members the stack watches.
    Set(SetId),
    /// Accelerated in the parent; in this forked child it can only be closed.
    Inert,
}

impl Slot {
    /// The kernel's, nothing known.
    pub const KERNEL: Slot = Slot(0);
    /// Accelerated in the parent process, not in this child.
    pub const INERT: Slot = Slot(INERT << PAYLOAD_BITS);

    /// A TCP socket of the kernel that could still be accelerated.
    pub const FRESH: u64 = 1;
    /// A fresh socket that is in a kernel event set already.
    pub const WATCHED: u64 = 2;
    /// A fresh socket with options of its own.
    pub const OPTIONED: u64 = 4;
    /// An event set of the kernel's.
    pub const EVENTS: u64 = 8;
    /// Bits of these facts; above them is the mark that tells numbers of one
    /// description, made by dup(2), from those of another.
    const FACT_BITS: u32 = 8;

    /// A kernel slot with the given facts ([`Slot::FRESH`] and its fellows).
    pub const fn kernel_with(facts: u64) -> Self {
        Slot(facts & PAYLOAD)
    }

    /// The same facts of a description of its own: no other slot is equal.
    pub fn marked(self) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let facts = self.0 & ((1 << Self::FACT_BITS) - 1);
        Self::kernel_with(NEXT.fetch_add(1, Ordering::Relaxed) << Self::FACT_BITS | facts)
    }

    /// Whether a kernel slot is [`Slot::marked`]: every number of its description
    /// has an equal one.
    pub fn is_marked(self) -> bool {
        self.is_kernel() && self.0 >> Self::FACT_BITS != 0
    }

    /// A connection.
    pub fn stream(handle: Handle) -> Self {
        Slot(STREAM << PAYLOAD_BITS | handle.to_bits())
    }

    /// A listener.
    pub fn listener(handle: Handle) -> Self {
        Slot(LISTENER << PAYLOAD_BITS | handle.to_bits())
    }

    /// A listener to be; `id` tells descriptions apart that have the same backlog.
    pub fn pending(id: u32, backlog: u32) -> Self {
        Slot(PENDING << PAYLOAD_BITS | u64::from(id & 0xff_ffff) << 32 | u64::from(backlog))
    }

    /// An event set.
    pub fn set(set: SetId) -> Self {
        Slot(SET << PAYLOAD_BITS | u64::from(set.0))
    }

    /// Whether the real function does all that is to be done.
    #[inline(always)]
    pub fn is_kernel(self) -> bool {
        self.0 <= PAYLOAD
    }

    /// Whether nothing at all is known of the number: the kernel's, no facts.
    #[inline(always)]
    pub fn is_plain(self) -> bool {
        self.0 == 0
    }

    /// Whether a kernel slot carries all of these facts.
    pub fn has(self, facts: u64) -> bool {
        self.is_kernel() && self.0 & facts == facts
    }

    /// The slot in a form to match on.
    #[inline]
    pub fn owner(self) -> Owner {
        let payload = self.0 & PAYLOAD;
        match self.0 >> PAYLOAD_BITS {
            STREAM => Owner::Stream(Handle::from_bits(payload)),
            LISTENER => Owner::Listener(Handle::from_bits(payload)),
            PENDING => Owner::Pending { backlog: payload as u32 },
            SET => Owner::Set(SetId(payload as u32)),
            INERT => Owner::Inert,
            _ => Owner::Kernel,
        }
    }
}

/// The slot of a number; the kernel's for numbers out of range.
#[inline(always)]
pub fn slot(fd: RawFd) -> Slot {
    // A negative number becomes a large one.
    match SLOTS.get(fd as u32 as usize) {
        Some(slot) => Slot(slot.load(Ordering::Acquire)),
        None => Slot::KERNEL,
    }
}

/// Whether the number can be accelerated at all.
pub fn covers(fd: RawFd) -> bool {
    (fd as u32 as usize) < CAPACITY
}

/// Sets a slot and returns the former one. Does nothing beyond [`CAPACITY`].
pub fn set(fd: RawFd, slot: Slot) -> Slot {
    let Some(place) = SLOTS.get(fd as u32 as usize) else { return Slot::KERNEL };
    if !slot.is_plain() {
        USED.fetch_max(fd as usize + 1, Ordering::AcqRel);
    }
    Slot(place.swap(slot.0, Ordering::AcqRel))
}

/// Sets a slot if it still is what it was; tells whether it did.
pub fn replace(fd: RawFd, old: Slot, new: Slot) -> bool {
    let Some(place) = SLOTS.get(fd as u32 as usize) else { return false };
    if !new.is_plain() {
        USED.fetch_max(fd as usize + 1, Ordering::AcqRel);
    }
    place.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

/// Adds facts to a fresh kernel socket's or event set's slot; does nothing to others.
pub fn note(fd: RawFd, facts: u64) {
    let slot = slot(fd);
    if (slot.has(Slot::FRESH) || slot.has(Slot::EVENTS)) && !slot.has(facts) {
        replace_all(fd, slot, Slot(slot.0 | facts));
    }
}

/// The numbers of the description that `fd`, whose slot is `slot`, is one of.
pub fn numbers_like(fd: RawFd, slot: Slot) -> Vec<RawFd> {
    if slot.is_marked() || (!slot.is_kernel() && flag(fd, Flag::SHARED)) {
        numbers_of(slot).collect()
    } else {
        vec![fd]
    }
}

/// Replaces the slot of every number of a description.
pub fn replace_all(fd: RawFd, old: Slot, new: Slot) {
    for number in numbers_like(fd, old) {
        replace(number, old, new);
    }
}

/// No number at or above this one has a slot that is not plain.
pub fn end() -> RawFd {
    USED.load(Ordering::Acquire) as RawFd
}

/// Every number that names the same thing as `slot`: its dup(2)s.
pub fn numbers_of(wanted: Slot) -> impl Iterator<Item = RawFd> {
    (0..end()).filter(move |&fd| slot(fd) == wanted)
}

/// Facts of a number that the hot path must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flag(u8);

impl Flag {
    /// `O_NONBLOCK` is set.
    pub const NONBLOCK: Flag = Flag(1);
    /// An `AF_INET6` socket, whose IPv4 addresses are IPv4-mapped.
    pub const IPV6: Flag = Flag(2);
    /// A connect(2) is under way whose success no call has reported yet.
    pub const CONNECTING: Flag = Flag(4);
    /// Other numbers may name the same thing.
    pub const SHARED: Flag = Flag(8);
    /// Some cold facts of the socket are kept elsewhere.
    pub const COLD: Flag = Flag(16);
    /// `SO_REUSEADDR` is set.
    pub const REUSE_ADDRESS: Flag = Flag(32);
    /// `SO_REUSEPORT` is set.
    pub const REUSE_PORT: Flag = Flag(64);

    /// What an accepted connection inherits from its listener.
    const INHERITED: u8 = Self::IPV6.0 | Self::REUSE_ADDRESS.0 | Self::REUSE_PORT.0;
}

/// Whether a flag of a number is set.
#[inline]
pub fn flag(fd: RawFd, flag: Flag) -> bool {
    FLAGS.get(fd as u32 as usize).is_some_and(|flags| flags.load(Ordering::Relaxed) & flag.0 != 0)
}

/// Sets or clears a flag of a number.
pub fn set_flag(fd: RawFd, flag: Flag, on: bool) {
    let Some(flags) = FLAGS.get(fd as u32 as usize) else { return };
    if on {
        flags.fetch_or(flag.0, Ordering::Relaxed);
    } else {
        flags.fetch_and(!flag.0, Ordering::Relaxed);
    }
}

/// Sets or clears a flag of a number and of every dup(2) of it.
pub fn set_flag_shared(fd: RawFd, which: Flag, on: bool) {
    if flag(fd, Flag::SHARED) {
        numbers_of(slot(fd)).for_each(|other| set_flag(other, which, on));
    } else {
        set_flag(fd, which, on);
    }
}

/// Forgets the flags of a number.
pub fn clear_flags(fd: RawFd) {
    if let Some(flags) = FLAGS.get(fd as u32 as usize) {
        flags.store(0, Ordering::Relaxed);
    }
}

/// Copies the flags of a number to its dup(2).
pub fn copy_flags(from: RawFd, to: RawFd) {
    copy_masked(from, to, u8::MAX);
}

/// Gives an accepted connection what it inherits from its listener, and no
/// other flags.
pub fn inherit_flags(listener: RawFd, connection: RawFd) {
    copy_masked(listener, connection, Flag::INHERITED);
}

fn copy_masked(from: RawFd, to: RawFd, mask: u8) {
    if let (Some(from), Some(to)) = (FLAGS.get(from as u32 as usize), FLAGS.get(to as u32 as usize)) {
        to.store(from.load(Ordering::Relaxed) & mask, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Numbers that no other test of this process uses.
    const A: RawFd = 900_001;
    const B: RawFd = 900_002;

    #[test]
    fn an_unknown_number_is_the_kernels() {
        for fd in [-1, i32::MIN, 0, 17, CAPACITY as i32, i32::MAX] {
            assert!(slot(fd).is_kernel() && slot(fd).is_plain());
            assert_eq!(slot(fd).owner(), Owner::Kernel);
        }
    }

    #[test]
    fn an_owner_survives_the_way_through_a_slot() {
        let handle = Handle::from_bits((1 << Handle::BITS) - 2);
        for (slot, owner) in [
            (Slot::stream(handle), Owner::Stream(handle)),
            (Slot::listener(handle), Owner::Listener(handle)),
            (Slot::pending(3, 511), Owner::Pending { backlog: 511 }),
            (Slot::set(SetId(7)), Owner::Set(SetId(7))),
            (Slot::INERT, Owner::Inert),
        ] {
            assert_eq!(slot.owner(), owner);
            assert!(!slot.is_kernel());
        }
    }

    #[test]
    fn facts_of_a_kernel_socket_leave_it_the_kernels() {
        let fd = 900_010;
        set(fd, Slot::kernel_with(Slot::FRESH));
        note(fd, Slot::WATCHED);
        assert!(slot(fd).is_kernel() && !slot(fd).is_plain());
        assert!(slot(fd).has(Slot::FRESH | Slot::WATCHED) && !slot(fd).has(Slot::OPTIONED));
        set(fd, Slot::KERNEL);
        note(fd, Slot::WATCHED);
        assert!(slot(fd).is_plain(), "facts are only kept of fresh sockets");
    }

    #[test]
    fn facts_reach_every_number_of_a_marked_description_and_no_other() {
        let (one, other) = (Slot::kernel_with(Slot::FRESH).marked(), Slot::kernel_with(Slot::FRESH).marked());
        for (fd, slot) in [(900_031, one), (900_032, one), (900_033, other)] {
            set(fd, slot);
        }
        note(900_031, Slot::OPTIONED);
        assert!(slot(900_032).has(Slot::OPTIONED) && !slot(900_033).has(Slot::OPTIONED));
        for fd in [900_031, 900_032, 900_033] {
            set(fd, Slot::KERNEL);
        }
    }

    #[test]
    fn a_flag_that_is_shared_reaches_every_number_of_a_socket() {
        let socket = Slot::stream(Handle::from_bits(0x5_4321));
        for fd in [A, B] {
            set(fd, socket);
            set_flag(fd, Flag::SHARED, true);
        }
        assert_eq!(numbers_of(socket).collect::<Vec<_>>(), [A, B]);
        set_flag_shared(A, Flag::NONBLOCK, true);
        assert!(flag(B, Flag::NONBLOCK));
        set_flag_shared(B, Flag::NONBLOCK, false);
        assert!(!flag(A, Flag::NONBLOCK) && flag(A, Flag::SHARED));
        for fd in [A, B] {
            assert_eq!(set(fd, Slot::KERNEL), socket);
            clear_flags(fd);
        }
    }

    #[test]
    fn a_slot_is_replaced_only_while_it_is_what_it_was() {
        let fd = 900_020;
        let (old, new) = (Slot::pending(1, 5), Slot::listener(Handle::from_bits(9)));
        set(fd, old);
        assert!(!replace(fd, new, Slot::KERNEL));
        assert!(replace(fd, old, new));
        assert_eq!(set(fd, Slot::KERNEL), new);
    }
}
