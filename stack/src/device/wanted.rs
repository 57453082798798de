//! What is to be steered to the stack, whatever does the steering.

use std::collections::BTreeMap;
use std::io;

use tpa_tcp::wire::IpAddress;

use crate::device::PORT_BLOCK;

/// What a listening port is to the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// It takes new connections.
    Now,
    /// It did; connections of that time may stand.
    Before,
}

/// Addresses, listeners and port blocks that are the stack's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    addresses: Vec<IpAddress>,
    /// By address, perhaps unspecified, and port.
    listeners: BTreeMap<(IpAddress, u16), Listening>,
    blocks: Vec<u16>,
}

impl Wanted {
    /// Nothing but these addresses.
    pub(crate) fn new(addresses: Vec<IpAddress>) -> Self {
        Self { addresses, ..Self::default() }
    }

    pub(crate) fn add_listener(&mut self, address: IpAddress, port: u16) {
        self.listeners.insert((address, port), Listening::Now);
    }

    pub(crate) fn remove_listener(&mut self, address: IpAddress, port: u16) {
        self.listeners.entry((address, port)).and_modify(|listening| *listening = Listening::Before);
    }

    pub(crate) fn add_block(&mut self, first: u16) {
        self.blocks.push(first);
    }

    pub(crate) fn remove_block(&mut self, first: u16) {
        self.blocks.retain(|&block| block != first);
    }

    pub(crate) fn set_addresses(&mut self, addresses: &[IpAddress]) {
        self.addresses = addresses.to_vec();
    }

    pub(crate) fn addresses(&self) -> &[IpAddress] {
        &self.addresses
    }

    /// First ports of the blocks.
    pub(crate) fn blocks(&self) -> &[u16] {
        &self.blocks
    }

    /// Listeners with their addresses spelled out. One on an address of its own
    /// comes after, and overrides, one on all.
    pub(crate) fn listeners(&self) -> BTreeMap<(IpAddress, u16), Listening> {
        let spelled = self.listeners.iter().flat_map(|((address, port), &listening)| {
            let spelled: &[IpAddress] =
                if address.is_unspecified() { &self.addresses } else { std::slice::from_ref(address) };
            let of_family = spelled.iter().filter(|other| other.is_like(*address));
            of_family.map(move |&address| ((address, *port), listening))
        });
        spelled.collect()
    }
}

/// Refuses a block that does not begin where blocks begin.
pub(crate) fn check_block(first: u16) -> io::Result<()> {
    if first.is_multiple_of(PORT_BLOCK) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ONE: IpAddress = IpAddress::from_v4(Ipv4Addr::new(10, 0, 0, 1));
    const TWO: IpAddress = IpAddress::from_v4(Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_listener_on_all_addresses_is_one_on_each() {
        let mut wanted = Wanted::new(vec![ONE]);
        wanted.add_listener(IpAddress::V4_UNSPECIFIED, 80);
        wanted.set_addresses(&[ONE, TWO]);
        let listeners: Vec<_> = wanted.listeners().into_iter().collect();
        assert_eq!(listeners, [((ONE, 80), Listening::Now), ((TWO, 80), Listening::Now)]);
    }

    #[test]
    fn a_listener_on_all_addresses_is_on_those_of_its_family_alone() {
        let six = IpAddress::from_v6("fd00::1".parse().unwrap());
        let mut wanted = Wanted::new(vec![ONE, six]);
        wanted.add_listener(IpAddress::V4_UNSPECIFIED, 80);
        wanted.add_listener(IpAddress::V6_UNSPECIFIED, 81);
        let listeners: Vec<_> = wanted.listeners().into_keys().collect();
        assert_eq!(listeners, [(ONE, 80), (six, 81)]);
    }

    #[test]
    fn a_listener_on_one_address_overrides_one_on_all() {
        let mut wanted = Wanted::new(vec![ONE, TWO]);
        wanted.add_listener(TWO, 80);
        wanted.add_listener(IpAddress::V4_UNSPECIFIED, 80);
        wanted.remove_listener(IpAddress::V4_UNSPECIFIED, 80);
        let listeners: Vec<_> = wanted.listeners().into_iter().collect();
        assert_eq!(listeners, [((ONE, 80), Listening::Before), ((TWO, 80), Listening::Now)]);
    }

    #[test]
    fn a_block_begins_at_a_multiple_of_its_size() {
        assert!(check_block(640).is_ok());
        assert!(check_block(641).is_err());
    }
}
