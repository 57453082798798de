//! Small stand-ins for connections, by flow, with a deadline each: half-open
//! connections and those in TIME-WAIT.

use std::collections::BTreeSet;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tpa_tcp::Instant;

use crate::worker::socket::FlowKey;

/// Values by flow and in the order of their deadlines. Nothing of a value
/// stays behind when it is taken out, so that its memory is bounded by the
/// number of values.
pub struct Shelf<T> {
    values: HashMap<FlowKey, (Instant, T), RandomState>,
    deadlines: BTreeSet<(Instant, FlowKey)>,
    /// No value is due before.
    earliest: Instant,
}

impl<T> Shelf<T> {
    pub fn new() -> Self {
        Self { values: HashMap::default(), deadlines: BTreeSet::new(), earliest: Instant::FAR }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn contains(&self, flow: FlowKey) -> bool {
        self.values.contains_key(&flow)
    }

    /// Puts a value in the place of any other of this flow.
    pub fn insert(&mut self, flow: FlowKey, deadline: Instant, value: T) {
        if let Some((before, _)) = self.values.insert(flow, (deadline, value)) {
            self.deadlines.remove(&(before, flow));
        }
        self.deadlines.insert((deadline, flow));
        self.earliest = self.earliest.min(deadline);
    }

    #[inline]
    pub fn get_mut(&mut self, flow: FlowKey) -> Option<&mut T> {
        if self.values.is_empty() {
            return None;
        }
        self.values.get_mut(&flow).map(|(_, value)| value)
    }

    #[inline]
    pub fn remove(&mut self, flow: FlowKey) -> Option<T> {
        if self.values.is_empty() {
            return None;
        }
        let (deadline, value) = self.values.remove(&flow)?;
        self.deadlines.remove(&(deadline, flow));
        Some(value)
    }

    /// Takes out the value that is due first.
    pub fn pop_first(&mut self) -> Option<(FlowKey, T)> {
        let (_, flow) = self.deadlines.pop_first()?;
        let (_, value) = self.values.remove(&flow)?;
        Some((flow, value))
    }

    /// Takes out a value whose deadline has come.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<(FlowKey, T)> {
        if self.earliest > now {
            return None;
        }
        self.earliest = self.deadlines.first().map_or(Instant::FAR, |(deadline, _)| *deadline);
        if self.earliest > now { None } else { self.pop_first() }
    }

    /// Drops the values for which `keep` does not hold.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let deadlines = &mut self.deadlines;
        self.values.retain(|flow, (deadline, value)| {
            let kept = keep(value);
            if !kept {
                deadlines.remove(&(*deadline, *flow));
            }
            kept
        });
    }

    /// No value is due before this time; `None` without any.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        Some(self.earliest).filter(|&at| at != Instant::FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use tpa_tcp::wire::IpAddress;

    const HOST: IpAddress = IpAddress::from_v4(Ipv4Addr::LOCALHOST);

    fn flow(port: u16) -> FlowKey {
        FlowKey::new(HOST, 80, HOST, port)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn values_become_due_in_the_order_of_their_deadlines() {
        let mut shelf = Shelf::new();
        for (port, millis) in [(1, 30), (2, 10), (3, 20)] {
            shelf.insert(flow(port), at(millis), port);
        }
        assert_eq!(shelf.next_deadline(), Some(at(10)));
        assert_eq!(shelf.pop_due(at(9)), None);
        let due: Vec<u16> = std::iter::from_fn(|| shelf.pop_due(at(25))).map(|(_, port)| port).collect();
        assert_eq!(due, [2, 3]);
        assert_eq!((shelf.len(), shelf.next_deadline()), (1, Some(at(30))));
    }

    #[test]
    fn a_later_deadline_replaces_the_former_one() {
        let mut shelf = Shelf::new();
        shelf.insert(flow(1), at(10), 'a');
        shelf.insert(flow(1), at(20), 'b');
        assert_eq!(shelf.pop_due(at(15)), None);
        assert_eq!(shelf.pop_due(at(20)), Some((flow(1), 'b')));
        assert_eq!((shelf.len(), shelf.deadlines.len()), (0, 0));
    }

    #[test]
    fn what_is_taken_out_or_dropped_leaves_nothing_behind() {
        let mut shelf = Shelf::new();
        for port in 0..100 {
            shelf.insert(flow(port), at(10), port);
        }
        assert_eq!(shelf.remove(flow(7)), Some(7));
        assert_eq!(shelf.remove(flow(7)), None);
        shelf.retain(|port| port % 2 == 0);
        assert_eq!((shelf.len(), shelf.deadlines.len()), (50, 50));
        assert!(shelf.contains(flow(8)) && shelf.get_mut(flow(9)).is_none());
    }
}
