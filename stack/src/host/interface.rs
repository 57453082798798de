//! Network interfaces and their addresses.

use std::fs;
use std::path::Path;

use libc::{
    IFA_ADDRESS, IFA_LOCAL, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, RTM_GETADDR,
    RTM_GETLINK,
};
use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressHeader, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkMessage};
use tpa_tcp::wire::IpAddress;

use super::HostError;
use super::attributes::Attributes;
use super::netlink::Request;

/// A network interface of the kernel, as it was when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address; zeros where it has none.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Addresses and the lengths of their prefixes, IPv4 before IPv6 and the primary
    /// one first; without IPv6 link-local ones.
    pub addresses: Vec<(IpAddress, u8)>,
    /// Whether it is a loopback.
    pub is_loopback: bool,
    /// Whether it is set up and has a carrier.
    pub up: bool,
    /// What made it, for interfaces of software: "veth", "bridge", "vlan".
    pub kind: Option<String>,
}

/// All interfaces of this thread's network namespace.
///
/// # Errors
///
/// What netlink answers.
pub fn interfaces() -> Result<Vec<Interface>, HostError> {
    let request =
        Request { what: "list of interfaces", kind: RTM_GETLINK, flags: 0, body: &LinkMessage::default() };
    let mut interfaces = request.dump(decode_link)?;
    for (index, address, prefix) in addresses()? {
        if let Some(interface) = interfaces.iter_mut().find(|interface| interface.index == index) {
            interface.addresses.push((address, prefix));
        }
    }
    Ok(interfaces)
}

/// The interface of that name.
///
/// # Errors
///
/// [`HostError::NoInterface`], or what netlink answers.
pub fn interface_by_name(name: &str) -> Result<Interface, HostError> {
    find(|interface| interface.name == name, || format!("named {name}"))
}

/// The interface of that number.
///
/// # Errors
///
/// [`HostError::NoInterface`], or what netlink answers.
pub fn interface_by_index(index: u32) -> Result<Interface, HostError> {
    find(|interface| interface.index == index, || format!("number {index}"))
}

/// The interface that holds that address.
///
/// # Errors
///
/// [`HostError::NoInterface`], or what netlink answers.
pub fn interface_with_address(address: IpAddress) -> Result<Interface, HostError> {
    let holds = |interface: &Interface| interface.addresses.iter().any(|(own, _)| *own == address);
    find(holds, || format!("with address {address}"))
}

fn find(is_it: impl Fn(&Interface) -> bool, which: impl Fn() -> String) -> Result<Interface, HostError> {
    interfaces()?.into_iter().find(is_it).ok_or_else(|| HostError::NoInterface(which()))
}

/// Name of the driver behind an interface: the kind of an interface of
/// software ("veth"), else the module of its device ("mlx5_core").
pub fn driver_of(interface: &Interface) -> Option<String> {
    interface.kind.clone().or_else(|| {
        let sysfs = Path::new("/sys/class/net").join(&interface.name);
        // A sysfs of another network namespace can show another interface of
        // the same name (namespaces(7): sysfs keeps that of its mount).
        let index = fs::read_to_string(sysfs.join("ifindex")).ok()?;
        if index.trim() != interface.index.to_string() {
            return None;
        }
        let driver = fs::read_link(sysfs.join("device/driver")).ok()?;
        Some(driver.file_name()?.to_string_lossy().into_owned())
    })
}

fn decode_link(payload: &[u8]) -> Option<Interface> {
    let header = LinkHeader::parse(payload).ok()?;
    let attributes = Attributes::after(payload, header.buffer_len());
    Some(Interface {
        index: header.index,
        name: attributes.string(IFLA_IFNAME)?,
        mac: attributes.mac(IFLA_ADDRESS).unwrap_or_default(),
        mtu: attributes.u32(IFLA_MTU)?,
        addresses: Vec::new(),
        is_loopback: header.flags.contains(LinkFlags::Loopback),
        up: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        kind: attributes.nested(IFLA_LINKINFO).and_then(|info| info.string(IFLA_INFO_KIND)),
    })
}

fn addresses() -> Result<Vec<(u32, IpAddress, u8)>, HostError> {
    let of_family = |family| {
        let mut message = AddressMessage::default();
        message.header.family = family;
        Request { what: "list of addresses", kind: RTM_GETADDR, flags: 0, body: &message }
            .dump(decode_address)
    };
    let mut addresses = of_family(AddressFamily::Inet)?;
    // A kernel without IPv6 answers with the addresses of all families.
    let v6 = of_family(AddressFamily::Inet6)?.into_iter().filter(|(_, address, _)| !address.is_v4());
    addresses.extend(v6.filter(|(_, address, _)| !address.needs_scope()));
    Ok(addresses)
}

fn decode_address(payload: &[u8]) -> Option<(u32, IpAddress, u8)> {
    let header = AddressHeader::parse(payload).ok()?;
    let attributes = Attributes::after(payload, header.buffer_len());
    // On a point-to-point link IFA_ADDRESS is the other end (rtnetlink(7)).
    let address = attributes.ip(IFA_LOCAL).or_else(|| attributes.ip(IFA_ADDRESS))?;
    Some((header.index, address, header.prefix_len))
}
