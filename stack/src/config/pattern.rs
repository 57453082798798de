//! Patterns that rules are made of: ports, addresses, programs.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use super::text::serde_as_text;

/// Ports from `first` to `last`, both included: `6379` or `7000-7010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Whether the port is one of these.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| match text.trim().parse::<u16>() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(format!("'{text}' is not a port; a port is a number from 1 to 65535")),
        };
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(format!("'{text}' is not a range of ports; did you mean '{last}-{first}'?"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// Local sockets: `6379`, `7000-7010`, `10.0.0.1:80`, `[fd00::1]:7000-7010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenPattern {
    address: Option<IpAddr>,
    ports: PortRange,
}

impl ListenPattern {
    /// Whether a listener at this address is meant. One on all addresses
    /// (0.0.0.0, ::) is met by patterns without an address only.
    pub fn matches(&self, local: SocketAddr) -> bool {
        self.ports.contains(local.port()) && self.address.is_none_or(|address| address == local.ip())
    }
}

impl FromStr for ListenPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((address, ports)) = text.trim().rsplit_once(':') else {
            return Ok(Self { address: None, ports: text.trim().parse()? });
        };
        check_brackets(text.trim(), address)?;
        match address {
            "*" => Ok(Self { address: None, ports: ports.parse()? }),
            _ => Ok(Self { address: Some(parse_address(address)?), ports: ports.parse()? }),
        }
    }
}

impl fmt::Display for ListenPattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:{}", self.ports),
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.ports),
            None => self.ports.fmt(f),
        }
    }
}

/// Remote sockets: `6379`, `10.0.0.0/8:6379`, `10.0.0.1:7000-7010`, `[fd00::/8]:6379`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectPattern {
    network: Option<IpNet>,
    ports: PortRange,
}

impl ConnectPattern {
    /// Whether a connection to this address is meant.
    pub fn matches(&self, remote: SocketAddr) -> bool {
        self.ports.contains(remote.port())
            && self.network.is_none_or(|network| network.contains(&remote.ip()))
    }
}

impl FromStr for ConnectPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((network, ports)) = text.trim().rsplit_once(':') else {
            if text.contains('/') {
                return Err(format!("'{text}' names no port; write it as '{text}:PORT'"));
            }
            return Ok(Self { network: None, ports: text.trim().parse()? });
        };
        check_brackets(text.trim(), network)?;
        let network = match network {
            "*" => None,
            text if text.contains('/') => Some(parse_network(text)?),
            text => Some(IpNet::from(parse_address(text)?)),
        };
        Ok(Self { network, ports: ports.parse()? })
    }
}

impl fmt::Display for ConnectPattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.network {
            Some(IpNet::V4(network)) => write!(f, "{network}:{}", self.ports),
            Some(IpNet::V6(network)) => write!(f, "[{network}]:{}", self.ports),
            None => self.ports.fmt(f),
        }
    }
}

/// The address of an interface with its prefix: `192.168.77.1/24`, `fd00::1/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress(IpNet);

impl InterfaceAddress {
    /// The address.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }

    /// Length of the prefix, in bits.
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the other address is on the same network.
    pub fn reaches(self, other: IpAddr) -> bool {
        self.0.contains(&other)
    }
}

impl FromStr for InterfaceAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((address, _)) = text.split_once('/') else {
            let prefix = if text.contains(':') { 64 } else { 24 };
            return Err(format!("'{text}' names no prefix; write it as '{text}/{prefix}', say"));
        };
        let most = if parse_address(address)?.is_ipv6() { 128 } else { 32 };
        let net = text.parse().map_err(|_| format!("'{text}' has a prefix that is not from 0 to {most}"))?;
        Ok(Self(net))
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands in the brackets that IPv6 has before a port (RFC 3986 3.2.2), or
/// the text itself.
fn without_brackets(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

/// Refuses an IPv6 address without brackets: its last group could be a port.
fn check_brackets(text: &str, address: &str) -> Result<(), String> {
    if !address.contains(':') || address.starts_with('[') {
        return Ok(());
    }
    Err(format!("'{text}' is ambiguous; write an IPv6 address in brackets, as in '[fd00::1]:80'"))
}

/// An address, with words for those who wrote something else.
fn parse_address(text: &str) -> Result<IpAddr, String> {
    let address = without_brackets(text).parse::<IpAddr>();
    address.map_err(|_| format!("'{text}' is not an IP address; names are not looked up"))
}

/// A network. Bits beyond the prefix are refused: they mean that either
/// the address or the prefix is not what was meant.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = without_brackets(text)
        .parse()
        .map_err(|_| format!("'{text}' is not a network such as '10.0.0.0/8' or '[fd00::/8]'"))?;
    if network.addr() != network.network() {
        return Err(format!("'{text}' has bits set beyond its prefix; did you mean '{}'?", network.trunc()));
    }
    Ok(network)
}

/// Programs by the name that they were called by, without its folder, with the
/// wildcards of a shell: `redis-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramPattern(glob::Pattern);

impl ProgramPattern {
    /// Whether a program of this name is meant.
    pub fn matches(&self, program: &str) -> bool {
        self.0.matches(program)
    }
}

impl FromStr for ProgramPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('/') {
            return Err(format!("'{text}' is not a program's name; write it without its folder"));
        }
        match glob::Pattern::new(text) {
            Ok(pattern) => Ok(Self(pattern)),
            Err(error) => Err(format!("'{text}': {}", error.msg)),
        }
    }
}

impl fmt::Display for ProgramPattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

serde_as_text!(ListenPattern, ConnectPattern, InterfaceAddress, ProgramPattern);
