//! Hardware addresses of the neighbours that a worker sends to.
//!
//! Where the kernel shares the interface, it resolves neighbours and netlink
//! tells us. Where it does not ([`DeviceInfo::own_neighbours`]), we ask by ARP
//! (RFC 826) ourselves.
//!
//! [`DeviceInfo::own_neighbours`]: crate::device::DeviceInfo::own_neighbours

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tpa_tcp::wire::{EthernetAddress, IpAddress};
use tpa_tcp::{Duration, Instant};

/// Time between two requests for the same neighbour (RFC 1122 2.3.2.1: at most
/// one a second).
const RETRY: Duration = Duration::from_secs(1);
/// Requests before a neighbour counts as unreachable; Linux's `mcast_solicit`.
const TRIES: u8 = 3;
/// Neighbours that are remembered at most; on a shared segment anybody can
/// make us learn.
const CAPACITY: usize = 4096;

#[derive(Default)]
struct Entry {
    mac: Option<EthernetAddress>,
    /// Streams (places in the table) with segments to send.
    waiting: Vec<u32>,
    tries: u8,
    retry_at: Option<Instant>,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Known.
    Known(EthernetAddress),
    /// Somebody must ask the neighbour now.
    Ask,
    /// A question is on its way.
    Waiting,
}

/// The neighbour table of one worker.
#[derive(Default)]
pub struct Neighbours {
    table: HashMap<IpAddress, Entry, RandomState>,
    /// The earliest `retry_at`, or one that has been answered meanwhile.
    due: Option<Instant>,
}

impl Neighbours {
    /// Looks a neighbour up for a stream; unless known, the stream is noted
    /// and comes back from [`Neighbours::learn`].
    pub fn resolve(&mut self, address: IpAddress, stream: u32, now: Instant) -> Resolution {
        if self.table.len() >= CAPACITY && !self.table.contains_key(&address) {
            self.evict();
        }
        let entry = self.table.entry(address).or_default();
        if let Some(mac) = entry.mac {
            return Resolution::Known(mac);
        }
        if !entry.waiting.contains(&stream) {
            entry.waiting.push(stream);
        }
        if entry.retry_at.is_some() {
            return Resolution::Waiting;
        }
        entry.tries = 1;
        let at = now + RETRY;
        entry.retry_at = Some(at);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        Resolution::Ask
    }

    fn evict(&mut self) {
        let idle = self.table.iter().find(|(_, entry)| entry.waiting.is_empty()).map(|(address, _)| *address);
        if let Some(address) = idle {
            self.table.remove(&address);
        }
    }

    /// A neighbour told its address. Returns the streams that waited.
    pub fn learn(&mut self, address: IpAddress, mac: EthernetAddress) -> Vec<u32> {
        if self.table.len() >= CAPACITY && !self.table.contains_key(&address) {
            self.evict();
        }
        let entry = self.table.entry(address).or_default();
        entry.mac = Some(mac);
        entry.retry_at = None;
        std::mem::take(&mut entry.waiting)
    }

    /// Takes a new address of a neighbour that we know already, or have asked.
    pub fn refresh(&mut self, address: IpAddress, mac: EthernetAddress) -> Vec<u32> {
        if self.table.contains_key(&address) { self.learn(address, mac) } else { Vec::new() }
    }

    /// Forgets a neighbour's address, so that it is asked again.
    pub fn forget(&mut self, address: IpAddress) {
        if let Some(entry) = self.table.get_mut(&address) {
            entry.mac = None;
        }
    }

    /// When [`Neighbours::overdue`] may have something to do.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Calls `ask` for each neighbour that is to be asked again, and returns
    /// the streams of those that have not answered in time.
    pub fn overdue(&mut self, now: Instant, mut ask: impl FnMut(IpAddress)) -> Vec<(IpAddress, Vec<u32>)> {
        let mut unreachable = Vec::new();
        for (address, entry) in &mut self.table {
            if entry.retry_at.is_none_or(|at| at > now) {
                continue;
            }
            if entry.tries >= TRIES || entry.waiting.is_empty() {
                entry.retry_at = None;
                unreachable.push((*address, std::mem::take(&mut entry.waiting)));
            } else {
                entry.tries += 1;
                entry.retry_at = Some(now + RETRY);
                ask(*address);
            }
        }
        self.due = self.table.values().filter_map(|entry| entry.retry_at).min();
        unreachable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddress = IpAddress::from_v4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_neighbour_is_asked_once_and_then_known_to_all_who_waited() {
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.resolve(PEER, 1, at(0)), Resolution::Ask);
        assert_eq!(neighbours.resolve(PEER, 2, at(0)), Resolution::Waiting);
        assert_eq!(neighbours.learn(PEER, MAC), [1, 2]);
        assert_eq!(neighbours.resolve(PEER, 3, at(0)), Resolution::Known(MAC));
        assert!(neighbours.overdue(at(1), |_| ()).is_empty());
        assert_eq!(neighbours.next_deadline(), None);
    }

    #[test]
    fn a_silent_neighbour_is_asked_three_times_and_given_up() {
        let mut neighbours = Neighbours::default();
        neighbours.resolve(PEER, 1, at(0));
        let mut asked = 0;
        for second in 1..=2 {
            assert!(neighbours.overdue(at(second), |_| asked += 1).is_empty());
        }
        assert_eq!(neighbours.overdue(at(3), |_| asked += 1), [(PEER, vec![1])]);
        assert_eq!(asked, 2);
        assert_eq!(neighbours.resolve(PEER, 1, at(4)), Resolution::Ask);
    }

    #[test]
    fn a_stranger_is_not_learned_unasked() {
        let mut neighbours = Neighbours::default();
        assert!(neighbours.refresh(PEER, MAC).is_empty());
        assert_eq!(neighbours.resolve(PEER, 1, at(0)), Resolution::Ask);
    }
}
