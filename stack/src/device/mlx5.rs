//! A Mellanox (NVIDIA) port that the kernel goes on using: DPDK's mlx5 driver
//! beside the kernel's, and flow rules for what is ours.
//!
//! The port is isolated before it starts: no frame comes to us but by a rule. A
//! rule matches addresses and ports, not flows: of a port that was taken, all
//! connections are ours, and after the last listener is gone the rule stays for
//! those that stand. Connections that the kernel has on such a port from before
//! are cut off from it; ports are reserved before they are steered.
//!
//! This module is written to DPDK's documentation and has not run on hardware.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use dpdk_sys::eal::{self, EalConfig};
use dpdk_sys::{FlowRule, Layout, Pool, Port, PortConfig, Queue};
use tpa_tcp::wire::IpAddress;

use crate::device::dpdk::{DpdkPort, Signal};
use crate::device::wanted::{Wanted, check_block};
use crate::device::{Device, DeviceInfo, Opened, PORT_BLOCK, Steering, ethtool};
use crate::host::Interface;

/// Descriptors of each ring.
const RING_SIZE: u16 = 1024;

/// Buffers per queue: what the rings can hold, and as much for sockets.
const BUFFERS: u32 = 4 * 2 * RING_SIZE as u32 - 1;

const ETHERNET_HEADER: u32 = 14;

/// Why a port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The interface has no address to serve.
    #[error("{0} has no IPv4 address")]
    NoAddress(String),
    /// The interface did not answer.
    #[error("{interface}: {source}")]
    Interface {
        /// The interface.
        interface: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// DPDK does not run.
    #[error(transparent)]
    Eal(#[from] eal::StartError),
    /// DPDK's driver refused.
    #[error("{interface} ({address}): {source}")]
    Driver {
        /// The interface.
        interface: String,
        /// Its PCI address.
        address: String,
        /// What failed.
        source: dpdk_sys::Error,
    },
}

/// Whether an interface is a port that this module drives.
pub fn is_mlx5(interface: &Interface) -> bool {
    interface.kind.is_none()
        && ethtool::driver(&interface.name).is_ok_and(|driver| driver.name == "mlx5_core")
}

/// Opens the port behind an interface with a queue for each worker.
///
/// # Errors
///
/// [`OpenError`], each a line that says what to do.
pub fn open(interface: &Interface, eal: &EalConfig, workers: usize) -> Result<Opened, OpenError> {
    if !interface.addresses.iter().any(|(address, _)| address.is_v4()) {
        return Err(OpenError::NoAddress(interface.name.clone()));
    }
    let driver = ethtool::driver(&interface.name)
        .map_err(|source| OpenError::Interface { interface: interface.name.clone(), source })?;
    let dpdk = eal::start(&EalConfig { pci: vec![driver.bus.clone()], ..eal.clone() })?;
    let failed =
        |source| OpenError::Driver { interface: interface.name.clone(), address: driver.bus.clone(), source };
    let port = Port::probe(dpdk, &driver.bus).map_err(failed)?;
    port.isolate().map_err(failed)?;
    let tx_checksum = port.info().map_err(failed)?.capabilities.tx_tcp_checksum;
    let queues = start(dpdk, port, interface, workers.max(1)).map_err(failed)?;
    let info = DeviceInfo {
        name: format!("mlx5:{}", interface.name),
        mac: interface.mac,
        mtu: interface.mtu as usize,
        partial_checksums: false,
        own_neighbours: false,
        tx_checksum,
        lossless_memory: false,
    };
    let addresses = interface.addresses.iter().map(|&(address, _)| address).collect();
    let steering = FlowSteering::new(&queues, addresses);
    let face = |queue: Queue| -> Box<dyn Device> {
        let signal = queue.interrupt_fd().map_or(Signal::None, Signal::Interrupt);
        Box::new(DpdkPort::new(dpdk, info.clone(), vec![(queue, signal)], RING_SIZE.into()))
    };
    Ok(Opened {
        workers: queues.into_iter().map(face).collect(),
        steering: steering.map(|steering| Box::new(steering) as Box<dyn Steering>),
        ifindex: Some(interface.index),
    })
}

fn start(
    dpdk: &'static dpdk_sys::Dpdk,
    port: Port,
    interface: &Interface,
    workers: usize,
) -> Result<Vec<Queue>, dpdk_sys::Error> {
    let room = interface.mtu + ETHERNET_HEADER;
    let pools: Result<Vec<Pool>, _> =
        (0..workers).map(|_| Pool::create(dpdk, BUFFERS, room, Layout::Hardware)).collect();
    let config = PortConfig {
        mtu: u16::try_from(interface.mtu).unwrap_or(u16::MAX),
        rx_descriptors: RING_SIZE,
        tx_descriptors: RING_SIZE,
        capabilities: port.info()?.capabilities,
        interrupts: true,
    };
    port.start(&config, pools?)
}

/// A rule: address, port, and the mask under which ports are compared.
type Match = (Ipv4Addr, u16, u16);

/// Flow rules of a port.
struct FlowSteering {
    port: Arc<Port>,
    queues: Vec<u16>,
    state: Mutex<State>,
}

struct State {
    wanted: Wanted,
    rules: BTreeMap<Match, FlowRule>,
}

impl fmt::Debug for FlowSteering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowSteering").field("queues", &self.queues).finish_non_exhaustive()
    }
}

/// The rules that say what is wanted. Rules are for IPv4; IPv6 stays with the kernel.
fn matches(wanted: &Wanted) -> Vec<Match> {
    let listeners = wanted.listeners().into_keys();
    let listeners = listeners.filter_map(|(address, port)| Some((address.to_v4()?, port, u16::MAX)));
    let addresses = || wanted.addresses().iter().filter_map(|address| address.to_v4());
    let block = |&first: &u16| addresses().map(move |address| (address, first, !(PORT_BLOCK - 1)));
    listeners.chain(wanted.blocks().iter().flat_map(block)).collect()
}

impl FlowSteering {
    fn new(queues: &[Queue], addresses: Vec<IpAddress>) -> Option<Self> {
        let port = Arc::clone(queues.first()?.port());
        let queues = queues.iter().map(Queue::id).collect();
        let state = Mutex::new(State { wanted: Wanted::new(addresses), rules: BTreeMap::new() });
        Some(Self { port, queues, state })
    }

    /// Changes what is wanted, and the rules with it. New rules come first: when
    /// one is refused, those before it go again, and the former state stands.
    fn change(&self, change: impl FnOnce(&mut Wanted)) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.wanted.clone();
        change(&mut next);
        let after = matches(&next);
        let mut added = BTreeMap::new();
        for &(address, port, mask) in after.iter().filter(|key| !state.rules.contains_key(*key)) {
            match self.port.add_flow(address, port, mask, &self.queues) {
                Ok(rule) => added.insert((address, port, mask), rule),
                Err(error) => {
                    self.remove(added);
                    return Err(io::Error::other(error));
                }
            };
        }
        let (mut kept, gone): (BTreeMap<_, _>, _) =
            std::mem::take(&mut state.rules).into_iter().partition(|(key, _)| after.contains(key));
        self.remove(gone);
        kept.append(&mut added);
        state.rules = kept;
        state.wanted = next;
        Ok(())
    }

    fn remove(&self, rules: BTreeMap<Match, FlowRule>) {
        for ((address, port, mask), rule) in rules {
            if let Err(error) = self.port.remove_flow(rule) {
                log::warn!("flow rule for {address}:{port}/{mask:#x}: {error}");
            }
        }
    }
}

impl Drop for FlowSteering {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let rules = std::mem::take(&mut state.rules);
        self.remove(rules);
    }
}

impl Steering for FlowSteering {
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

    fn takes_ipv6(&self) -> bool {
        false
    }

    fn set_local_addresses(&self, addresses: &[IpAddress]) -> io::Result<()> {
        self.change(|wanted| wanted.set_addresses(addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn a_block_is_one_rule_with_a_mask_and_a_former_listener_keeps_its_rule() {
        let mut wanted = Wanted::new(vec![ONE.into()]);
        wanted.add_block(640);
        wanted.add_listener(IpAddress::V4_UNSPECIFIED, 80);
        wanted.remove_listener(IpAddress::V4_UNSPECIFIED, 80);
        assert_eq!(matches(&wanted), [(ONE, 80, 0xffff), (ONE, 640, 0xffc0)]);
    }

    #[test]
    fn loopback_is_no_mellanox_port() {
        let loopback = crate::host::interface_by_name("lo").unwrap();
        assert!(!is_mlx5(&loopback));
    }
}
