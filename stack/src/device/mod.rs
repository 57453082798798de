//! What the stack asks of a device, whatever it is: DPDK's AF_XDP or mlx5
//! driver, our own memif, or a wrapper around another device.
//!
//! A [`Device`] is the face that one worker sees: the queue pairs that this
//! worker owns. It is only ever called under the worker's lock. What belongs
//! to the device as a whole (steering, addresses) is in [`Opened`].

pub(crate) mod open;
#[cfg(test)]
pub(crate) mod wire;

pub mod af_packet;
pub mod af_xdp;
pub(crate) mod dpdk;
pub(crate) mod ethtool;
pub mod fault;
pub mod memif;
pub mod mlx5;
pub(crate) mod none;
pub(crate) mod pool;
pub(crate) mod wanted;

use std::os::fd::RawFd;

use arrayvec::ArrayVec;

use tpa_tcp::wire::IpAddress;

use crate::packet::Packet;

/// Frames per receive or transmit burst.
pub const BURST: usize = 32;

/// A burst of frames.
pub type Batch = ArrayVec<Packet, BURST>;

/// What a device is and can do; constant while it is open.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    /// Name for logs, such as `af_xdp:eth0`.
    pub name: String,
    /// Hardware address that our frames carry.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes.
    pub mtu: usize,
    /// Received frames may carry the pseudo-header sum alone where a checksum
    /// belongs (veth peers, whose offload never happens).
    pub partial_checksums: bool,
    /// No kernel interface stands behind the device, or the configuration
    /// gave it addresses of its own: the stack must do its own ARP there.
    pub own_neighbours: bool,
    /// The driver computes TCP checksums on transmit.
    pub tx_checksum: bool,
    /// Frames never leave this host's memory: checksums carry no information.
    pub lossless_memory: bool,
}

/// Outcome of asking a device to signal its next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Signalling is on and the queues were empty after that: sleep may begin.
    Armed,
    /// Frames wait already: poll instead of sleeping.
    Pending,
    /// The device has no signal: sleep in short naps.
    Unsupported,
}

/// Frame and error counts of a device, monotonic.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Frames that the device could not take for sending and dropped.
    pub tx_dropped: u64,
    /// Malformed or refused frames or descriptors from the device.
    pub rx_errors: u64,
    /// Times that a peer came (memif) or a link went up.
    pub connects: u64,
    /// Times that a peer went away.
    pub disconnects: u64,
}

/// The queues of a device that one worker owns.
pub trait Device: Send {
    /// What the device is and can do.
    fn info(&self) -> &DeviceInfo;

    /// Receives up to the remaining capacity of `batch`; no system call where
    /// the driver allows.
    fn rx_burst(&mut self, batch: &mut Batch);

    /// A buffer to write a frame of at most MTU + 14 bytes into; `None` when
    /// the pool is empty.
    fn alloc(&mut self) -> Option<Packet>;

    /// Sends frames from the front of `batch` and removes them; what the device
    /// cannot take now stays, in order. Frames that it never can take are
    /// dropped and counted.
    fn tx_burst(&mut self, batch: &mut Batch);

    /// Share of packet buffers that are free, in 1/256, for memory pressure.
    fn free_buffers(&self) -> u32 {
        256
    }

    /// Descriptors that become readable when frames arrive while armed.
    fn wait_fds(&self) -> &[RawFd];

    /// Asks for a signal on [`Device::wait_fds`] at the next frame.
    fn arm(&mut self) -> Arm;

    /// Ends signalling, and consumes a signal that is pending.
    fn disarm(&mut self);

    /// Descriptors of the device's control side (a memif peer's socket), with
    /// the poll(2) events to wait for. They may change after each
    /// [`Device::on_control`].
    fn control_fds(&self, fds: &mut Vec<(RawFd, i16)>) {
        let _ = fds;
    }

    /// Runs the control side: called by the control thread, under the worker's
    /// lock, when one of the control descriptors is ready, and at least once a
    /// second.
    fn on_control(&mut self) {}

    /// Whether frames can leave now.
    fn link_up(&self) -> bool {
        true
    }

    /// Counts since the device was opened.
    fn stats(&self) -> DeviceStats;
}

/// Decides which packets of a shared interface reach us. All calls come from
/// slow paths. An error leaves the former state standing.
pub trait Steering: Send + Sync {
    /// Starts to steer new connections to this local port (and address, when
    /// not unspecified) to us.
    fn add_listener(&self, address: IpAddress, port: u16) -> std::io::Result<()>;

    /// Ends it. Flows that stand stay ours.
    fn remove_listener(&self, address: IpAddress, port: u16) -> std::io::Result<()>;

    /// Starts to steer the aligned block of [`PORT_BLOCK`] local ports at
    /// `first` to us: for outgoing connections.
    fn add_port_block(&self, first: u16) -> std::io::Result<()>;

    /// Ends it.
    fn remove_port_block(&self, first: u16) -> std::io::Result<()>;

    /// Whether it can steer IPv6; where not, IPv6 is the kernel's.
    fn takes_ipv6(&self) -> bool {
        true
    }

    /// The addresses that are ours on the interface; called at the start and
    /// whenever they change.
    fn set_local_addresses(&self, addresses: &[IpAddress]) -> std::io::Result<()>;

    /// Whether every receive queue of the interface is this process's. Else a
    /// reply may come in on another's.
    fn has_all_queues(&self) -> bool {
        true
    }
}

/// Ports per steering block for outgoing connections; aligned.
pub const PORT_BLOCK: u16 = 64;

/// A device that was opened: its queues, spread over `workers` faces, and its
/// steering, when it shares its interface with the kernel.
pub struct Opened {
    /// One face a worker, in order.
    pub workers: Vec<Box<dyn Device>>,
    /// `None` where every frame of the device is ours (memif).
    pub steering: Option<Box<dyn Steering>>,
    /// Kernel interface behind the device, when there is one.
    pub ifindex: Option<u32>,
}
