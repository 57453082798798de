//! Frames from a worker to itself (`loopback = true`): both ends of such a
//! connection are sockets of this worker. No device sees them; they wait in a
//! queue for the rest of the round that sent them.

use std::collections::VecDeque;
use std::io;

use tpa_tcp::wire::{ETHERNET_HEADER_LEN, IpAddress};

use crate::device::pool::Pool;
use crate::identity::headers;
use crate::packet::{Packet, PacketFlags};
use crate::worker::core::Core;

/// Largest IP packet: that of IPv4 itself, as on Linux's `lo`.
pub const MTU: usize = 65_535;

/// Largest segment payload before options to `peer` (RFC 9293 3.7.1).
pub const fn mss(peer: IpAddress) -> u16 {
    MTU as u16 - headers(peer)
}

/// Largest frame.
pub const FRAME: usize = MTU + ETHERNET_HEADER_LEN;

/// Largest frame of a segment without payload: 60 bytes of each header at most.
pub const BARE_FRAME: usize = ETHERNET_HEADER_LEN + 120;

/// Frames that one round takes at most, so that the device gets its turn.
const FRAMES_PER_ROUND: usize = 128;

/// Sizes of buffers, and how many of each are kept. A receive queue is charged
/// for whole buffers, so a frame waits in the smallest that it fits.
const BUFFERS: [(usize, usize); 3] = [(2048, 1024), (16 * 1024, 256), (FRAME, 128)];

/// The queue, and buffers for what is in it.
pub struct Loopback {
    queue: VecDeque<Packet>,
    pools: [(usize, Pool); BUFFERS.len()],
}

impl Loopback {
    /// An empty queue. The buffers take memory when they are first used.
    pub fn new() -> io::Result<Self> {
        let [small, medium, large] = BUFFERS;
        let pool = |(size, count)| Pool::new(count, size as u32).map(|pool| (size, pool));
        Ok(Self { queue: VecDeque::new(), pools: [pool(small)?, pool(medium)?, pool(large)?] })
    }

    /// A buffer for a frame of up to so many bytes. When all are in use it
    /// comes from the heap: what programs leave unread must not stop others.
    pub fn alloc(&mut self, len: usize) -> Packet {
        let fitting = self.pools.iter_mut().find(|(size, _)| len <= *size);
        fitting.and_then(|(_, pool)| pool.alloc()).unwrap_or_else(|| Packet::copy_of(&vec![0; len]))
    }

    /// Takes a frame that is written, in a buffer from [`Loopback::alloc`].
    pub fn push(&mut self, packet: Packet) {
        let len = packet.len();
        let mut packet = if self.pools.iter().any(|(size, _)| len <= *size && *size < packet.capacity()) {
            self.refit(&packet)
        } else {
            packet
        };
        // It never leaves this process's memory: a checksum would say nothing.
        packet.flags = PacketFlags::CHECKSUM_GOOD | PacketFlags::LOOPED;
        self.queue.push_back(packet);
    }

    fn refit(&mut self, packet: &Packet) -> Packet {
        let mut small = self.alloc(packet.len());
        if let Some(room) = small.buffer_mut().get_mut(..packet.len()) {
            room.copy_from_slice(packet.bytes());
        }
        small.set_len(packet.len());
        small
    }

    /// Whether no frame waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Core {
    /// Whether connections to this address end in this worker.
    #[inline]
    pub fn loops(&self, address: IpAddress) -> bool {
        self.loopback.is_some() && self.identity.loops(address)
    }

    /// What our SYN to, or SYN-ACK for, this address says of the segments that we take.
    pub fn mss_to(&self, address: IpAddress) -> u16 {
        if self.loops(address) { mss(address) } else { self.identity.mss(address) }
    }

    /// Whether frames to ourselves wait.
    #[inline]
    pub fn has_looped(&self) -> bool {
        self.loopback.as_ref().is_some_and(|loopback| !loopback.is_empty())
    }

    /// Takes in what this worker sent to itself, and what that brings about,
    /// until nothing is left or the round's share is used up. Returns the
    /// frames taken.
    #[inline]
    pub fn run_loopback(&mut self) -> usize {
        if self.has_looped() { self.take_looped() } else { 0 }
    }

    fn take_looped(&mut self) -> usize {
        let mut frames = 0;
        while frames < FRAMES_PER_ROUND {
            let Some(packet) = self.loopback.as_mut().and_then(|loopback| loopback.queue.pop_front()) else {
                break;
            };
            self.input(packet);
            frames += 1;
            if !self.has_looped() {
                self.transmit();
            }
        }
        self.counters.loopback_frames.add(frames as u64);
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_waits_in_the_smallest_buffer_that_it_fits() {
        let mut loopback = Loopback::new().unwrap();
        for (len, size) in [(54, 2048), (2048, 2048), (2049, 16_384), (40_000, 65_549), (65_549, 65_549)] {
            let mut packet = loopback.alloc(FRAME);
            packet.buffer_mut()[..len].fill(7);
            packet.set_len(len);
            loopback.push(packet);
            let waiting = loopback.queue.pop_front().unwrap();
            assert_eq!((waiting.len(), waiting.capacity()), (len, size));
            assert!(waiting.bytes().iter().all(|&byte| byte == 7));
        }
    }

    #[test]
    fn frames_beyond_the_kept_buffers_come_from_the_heap() {
        let mut loopback = Loopback::new().unwrap();
        let held: Vec<Packet> = (0..=BUFFERS[2].1).map(|_| loopback.alloc(40_000)).collect();
        assert_eq!(held.last().unwrap().capacity(), 40_000);
    }
}
