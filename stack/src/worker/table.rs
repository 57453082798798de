//! The worker's socket table: places that never move, found by number, with a
//! generation each, so that a stale [`Handle`] finds nothing.

use crate::handle::Handle;
use crate::worker::socket::Socket;

/// Places that are added at a time.
const CHUNK: usize = 64;

struct Place {
    generation: u32,
    socket: Option<Socket>,
}

/// Sockets by number.
pub struct SocketTable {
    worker: u8,
    chunks: Vec<Box<[Place]>>,
    free: Vec<u32>,
    live: usize,
}

impl SocketTable {
    pub fn new(worker: u8) -> Self {
        Self { worker, chunks: Vec::new(), free: Vec::new(), live: 0 }
    }

    /// Sockets in the table.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Puts a socket into a free place; `None` when the table is full.
    pub fn insert(&mut self, socket: Socket) -> Option<Handle> {
        if self.free.is_empty() {
            self.grow()?;
        }
        let index = self.free.pop()?;
        let place = &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK];
        place.socket = Some(socket);
        self.live += 1;
        Some(Handle::new(self.worker, index, place.generation))
    }

    fn grow(&mut self) -> Option<()> {
        let first = (self.chunks.len() * CHUNK) as u32;
        if first + CHUNK as u32 > Handle::MAX_INDEX {
            return None;
        }
        self.chunks.push((0..CHUNK).map(|_| Place { generation: 0, socket: None }).collect());
        self.free.extend((first..first + CHUNK as u32).rev());
        Some(())
    }

    /// Empties a place; handles to it find nothing from now on.
    pub fn remove(&mut self, index: u32) -> Option<Socket> {
        let place = self.place_mut(index)?;
        let socket = place.socket.take()?;
        place.generation = (place.generation + 1) % Handle::GENERATIONS;
        self.free.push(index);
        self.live -= 1;
        Some(socket)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    /// The socket at a place, whatever its generation.
    #[inline]
    pub fn at(&mut self, index: u32) -> Option<&mut Socket> {
        self.place_mut(index)?.socket.as_mut()
    }

    /// The present handle of a place.
    pub fn handle_at(&self, index: u32) -> Option<Handle> {
        let place = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        place.socket.as_ref()?;
        Some(Handle::new(self.worker, index, place.generation))
    }

    /// The socket that a handle names.
    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&Socket> {
        let place = self.chunks.get(handle.index() / CHUNK)?.get(handle.index() % CHUNK)?;
        if place.generation != handle.generation() {
            return None;
        }
        place.socket.as_ref()
    }

    /// The socket that a handle names, to be changed.
    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut Socket> {
        let place = self.chunks.get_mut(handle.index() / CHUNK)?.get_mut(handle.index() % CHUNK)?;
        if place.generation != handle.generation() {
            return None;
        }
        place.socket.as_mut()
    }

    /// All sockets.
    pub fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.chunks.iter().flatten().filter_map(|place| place.socket.as_ref())
    }

    /// Numbers of all places that hold a socket.
    pub fn indices(&self) -> Vec<u32> {
        (0..)
            .zip(self.chunks.iter().flatten())
            .filter(|(_, place)| place.socket.is_some())
            .map(|(index, _)| index)
            .collect()
    }
}
