//! Opens the device that the configuration names.

use std::net::{Ipv4Addr, Ipv6Addr};

use dpdk_sys::eal::{EalConfig, Hugepages};
use tpa_tcp::wire::IpAddress;

use crate::config::{self, Config, DeviceSpec, InterfaceName, MemifRole};
use crate::device::{Opened, af_packet, af_xdp, memif, mlx5, none};
use crate::host;
use crate::instance::{Purpose, StartError};

/// Faces to open: sockets find their worker by [`Stack::home`], which knows one.
///
/// [`Stack::home`]: crate::Stack::home
const WORKERS: usize = 1;

/// Opens the configured device with a face for each worker.
pub fn open(config: &Config, purpose: Purpose) -> Result<Opened, StartError> {
    match &config.device {
        DeviceSpec::None => none::open().map_err(StartError::new),
        DeviceSpec::Memif => open_memif(config),
        DeviceSpec::AfXdp(name) => open_af_xdp(config, &interface(name, purpose)?),
        DeviceSpec::Mlx5(name) => open_mlx5(config, &interface(name, purpose)?),
        DeviceSpec::AfPacket(name) => af_packet::open(
            &interface(name, purpose)?,
            !config.own_addresses().is_empty(),
            &eal_config(config),
        )
        .map_err(StartError::new),
        DeviceSpec::Auto => match interface(&None, purpose)? {
            interface if mlx5::is_mlx5(&interface) => open_mlx5(config, &interface),
            interface => open_af_xdp(config, &interface),
        },
    }
}

fn open_memif(config: &Config) -> Result<Opened, StartError> {
    if config.own_addresses().is_empty() {
        return Err(StartError::new("device memif needs an `address` in the configuration"));
    }
    let role = match config.memif.role {
        MemifRole::Server => memif::Role::Server,
        MemifRole::Client => memif::Role::Client,
    };
    let options = memif::MemifOptions {
        id: config.memif.id,
        secret: config.memif.secret.clone(),
        buffer_size: config.memif.buffer_size,
        ring_size: config.memif.ring_size,
        connect_wait_ms: config.memif.connect_wait_ms,
        ..memif::MemifOptions::new(&config.memif.socket, role)
    };
    memif::open(&options, WORKERS).map_err(StartError::new)
}

fn open_af_xdp(config: &Config, interface: &host::Interface) -> Result<Opened, StartError> {
    let options = af_xdp::AfXdpOptions {
        queues: config.af_xdp.queues.limit(),
        ring_size: config.af_xdp.ring_size as u16,
        zero_copy: config.af_xdp.zero_copy == config::ZeroCopy::Auto,
        own_addresses: config.own_addresses().iter().map(|(own, _)| own.address().into()).collect(),
        eal: eal_config(config),
    };
    af_xdp::open(interface, &options, WORKERS).map_err(|error| match error {
        af_xdp::OpenError::NoFreeQueue { .. } => StartError::NoFreeQueue(error.to_string()),
        error => StartError::new(error),
    })
}

fn open_mlx5(config: &Config, interface: &host::Interface) -> Result<Opened, StartError> {
    mlx5::open(interface, &eal_config(config), WORKERS).map_err(StartError::new)
}

fn eal_config(config: &Config) -> EalConfig {
    EalConfig {
        memory_mb: config.dpdk.memory_mb,
        hugepages: match config.dpdk.hugepages {
            config::Hugepages::Auto => Hugepages::Auto,
            config::Hugepages::Never => Hugepages::Never,
            config::Hugepages::Only => Hugepages::Only,
        },
        pci: Vec::new(),
        extra_args: config.dpdk.extra_args.clone(),
    }
}

/// The named interface, or the one that carries what the stack is started for.
fn interface(name: &Option<InterfaceName>, purpose: Purpose) -> Result<host::Interface, StartError> {
    match name {
        Some(name) => host::interface_by_name(name.as_str()).map_err(StartError::new),
        None => match purpose {
            Purpose::Listen(local) => interface_for_listener(local.ip().into()),
            Purpose::Connect(remote) => {
                let route = host::route_to(remote.ip().into()).map_err(StartError::new)?;
                host::interface_by_index(route.ifindex).map_err(StartError::new)
            }
        },
    }
}

/// Addresses outside that only a default route matches (RFC 5737, RFC 3849).
const OUTSIDE: [IpAddress; 2] = [
    IpAddress::from_v4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddress::from_v6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// For a wildcard listener: the only interface with an address, or the one of
/// the default route.
fn interface_for_listener(address: IpAddress) -> Result<host::Interface, StartError> {
    // One on loopback says nothing of the device that others will need.
    if !address.is_unspecified() && !address.is_loopback() {
        return host::interface_with_address(address).map_err(StartError::new);
    }
    let mut candidates: Vec<_> = host::interfaces()
        .map_err(StartError::new)?
        .into_iter()
        .filter(|interface| interface.up && !interface.is_loopback && !interface.addresses.is_empty())
        .collect();
    match candidates.len() {
        0 => Err(StartError::new("device \"auto\": no interface beside loopback is up and has an address")),
        1 => Ok(candidates.remove(0)),
        _ => {
            let mut routes = OUTSIDE.iter().filter_map(|&address| host::route_to(address).ok());
            let default = routes.find_map(|route| candidates.iter().position(|i| i.index == route.ifindex));
            let names: Vec<&str> = candidates.iter().map(|interface| interface.name.as_str()).collect();
            match default {
                Some(position) => Ok(candidates.remove(position)),
                None => Err(StartError::Failed(format!(
                    "device \"auto\": several interfaces ({}) and no default route; name one, as in device = \"af_xdp:{}\"",
                    names.join(", "),
                    names[0]
                ))),
            }
        }
    }
}
