//! Faults over a device that gives back what is sent to it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, poll};

use super::*;
use crate::packet::PacketFlags;

/// Sends to itself; takes at most `room` frames.
struct Loopback {
    info: DeviceInfo,
    frames: Arc<Mutex<VecDeque<Packet>>>,
    room: usize,
}

impl Device for Loopback {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn rx_burst(&mut self, batch: &mut Batch) {
        let mut frames = self.frames.lock().unwrap();
        let count = frames.len().min(batch.remaining_capacity());
        batch.extend(frames.drain(..count));
    }

    fn alloc(&mut self) -> Option<Packet> {
        Some(Packet::copy_of(&[0; 2048]))
    }

    fn tx_burst(&mut self, batch: &mut Batch) {
        let mut frames = self.frames.lock().unwrap();
        let count = (self.room - frames.len()).min(batch.len());
        frames.extend(batch.drain(..count));
    }

    fn wait_fds(&self) -> &[RawFd] {
        &[]
    }

    fn arm(&mut self) -> Arm {
        if self.frames.lock().unwrap().is_empty() { Arm::Armed } else { Arm::Pending }
    }

    fn disarm(&mut self) {}

    fn stats(&self) -> DeviceStats {
        DeviceStats::default()
    }
}

fn device(plan: &str) -> Box<dyn Device> {
    device_with_room(plan, usize::MAX)
}

fn device_with_room(plan: &str, room: usize) -> Box<dyn Device> {
    let info = DeviceInfo {
        name: "loopback".into(),
        mac: [2; 6],
        mtu: 1500,
        partial_checksums: false,
        own_neighbours: true,
        tx_checksum: true,
        lossless_memory: true,
    };
    let inner = Box::new(Loopback { info, frames: Arc::default(), room });
    FaultDevice::wrap(inner, plan.parse().unwrap())
}

/// A frame of 100 bytes that tells its number.
fn frame(number: u32) -> Packet {
    let mut bytes = [0; 100];
    bytes[96..].copy_from_slice(&number.to_ne_bytes());
    let mut packet = Packet::copy_of(&bytes);
    packet.flags = PacketFlags::CHECKSUM_GOOD;
    packet
}

fn number(packet: &Packet) -> u32 {
    u32::from_ne_bytes(packet.bytes()[96..].try_into().unwrap())
}

/// Sends frames and gives back all that comes, waiting for late ones.
fn run(device: &mut dyn Device, count: u32) -> Vec<Packet> {
    let mut came = Vec::new();
    let mut batch = Batch::new();
    for sent in 0..count {
        batch.push(frame(sent));
        if batch.is_full() || sent + 1 == count {
            while !batch.is_empty() {
                device.tx_burst(&mut batch);
                came.extend(received(device));
            }
        }
    }
    let end = Instant::now() + Duration::from_millis(20);
    while Instant::now() < end {
        came.extend(received(device));
    }
    came
}

fn received(device: &mut dyn Device) -> Batch {
    let mut batch = Batch::new();
    device.rx_burst(&mut batch);
    batch
}

fn numbers(packets: &[Packet]) -> Vec<u32> {
    packets.iter().map(number).collect()
}

const COUNT: u32 = 20_000;

#[test]
fn an_idle_plan_changes_nothing() {
    let came = run(&mut *device(""), 1000);
    assert_eq!(numbers(&came), (0..1000).collect::<Vec<_>>());
}

#[test]
fn the_asked_share_is_dropped_in_either_direction() {
    for plan in ["rx: drop=10%", "tx: drop=10%"] {
        let came = run(&mut *device(plan), COUNT).len();
        assert!((17_600..18_400).contains(&came), "{plan}: {came}");
    }
    assert_eq!(run(&mut *device("rx: drop=100%"), 1000).len(), 0);
}

#[test]
fn duplicates_are_whole_and_extra() {
    for plan in ["rx: dup=10%", "tx: dup=10%"] {
        let came = run(&mut *device(plan), COUNT);
        assert!((21_600..22_400).contains(&came.len()), "{plan}: {}", came.len());
        let mut kinds = numbers(&came);
        kinds.dedup();
        assert_eq!(kinds, (0..COUNT).collect::<Vec<_>>());
    }
}

#[test]
fn reordered_frames_all_come_but_a_little_later() {
    for plan in ["rx: reorder=5%", "tx: reorder=5%"] {
        let came = numbers(&run(&mut *device(plan), COUNT));
        assert_ne!(came, (0..COUNT).collect::<Vec<_>>());
        let mut sorted = came.clone();
        sorted.sort();
        assert_eq!(sorted, (0..COUNT).collect::<Vec<_>>());
        let furthest = came.iter().enumerate().map(|(at, &number)| number.abs_diff(at as u32)).max();
        assert!(furthest < Some(40), "{plan}: {furthest:?}");
    }
}

#[test]
fn a_reordered_frame_alone_still_comes() {
    let came = run(&mut *device("rx: reorder=100%"), 1);
    assert_eq!(numbers(&came), [0]);
}

#[test]
fn delayed_frames_come_in_order_and_not_before_their_time() {
    let mut device = device("rx: delay=100%/5ms");
    let begin = Instant::now();
    let mut batch = Batch::new();
    batch.extend((0..3).map(frame));
    device.tx_burst(&mut batch);
    let mut came = Vec::new();
    while came.len() < 3 {
        came.extend(received(&mut *device));
        assert!(came.is_empty() || begin.elapsed() >= Duration::from_millis(5));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(numbers(&came), [0, 1, 2]);
}

#[test]
fn corruption_inverts_one_bit_and_is_not_vouched_for() {
    let came = run(&mut *device("rx: corrupt=100%"), 200);
    for (at, packet) in came.iter().enumerate() {
        let original = frame(at as u32);
        let differing: u32 =
            packet.bytes().iter().zip(original.bytes()).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(differing, 1);
        assert_eq!(packet.bytes()[..14], original.bytes()[..14]);
        assert!(packet.flags.is_empty());
    }
}

#[test]
fn a_cut_leaves_the_beginning() {
    let came = run(&mut *device("rx: cut=100%"), 200);
    assert_eq!(came.len(), 200);
    for (at, packet) in came.iter().enumerate() {
        assert!((1..100).contains(&packet.len()));
        assert_eq!(packet.bytes(), &frame(at as u32).bytes()[..packet.len()]);
        assert!(packet.flags.is_empty());
    }
}

#[test]
fn the_same_seed_brings_the_same_faults() {
    let plan = |seed| format!("both: drop=5%, dup=5%, corrupt=5%; seed={seed}");
    let bytes = |seed| -> Vec<Vec<u8>> {
        run(&mut *device(&plan(seed)), 2000).iter().map(|packet| packet.bytes().to_vec()).collect()
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn checksums_count_again_where_frames_are_damaged() {
    let info = |plan| {
        let device = device(plan);
        (device.info().lossless_memory, device.info().tx_checksum)
    };
    assert_eq!(info("both: drop=1%, dup=1%, reorder=1%"), (true, true));
    assert_eq!(info("rx: corrupt=1%"), (false, true));
    assert_eq!(info("tx: cut=1%"), (true, false));
}

#[test]
fn a_full_device_keeps_the_order() {
    let mut device = device_with_room("tx: dup=10%", 7);
    let mut came = numbers(&run(&mut *device, 1000));
    came.dedup();
    assert_eq!(came, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_sleeper_is_woken_for_a_late_frame() {
    for plan in ["rx: delay=100%/20ms", "tx: delay=100%/20ms"] {
        let mut device = device(plan);
        assert_eq!(device.arm(), Arm::Armed);
        device.disarm();
        let mut batch = Batch::new();
        batch.push(frame(0));
        device.tx_burst(&mut batch);
        assert!(received(&mut *device).is_empty());
        assert_eq!(device.arm(), Arm::Armed);
        // SAFETY: the descriptor belongs to the device, which the test holds.
        let fd = unsafe { BorrowedFd::borrow_raw(*device.wait_fds().last().unwrap()) };
        let readable = |wait: u16| poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], wait).unwrap() == 1;
        assert!(!readable(0));
        assert!(readable(5000));
        device.disarm();
        assert!(!readable(0));
        assert_eq!(received(&mut *device).len(), 1);
    }
}
