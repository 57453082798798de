//! Faults over a device that gives back what is sent to it.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tpa_tcp::wire::{
    ChecksumPolicy, Ecn, EthernetAddress, Frame, FrameHeader, Ports, TcpFlags, TcpOptions, emit_tcp_frame,
    parse_frame,
};
use tpa_tcp::{SeqNum, Transmit};

use super::*;
use crate::counters::CounterFile;
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

fn device(plan: &str) -> FaultDevice {
    device_with_room(plan, usize::MAX)
}

fn device_with_room(plan: &str, room: usize) -> FaultDevice {
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
    let mut device = FaultDevice::new(inner, CounterFile::anonymous(1).worker(0));
    device.inject(&plan.parse().unwrap());
    device
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
    let came = run(&mut device(""), 1000);
    assert_eq!(numbers(&came), (0..1000).collect::<Vec<_>>());
}

#[test]
fn the_asked_share_is_dropped_in_either_direction() {
    for plan in ["rx: drop=10%", "tx: drop=10%"] {
        let came = run(&mut device(plan), COUNT).len();
        assert!((17_600..18_400).contains(&came), "{plan}: {came}");
    }
    assert_eq!(run(&mut device("rx: drop=100%"), 1000).len(), 0);
}

#[test]
fn duplicates_are_whole_and_extra() {
    for plan in ["rx: dup=10%", "tx: dup=10%"] {
        let came = run(&mut device(plan), COUNT);
        assert!((21_600..22_400).contains(&came.len()), "{plan}: {}", came.len());
        let mut kinds = numbers(&came);
        kinds.dedup();
        assert_eq!(kinds, (0..COUNT).collect::<Vec<_>>());
    }
}

#[test]
fn reordered_frames_all_come_but_a_little_later() {
    for plan in ["rx: reorder=5%", "tx: reorder=5%"] {
        let came = numbers(&run(&mut device(plan), COUNT));
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
    let came = run(&mut device("rx: reorder=100%"), 1);
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
        came.extend(received(&mut device));
        assert!(came.is_empty() || begin.elapsed() >= Duration::from_millis(5));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(numbers(&came), [0, 1, 2]);
}

#[test]
fn corruption_inverts_one_bit_and_is_not_vouched_for() {
    let came = run(&mut device("rx: corrupt=100%"), 200);
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
fn a_truncated_frame_keeps_its_beginning() {
    let came = run(&mut device("rx: truncate=100%"), 200);
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
        run(&mut device(&plan(seed)), 2000).iter().map(|packet| packet.bytes().to_vec()).collect()
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
    assert_eq!(info("tx: truncate=1%"), (true, false));
}

#[test]
fn a_full_device_keeps_the_order() {
    let mut device = device_with_room("tx: dup=10%", 7);
    let mut came = numbers(&run(&mut device, 1000));
    came.dedup();
    assert_eq!(came, (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_sleeper_learns_when_a_late_frame_is_due() {
    for plan in ["rx: delay=100%/20ms", "tx: delay=100%/20ms"] {
        let mut device = device(plan);
        assert_eq!((device.arm(), device.next_due()), (Arm::Armed, None));
        let mut batch = Batch::new();
        batch.push(frame(0));
        device.tx_burst(&mut batch);
        assert!(received(&mut device).is_empty());
        assert_eq!(device.arm(), Arm::Armed);
        let wait = device.next_due().unwrap();
        assert!(wait <= Duration::from_millis(20));
        std::thread::sleep(wait);
        assert_eq!(received(&mut device).len(), 1);
        assert_eq!(device.next_due(), None);
    }
}

#[test]
fn faults_are_counted() {
    let mut device =
        device("both: dup=100%, corrupt=100%, truncate=100%; rx: delay=100%/1ms; tx: reorder=100%");
    run(&mut device, 10);
    let counters = device.counters;
    // Ten on their way out, twenty on their way in.
    assert_eq!((counters.faults_duplicated.get(), counters.faults_corrupted.get()), (30, 30));
    assert_eq!((counters.faults_reordered.get(), counters.faults_delayed.get()), (20, 40));
    device.inject(&"rx: cut".parse().unwrap());
    assert!(run(&mut device, 10).is_empty());
    assert_eq!(counters.faults_dropped.get(), 10);
}

#[test]
fn the_end_of_a_plan_lets_go_what_it_held_back_and_leaves_the_device_bare() {
    for plan in ["tx: delay=100%/10s", "rx: delay=100%/10s"] {
        let mut device = device(plan);
        let mut batch = Batch::new();
        batch.extend((0..3).map(frame));
        device.tx_burst(&mut batch);
        assert!(received(&mut device).is_empty());
        assert_eq!(device.faults(), Some(None));
        device.inject(&FaultPlan::default());
        assert_eq!(device.faults(), None);
        let mut came = received(&mut device);
        came.extend(received(&mut device));
        assert_eq!(numbers(&came), [0, 1, 2], "{plan}");
        assert!(device.injection.is_none());
    }
}

#[test]
fn a_plan_ends_when_its_time_is_over() {
    let mut device = device("cut; corrupt=1%; for=30ms");
    assert!(!device.info().tx_checksum);
    let end = Instant::now() + Duration::from_millis(30);
    assert!(matches!(device.faults(), Some(Some(left)) if left <= Duration::from_millis(30)));
    assert!(run(&mut device, 10).is_empty());
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    assert_eq!(device.faults(), None);
    assert_eq!(run(&mut device, 10).len(), 10);
    assert!(device.injection.is_none() && device.info().tx_checksum && device.info().lossless_memory);
}

/// A frame whose headers name these ports, and an IP option.
fn segment(source: u16, destination: u16) -> Packet {
    let mut bytes = [0; 100];
    (bytes[12], bytes[14], bytes[23]) = (0x08, 0x46, 6);
    bytes[38..40].copy_from_slice(&source.to_be_bytes());
    bytes[40..42].copy_from_slice(&destination.to_be_bytes());
    Packet::copy_of(&bytes)
}

#[test]
fn a_plan_for_a_port_leaves_all_others_alone() {
    for (plan, left) in [("tx: cut; port=80", 2), ("rx: cut; port=80", 2), ("rx: cut; port=81", 4)] {
        let mut device = device(plan);
        let mut batch = Batch::new();
        batch.extend([segment(80, 5), segment(5, 80), segment(0x5000, 5), segment(5, 6)]);
        device.tx_burst(&mut batch);
        assert_eq!(received(&mut device).len(), left, "{plan}");
    }
    let mut short = segment(80, 80);
    short.set_len(36);
    assert!(!has_port(short.bytes(), 80));
    assert!(!has_port(&[], 80) && !has_port(frame(0).bytes(), 80));
}

/// A TCP segment as a kernel at the other end of a veth pair hands it over: the
/// checksum field holds the sum of the pseudo-header alone.
fn segment_without_checksum() -> Packet {
    let header = FrameHeader {
        src_mac: EthernetAddress([2; 6]),
        dst_mac: EthernetAddress([2; 6]),
        src: Ipv4Addr::new(10, 0, 0, 1).into(),
        dst: Ipv4Addr::new(10, 0, 0, 2).into(),
        tos: 0,
        ttl: 64,
        flow_label: 0,
    };
    let segment = Transmit {
        seq: SeqNum(1),
        ack: SeqNum(2),
        flags: TcpFlags::ACK,
        window: 1000,
        urgent: 0,
        options: TcpOptions::default(),
        payload: (&[0x55; 1001], &[]),
        is_retransmit: false,
        ecn: Ecn::NotEct,
    };
    let mut bytes = [0; 1500];
    let ports = Ports { src: 5, dst: 6 };
    let len = emit_tcp_frame(&mut bytes, &header, 0, &segment, ports, false);
    Packet::copy_of(&bytes[..len])
}

#[test]
fn damage_shows_in_a_segment_that_has_no_checksum_yet() {
    let mut device = device("rx: corrupt=100%");
    for _ in 0..1000 {
        let mut batch = Batch::new();
        batch.push(segment_without_checksum());
        device.tx_burst(&mut batch);
        for packet in received(&mut device) {
            let parsed = parse_frame(packet.bytes(), ChecksumPolicy::VerifyOrPartial);
            assert!(!matches!(parsed, Ok(Frame::Tcp(_))), "{parsed:?}");
        }
    }
}

#[test]
fn a_checksum_is_completed_once() {
    let mut packet = segment_without_checksum();
    let partial = packet.bytes().to_vec();
    checksum::complete(packet.buffer_mut());
    let whole = packet.bytes().to_vec();
    assert_ne!(whole, partial);
    assert!(matches!(parse_frame(&whole, ChecksumPolicy::Verify), Ok(Frame::Tcp(_))));
    checksum::complete(packet.buffer_mut());
    assert_eq!(packet.bytes(), whole);
    checksum::complete(&mut []);
}
