//! Our memif device against DPDK's driver, in both roles.
//!
//! The driver runs in a process of its own: this program, started again as the
//! "test" `peer` that is ignored otherwise. It does what frames tell it to.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dpdk_sys::eal::{self, EalConfig, Hugepages};
use dpdk_sys::{Capabilities, Dpdk, Frame, Layout, Pool, Port, PortConfig, Queue};
use nix::poll::{PollFd, PollFlags, poll};
use tpa_stack::device::memif::{MemifOptions, Role, open};
use tpa_stack::device::{Arm, Batch, Device};

/// First byte of a frame that the peer sends back.
const ECHO: u8 = 1;
/// First byte of a frame in whose place the peer sends one of its own: two
/// numbers of 32 bits follow, its length and the milliseconds to wait before.
const MAKE: u8 = 2;

/// Environment: folder of the socket, arguments of the driver.
const FOLDER: &str = "MEMIF_TEST_FOLDER";
const DRIVER: &str = "MEMIF_TEST_DRIVER";

/// Bytes that a packet buffer of the peer holds.
const PEER_ROOM: u32 = 9216;

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn peer() {
    let (Ok(folder), Ok(driver)) = (std::env::var(FOLDER), std::env::var(DRIVER)) else {
        return;
    };
    let config = EalConfig { memory_mb: 128, hugepages: Hugepages::Never, ..EalConfig::default() };
    let dpdk = eal::start(&config).expect("EAL");
    let arguments = format!("socket={folder}/s,socket-abstract=no,{driver}");
    // A server that was killed leaves its file, over which the driver stumbles.
    if driver.contains("role=server") {
        let _ = std::fs::remove_file(Path::new(&folder).join("s"));
    }
    let port = Port::create(dpdk, "net_memif0", &arguments).expect("net_memif");
    let config = PortConfig {
        mtu: 1500,
        rx_descriptors: 256,
        tx_descriptors: 256,
        capabilities: Capabilities { tx_tcp_checksum: false, rx_checksum: false },
        interrupts: false,
    };
    let pool = Pool::create(dpdk, 4095, PEER_ROOM, Layout::Hardware).expect("pool");
    obey(dpdk, port.start(&config, vec![pool]).expect("start").remove(0));
}

/// Does what received frames ask for, for a minute at most.
fn obey(dpdk: &Dpdk, mut queue: Queue) {
    let end = Instant::now() + Duration::from_secs(60);
    let mut frames = [Frame::default(); 32];
    while Instant::now() < end {
        let count = queue.rx_burst(&mut frames);
        let mut answers: Vec<Frame> =
            frames[..count].iter().map(|frame| answer(dpdk, &mut queue, *frame)).collect();
        while !answers.is_empty() {
            // SAFETY: the answers are ours and written up to their lengths.
            let sent = unsafe { queue.tx_burst(&answers) };
            answers.drain(..sent);
        }
    }
}

fn answer(dpdk: &Dpdk, queue: &mut Queue, frame: Frame) -> Frame {
    // SAFETY: a received frame is ours and holds `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(frame.data, frame.len as usize) };
    if bytes[0] == ECHO {
        return frame;
    }
    let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (len, wait) = (number(1), number(5));
    // SAFETY: we own the frame and free it once.
    unsafe { dpdk.free(NonNull::new(frame.mbuf).expect("handle")) };
    std::thread::sleep(Duration::from_millis(wait.into()));
    let mut made = queue.alloc().expect("buffer");
    // SAFETY: the buffer is ours and holds `capacity` bytes, more than asked for.
    let room = unsafe { std::slice::from_raw_parts_mut(made.data, len as usize) };
    room.copy_from_slice(&pattern(0, len as usize));
    made.len = len;
    made
}

/// A peer process; killed when it is dropped.
struct Peer(Child);

impl Peer {
    fn start(folder: &Path, driver: &str) -> Self {
        let child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "peer", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .env(DRIVER, driver)
            .stdout(Stdio::null())
            .spawn()
            .expect("peer");
        Self(child)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGKILL: the driver has no time to say goodbye.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that goes when it is dropped; one at a time, since the peer of each
/// test polls and would take the cores from the others.
struct Folder(PathBuf, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Folder {
    fn new(name: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let path = std::env::temp_dir().join(format!("memif-dpdk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("temporary folder");
        Self(path, turn)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn pattern(number: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as usize + at * 7 + at / 251) as u8).collect()
}

fn own(folder: &Folder, role: Role, buffer_size: u32) -> Box<dyn Device> {
    let options =
        MemifOptions { buffer_size, connect_wait_ms: 0, ..MemifOptions::new(folder.0.join("s"), role) };
    open(&options, 1).expect("memif").workers.remove(0)
}

fn settle(device: &mut dyn Device, up: bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while device.link_up() != up {
        assert!(Instant::now() < deadline, "the link did not go {}", if up { "up" } else { "down" });
        device.on_control();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn send(device: &mut dyn Device, bytes: &[u8]) {
    let mut packet = device.alloc().expect("buffer");
    packet.buffer_mut()[..bytes.len()].copy_from_slice(bytes);
    packet.set_len(bytes.len());
    let mut batch = Batch::new();
    batch.push(packet);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !batch.is_empty() {
        assert!(Instant::now() < deadline, "the ring stays full");
        device.tx_burst(&mut batch);
    }
}

fn receive(device: &mut dyn Device) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut batch = Batch::new();
    while batch.is_empty() {
        assert!(Instant::now() < deadline, "no answer");
        device.rx_burst(&mut batch);
    }
    assert_eq!(batch.len(), 1);
    batch[0].bytes().to_vec()
}

fn echo(len: usize, number: u32) -> Vec<u8> {
    let mut bytes = pattern(number, len);
    bytes[0] = ECHO;
    bytes
}

fn make(len: u32, wait_ms: u32) -> Vec<u8> {
    let mut bytes = vec![MAKE];
    bytes.extend(len.to_ne_bytes());
    bytes.extend(wait_ms.to_ne_bytes());
    bytes
}

fn exchange_everything(device: &mut dyn Device, largest: usize) {
    for (number, len) in (1..200).chain([512, 1514, largest - 1, largest]).enumerate() {
        let frame = echo(len, number as u32);
        send(device, &frame);
        assert!(receive(device) == frame, "{len} bytes differ");
    }
    under_load(device);
    is_woken(device);
    assert_eq!(device.stats().rx_errors, 0);
    assert_eq!(device.stats().tx_dropped, 0);
}

/// Many frames under way at once come back whole and in order.
fn under_load(device: &mut dyn Device) {
    const COUNT: u32 = 50_000;
    let frame = |number: u32| {
        let mut bytes = echo(60 + number as usize % 700, number);
        bytes[1..5].copy_from_slice(&number.to_ne_bytes());
        bytes
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut sent, mut came) = (0, 0);
    let (mut out, mut back) = (Batch::new(), Batch::new());
    while came < COUNT {
        assert!(Instant::now() < deadline, "{came} of {COUNT} came");
        // No more under way than both rings hold, or the two wait for each other.
        while !out.is_full() && sent < COUNT && sent - came < 200 {
            let bytes = frame(sent);
            let mut packet = device.alloc().expect("buffer");
            packet.buffer_mut()[..bytes.len()].copy_from_slice(&bytes);
            packet.set_len(bytes.len());
            out.push(packet);
            sent += 1;
        }
        device.tx_burst(&mut out);
        device.rx_burst(&mut back);
        for packet in back.drain(..) {
            assert!(packet.bytes() == frame(came), "frame {came} differs");
            came += 1;
        }
    }
}

/// The driver signals when we sleep.
fn is_woken(device: &mut dyn Device) {
    send(device, &make(100, 50));
    assert_eq!(device.arm(), Arm::Armed);
    // SAFETY: the descriptor belongs to the device, which we hold.
    let fd = unsafe { BorrowedFd::borrow_raw(device.wait_fds()[0]) };
    let begin = Instant::now();
    assert_eq!(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], 5000u16), Ok(1), "not woken");
    assert!(begin.elapsed() > Duration::from_millis(20));
    device.disarm();
    assert_eq!(receive(device), pattern(0, 100));
}

#[test]
fn the_drivers_client_talks_to_our_server() {
    let folder = Folder::new("server");
    let mut device = own(&folder, Role::Server, 2048);
    for _ in 0..3 {
        let peer = Peer::start(&folder.0, "role=client,id=0,bsize=2048,rsize=8");
        settle(&mut *device, true);
        exchange_everything(&mut *device, 2048);
        drop(peer);
        settle(&mut *device, false);
    }
}

#[test]
fn the_drivers_server_talks_to_our_client() {
    let folder = Folder::new("client");
    let mut device = own(&folder, Role::Client, 2048);
    for _ in 0..3 {
        let peer = Peer::start(&folder.0, "role=server,id=0,bsize=2048,rsize=8");
        settle(&mut *device, true);
        exchange_everything(&mut *device, 2048);
        drop(peer);
        settle(&mut *device, false);
    }
}

#[test]
fn the_driver_and_we_agree_on_secrets() {
    let folder = Folder::new("secret");
    let options = MemifOptions {
        secret: Some("open sesame".into()),
        id: 9,
        connect_wait_ms: 0,
        ..MemifOptions::new(folder.0.join("s"), Role::Server)
    };
    let mut device = open(&options, 1).expect("memif").workers.remove(0);
    let _peer = Peer::start(&folder.0, "role=client,id=9,secret=open sesame,bsize=2048,rsize=8");
    settle(&mut *device, true);
    send(&mut *device, &echo(100, 1));
    assert_eq!(receive(&mut *device), echo(100, 1));
}

#[test]
fn frames_that_the_driver_chains_over_slots_are_joined() {
    let folder = Folder::new("chain");
    let mut device = own(&folder, Role::Server, 9216);
    let _peer = Peer::start(&folder.0, "role=client,id=0,bsize=2048,rsize=8");
    settle(&mut *device, true);
    // Fewer slots than the ring has: the driver never clears the mark of a
    // chain from a slot, so a second round through its ring comes garbled.
    for len in [2047, 2048, 2049, 4096, 4097, 6000, 9000, 9216] {
        send(&mut *device, &make(len, 0));
        assert!(receive(&mut *device) == pattern(0, len as usize), "{len} bytes differ");
    }
    assert_eq!(device.stats().rx_errors, 0);
}
