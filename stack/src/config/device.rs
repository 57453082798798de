//! How a device is named: `auto`, `memif`, or a driver with an interface.

use std::fmt;
use std::str::FromStr;

use super::error::unknown;
use super::text::serde_as_text;

/// Which device carries accelerated connections.
///
/// Written `auto`, `none`, `memif`, `af_xdp`, `af_xdp:eth0`, `mlx5:eth0`,
/// `af_packet:eth0`. A driver without an interface takes the one that carries
/// the address of the first accelerated socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DeviceSpec {
    /// A Mellanox port when one carries the address, else AF_XDP.
    #[default]
    Auto,
    /// None: only connections of the process to itself, with `loopback`.
    None,
    /// Shared memory with one other process of this host.
    Memif,
    /// AF_XDP sockets on a kernel interface.
    AfXdp(Option<InterfaceName>),
    /// A Mellanox port beside its kernel driver.
    Mlx5(Option<InterfaceName>),
    /// Packet sockets on a kernel interface.
    AfPacket(Option<InterfaceName>),
}

serde_as_text!(DeviceSpec);

/// Name of a kernel network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as the kernel knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = String;

    /// Accepts what the kernel does (`dev_valid_name`): 1 to 15 bytes, no
    /// slash, colon or space, not `.` or `..`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong_byte = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > 15 || text == "." || text == ".." || text.contains(wrong_byte) {
            return Err(format!("'{text}' cannot be the name of a network interface"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds that [`DeviceSpec`] knows, for error texts.
const KINDS: [&str; 6] = ["auto", "none", "af_xdp", "memif", "mlx5", "af_packet"];

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, interface) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(name.parse::<InterfaceName>()?)),
            None => (text, None),
        };
        match (kind, interface) {
            ("auto", None) => Ok(Self::Auto),
            ("none", None) => Ok(Self::None),
            ("memif", None) => Ok(Self::Memif),
            ("auto" | "none" | "memif", Some(_)) => Err(format!("device '{kind}' takes no interface")),
            ("af_xdp", interface) => Ok(Self::AfXdp(interface)),
            ("mlx5", interface) => Ok(Self::Mlx5(interface)),
            ("af_packet", interface) => Ok(Self::AfPacket(interface)),
            _ => Err(unknown("device", kind, &KINDS)),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (kind, interface) = match self {
            Self::Auto => ("auto", &None),
            Self::None => ("none", &None),
            Self::Memif => ("memif", &None),
            Self::AfXdp(interface) => ("af_xdp", interface),
            Self::Mlx5(interface) => ("mlx5", interface),
            Self::AfPacket(interface) => ("af_packet", interface),
        };
        match interface {
            Some(interface) => write!(f, "{kind}:{interface}"),
            None => f.write_str(kind),
        }
    }
}
