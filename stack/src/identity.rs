//! Who we are on the device: addresses, and the way to others.

use std::io;
use std::net::Ipv4Addr;
use std::sync::RwLock;

use tpa_tcp::wire::{EthernetAddress, IpAddress};

use crate::device::Steering;
use crate::host;

/// Length of the IP and TCP headers without options in a packet to `peer`.
pub const fn headers(peer: IpAddress) -> u16 {
    if peer.is_v4() { 20 + 20 } else { 40 + 20 }
}

/// Where the segments for a destination go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Our address on that path.
    pub source: IpAddress,
    /// Neighbour to send to: the destination itself or a gateway.
    pub next_hop: IpAddress,
    /// It leads back to ourselves.
    pub loops: bool,
}

/// An address of the configuration's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// Our address.
    pub address: IpAddress,
    /// Length of the prefix that is on the link.
    pub prefix: u8,
    /// Gateway for everything else of its family.
    pub gateway: Option<IpAddress>,
}

/// How addresses and routes are known.
pub enum Network {
    /// The configuration gave the device its own; the kernel has no part in it.
    Own(Vec<OwnAddress>),
    /// The kernel's interface, shared with us.
    Kernel {
        /// Its number.
        ifindex: u32,
        /// Its addresses at present.
        addresses: RwLock<Vec<IpAddress>>,
    },
}

/// The stack's place on its device.
pub struct Identity {
    /// Hardware address.
    pub mac: EthernetAddress,
    /// Largest IP packet.
    pub mtu: usize,
    /// Addresses and routes.
    pub network: Network,
    /// Steering, where the interface is shared with the kernel.
    pub steering: Option<Box<dyn Steering>>,
    /// Connections to our own addresses stay inside the stack.
    pub loopback: bool,
}

/// Whether `remote` is the broadcast address of the link, in either form (RFC
/// 1122 3.2.1.3).
fn is_broadcast_of(remote: Ipv4Addr, own: &OwnAddress) -> bool {
    let host = u32::MAX.checked_shr(own.prefix.into()).unwrap_or(0);
    own.prefix < 31
        && own.address.agrees_with(remote.into(), own.prefix)
        && matches!(remote.to_bits() & host, bits if bits == host || bits == 0)
}

/// The path by addresses of our own: on the link, or by a gateway.
fn own_path(own: &[OwnAddress], remote: IpAddress) -> Option<Path> {
    if remote.to_v4().is_some_and(|remote| own.iter().any(|own| is_broadcast_of(remote, own))) {
        return None;
    }
    let on_link = own.iter().find(|own| own.address.agrees_with(remote, own.prefix));
    if let Some(own) = on_link {
        return Some(Path { source: own.address, next_hop: remote, loops: false });
    }
    let beyond = own.iter().filter(|own| own.address.is_like(remote));
    beyond.filter_map(|own| Some(Path { source: own.address, next_hop: own.gateway?, loops: false })).next()
}

impl Identity {
    /// Whether the stack answers for this address.
    pub fn owns(&self, address: IpAddress) -> bool {
        match &self.network {
            Network::Own(own) => own.iter().any(|own| own.address == address),
            Network::Kernel { addresses, .. } => {
                addresses.read().is_ok_and(|addresses| addresses.contains(&address))
            }
        }
    }

    /// Whether a socket bound to this address can be served; the unspecified
    /// address stands for all.
    pub fn serves(&self, address: IpAddress) -> bool {
        address.is_unspecified() || self.owns(address) || self.loops(address)
    }

    /// Whether connections to this address stay inside the stack.
    pub fn loops(&self, address: IpAddress) -> bool {
        self.loopback && (address.is_loopback() || self.owns(address))
    }

    /// The path to a destination over our device.
    ///
    /// # Errors
    ///
    /// `ENETUNREACH` when the destination is not reached over this device or,
    /// without `loopback`, is one of our own addresses, or what the kernel says
    /// of the route.
    pub fn path_to(&self, remote: IpAddress) -> io::Result<Path> {
        let unreachable = || io::Error::from_raw_os_error(libc::ENETUNREACH);
        if self.loops(remote) {
            // Linux's local routes: an own address is its own source, and the
            // whole of 127.0.0.0/8 has this one.
            let is_127 = remote.is_v4() && remote.is_loopback();
            let source = if is_127 { Ipv4Addr::LOCALHOST.into() } else { remote };
            return Ok(Path { source, next_hop: remote, loops: true });
        }
        if self.owns(remote) || remote.is_loopback() || remote.is_unspecified() {
            return Err(unreachable());
        }
        // The kernel's, by policy: an address is not enough to reach them.
        if remote.needs_scope() {
            return Err(unreachable());
        }
        // RFC 9293 3.9.2.3 (MUST-46), with connect(2)'s error.
        if remote.is_multicast() || remote.to_v4().is_some_and(|remote| remote.is_broadcast()) {
            return Err(unreachable());
        }
        match &self.network {
            Network::Own(own) => own_path(own, remote).ok_or_else(unreachable),
            Network::Kernel { ifindex, .. } => {
                let route =
                    host::route_to(remote).map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
                if route.ifindex != *ifindex || route.is_local {
                    return Err(unreachable());
                }
                Ok(Path { source: route.source, next_hop: route.gateway.unwrap_or(remote), loops: false })
            }
        }
    }

    /// Largest segment payload before options in a packet to `peer` (RFC 9293
    /// 3.7.1).
    pub fn mss(&self, peer: IpAddress) -> u16 {
        let least = if peer.is_v4() { 576 } else { 1280 };
        self.mtu.clamp(least, 65535) as u16 - headers(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddress {
        Ipv4Addr::new(a, b, c, d).into()
    }

    fn own(gateway: Option<IpAddress>) -> Identity {
        Identity {
            mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            network: Network::Own(vec![OwnAddress { address: v4(192, 168, 7, 1), prefix: 24, gateway }]),
            steering: None,
            loopback: false,
        }
    }

    #[test]
    fn a_destination_on_the_link_is_its_own_next_hop_and_others_go_by_the_gateway() {
        let near = v4(192, 168, 7, 9);
        let far = v4(10, 1, 1, 1);
        let gateway = v4(192, 168, 7, 254);
        assert_eq!(own(None).path_to(near).unwrap().next_hop, near);
        assert!(own(None).path_to(far).is_err());
        assert_eq!(own(Some(gateway)).path_to(far).unwrap().next_hop, gateway);
        assert!(own(None).path_to(v4(192, 168, 7, 1)).is_err());
    }

    #[test]
    fn each_family_has_its_own_paths() {
        let v6 = |text: &str| IpAddress::from_v6(text.parse().unwrap());
        let mut dual = own(None);
        let gateway = Some(v6("fe80::1"));
        dual.network = Network::Own(vec![
            OwnAddress { address: v4(192, 168, 7, 1), prefix: 24, gateway: None },
            OwnAddress { address: v6("fd00::1"), prefix: 64, gateway },
        ]);
        let near = Path { source: v6("fd00::1"), next_hop: v6("fd00::ffff:ffff"), loops: false };
        assert_eq!(dual.path_to(near.next_hop).unwrap(), near);
        let far = Path { source: v6("fd00::1"), next_hop: v6("fe80::1"), loops: false };
        assert_eq!(dual.path_to(v6("2001:db8::1")).unwrap(), far);
        assert!(dual.path_to(v4(10, 1, 1, 1)).is_err(), "the gateway is of the other family");
        for nobody in ["fd00::1", "::1", "::", "ff02::1", "fe80::2"] {
            assert!(dual.path_to(v6(nobody)).is_err(), "{nobody}");
        }
    }

    #[test]
    fn nobody_connects_to_many() {
        // RFC 9293 MUST-46.
        for [a, b, c, d] in
            [[224, 0, 0, 1], [239, 1, 1, 1], [255, 255, 255, 255], [192, 168, 7, 255], [192, 168, 7, 0]]
        {
            let error = own(Some(v4(192, 168, 7, 254))).path_to(v4(a, b, c, d)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH), "{a}.{b}.{c}.{d}");
        }
    }

    #[test]
    fn the_mss_leaves_room_for_both_headers() {
        assert_eq!(own(None).mss(v4(10, 0, 0, 1)), 1460);
        assert_eq!(own(None).mss(IpAddress::V6_UNSPECIFIED), 1440);
    }
}
