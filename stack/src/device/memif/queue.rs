//! The fast path: bursts of frames out of and into rings.
//!
//! A client-to-server ring is a plain queue: the sender moves `head`, the
//! receiver `tail`. A server-to-client ring runs in the client's memory with
//! the roles turned: the client offers empty slots by moving `head`, the
//! server fills them and moves `tail`. Indices run through all 16 bits.
//!
//! The peer is not trusted. A descriptor of its making is read once and
//! checked against the mapped regions, an index that runs ahead of the ring
//! ends the link, and the slots of our own region are found without asking
//! what the peer may have written into their descriptors.

use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use thiserror::Error;

use super::Role;
use super::link::{Link, RingEnd, SlotLayout, empty_slot};
use super::ring::{Descriptor, FLAG_NEXT, MASK_INT, Ring};
use crate::device::pool::Pool;
use crate::device::{Batch, DeviceStats};
use crate::packet::{Packet, PacketFlags};

/// Bytes of the small packet buffers beside those for the largest frames.
pub const SMALL_BUFFER: u32 = 2048;

/// What a peer did that no sound peer does; the link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// An index ran ahead of the ring.
    #[error("a ring index out of range")]
    Index,
    /// An offered slot lies outside the regions.
    #[error("a slot out of bounds")]
    Slot,
}

/// Packet buffers in two sizes: small frames do not tie up large buffers.
#[derive(Debug)]
pub struct Pools {
    small: Option<Pool>,
    large: Pool,
}

impl Pools {
    /// Makes `small` small buffers, where the large ones are larger, and
    /// `large` of `buffer_size` bytes.
    pub fn new(small: usize, large: usize, buffer_size: u32) -> std::io::Result<Self> {
        if buffer_size <= SMALL_BUFFER {
            return Ok(Self { small: None, large: Pool::new(small + large, buffer_size)? });
        }
        Ok(Self { small: Some(Pool::new(small, SMALL_BUFFER)?), large: Pool::new(large, buffer_size)? })
    }

    /// A buffer for the largest frame.
    #[inline]
    pub fn alloc(&mut self) -> Option<Packet> {
        self.large.alloc()
    }

    /// A buffer of at least `len` bytes, if buffers of that size exist.
    #[inline]
    fn alloc_for(&mut self, len: u32) -> Option<Packet> {
        match &mut self.small {
            Some(small) if len <= SMALL_BUFFER => small.alloc().or_else(|| self.large.alloc()),
            _ => self.large.alloc(),
        }
    }

    /// Share of the scarcer buffers that are free, in 1/256.
    pub fn free_share(&self) -> u32 {
        let large = self.large.free_share();
        self.small.as_ref().map_or(large, |small| small.free_share().min(large))
    }
}

/// Where the bytes of a ring's slots lie.
#[derive(Debug)]
enum Slots {
    /// In the region that we made, at places that we know.
    Own { base: NonNull<u8>, layout: SlotLayout, ring: usize },
    /// In the peer's regions, where descriptors say: base and length of each.
    Peer(Vec<(NonNull<u8>, usize)>),
}

impl Slots {
    fn new(link: &Link, ring: usize) -> Self {
        match link.layout {
            Some(layout) => Self::Own { base: link.regions[0].base(), layout, ring },
            None => Self::Peer(link.regions.iter().map(|region| (region.base(), region.len())).collect()),
        }
    }

    /// Address of a slot's `descriptor.length` bytes, if they are within bounds.
    #[inline]
    fn locate(&self, slot: usize, descriptor: &Descriptor) -> Option<NonNull<u8>> {
        match self {
            Self::Own { base, layout, ring } => {
                // SAFETY: the layout puts all slots of all rings inside our region.
                let at = unsafe { base.add(layout.offset(*ring, slot)) };
                (descriptor.length <= layout.size).then_some(at)
            }
            Self::Peer(regions) => {
                let &(base, len) = regions.get(usize::from(descriptor.region))?;
                let (offset, length) = (descriptor.offset as usize, descriptor.length as usize);
                // SAFETY: only called when the offset is within the region.
                (offset + length <= len).then(|| unsafe { base.add(offset) })
            }
        }
    }

    /// Where the slots of a ring probably are: for our own region surely, for
    /// a peer's until its descriptors have told.
    fn expected(&self, ring: &Ring) -> Vec<NonNull<u8>> {
        let place = |slot| match self {
            Self::Own { .. } => self.locate(usize::from(slot), &EMPTY),
            Self::Peer(_) => self.locate(usize::from(slot), &ring.read(slot)),
        };
        (0..ring.size()).map(|slot| place(slot).unwrap_or(NonNull::dangling())).collect()
    }
}

/// A descriptor of no bytes.
const EMPTY: Descriptor = Descriptor { flags: 0, region: 0, length: 0, offset: 0 };

/// Starts to load a cache line that is about to be read.
#[inline]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing architecturally and faults nowhere; SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The receiving end of a ring.
#[derive(Debug)]
pub struct RxQueue {
    ring: Ring,
    slots: Slots,
    role: Role,
    /// Next frame to take.
    cursor: u16,
    /// Where each slot's bytes lay the last time, so that they can be loaded
    /// while the descriptor, which comes from the peer's cache too, is still
    /// on its way. Never used but for prefetching.
    expected: Vec<NonNull<u8>>,
    /// Client: end of the empty slots that the server knows of.
    offered: u16,
    /// Number of our ring in the link.
    number: usize,
    link: Arc<Link>,
}

// SAFETY: the addresses point into mappings that `link` keeps, for this queue's use alone.
unsafe impl Send for RxQueue {}

impl RxQueue {
    /// Takes over receive ring `number` of a link, with signals off unless
    /// `armed`.
    pub fn new(link: &Arc<Link>, number: usize, armed: bool) -> Self {
        let ring = link.rx[number].ring;
        // A client's receive rings come after the rings that it sends to.
        let slots = Slots::new(link, link.tx.len() + number);
        let cursor = if link.role == Role::Server { ring.tail().load(Relaxed) } else { 0 };
        if !armed {
            ring.flags().store(MASK_INT, Relaxed);
        }
        let (role, expected) = (link.role, slots.expected(&ring));
        Self { ring, slots, role, cursor, expected, offered: ring.size(), number, link: link.clone() }
    }

    fn end(&self) -> &RingEnd {
        &self.link.rx[self.number]
    }

    /// Frames that wait; more than the ring has is the peer's fault.
    #[inline]
    fn waiting(&self) -> Result<u16, Violation> {
        let produced = match self.role {
            Role::Server => self.ring.head().load(Acquire),
            Role::Client => self.ring.tail().load(Acquire),
        };
        let waiting = produced.wrapping_sub(self.cursor);
        if waiting <= self.most() { Ok(waiting) } else { Err(Violation::Index) }
    }

    /// Slots that the sender can have filled since the cursor.
    #[inline]
    fn most(&self) -> u16 {
        match self.role {
            Role::Server => self.ring.size(),
            Role::Client => self.offered.wrapping_sub(self.cursor),
        }
    }

    /// Copies waiting frames into packets of `pools`.
    #[inline]
    pub fn burst(
        &mut self,
        batch: &mut Batch,
        pools: &mut Pools,
        stats: &mut DeviceStats,
    ) -> Result<(), Violation> {
        let mut waiting = self.waiting()?;
        if waiting == 0 {
            return Ok(());
        }
        self.expect(self.cursor);
        while waiting > 0 && !batch.is_full() {
            self.expect(self.cursor.wrapping_add(1));
            let descriptor = self.ring.read(self.cursor);
            let taken = if descriptor.flags & FLAG_NEXT == 0 {
                self.take_one(&descriptor, batch, pools, stats)
            } else {
                self.take_chain(waiting, batch, pools, stats)
            };
            if taken == 0 {
                break;
            }
            self.cursor = self.cursor.wrapping_add(taken);
            waiting -= taken;
        }
        self.give_back();
        Ok(())
    }

    #[inline]
    fn expect(&self, index: u16) {
        prefetch(self.expected[self.ring.slot(index)].as_ptr());
    }

    /// Takes the frame of one slot. Returns the slots taken: 0 when no buffer
    /// is free.
    #[inline]
    fn take_one(
        &mut self,
        descriptor: &Descriptor,
        batch: &mut Batch,
        pools: &mut Pools,
        stats: &mut DeviceStats,
    ) -> u16 {
        let slot = self.ring.slot(self.cursor);
        let source = self.slots.locate(slot, descriptor);
        let (Some(source), true) = (source, descriptor.length > 0) else {
            stats.rx_errors += 1;
            return 1;
        };
        let Some(mut packet) = pools.alloc_for(descriptor.length) else {
            return 0;
        };
        self.expected[slot] = source;
        if copy_in(&mut packet, source, descriptor.length) {
            packet.flags = PacketFlags::CHECKSUM_GOOD;
            stats.rx_frames += 1;
            batch.push(packet);
        } else {
            stats.rx_errors += 1;
        }
        1
    }

    /// Joins a frame that lies in several slots. Returns the slots taken: 0
    /// when its end has not come or no buffer is free.
    #[cold]
    fn take_chain(&self, waiting: u16, batch: &mut Batch, pools: &mut Pools, stats: &mut DeviceStats) -> u16 {
        let chain: Vec<Descriptor> = (0..waiting)
            .map(|index| self.ring.read(self.cursor.wrapping_add(index)))
            .scan(true, |more, descriptor| {
                let within = *more;
                *more = descriptor.flags & FLAG_NEXT != 0;
                within.then_some(descriptor)
            })
            .collect();
        let complete = chain.last().is_some_and(|last| last.flags & FLAG_NEXT == 0);
        if !complete {
            // A chain that has used up all slots can never end.
            let hopeless = waiting == self.most();
            stats.rx_errors += u64::from(hopeless);
            return if hopeless { waiting } else { 0 };
        }
        let Some(mut packet) = pools.alloc() else {
            return 0;
        };
        let joined = chain.iter().enumerate().all(|(index, descriptor)| {
            let slot = self.ring.slot(self.cursor.wrapping_add(index as u16));
            let source = self.slots.locate(slot, descriptor);
            source.is_some_and(|source| copy_in(&mut packet, source, descriptor.length))
        });
        if joined && !packet.is_empty() {
            packet.flags = PacketFlags::CHECKSUM_GOOD;
            stats.rx_frames += 1;
            batch.push(packet);
        } else {
            stats.rx_errors += 1;
        }
        chain.len() as u16
    }

    /// Hands the slots that were taken back to the peer. A client does so a
    /// quarter of the ring at a time: the server reads that cache line with
    /// every frame it sends.
    #[inline]
    fn give_back(&mut self) {
        if self.role == Role::Server {
            self.ring.tail().store(self.cursor, Release);
            return;
        }
        let size = self.ring.size();
        let target = self.cursor.wrapping_add(size);
        if target.wrapping_sub(self.offered) >= size / 4 {
            self.offer(target);
        }
    }

    fn offer(&mut self, target: u16) {
        let Slots::Own { layout, ring, .. } = &self.slots else {
            return;
        };
        while self.offered != target {
            self.ring.write(self.offered, empty_slot(layout, *ring, self.ring.slot(self.offered)));
            self.offered = self.offered.wrapping_add(1);
        }
        self.ring.head().store(target, Release);
    }

    /// Asks the sender for signals; `true` when the ring was empty after that.
    pub fn arm(&self) -> bool {
        // Sequentially consistent with the sender, which publishes, then reads
        // the flags: one of the two sees what the other did.
        self.ring.flags().store(0, SeqCst);
        let produced = match self.role {
            Role::Server => self.ring.head().load(SeqCst),
            Role::Client => self.ring.tail().load(SeqCst),
        };
        produced == self.cursor
    }

    /// Ends that.
    pub fn disarm(&self) {
        self.ring.flags().store(MASK_INT, Relaxed);
    }

    /// Takes a signal that came, so that the descriptor is quiet again.
    pub fn consume_signal(&self) {
        let mut count = [0; 8];
        // Empty (EAGAIN) is as good as read.
        let _ = nix::unistd::read(&self.end().event, &mut count);
    }
}

/// Appends `len` bytes of shared memory to a packet; `false`, and nothing
/// done, when they do not fit.
#[inline]
fn copy_in(packet: &mut Packet, source: NonNull<u8>, len: u32) -> bool {
    let (at, len) = (packet.len(), len as usize);
    let Some(room) = packet.buffer_mut().get_mut(at..at + len) else {
        return false;
    };
    // SAFETY: `locate` found `len` readable bytes at `source`; `room` is as long and in memory of our
    // own. What a peer writes meanwhile garbles the bytes and nothing else.
    unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), room.as_mut_ptr(), len) };
    packet.set_len(at + len);
    true
}

/// The sending end of a ring.
#[derive(Debug)]
pub struct TxQueue {
    ring: Ring,
    slots: Slots,
    role: Role,
    /// Next slot to fill.
    cursor: u16,
    /// End of the slots that were free when we last looked.
    limit: u16,
    number: usize,
    link: Arc<Link>,
}

// SAFETY: the addresses point into mappings that `link` keeps, for this queue's use alone.
unsafe impl Send for TxQueue {}

impl TxQueue {
    /// Takes over transmit ring `number` of a link.
    pub fn new(link: &Arc<Link>, number: usize) -> Self {
        let ring = link.tx[number].ring;
        let slots = Slots::new(link, number);
        let cursor = if link.role == Role::Server { ring.tail().load(Relaxed) } else { 0 };
        Self { ring, slots, role: link.role, cursor, limit: cursor, number, link: link.clone() }
    }

    /// Slots that are free, looked up anew when fewer than `wanted` are known.
    #[inline]
    fn free(&mut self, wanted: u16) -> Result<u16, Violation> {
        if self.limit.wrapping_sub(self.cursor) < wanted {
            self.limit = match self.role {
                Role::Server => self.ring.head().load(Acquire),
                Role::Client => self.ring.tail().load(Acquire).wrapping_add(self.ring.size()),
            };
        }
        let free = self.limit.wrapping_sub(self.cursor);
        if free <= self.ring.size() { Ok(free) } else { Err(Violation::Index) }
    }

    /// Copies frames from the front of `batch` into free slots and wakes the
    /// receiver if it asked for that.
    #[inline]
    pub fn burst(&mut self, batch: &mut Batch, stats: &mut DeviceStats) -> Result<(), Violation> {
        let free = self.free(batch.len() as u16)?;
        let count = usize::from(free).min(batch.len());
        let start = self.cursor;
        for packet in batch.drain(..count) {
            if self.place(&packet)? {
                self.cursor = self.cursor.wrapping_add(1);
                stats.tx_frames += 1;
            } else {
                stats.tx_dropped += 1;
            }
        }
        if self.cursor != start {
            self.publish();
        }
        Ok(())
    }

    /// Copies one frame into the slot at the cursor; `false` when it is too
    /// large for that.
    #[inline]
    fn place(&self, packet: &Packet) -> Result<bool, Violation> {
        let slot = self.ring.slot(self.cursor);
        let offered = match &self.slots {
            Slots::Own { layout, ring, .. } => empty_slot(layout, *ring, slot),
            Slots::Peer(_) => self.ring.read(self.cursor),
        };
        let target = self.slots.locate(slot, &offered).ok_or(Violation::Slot)?;
        let bytes = packet.bytes();
        if bytes.len() > offered.length as usize {
            return Ok(false);
        }
        // SAFETY: `locate` found `offered.length` writable bytes at `target`, and the frame is no longer;
        // it lies in a packet buffer, never in a region.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        self.ring.write(self.cursor, Descriptor { flags: 0, length: bytes.len() as u32, ..offered });
        Ok(true)
    }

    #[inline]
    fn publish(&self) {
        // The swap is a full barrier, so that the flags are read after the
        // index is out; see `RxQueue::arm`.
        match self.role {
            Role::Server => self.ring.tail().swap(self.cursor, SeqCst),
            Role::Client => self.ring.head().swap(self.cursor, SeqCst),
        };
        if self.ring.flags().load(SeqCst) & MASK_INT == 0 {
            self.signal();
        }
    }

    #[cold]
    fn signal(&self) {
        let event = &self.link.tx[self.number].event;
        if let Err(error) = nix::unistd::write(event, &1u64.to_ne_bytes()) {
            log::debug!("memif: signal on descriptor {}: {error}", event.as_raw_fd());
        }
    }
}
