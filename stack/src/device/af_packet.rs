//! Packet sockets on any interface: DPDK's af_packet driver. Slow, and there
//! where nothing else is.
//!
//! A packet socket gets copies; nothing is taken from the kernel. So the stack
//! serves addresses that the kernel does not have, and does its own ARP.

use dpdk_sys::eal::{self, EalConfig};
use dpdk_sys::{Capabilities, Layout, Pool, Port, PortConfig};

use crate::device::dpdk::{DpdkPort, Signal};
use crate::device::{DeviceInfo, Opened, ethtool};
use crate::host::Interface;

/// Frames of the ring that is shared with the kernel, each way.
const RING_SIZE: u16 = 512;

/// Bytes of a block of that ring; a frame lies inside of one.
const BLOCK_SIZE: u32 = 16384;

/// Buffers of the pool.
const BUFFERS: u32 = 8191;

const ETHERNET_HEADER: u32 = 14;

/// What the kernel puts in front of a frame in its ring (`TPACKET2_HDRLEN`,
/// with room for alignment).
const RING_HEADER: u32 = 128;

/// Why an interface cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel's own addresses cannot be used.
    #[error("af_packet needs an `address` in the configuration that the kernel does not have")]
    NoAddress,
    /// Frames would not fit the ring.
    #[error("{interface}: af_packet takes an MTU of at most {max}, not {mtu}")]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest that is possible.
        max: u32,
    },
    /// DPDK does not run.
    #[error(transparent)]
    Eal(#[from] eal::StartError),
    /// DPDK's driver refused.
    #[error("{interface}: {source}")]
    Driver {
        /// The interface.
        interface: String,
        /// What failed.
        source: dpdk_sys::Error,
    },
}

/// Opens an interface with one queue, for the first worker. `own_address`: the
/// configuration gives the stack an address of its own.
///
/// # Errors
///
/// [`OpenError`], each a line that says what to do.
pub fn open(interface: &Interface, own_address: bool, eal: &EalConfig) -> Result<Opened, OpenError> {
    if !own_address {
        return Err(OpenError::NoAddress);
    }
    let frame = (interface.mtu + ETHERNET_HEADER + RING_HEADER).next_power_of_two();
    if frame > BLOCK_SIZE {
        let max = BLOCK_SIZE - RING_HEADER - ETHERNET_HEADER;
        return Err(OpenError::Mtu { interface: interface.name.clone(), mtu: interface.mtu, max });
    }
    let dpdk = eal::start(eal)?;
    let failed = |source| OpenError::Driver { interface: interface.name.clone(), source };
    // The driver wants a buffer to hold whatever a place of the ring can.
    let pool = Pool::create(dpdk, BUFFERS, frame, Layout::Hardware).map_err(failed)?;
    let port = Port::create(
        dpdk,
        &format!("net_af_packet_{}", interface.index),
        &format!(
            "iface={},qpairs=1,blocksz={BLOCK_SIZE},framesz={frame},framecnt={RING_SIZE}",
            interface.name
        ),
    )
    .map_err(failed)?;
    let config = PortConfig {
        mtu: interface.mtu as u16,
        rx_descriptors: RING_SIZE,
        tx_descriptors: RING_SIZE,
        capabilities: Capabilities::default(),
        interrupts: false,
    };
    let queues = port.start(&config, vec![pool]).map_err(failed)?;
    let info = DeviceInfo {
        name: format!("af_packet:{}", interface.name),
        mac: interface.mac,
        mtu: interface.mtu as usize,
        partial_checksums: ethtool::has_partial_checksums(interface),
        own_neighbours: true,
        tx_checksum: false,
        lossless_memory: false,
    };
    let queues = queues.into_iter().map(|queue| (queue, Signal::None)).collect();
    Ok(Opened {
        workers: vec![Box::new(DpdkPort::new(dpdk, info, queues, 0))],
        steering: None,
        ifindex: Some(interface.index),
    })
}
