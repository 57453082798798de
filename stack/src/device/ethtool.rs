//! What only the ethtool ioctl tells of an interface (`linux/ethtool.h`).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::host::Interface;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    erom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// The kernel driver of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Driver {
    /// Its name, such as `veth` or `mlx5_core`.
    pub name: String,
    /// Where the device is: a PCI address, or something of the driver's own.
    pub bus: String,
}

/// Receive queues of an interface; 1 where its driver does not say.
pub(crate) fn rx_queues(interface: &str) -> io::Result<u32> {
    let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
    match ioctl(interface, &mut channels) {
        Ok(()) => Ok((channels.rx + channels.combined).max(1)),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(1),
        Err(error) => Err(error),
    }
}

/// The driver of an interface.
pub(crate) fn driver(interface: &str) -> io::Result<Driver> {
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        erom_version: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    ioctl(interface, &mut info)?;
    Ok(Driver { name: text(&info.driver), bus: text(&info.bus) })
}

/// Whether received frames may carry the pseudo-header sum alone: interfaces of
/// software and of hypervisors hand over what a sender on the same host has left
/// to an offload.
pub(crate) fn has_partial_checksums(interface: &Interface) -> bool {
    interface.kind.is_some() || driver(&interface.name).is_ok_and(|driver| driver.name == "virtio_net")
}

/// The text before the first NUL.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or(&[])).into_owned()
}

/// Runs one ethtool command on a structure that begins with its number.
fn ioctl<T>(interface: &str, command: &mut T) -> io::Result<()> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (target, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *target = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(command).cast();
    // SAFETY: the request names an interface and a structure as long as its
    // command says, both alive through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_interface_is_an_error() {
        assert_eq!(rx_queues("tpa-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(driver("tpa-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert!(driver("a name that is too long").is_err());
    }

    #[test]
    fn loopback_has_one_queue() {
        assert_eq!(rx_queues("lo").unwrap(), 1);
    }

    #[test]
    fn text_ends_at_the_first_nul() {
        assert_eq!(text(b"veth\0junk"), "veth");
        assert_eq!(text(b"full"), "full");
    }
}
