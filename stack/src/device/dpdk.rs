//! A [`Device`] over queues of a DPDK port, whatever its driver.

use std::ffi::c_void;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use dpdk_sys::{
    Dpdk, Frame, Port, Queue, TPA_FRAME_CHECKSUM_BAD, TPA_FRAME_CHECKSUM_GOOD, TPA_FRAME_CHECKSUM_TX,
};

use crate::device::{Arm, BURST, Batch, Device, DeviceInfo, DeviceStats};
use crate::packet::{Packet, PacketFlags, PoolOps};

/// Bytes of an Ethernet header, which an MTU does not count.
const ETHERNET_HEADER: usize = 14;

/// Received frames between two looks at how full the pools are.
const FREE_INTERVAL: u32 = 64;

/// How a driver tells that frames have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A descriptor that is readable as long as frames wait (AF_XDP).
    Level(RawFd),
    /// A descriptor that has to be armed for one event (mlx5).
    Interrupt(RawFd),
    /// None.
    None,
}

/// One queue pair of a face.
#[derive(Debug)]
struct Pair {
    queue: Queue,
    signal: Signal,
    /// The last burst was as long as it could be: more may wait.
    saturated: bool,
}

/// The queues that one worker owns. It sends on the first, and receives from
/// all in turn.
#[derive(Debug)]
pub(crate) struct DpdkPort {
    info: DeviceInfo,
    pairs: Vec<Pair>,
    wait_fds: Vec<RawFd>,
    /// Buffers of a queue that its driver holds all the time.
    reserved: u32,
    next: usize,
    free: u32,
    until_free: u32,
    stats: DeviceStats,
}

impl DpdkPort {
    /// A face over these queues, at least one. `reserved`: buffers of each
    /// queue's pool that the driver holds all the time.
    pub(crate) fn new(
        dpdk: &'static Dpdk,
        info: DeviceInfo,
        queues: Vec<(Queue, Signal)>,
        reserved: u32,
    ) -> Self {
        DPDK.get_or_init(|| dpdk);
        let wait_fds = queues.iter().filter_map(|(_, signal)| match signal {
            Signal::Level(fd) | Signal::Interrupt(fd) => Some(*fd),
            Signal::None => None,
        });
        let wait_fds = wait_fds.collect();
        let pair = |(queue, signal)| Pair { queue, signal, saturated: false };
        let pairs = queues.into_iter().map(pair).collect();
        let stats = DeviceStats::default();
        Self { info, pairs, wait_fds, reserved, next: 0, free: 256, until_free: 0, stats }
    }

    /// Counts received frames and looks after the pools now and then: counting
    /// free buffers means summing up caches.
    fn account(&mut self, received: usize) {
        self.stats.rx_frames += received as u64;
        let received = received as u32;
        match self.until_free.checked_sub(received) {
            Some(left) => self.until_free = left,
            None => {
                self.until_free = FREE_INTERVAL;
                self.free =
                    self.pairs.iter().map(|pair| free_share(pair, self.reserved)).min().unwrap_or(256);
            }
        }
    }

    /// Makes every frame of the batch one that the driver can take: in a buffer
    /// of the sending queue, and no longer than the MTU.
    fn prepare(&mut self, batch: &mut Batch) {
        let Self { info, pairs, stats, .. } = self;
        let Some(pair) = pairs.first_mut() else { return };
        batch.retain(|packet| {
            let fits = packet.len() <= info.mtu + ETHERNET_HEADER
                && (is_of(pair, packet) || replace_with_copy(pair, packet));
            stats.tx_dropped += u64::from(!fits);
            fits
        });
    }
}

/// Free buffers of a queue, in 1/256 of what is not the driver's.
fn free_share(pair: &Pair, reserved: u32) -> u32 {
    let pool = pair.queue.pool();
    let usable = pool.count().saturating_sub(reserved).max(1);
    (pool.available().saturating_mul(256) / usable).min(256)
}

/// Whether a packet lies in a buffer of this queue's pool.
#[inline]
fn is_of(pair: &Pair, packet: &Packet) -> bool {
    // SAFETY: a packet of `MBUF_POOL` has the handle of a live frame.
    std::ptr::eq(packet.pool(), &MBUF_POOL) && unsafe { pair.queue.pool().owns(packet.handle()) }
}

/// Copies a packet from elsewhere into a buffer of the queue; false when there
/// is none or it is too small.
fn replace_with_copy(pair: &mut Pair, packet: &mut Packet) -> bool {
    let Some(mut copy) = pair.queue.alloc().map(packet_of) else { return false };
    let Some(target) = copy.buffer_mut().get_mut(..packet.len()) else { return false };
    target.copy_from_slice(packet.bytes());
    copy.set_len(packet.len());
    copy.flags = packet.flags;
    *packet = copy;
    true
}

static DPDK: OnceLock<&'static Dpdk> = OnceLock::new();

static MBUF_POOL: PoolOps = PoolOps { free: free_mbuf };

/// # Safety
///
/// As [`PoolOps::free`] says: `handle` is of a frame that is owned and not used after.
unsafe fn free_mbuf(handle: NonNull<c_void>) {
    if let Some(dpdk) = DPDK.get() {
        // SAFETY: the caller's promise.
        unsafe { dpdk.free(handle) }
    }
}

/// Takes a frame that C gave us.
#[inline]
fn packet_of(frame: Frame) -> Packet {
    let mut flags = PacketFlags::empty();
    flags.set(PacketFlags::CHECKSUM_GOOD, frame.flags & TPA_FRAME_CHECKSUM_GOOD != 0);
    flags.set(PacketFlags::CHECKSUM_BAD, frame.flags & TPA_FRAME_CHECKSUM_BAD != 0);
    // SAFETY: the frame's pointers are of a buffer that C gave away, `capacity`
    // bytes from `data` on, and never null.
    unsafe {
        let data = NonNull::new_unchecked(frame.data);
        let handle = NonNull::new_unchecked(frame.mbuf);
        Packet::from_raw(data, frame.len, frame.capacity, flags, handle, &MBUF_POOL)
    }
}

/// A packet as the driver is to see it; data and capacity do not matter to it.
#[inline]
fn frame_of(packet: &Packet) -> Frame {
    let offload = packet.flags.contains(PacketFlags::CHECKSUM_OFFLOAD);
    Frame {
        len: packet.len() as u32,
        flags: if offload { TPA_FRAME_CHECKSUM_TX } else { 0 },
        mbuf: packet.handle().as_ptr(),
        ..Frame::default()
    }
}

impl Pair {
    fn receive(&mut self, batch: &mut Batch) -> usize {
        let room = batch.remaining_capacity();
        let mut frames = [Frame::default(); BURST];
        let received = self.queue.rx_burst(&mut frames[..room]);
        self.saturated = received == room;
        batch.extend(frames[..received].iter().copied().map(packet_of));
        received
    }
}

impl Device for DpdkPort {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn rx_burst(&mut self, batch: &mut Batch) {
        let mut received = 0;
        for _ in 0..self.pairs.len() {
            if batch.is_full() {
                break;
            }
            self.next = if self.next + 1 < self.pairs.len() { self.next + 1 } else { 0 };
            received += self.pairs[self.next].receive(batch);
        }
        if received > 0 {
            self.account(received);
        }
    }

    fn alloc(&mut self) -> Option<Packet> {
        self.pairs.first_mut()?.queue.alloc().map(packet_of)
    }

    fn tx_burst(&mut self, batch: &mut Batch) {
        self.prepare(batch);
        let Some(pair) = self.pairs.first_mut() else { return };
        if batch.is_empty() {
            return;
        }
        let mut frames = [Frame::default(); BURST];
        for (frame, packet) in frames.iter_mut().zip(batch.iter()) {
            *frame = frame_of(packet);
        }
        // SAFETY: the packets are ours and filled up to their lengths; those
        // that were sent are given away below.
        let sent = unsafe { pair.queue.tx_burst(&frames[..batch.len()]) };
        batch.drain(..sent).for_each(|packet| {
            packet.into_handle();
        });
        self.stats.tx_frames += sent as u64;
    }

    fn free_buffers(&self) -> u32 {
        self.free
    }

    fn wait_fds(&self) -> &[RawFd] {
        &self.wait_fds
    }

    fn arm(&mut self) -> Arm {
        for pair in &self.pairs {
            match pair.signal {
                Signal::None => return Arm::Unsupported,
                Signal::Level(_) => {}
                Signal::Interrupt(_) if pair.queue.set_interrupt(true).is_ok() => {}
                Signal::Interrupt(_) => return Arm::Unsupported,
            }
        }
        // A full burst may have left frames that the driver has seen already.
        let waiting = |pair: &Pair| pair.saturated || pair.queue.rx_pending() == Some(true);
        if self.pairs.iter().any(waiting) { Arm::Pending } else { Arm::Armed }
    }

    fn disarm(&mut self) {
        for pair in &self.pairs {
            if matches!(pair.signal, Signal::Interrupt(_))
                && let Err(error) = pair.queue.set_interrupt(false)
            {
                log::debug!("{}: {error}", self.info.name);
            }
        }
    }

    fn link_up(&self) -> bool {
        self.pairs.iter().all(|pair| pair.queue.port().link_up())
    }

    fn stats(&self) -> DeviceStats {
        let mut ports: Vec<&Arc<Port>> = self.pairs.iter().map(|pair| pair.queue.port()).collect();
        ports.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let lost = ports.iter().filter_map(|port| port.stats().ok());
        let rx_errors = lost.map(|stats| stats.rx_missed + stats.rx_errors).sum();
        DeviceStats { rx_errors, ..self.stats }
    }
}

#[cfg(test)]
mod tests {
    use dpdk_sys::eal::{self, EalConfig, Hugepages};
    use dpdk_sys::{Capabilities, Layout, Pool, PortConfig};

    use super::*;

    /// A face over devices that return what they are sent, one for each name.
    fn ring_device(names: &[&str]) -> DpdkPort {
        let config = EalConfig { memory_mb: 64, hugepages: Hugepages::Never, ..EalConfig::default() };
        let dpdk = eal::start(&config).unwrap();
        let config = PortConfig {
            mtu: 1500,
            rx_descriptors: 256,
            tx_descriptors: 256,
            capabilities: Capabilities::default(),
            interrupts: false,
        };
        let queue = |name: &&str| {
            let pool = Pool::create(dpdk, 2047, 2000, Layout::Dense).unwrap();
            let port = Port::create(dpdk, &format!("net_ring_{name}"), "").unwrap();
            (port.start(&config, vec![pool]).unwrap().remove(0), Signal::None)
        };
        let info = DeviceInfo {
            name: "ring".into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            partial_checksums: false,
            own_neighbours: true,
            tx_checksum: false,
            lossless_memory: true,
        };
        DpdkPort::new(dpdk, info, names.iter().map(queue).collect(), 0)
    }

    fn packet(device: &mut DpdkPort, number: u8, len: usize) -> Packet {
        let mut packet = device.alloc().unwrap();
        packet.buffer_mut()[..len].fill(number);
        packet.set_len(len);
        packet
    }

    fn numbers(batch: &Batch) -> Vec<u8> {
        batch.iter().map(|packet| packet.bytes()[0]).collect()
    }

    fn available(device: &DpdkPort) -> Vec<u32> {
        device.pairs.iter().map(|pair| pair.queue.pool().available()).collect()
    }

    #[test]
    fn frames_keep_their_order_and_their_buffers_come_back() {
        let mut device = ring_device(&["order"]);
        let mut batch: Batch = (0..BURST as u8).map(|number| packet(&mut device, number, 60)).collect();
        device.tx_burst(&mut batch);
        assert!(batch.is_empty());
        device.rx_burst(&mut batch);
        assert_eq!(numbers(&batch), (0..BURST as u8).collect::<Vec<_>>());
        assert_eq!((device.stats().tx_frames, device.stats().rx_frames), (32, 32));
        drop(batch);
        assert_eq!(available(&device), [2047]);
    }

    #[test]
    fn what_does_not_fit_the_ring_stays_in_order() {
        let mut device = ring_device(&["full"]);
        let mut sent = 0;
        loop {
            let mut batch: Batch = (0..BURST as u8).map(|number| packet(&mut device, number, 60)).collect();
            device.tx_burst(&mut batch);
            sent += BURST - batch.len();
            if !batch.is_empty() {
                let first = (BURST - batch.len()) as u8;
                assert_eq!(numbers(&batch), (first..BURST as u8).collect::<Vec<_>>());
                break;
            }
        }
        assert_eq!(device.stats().tx_frames, sent as u64);
        assert_eq!(device.stats().tx_dropped, 0);
    }

    #[test]
    fn a_frame_above_the_mtu_is_dropped_and_counted() {
        let mut device = ring_device(&["long"]);
        let mut long = packet(&mut device, 1, 1514);
        assert!(long.capacity() > 1514, "the pool leaves room for a frame that is too long");
        long.set_len(1515);
        let mut batch: Batch =
            [packet(&mut device, 0, 60), long, packet(&mut device, 2, 1514)].into_iter().collect();
        device.tx_burst(&mut batch);
        assert!(batch.is_empty());
        device.rx_burst(&mut batch);
        assert_eq!(numbers(&batch), [0, 2]);
        assert_eq!(device.stats().tx_dropped, 1);
    }

    #[test]
    fn frames_from_elsewhere_are_copied_into_buffers_of_the_queue() {
        let mut device = ring_device(&["here"]);
        let mut other = ring_device(&["there"]);
        let foreign = packet(&mut other, 7, 60);
        let mut batch: Batch = [packet(&mut device, 6, 60), foreign].into_iter().collect();
        device.tx_burst(&mut batch);
        assert_eq!(available(&other), [2047], "the original is free");
        device.rx_burst(&mut batch);
        assert_eq!(numbers(&batch), [6, 7]);
        assert!(batch.iter().all(|packet| is_of(&device.pairs[0], packet)));
    }

    #[test]
    fn all_queues_are_received_from_in_turn() {
        let mut device = ring_device(&["one", "two"]);
        let (first, second) = device.pairs.split_at_mut(1);
        for (pair, number) in [(&mut first[0], 1), (&mut second[0], 2)] {
            let frames: Vec<Frame> = (0..BURST)
                .map(|_| {
                    let mut packet = packet_of(pair.queue.alloc().unwrap());
                    packet.buffer_mut()[0] = number;
                    packet.set_len(60);
                    let frame = frame_of(&packet);
                    packet.into_handle();
                    frame
                })
                .collect();
            // SAFETY: frames of ours, given away.
            assert_eq!(unsafe { pair.queue.tx_burst(&frames) }, BURST);
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut batch = Batch::new();
            device.rx_burst(&mut batch);
            assert!(batch.is_full());
            seen.push(batch[0].bytes()[0]);
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert_eq!(device.arm(), Arm::Unsupported);
    }

    #[test]
    fn free_buffers_follow_what_is_held() {
        let mut device = ring_device(&["held"]);
        let mut held = Vec::new();
        for _ in 0..16 {
            let mut batch: Batch = (0..BURST as u8).map(|number| packet(&mut device, number, 60)).collect();
            device.tx_burst(&mut batch);
            device.rx_burst(&mut batch);
            held.extend(batch);
        }
        let free = device.free_buffers();
        assert!((176..=208).contains(&free), "a quarter of the buffers is held: {free}/256");
    }
}
