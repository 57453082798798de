//! The configuration: what `tpa.conf` and the environment say, and the policy
//! that decides by it which sockets leave the kernel.
//!
//! [`load()`] finds and reads it; [`Config`] is the result, one field an option,
//! and `conf/tpa.conf` its commented list; [`Policy`] answers for one socket.
//! Nothing here panics on any input: a wrong configuration is a
//! [`ConfigError`] that names the place and what was meant.

mod device;
mod error;
mod load;
mod options;
mod pattern;
mod policy;
mod preset;
mod queues;
mod text;
mod within;

pub use device::{DeviceSpec, InterfaceName};
pub use error::ConfigError;
pub use load::{load, load_with, parse_file, program_name};
pub use options::{
    AfXdp, Congestion, Dpdk, Ecn, Fault, Hugepages, Memif, MemifRole, MtuProbing, Rule, RuleAction, Tcp,
    ZeroCopy,
};
pub use pattern::{ConnectPattern, InterfaceAddress, ListenPattern, PortRange, ProgramPattern};
pub use policy::{Decision, Policy, Reason};
pub use preset::Preset;
pub use queues::Queues;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use within::within;

/// Everything that can be configured. [`Config::default`] accelerates nothing.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Local addresses and ports whose listeners are accelerated.
    pub listen: Vec<ListenPattern>,
    /// Remote addresses and ports to which connections are accelerated.
    pub connect: Vec<ConnectPattern>,
    /// Programs that `listen` and `connect` hold for; empty: any.
    pub programs: Vec<ProgramPattern>,
    /// A socket that should be accelerated and cannot be is an error of the
    /// call instead of a kernel socket.
    pub strict: bool,
    /// Connections of the process to itself, at 127.0.0.0/8, ::1 and its own
    /// addresses, stay inside the stack.
    pub loopback: bool,
    /// The device that carries accelerated connections.
    pub device: DeviceSpec,
    /// The device's own IPv4 address and prefix, instead of the kernel's.
    pub address: Option<InterfaceAddress>,
    /// Router for addresses beyond `address`'s prefix.
    pub gateway: Option<Ipv4Addr>,
    /// The device's own IPv6 address and prefix, instead of the kernel's.
    pub address6: Option<InterfaceAddress>,
    /// Router for addresses beyond `address6`'s prefix.
    pub gateway6: Option<Ipv6Addr>,
    /// Workers: threads up to this number get a stack of their own, then share.
    #[serde(deserialize_with = "within::<_, _, 1, 64>")]
    pub workers: u16,
    /// How long a waiting thread polls before it sleeps, in microseconds.
    #[serde(deserialize_with = "within::<_, _, 0, 1_000_000>")]
    pub spin_us: u32,
    /// Whether an accelerated program may set up an io_uring(7), for which its
    /// accelerated sockets do not exist.
    pub io_uring: bool,
    /// Further rules; the first that matches decides, before `listen` and
    /// `connect` are looked at.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
    /// The memif device.
    pub memif: Memif,
    /// The AF_XDP device.
    pub af_xdp: AfXdp,
    /// DPDK itself.
    pub dpdk: Dpdk,
    /// TCP.
    pub tcp: Tcp,
    /// Fault injection.
    pub fault: Fault,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            connect: Vec::new(),
            programs: Vec::new(),
            strict: false,
            loopback: false,
            device: DeviceSpec::Auto,
            address: None,
            gateway: None,
            address6: None,
            gateway6: None,
            workers: 1,
            spin_us: 50,
            io_uring: false,
            rules: Vec::new(),
            memif: Memif::default(),
            af_xdp: AfXdp::default(),
            dpdk: Dpdk::default(),
            tcp: Tcp::default(),
            fault: Fault::default(),
        }
    }
}

#[cfg(test)]
mod tests;

impl Config {
    /// The device's own addresses, each with the router beyond its prefix; none
    /// where the kernel's count.
    pub fn own_addresses(&self) -> Vec<(InterfaceAddress, Option<IpAddr>)> {
        let v4 = self.address.map(|own| (own, self.gateway.map(IpAddr::V4)));
        let v6 = self.address6.map(|own| (own, self.gateway6.map(IpAddr::V6)));
        v4.into_iter().chain(v6).collect()
    }
}
