//! What a process has steered to it: the entries of its queues in the steering
//! program's maps.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aya::maps::MapError;
use tpa_tcp::wire::IpAddress;

use super::abi::{
    TPA_BLOCK_PORTS, TPA_BLOCKS, TPA_LISTENED, TPA_LISTENING, TPA_OWN, TPA_SHARED, tpa_address, tpa_count,
    tpa_listener,
};
use super::program::{Maps, Program};
use crate::device::wanted::{Listening, Wanted, check_block};
use crate::device::{PORT_BLOCK, Steering};

const _: () = assert!(TPA_BLOCK_PORTS == PORT_BLOCK as u32);

/// Whose the addresses are that an AF_XDP device serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// The kernel has them too: ports are taken one by one.
    Shared(Vec<IpAddress>),
    /// The kernel does not have them: their TCP, ICMP, ARP and neighbour discovery
    /// are all ours.
    Own(Vec<IpAddress>),
}

impl Addresses {
    fn kind(&self) -> u32 {
        match self {
            Self::Shared(_) => TPA_SHARED,
            Self::Own(_) => TPA_OWN,
        }
    }
}

impl From<Addresses> for Vec<IpAddress> {
    fn from(addresses: Addresses) -> Self {
        match addresses {
            Addresses::Shared(addresses) | Addresses::Own(addresses) => addresses,
        }
    }
}

/// What the steering program has done with frames, of all processes and queues
/// of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SteeringCounts {
    /// Passed to the kernel: of no port of ours.
    pub pass_other: u64,
    /// Passed: an IP fragment.
    pub pass_fragment: u64,
    /// Passed: of a port of ours, but a connection of the kernel's.
    pub pass_kernel_flow: u64,
    /// Passed: ours, but its queue had no socket.
    pub pass_no_socket: u64,
    /// Taken: a new connection to a listening port.
    pub redirect_syn: u64,
    /// Taken: of a connection to such a port.
    pub redirect_flow: u64,
    /// Taken: of a connection from a block of local ports.
    pub redirect_block: u64,
    /// Taken: TCP, ICMP or ARP of an own address.
    pub redirect_own: u64,
}

/// The steering program with the queues of it that are ours. Clones are one.
#[derive(Clone)]
pub struct XdpSteering(Arc<Shared>);

struct Shared {
    interface: String,
    state: Mutex<State>,
}

struct State {
    program: Program,
    /// `TPA_SHARED` or `TPA_OWN`.
    kind: u32,
    /// Queues whose sockets are ours.
    queues: Vec<u32>,
    /// How many the interface has.
    total: u32,
    wanted: Wanted,
}

/// An entry of one of the program's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Address { queue: u32, address: IpAddress },
    Listener { queue: u32, address: IpAddress, port: u16 },
    Block { queue: u32, first: u16 },
}

/// Entries and their values; an entry that is not in it is not in its map.
type Entries = BTreeMap<Entry, u32>;

/// The entries that say what is wanted, for each queue.
fn entries(wanted: &Wanted, kind: u32, queues: &[u32]) -> Entries {
    let listeners = wanted.listeners();
    let of_queue = |&queue: &u32| {
        let addresses =
            wanted.addresses().iter().map(move |&address| (Entry::Address { queue, address }, kind));
        let blocks = wanted.blocks().iter().map(move |&first| (Entry::Block { queue, first }, 1));
        let listeners = listeners.iter().map(move |(&(address, port), &listening)| {
            let value = match listening {
                Listening::Now => TPA_LISTENING,
                Listening::Before => TPA_LISTENED,
            };
            (Entry::Listener { queue, address, port }, value)
        });
        addresses.chain(blocks).chain(listeners)
    };
    queues.iter().flat_map(of_queue).collect()
}

impl fmt::Debug for XdpSteering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpSteering").field("interface", &self.0.interface).finish_non_exhaustive()
    }
}

fn os_error(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}

/// "It was not there" is no failure of a removal.
fn absent_is_fine(result: Result<(), MapError>) -> io::Result<()> {
    match result.map_err(os_error) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        Err(error)
            if matches!(error.get_ref().and_then(|e| e.downcast_ref()), Some(MapError::KeyNotFound)) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

fn network_order(address: IpAddress) -> [u32; 4] {
    let octets = address.to_v6().octets();
    let (words, _) = octets.as_chunks::<4>();
    let mut key = [0; 4];
    key.iter_mut().zip(words).for_each(|(to, from)| *to = u32::from_ne_bytes(*from));
    key
}

impl XdpSteering {
    /// Steering on an interface of `total` receive queues, none of which is ours yet.
    pub(super) fn new(interface: &str, addresses: Addresses, program: Program, total: u32) -> Self {
        let kind = addresses.kind();
        let wanted = Wanted::new(addresses.into());
        let state = Mutex::new(State { program, kind, queues: Vec::new(), total, wanted });
        Self(Arc::new(Shared { interface: interface.to_owned(), state }))
    }

    /// Takes a queue whose AF_XDP socket is ours: what a former owner, perhaps
    /// dead, has left for it is removed, then the socket receives.
    pub(super) fn add_queue(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        let mut state = self.0.lock();
        let State { program: Program { maps, .. }, kind, queues, wanted, .. } = &mut *state;
        maps.clear(queue)?;
        queues.push(queue);
        maps.apply(&Entries::new(), &entries(wanted, *kind, &[queue]))?;
        maps.xsks.set(queue, socket, 0).map_err(os_error)
    }

    /// Changes what is wanted, and the maps with it: all of it or nothing.
    fn change(&self, change: impl FnOnce(&mut Wanted)) -> io::Result<()> {
        let mut state = self.0.lock();
        let State { program: Program { maps, .. }, kind, queues, wanted, .. } = &mut *state;
        let mut next = wanted.clone();
        change(&mut next);
        let (before, after) = (entries(wanted, *kind, queues), entries(&next, *kind, queues));
        if let Err(error) = maps.apply(&before, &after) {
            if let Err(second) = maps.apply(&after, &before) {
                log::debug!("{}: steering not restored: {second}", self.0.interface);
            }
            return Err(error);
        }
        *wanted = next;
        Ok(())
    }

    /// What the program has done with frames so far.
    pub fn counts(&self) -> io::Result<SteeringCounts> {
        let state = self.0.lock();
        let sum = |reason: tpa_count::Type| -> io::Result<u64> {
            let counters = &state.program.maps.counters;
            Ok(counters.get(&reason, 0).map_err(os_error)?.iter().sum())
        };
        Ok(SteeringCounts {
            pass_other: sum(tpa_count::TPA_PASS_OTHER)?,
            pass_fragment: sum(tpa_count::TPA_PASS_FRAGMENT)?,
            pass_kernel_flow: sum(tpa_count::TPA_PASS_KERNEL_FLOW)?,
            pass_no_socket: sum(tpa_count::TPA_PASS_NO_SOCKET)?,
            redirect_syn: sum(tpa_count::TPA_REDIRECT_SYN)?,
            redirect_flow: sum(tpa_count::TPA_REDIRECT_FLOW)?,
            redirect_block: sum(tpa_count::TPA_REDIRECT_BLOCK)?,
            redirect_own: sum(tpa_count::TPA_REDIRECT_OWN)?,
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let State { program: Program { maps, .. }, queues, .. } =
            self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for &queue in queues.iter() {
            let _ = maps.xsks.unset(queue);
            if let Err(error) = maps.clear(queue) {
                log::debug!("{}: queue {queue} keeps its steering: {error}", self.interface);
            }
        }
    }
}

impl Maps {
    /// Removes whatever is noted for a queue.
    fn clear(&mut self, queue: u32) -> io::Result<()> {
        let listeners: Vec<_> =
            self.listeners.keys().flatten().filter(|key| u32::from(key.queue) == queue).collect();
        for key in &listeners {
            absent_is_fine(self.listeners.remove(key))?;
        }
        let addresses: Vec<_> = self.addresses.keys().flatten().filter(|key| key.queue == queue).collect();
        for key in &addresses {
            absent_is_fine(self.addresses.remove(key))?;
        }
        for block in 0..TPA_BLOCKS {
            let index = queue * TPA_BLOCKS + block;
            if self.blocks.get(&index, 0).map_err(os_error)? != 0 {
                self.blocks.set(index, 0, 0).map_err(os_error)?;
            }
        }
        Ok(())
    }

    /// Brings the maps from one state to another. Entries that are to go go
    /// last, so that nothing is without its entry in between.
    fn apply(&mut self, before: &Entries, after: &Entries) -> io::Result<()> {
        for (entry, &value) in after.iter().filter(|&(entry, value)| before.get(entry) != Some(value)) {
            self.set(*entry, value)?;
        }
        for entry in before.keys().filter(|&entry| !after.contains_key(entry)) {
            self.remove(*entry)?;
        }
        Ok(())
    }

    fn set(&mut self, entry: Entry, value: u32) -> io::Result<()> {
        let result = match entry {
            Entry::Address { queue, address } => self.addresses.insert(address_key(queue, address), value, 0),
            Entry::Listener { queue, address, port } => {
                self.listeners.insert(listener_key(queue, address, port), value, 0)
            }
            Entry::Block { queue, first } => self.blocks.set(block_index(queue, first), value, 0),
        };
        result.map_err(os_error)
    }

    fn remove(&mut self, entry: Entry) -> io::Result<()> {
        absent_is_fine(match entry {
            Entry::Address { queue, address } => self.addresses.remove(&address_key(queue, address)),
            Entry::Listener { queue, address, port } => {
                self.listeners.remove(&listener_key(queue, address, port))
            }
            Entry::Block { queue, first } => self.blocks.set(block_index(queue, first), 0, 0),
        })
    }
}

fn address_key(queue: u32, address: IpAddress) -> tpa_address {
    tpa_address { address: network_order(address), queue }
}

fn listener_key(queue: u32, address: IpAddress, port: u16) -> tpa_listener {
    tpa_listener { address: network_order(address), port: port.to_be(), queue: queue as u16 }
}

fn block_index(queue: u32, first: u16) -> u32 {
    queue * TPA_BLOCKS + u32::from(first) / TPA_BLOCK_PORTS
}

impl Steering for XdpSteering {
    fn add_listener(&self, address: IpAddress, port: u16) -> io::Result<()> {
        self.change(|wanted| wanted.add_listener(address, port))
    }

    fn remove_listener(&self, address: IpAddress, port: u16) -> io::Result<()> {
        self.change(|wanted| wanted.remove_listener(address, port))
    }

    fn add_port_block(&self, first: u16) -> io::Result<()> {
        check_block(first)?;
        self.change(|wanted| wanted.add_block(first))
    }

    fn remove_port_block(&self, first: u16) -> io::Result<()> {
        self.change(|wanted| wanted.remove_block(first))
    }

    fn set_local_addresses(&self, addresses: &[IpAddress]) -> io::Result<()> {
        self.change(|wanted| wanted.set_addresses(addresses))
    }

    fn has_all_queues(&self) -> bool {
        let state = self.0.lock();
        state.queues.len() >= state.total as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddress = IpAddress::from_v4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn each_queue_has_entries_of_its_own() {
        let mut wanted = Wanted::new(vec![ONE]);
        wanted.add_listener(IpAddress::V4_UNSPECIFIED, 80);
        wanted.add_listener(ONE, 81);
        wanted.remove_listener(ONE, 81);
        wanted.add_block(640);
        let entries = entries(&wanted, TPA_SHARED, &[3, 5]);
        assert_eq!(entries.len(), 8);
        for queue in [3, 5] {
            assert_eq!(entries.get(&Entry::Address { queue, address: ONE }), Some(&TPA_SHARED));
            assert_eq!(entries.get(&Entry::Block { queue, first: 640 }), Some(&1));
            let listener = |port| entries.get(&Entry::Listener { queue, address: ONE, port });
            assert_eq!((listener(80), listener(81)), (Some(&TPA_LISTENING), Some(&TPA_LISTENED)));
        }
    }

    #[test]
    fn keys_are_in_the_order_of_the_wire() {
        let key = listener_key(1, ONE, 0x1234);
        let bytes: Vec<u8> = key.address.into_iter().flat_map(u32::to_ne_bytes).collect();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
        assert_eq!(key.port.to_ne_bytes(), [0x12, 0x34]);
        assert_eq!(block_index(2, 65472), 2 * 1024 + 1023);
    }
}
