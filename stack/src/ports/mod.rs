//! Local ports of outgoing connections, in aligned blocks of [`PORT_BLOCK`].
//!
//! One steering rule brings the replies for a whole block to us, so blocks are
//! what a worker holds. Where the device is shared with the kernel, a block's
//! ports are bound on real sockets, so that neither the kernel nor another
//! instance uses them. `net.ipv4.ip_local_port_range` says where blocks may
//! lie; it is never written.
//!
//! Which port a connection gets cannot be guessed (RFC 6056 section 3.3.2).

mod range;
mod reserve;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::{Range, RangeInclusive};

use tpa_tcp::{Duration, Instant};

use crate::device::{PORT_BLOCK, Steering};
use range::LocalPorts;
use reserve::Reservation;

/// Time that a block without a connection is kept: as long as a reply may
/// still be on its way (2 MSL, RFC 9293 3.6.1, with Linux's 60 s).
const LINGER: Duration = Duration::from_secs(60);

/// The blocks that one worker holds.
#[derive(Debug)]
pub struct PortBlocks {
    blocks: Vec<Block>,
    /// Whether ports are kept from the kernel by binding them.
    reserve: bool,
    randomness: RandomState,
    draws: u64,
}

#[derive(Debug)]
struct Block {
    first: u16,
    /// Connections whose local port is in the block.
    connections: u32,
    /// When the last one ended.
    empty_since: Option<Instant>,
    _reservation: Reservation,
}

impl PortBlocks {
    /// No block yet. `reserve` tells whether the device is shared with the
    /// kernel, so that ports must be kept from it.
    pub fn new(reserve: bool) -> Self {
        Self { blocks: Vec::new(), reserve, randomness: RandomState::new(), draws: 0 }
    }

    /// A port for which `in_use` says no, in a block that is steered to us
    /// when this returns. `in_use` knows the connection's other three values;
    /// a port may serve several connections to different peers.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL` when no port is left, else what binding or steering
    /// answers (`EMFILE`, `EPERM`).
    pub fn allocate(
        &mut self,
        steering: Option<&dyn Steering>,
        in_use: impl Fn(u16) -> bool,
    ) -> io::Result<u16> {
        if let Some(port) = self.pick(0..self.blocks.len(), &in_use) {
            return Ok(port);
        }
        let ports = LocalPorts::read();
        let start = self.draw(ports.blocks().len());
        for first in rotated(ports.blocks().len(), start).map(|nth| ports.block(nth)) {
            let usable = !ports.reserved_in(first) && !ports_of(first).all(&in_use);
            if usable && self.hold(first, None, steering)? {
                let newest = self.blocks.len() - 1;
                return self.pick(newest..newest + 1, &in_use).ok_or_else(exhausted);
            }
        }
        Err(exhausted())
    }

    /// Takes a port that the program has chosen and bound on the kernel
    /// itself. Its whole block must be ours or free, since it is steered as one.
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` when another socket has a port of the block; else what
    /// binding or steering answers.
    pub fn claim(&mut self, port: u16, steering: Option<&dyn Steering>) -> io::Result<()> {
        let first = port - port % PORT_BLOCK;
        if !self.blocks.iter().any(|block| block.first == first) && !self.hold(first, Some(port), steering)? {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        self.count(port);
        Ok(())
    }

    /// A connection that has had its port from here has ended for good.
    pub fn release(&mut self, port: u16, now: Instant) {
        if let Some(block) = self.block_of(port) {
            block.connections = block.connections.saturating_sub(1);
            block.empty_since = (block.connections == 0).then_some(now);
        }
    }

    /// Gives blocks back that have been without a connection for a minute.
    /// Cheap; to be called about once a second.
    pub fn sweep(&mut self, steering: Option<&dyn Steering>, now: Instant) {
        self.blocks.retain(|block| {
            let idle = block.empty_since.is_some_and(|since| now - since >= LINGER);
            !idle || !unsteer(block.first, steering)
        });
    }

    /// Holds a block; false when another socket has one of its ports (but the
    /// one `bound_already`).
    fn hold(
        &mut self,
        first: u16,
        bound_already: Option<u16>,
        steering: Option<&dyn Steering>,
    ) -> io::Result<bool> {
        let reservation = if self.reserve {
            Reservation::bind(first, bound_already)?
        } else {
            Reservation::by_number(first)
        };
        let Some(reservation) = reservation else { return Ok(false) };
        if let Some(steering) = steering {
            steering.add_port_block(first)?;
        }
        self.blocks.push(Block { first, connections: 0, empty_since: None, _reservation: reservation });
        Ok(true)
    }

    /// A free port of the blocks in that range, from a random one on.
    fn pick(&mut self, blocks: Range<usize>, in_use: impl Fn(u16) -> bool) -> Option<u16> {
        let width = usize::from(PORT_BLOCK);
        let count = blocks.len() * width;
        let start = self.draw(count);
        let port_at = |nth: usize| self.blocks[blocks.start + nth / width].first + (nth % width) as u16;
        let port = rotated(count, start).map(port_at).find(|&port| !in_use(port))?;
        self.count(port);
        Some(port)
    }

    fn count(&mut self, port: u16) {
        if let Some(block) = self.block_of(port) {
            block.connections += 1;
            block.empty_since = None;
        }
    }

    fn block_of(&mut self, port: u16) -> Option<&mut Block> {
        self.blocks.iter_mut().find(|block| block.first == port - port % PORT_BLOCK)
    }

    /// A number below `limit` that an outsider cannot foresee: a keyed hash of
    /// a count.
    fn draw(&mut self, limit: usize) -> usize {
        self.draws += 1;
        (self.randomness.hash_one(self.draws) % limit.max(1) as u64) as usize
    }
}

/// The ports of a block; port 0 is none.
fn ports_of(first: u16) -> RangeInclusive<u16> {
    first.max(1)..=first + (PORT_BLOCK - 1)
}

/// 0 to `count`, from `start` on and round.
fn rotated(count: usize, start: usize) -> impl Iterator<Item = usize> {
    (start..count).chain(0..start)
}

fn exhausted() -> io::Error {
    io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)
}

/// Whether the block's steering has ended. While it has not, replies to
/// somebody else's port would come to us: the block must stay.
fn unsteer(first: u16, steering: Option<&dyn Steering>) -> bool {
    let Some(steering) = steering else { return true };
    steering
        .remove_port_block(first)
        .inspect_err(|error| log::debug!("ports {first} and on stay steered: {error}"))
        .is_ok()
}
