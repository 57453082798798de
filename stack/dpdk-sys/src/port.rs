//! Ports (DPDK's word for a device) and their queues.

use std::ffi::{CStr, CString, c_void};
use std::net::Ipv4Addr;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::library::Dpdk;
use crate::pool::Pool;
use crate::table::{self, TPA_PORT_RX_CHECKSUM, TPA_PORT_TX_TCP_CHECKSUM, tpa_flow, tpa_xsk};
use crate::{Error, Frame, check};

/// Frames that one burst call handles at most.
pub const MAX_BURST: usize = 64;

/// What a port can compute for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// TCP checksums of frames to send.
    pub tx_tcp_checksum: bool,
    /// IP and TCP checksums of received frames.
    pub rx_checksum: bool,
}

impl Capabilities {
    fn bits(self) -> u32 {
        let bit = |set, bit| if set { bit } else { 0 };
        bit(self.tx_tcp_checksum, TPA_PORT_TX_TCP_CHECKSUM) | bit(self.rx_checksum, TPA_PORT_RX_CHECKSUM)
    }
}

/// What a port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// Hardware address.
    pub mac: [u8; 6],
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Largest MTU that the driver takes.
    pub max_mtu: u16,
    /// RX queues that the driver offers.
    pub max_rx_queues: u16,
    /// TX queues that the driver offers.
    pub max_tx_queues: u16,
    /// Offloads that the driver offers.
    pub capabilities: Capabilities,
    /// The driver's name.
    pub driver: String,
}

/// Counts of a port since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Frames lost before the driver: rings or buffers were full.
    pub rx_missed: u64,
    /// Frames that arrived broken.
    pub rx_errors: u64,
}

/// How a port is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortConfig {
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Descriptors of each RX ring.
    pub rx_descriptors: u16,
    /// Descriptors of each TX ring.
    pub tx_descriptors: u16,
    /// Offloads to switch on.
    pub capabilities: Capabilities,
    /// Prepare RX interrupts.
    pub interrupts: bool,
}

/// An AF_XDP socket that the driver made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xsk {
    /// Its descriptor; the driver's.
    pub fd: RawFd,
    /// The kernel driver writes frames to our memory without a copy.
    pub zero_copy: bool,
}

/// A rule that takes frames from the kernel's share of a port.
#[derive(Debug)]
pub struct FlowRule {
    port: u16,
    handle: NonNull<c_void>,
}

// SAFETY: the handle is a name for DPDK; calls with it go through `Port`.
unsafe impl Send for FlowRule {}

/// Whether a device is our own invention or hardware.
#[derive(Debug)]
enum Device {
    Virtual(CString),
    Hardware,
}

/// A device, not yet started. Removed when dropped.
#[derive(Debug)]
pub struct Port {
    dpdk: &'static Dpdk,
    id: u16,
    device: Device,
    started: bool,
}

fn c_string(what: &'static str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error { what, errno: libc::EINVAL, detail: Some("NUL byte".into()) })
}

impl Port {
    /// Makes a virtual device: its name begins with the driver's
    /// (`net_af_xdp0`), the arguments are the driver's own.
    pub fn create(dpdk: &'static Dpdk, name: &str, args: &str) -> Result<Self, Error> {
        let name = c_string("device name", name)?;
        let args = c_string("device arguments", args)?;
        // SAFETY: NUL-terminated strings, copied by DPDK.
        check("cannot make the device", unsafe { (dpdk.f().vdev_create)(name.as_ptr(), args.as_ptr()) })?;
        let mut port = Self { dpdk, id: u16::MAX, device: Device::Virtual(name.clone()), started: false };
        port.id = port_of(dpdk, &name)?;
        Ok(port)
    }

    /// Probes a PCI device that [`EalConfig::pci`](crate::eal::EalConfig::pci)
    /// named; one that was probed at the start of EAL is found as it is.
    pub fn probe(dpdk: &'static Dpdk, address: &str) -> Result<Self, Error> {
        let address = c_string("device address", address)?;
        if port_of(dpdk, &address).is_err() {
            // SAFETY: a NUL-terminated string, copied by DPDK.
            check("cannot probe the device", unsafe { (dpdk.f().device_probe)(address.as_ptr()) })?;
        }
        let id = port_of(dpdk, &address)?;
        Ok(Self { dpdk, id, device: Device::Hardware, started: false })
    }

    /// What the port is.
    pub fn info(&self) -> Result<PortInfo, Error> {
        let mut info = table::tpa_port_info::default();
        // SAFETY: a place for the result; an unknown port is an error.
        check("port information", unsafe { (self.dpdk.f().port_info)(self.id, &mut info) })?;
        let driver: Vec<u8> = info.driver.iter().map(|&byte| byte as u8).collect();
        Ok(PortInfo {
            mac: info.mac,
            mtu: info.mtu,
            max_mtu: info.max_mtu,
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            capabilities: Capabilities {
                tx_tcp_checksum: info.capabilities & TPA_PORT_TX_TCP_CHECKSUM != 0,
                rx_checksum: info.capabilities & TPA_PORT_RX_CHECKSUM != 0,
            },
            driver: String::from_utf8_lossy(driver.split(|&byte| byte == 0).next().unwrap_or(&[])).into(),
        })
    }

    /// Counts since the start.
    pub fn stats(&self) -> Result<PortStats, Error> {
        let mut stats = table::tpa_port_stats::default();
        // SAFETY: a place for the result; an unknown port is an error.
        check("port statistics", unsafe { (self.dpdk.f().port_stats)(self.id, &mut stats) })?;
        Ok(PortStats {
            rx_frames: stats.rx_frames,
            tx_frames: stats.tx_frames,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
        })
    }

    /// Whether frames can leave, as the driver sees it.
    pub fn link_up(&self) -> bool {
        // SAFETY: an unknown port is down.
        unsafe { (self.dpdk.f().port_link)(self.id) }
    }

    /// Leaves every frame that no [rule](Port::add_flow) takes to the kernel.
    /// Before the start.
    pub fn isolate(&self) -> Result<(), Error> {
        // SAFETY: takes plain numbers.
        check("flow isolation", unsafe { (self.dpdk.f().flow_isolate)(self.id, true) })
    }

    /// Takes TCP frames to `address` and a port that equals `port` under `mask`
    /// to the queues given, one at least.
    pub fn add_flow(
        &self,
        address: Ipv4Addr,
        port: u16,
        mask: u16,
        queues: &[u16],
    ) -> Result<FlowRule, Error> {
        const WHAT: &str = "flow rule";
        if queues.is_empty() {
            return Err(Error { what: WHAT, errno: libc::EINVAL, detail: Some("no queue".into()) });
        }
        let flow = tpa_flow {
            dst_ip: u32::from(address).to_be(),
            dst_port: port.to_be(),
            dst_port_mask: mask.to_be(),
            queues: queues.as_ptr(),
            queue_count: queues.len() as u16,
        };
        let mut handle = std::ptr::null_mut();
        let mut text = [0; 128];
        // SAFETY: the rule and its queues live through the call, and `text` is
        // as long as said.
        let result = unsafe {
            (self.dpdk.f().flow_create)(self.id, &flow, &mut handle, text.as_mut_ptr(), text.len())
        };
        if let Some(handle) = NonNull::new(handle) {
            return Ok(FlowRule { port: self.id, handle });
        }
        // SAFETY: NUL-terminated by snprintf, or all zeros.
        let reason = unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned();
        Err(Error { what: WHAT, errno: -result, detail: Some(reason) })
    }

    /// Ends a rule of this port.
    pub fn remove_flow(&self, rule: FlowRule) -> Result<(), Error> {
        // SAFETY: the handle is from `add_flow` and used up here.
        check("flow rule", unsafe { (self.dpdk.f().flow_destroy)(rule.port, rule.handle.as_ptr()) })
    }

    /// Sets up one queue pair for each pool and starts the port. It stops, and
    /// the device goes, when the last queue is dropped.
    ///
    /// A device that could not be started is left behind, and its pools with
    /// it: the AF_XDP driver of DPDK 22.11 frees twice when it is removed then.
    pub fn start(mut self, config: &PortConfig, pools: Vec<Pool>) -> Result<Vec<Queue>, Error> {
        if let Err(error) = self.set_up(config, &pools) {
            std::mem::forget(self);
            return Err(error);
        }
        self.started = true;
        let port = Arc::new(self);
        let queues = (0..).zip(pools);
        Ok(queues.map(|(id, pool)| Queue { port: Arc::clone(&port), id, pool }).collect())
    }

    fn set_up(&self, config: &PortConfig, pools: &[Pool]) -> Result<(), Error> {
        let (f, id) = (self.dpdk.f(), self.id);
        let count = pools.len() as u16;
        let capabilities = config.capabilities.bits();
        // SAFETY: takes plain numbers; DPDK checks them.
        let result =
            unsafe { (f.port_configure)(id, count, count, config.mtu, capabilities, config.interrupts) };
        check("port configuration", result)?;
        for (queue, pool) in (0..count).zip(pools) {
            // SAFETY: the pool lives as long as the queue (see `Queue`), or is leaked.
            let result = unsafe { (f.rx_queue_setup)(id, queue, config.rx_descriptors, pool.as_ptr()) };
            check("receive queue", result)?;
            // SAFETY: takes plain numbers.
            check("transmit queue", unsafe { (f.tx_queue_setup)(id, queue, config.tx_descriptors) })?;
        }
        // SAFETY: takes a plain number.
        check("port start", unsafe { (f.port_start)(id) })
    }
}

fn port_of(dpdk: &Dpdk, device: &CStr) -> Result<u16, Error> {
    let mut id = u16::MAX;
    // SAFETY: a NUL-terminated string and a place for the result.
    check("no such port", unsafe { (dpdk.f().port_of)(device.as_ptr(), &mut id) })?;
    Ok(id)
}

impl Drop for Port {
    fn drop(&mut self) {
        let f = self.dpdk.f();
        if self.started {
            // SAFETY: the port is ours, and no queue of it is left.
            let result = unsafe { (f.port_stop)(self.id) };
            log_failure(check("port stop", result));
        }
        let result = match &self.device {
            // SAFETY: a NUL-terminated string; nothing of the device is in use.
            Device::Virtual(name) => unsafe { (f.vdev_remove)(name.as_ptr()) },
            // SAFETY: the port is ours; nothing of it is in use.
            Device::Hardware => unsafe { (f.port_device_remove)(self.id) },
        };
        log_failure(check("removal of the device", result));
    }
}

fn log_failure(result: Result<(), Error>) {
    if let Err(error) = result {
        log::debug!("{error}");
    }
}

/// A queue pair of a started port, with the pool that its frames come from.
/// There is one of it, so that no two threads burst on one queue.
#[derive(Debug)]
pub struct Queue {
    port: Arc<Port>,
    id: u16,
    pool: Pool,
}

impl Queue {
    /// The pool behind the queue.
    #[inline]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes a buffer of the queue's pool, see [`Pool::alloc`].
    #[inline]
    pub fn alloc(&mut self) -> Option<Frame> {
        self.pool.alloc()
    }

    /// The queue's port.
    pub fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// Gives up the queue; with the last one the port closes. The pool is free
    /// to be [destroyed](Pool::destroy) then, if no frame of it is left.
    pub fn close(self) -> Pool {
        self.pool
    }

    /// Number of the queue in its port.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Receives at most `frames.len()` (and [`MAX_BURST`]) frames into the front
    /// of `frames`, whose buffers the caller owns from now on. Returns how many.
    #[inline]
    pub fn rx_burst(&mut self, frames: &mut [Frame]) -> usize {
        let count = frames.len().min(MAX_BURST) as u16;
        let f = self.port.dpdk.f();
        // SAFETY: a started queue that is only used through this `&mut`, and
        // room for `count` frames.
        let received = unsafe { (f.rx_burst)(self.port.id, self.id, frames.as_mut_ptr(), count) };
        usize::from(received)
    }

    /// Sends frames from the front of `frames`, up to the first whose buffer is
    /// not from this queue's pool. Returns how many belong to the driver now.
    ///
    /// # Safety
    ///
    /// Each handle must be that of a frame that the caller owns, filled up to
    /// `len`; the frames that were sent are not the caller's any more.
    #[inline]
    pub unsafe fn tx_burst(&mut self, frames: &[Frame]) -> usize {
        let count = frames.len().min(MAX_BURST) as u16;
        let f = self.port.dpdk.f();
        // SAFETY: a started queue that is only used through this `&mut`, and
        // the caller's promise.
        let sent = unsafe { (f.tx_burst)(self.port.id, self.id, self.pool.as_ptr(), frames.as_ptr(), count) };
        usize::from(sent)
    }

    /// Whether frames wait in the RX ring; `None` where the driver cannot tell.
    #[inline]
    pub fn rx_pending(&self) -> Option<bool> {
        // SAFETY: a started queue; reads the ring's indices.
        let result = unsafe { (self.port.dpdk.f().rx_pending)(self.port.id, self.id) };
        (result >= 0).then_some(result > 0)
    }

    /// The descriptor of the queue's RX interrupt, where the driver has one and
    /// the port was started with them.
    pub fn interrupt_fd(&self) -> Option<RawFd> {
        // SAFETY: a started queue.
        let fd = unsafe { (self.port.dpdk.f().rx_interrupt_fd)(self.port.id, self.id) };
        (fd >= 0).then_some(fd)
    }

    /// Switches the queue's RX interrupt.
    pub fn set_interrupt(&self, on: bool) -> Result<(), Error> {
        // SAFETY: a started queue.
        check("RX interrupt", unsafe { (self.port.dpdk.f().rx_interrupt)(self.port.id, self.id, on) })
    }
}

impl Dpdk {
    /// The AF_XDP socket that the driver has open on a queue of an interface.
    pub fn xsk(&self, interface: &str, queue: u32) -> Option<Xsk> {
        let interface = CString::new(interface).ok()?;
        let mut xsk = tpa_xsk::default();
        // SAFETY: a NUL-terminated name and a place for the result.
        let result = unsafe { (self.f().xsk)(interface.as_ptr(), queue, &mut xsk) };
        (result == 0).then_some(Xsk { fd: xsk.fd, zero_copy: xsk.zero_copy })
    }

    /// Whether an AF_XDP socket can be made on a queue of an interface: the
    /// kernel's own word (`EBUSY` when another socket has the queue), which the
    /// driver does not pass on.
    pub fn probe_xsk(&self, interface: &str, queue: u32) -> Result<(), Error> {
        let interface = c_string("interface", interface)?;
        // SAFETY: a NUL-terminated name.
        check("AF_XDP socket", unsafe { (self.f().xsk_probe)(interface.as_ptr(), queue) })
    }

    /// `errno` of the driver's last try to open an AF_XDP socket, 0 when it
    /// succeeded. The driver itself reports each failure as EINVAL.
    pub fn xsk_error(&self) -> i32 {
        // SAFETY: takes nothing.
        unsafe { (self.f().xsk_error)() }
    }
}
