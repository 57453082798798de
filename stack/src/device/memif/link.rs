//! What the handshake agreed on: the mapped regions, and where in them the
//! rings of a connection lie.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::Role;
use super::fds::ListedFd;
use super::message::{AddRing, Direction};
use super::region::{Region, RegionError};
use super::ring::{ALIGNMENT, COOKIE, Descriptor, MAX_LOG2_SIZE, Ring};
use crate::device::pool::stride_of;

/// A ring and the eventfd that wakes its receiver.
#[derive(Debug)]
pub struct RingEnd {
    /// The ring, in a region of the same [`Link`].
    pub ring: Ring,
    /// Written by the sender, read by the receiver.
    pub event: ListedFd,
}

/// Where the client puts the slots of its region.
#[derive(Debug, Clone, Copy)]
pub struct SlotLayout {
    /// Offset of the first slot of the first ring.
    pub first: usize,
    /// Distance of slots.
    pub stride: usize,
    /// Bytes that a slot holds.
    pub size: u32,
    /// Slots of each ring.
    pub per_ring: usize,
}

impl SlotLayout {
    /// Offset of a ring's slot, rings counted over both directions.
    pub fn offset(&self, ring: usize, slot: usize) -> usize {
        self.first + (ring * self.per_ring + slot) * self.stride
    }
}

/// One connection's shared memory. Faces hold it while they use it, so it is
/// unmapped when the last of them lets go.
#[derive(Debug)]
pub struct Link {
    /// Our end.
    pub role: Role,
    /// The peer, as it calls itself; not to be trusted.
    pub peer: String,
    /// Mapped regions, by index.
    pub regions: Vec<Region>,
    /// Rings that we receive from.
    pub rx: Vec<RingEnd>,
    /// Rings that we send to.
    pub tx: Vec<RingEnd>,
    /// Slots of the region that we made; `None` at the server.
    pub layout: Option<SlotLayout>,
}

/// Why a ring that a client describes is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Too many slots for indices of 16 bits.
    #[error("a ring of 2^{0} slots")]
    Size(u8),
    /// It lies outside its region, or not aligned.
    #[error("a ring at {offset} of region {region}, out of bounds or unaligned")]
    Place {
        /// Index of the region.
        region: u16,
        /// Offset in it.
        offset: u32,
    },
    /// It lacks the cookie.
    #[error("a ring that is not initialised (no cookie {COOKIE:#x})")]
    Cookie,
    /// It wants metadata before each frame.
    #[error("a ring with private headers")]
    PrivateHeader,
}

/// Finds a ring that a client described, after checking every word of it.
pub fn locate_ring(regions: &[Region], told: &AddRing) -> Result<Ring, RingError> {
    if told.log2_size > MAX_LOG2_SIZE {
        return Err(RingError::Size(told.log2_size));
    }
    if told.private_header != 0 {
        return Err(RingError::PrivateHeader);
    }
    let misplaced = RingError::Place { region: told.region, offset: told.offset };
    let Some(region) = regions.get(usize::from(told.region)) else {
        return Err(misplaced);
    };
    let offset = told.offset as usize;
    let end = offset + Ring::len_of(told.log2_size);
    if end > region.len() || !offset.is_multiple_of(ALIGNMENT) {
        return Err(misplaced);
    }
    // SAFETY: regions are page-aligned and stay mapped as long as the link; size, bounds and
    // alignment are checked just above.
    let ring = unsafe { Ring::new(region.base().add(offset), told.log2_size) };
    if ring.has_cookie() { Ok(ring) } else { Err(RingError::Cookie) }
}

/// What a client makes for one connection.
#[derive(Debug)]
pub struct ClientMemory {
    /// The one region: rings first, then slots.
    pub region: Region,
    /// Its descriptor, for the server.
    pub fd: OwnedFd,
    /// Rings as ADD_RING describes them: client to server, then back.
    pub rings: Vec<(AddRing, Ring)>,
    /// Where the slots lie.
    pub layout: SlotLayout,
}

/// Bytes of a region with this many ring pairs, slots included.
pub fn client_region_len(pairs: u16, log2_size: u8, slot_size: u32) -> usize {
    let layout = layout_of(pairs, log2_size, slot_size);
    layout.offset(2 * usize::from(pairs), 0)
}

fn layout_of(pairs: u16, log2_size: u8, slot_size: u32) -> SlotLayout {
    let rings = 2 * usize::from(pairs);
    SlotLayout {
        first: rings * ring_stride(log2_size),
        stride: stride_of(slot_size as usize),
        size: slot_size,
        per_ring: 1 << log2_size,
    }
}

fn ring_stride(log2_size: u8) -> usize {
    Ring::len_of(log2_size).next_multiple_of(64)
}

impl ClientMemory {
    /// Makes the region for `pairs` ring pairs, with all rings initialised and
    /// empty.
    pub fn create(pairs: u16, log2_size: u8, slot_size: u32) -> Result<Self, RegionError> {
        let (region, fd) = Region::create(client_region_len(pairs, log2_size, slot_size))?;
        let layout = layout_of(pairs, log2_size, slot_size);
        let rings = (0..2 * pairs)
            .map(|number| {
                let offset = usize::from(number) * ring_stride(log2_size);
                // SAFETY: the region has room for all rings from its page-aligned start on, at
                // multiples of 64, and lives in the same value.
                let ring = unsafe { Ring::new(region.base().add(offset), log2_size) };
                initialise(&ring, usize::from(number), &layout);
                (describe(number, pairs, offset as u32, log2_size), ring)
            })
            .collect();
        Ok(Self { region, fd, rings, layout })
    }
}

fn initialise(ring: &Ring, number: usize, layout: &SlotLayout) {
    for slot in 0..ring.size() {
        ring.write(slot, empty_slot(layout, number, usize::from(slot)));
    }
    ring.set_cookie();
}

/// Descriptor of an empty slot of the client's region.
pub fn empty_slot(layout: &SlotLayout, ring: usize, slot: usize) -> Descriptor {
    Descriptor { flags: 0, region: 0, length: layout.size, offset: layout.offset(ring, slot) as u32 }
}

fn describe(number: u16, pairs: u16, offset: u32, log2_size: u8) -> AddRing {
    let (direction, index) = match number.checked_sub(pairs) {
        None => (Direction::ClientToServer, number),
        Some(index) => (Direction::ServerToClient, index),
    };
    AddRing { direction, index, region: 0, offset, log2_size, private_header: 0 }
}

/// Opens the receive rings for the first frames, with signals on: whoever
/// adopts a ring turns them off when it polls.
pub fn open_receive_rings(role: Role, rings: &[RingEnd]) {
    for RingEnd { ring, .. } in rings {
        ring.flags().store(0, Relaxed);
        if role == Role::Client {
            // All slots are offered to the server.
            ring.head().store(ring.size(), Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(memory: &ClientMemory) -> AddRing {
        memory.rings[0].0
    }

    #[test]
    fn a_client_describes_rings_that_a_server_finds() {
        let memory = ClientMemory::create(2, 6, 2048).unwrap();
        let region = Region::from_peer(memory.fd, memory.region.len() as u64).unwrap();
        let regions = [region];
        for (told, ours) in &memory.rings {
            let theirs = locate_ring(&regions, told).unwrap();
            ours.tail().store(told.offset as u16, Relaxed);
            assert_eq!(theirs.tail().load(Relaxed), told.offset as u16);
        }
        let directions: Vec<_> = memory.rings.iter().map(|(told, _)| (told.direction, told.index)).collect();
        use Direction::{ClientToServer as Out, ServerToClient as Back};
        assert_eq!(directions, [(Out, 0), (Out, 1), (Back, 0), (Back, 1)]);
    }

    #[test]
    fn slots_do_not_overlap_rings_or_each_other() {
        let memory = ClientMemory::create(2, 6, 100).unwrap();
        let mut spans: Vec<(usize, usize)> = memory
            .rings
            .iter()
            .map(|(told, _)| (told.offset as usize, told.offset as usize + Ring::len_of(told.log2_size)))
            .collect();
        for (_, ring) in &memory.rings {
            spans.extend((0..ring.size()).map(|slot| {
                let slot = ring.read(slot);
                (slot.offset as usize, (slot.offset + slot.length) as usize)
            }));
        }
        spans.sort();
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        assert!(spans.last().unwrap().1 <= memory.region.len());
    }

    #[test]
    fn rings_out_of_bounds_are_refused() {
        let memory = ClientMemory::create(1, 6, 100).unwrap();
        let good = told(&memory);
        let regions = [memory.region];
        let end = regions[0].len() as u32;
        let misplaced = [
            AddRing { region: 1, ..good },
            AddRing { region: u16::MAX, ..good },
            AddRing { offset: end.next_multiple_of(16) - 16, ..good },
            AddRing { offset: u32::MAX - 15, ..good },
            AddRing { offset: 8, ..good },
        ];
        for told in misplaced {
            let place = RingError::Place { region: told.region, offset: told.offset };
            assert_eq!(locate_ring(&regions, &told).unwrap_err(), place);
        }
        let cookie = AddRing { offset: 64, ..good };
        assert_eq!(locate_ring(&regions, &cookie).unwrap_err(), RingError::Cookie);
        let large = AddRing { log2_size: 15, ..good };
        assert_eq!(locate_ring(&regions, &large).unwrap_err(), RingError::Size(15));
        let header = AddRing { private_header: 8, ..good };
        assert_eq!(locate_ring(&regions, &header).unwrap_err(), RingError::PrivateHeader);
    }
}
