//! How fast memif is between two processes: round trips of small frames,
//! frames a second, bytes a second; for either role, in about twelve seconds.
//!
//! ```text
//! cargo run --release -p tpa-stack --example memif_rate [RING_SIZE [BUFFER_SIZE]]
//! ```
//!
//! The program starts itself a second time as the peer. Both poll, so two free
//! cores are needed for numbers that mean something.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tpa_stack::device::memif::{MemifOptions, Role, open};
use tpa_stack::device::{Arm, Batch, Device};

/// Time of each measurement.
const MEASURE: Duration = Duration::from_millis(1000);
/// First byte of frames that the peer sends back.
const ECHO: u8 = 1;
/// First byte of frames that the peer throws away.
const SINK: u8 = 0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, peer, socket, role, ring_size, buffer_size] = &arguments[..]
        && peer == "peer"
    {
        let role = if role == "server" { Role::Server } else { Role::Client };
        return serve(open_device(Path::new(socket), role, ring_size, buffer_size));
    }
    let argument = |index: usize, default: &str| arguments.get(index).map_or(default, |text| text).to_owned();
    let (ring_size, buffer_size) = (argument(1, "256"), argument(2, "65535"));
    println!("ring of {ring_size} slots of {buffer_size} bytes");
    for role in [Role::Client, Role::Server] {
        measure(role, &ring_size, &buffer_size);
    }
}

fn open_device(socket: &Path, role: Role, ring_size: &str, buffer_size: &str) -> Box<dyn Device> {
    let options = MemifOptions {
        ring_size: ring_size.parse().expect("RING_SIZE is no number"),
        buffer_size: buffer_size.parse().expect("BUFFER_SIZE is no number"),
        connect_wait_ms: 5000,
        ..MemifOptions::new(socket, role)
    };
    match open(&options, 1) {
        Ok(mut opened) => opened.workers.remove(0),
        Err(error) => panic!("{error}"),
    }
}

/// The peer's part: send back or throw away, until the link goes down.
fn serve(mut device: Box<dyn Device>) {
    pin(1);
    let begin = Instant::now();
    let mut seen_up = false;
    let (mut frames, mut echoes) = (Batch::new(), Batch::new());
    let mut idle = 0u32;
    while begin.elapsed() < Duration::from_secs(30) {
        device.rx_burst(&mut frames);
        idle = if frames.is_empty() { idle + 1 } else { 0 };
        for frame in frames.drain(..) {
            if frame.bytes()[0] == ECHO {
                echoes.push(frame);
            }
        }
        while !echoes.is_empty() {
            device.tx_burst(&mut echoes);
        }
        if idle % 65536 == 1024 {
            device.on_control();
            if seen_up && !device.link_up() {
                return;
            }
            seen_up |= device.link_up();
        }
    }
}

fn measure(role: Role, ring_size: &str, buffer_size: &str) {
    let folder = std::env::temp_dir().join(format!("memif-rate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("temporary folder");
    let socket = folder.join("socket");
    let (name, other) = match role {
        Role::Server => ("server", "client"),
        Role::Client => ("client", "server"),
    };
    let start_peer = || -> Child {
        let program = std::env::current_exe().expect("own path");
        let arguments = ["peer", socket.to_str().expect("path"), other, ring_size, buffer_size];
        Command::new(program).args(arguments).spawn().expect("peer")
    };
    let mut peer;
    let mut device;
    if role == Role::Server {
        device = open_device(&socket, role, ring_size, buffer_size);
        peer = start_peer();
    } else {
        peer = start_peer();
        device = open_device(&socket, role, ring_size, buffer_size);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while !device.link_up() && Instant::now() < deadline {
        device.on_control();
    }
    assert!(device.link_up(), "the peer did not come");
    pin(0);
    let largest = device.info().mtu + 14;
    round_trips(name, &mut *device, 64, Wait::Poll);
    round_trips(name, &mut *device, 64, Wait::Sleep);
    stream(name, &mut *device, 64);
    stream(name, &mut *device, 1514.min(largest));
    stream(name, &mut *device, largest);
    drop(device);
    peer.wait().expect("peer");
    let _ = std::fs::remove_dir_all(&folder);
}

fn frame(device: &mut dyn Device, kind: u8, len: usize) -> Option<tpa_stack::packet::Packet> {
    let mut packet = device.alloc()?;
    packet.buffer_mut()[0] = kind;
    packet.set_len(len);
    Some(packet)
}

/// How the answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wait {
    Poll,
    /// Armed, in poll(2).
    Sleep,
}

fn sleep(device: &mut dyn Device) {
    if device.arm() == Arm::Armed {
        // SAFETY: the descriptor belongs to the device, which we hold.
        let fd = unsafe { BorrowedFd::borrow_raw(device.wait_fds()[0]) };
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], 1000u16).expect("poll");
    }
    device.disarm();
}

fn round_trips(name: &str, device: &mut dyn Device, len: usize, wait: Wait) {
    let mut times = Vec::with_capacity(4 << 20);
    let begin = Instant::now();
    let mut last = begin;
    let mut batch = Batch::new();
    while last - begin < MEASURE && times.len() < times.capacity() {
        batch.extend(frame(device, ECHO, len));
        while !batch.is_empty() {
            device.tx_burst(&mut batch);
        }
        while batch.is_empty() {
            if wait == Wait::Sleep {
                sleep(device);
            }
            device.rx_burst(&mut batch);
        }
        batch.clear();
        let now = Instant::now();
        times.push((now - last).as_nanos() as u32);
        last = now;
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "as {name}: round trip of {len} bytes, {wait:?}: least {} ns, median {} ns, p99 {} ns, {:.0} a second",
        times[0],
        at(0.5),
        at(0.99),
        times.len() as f64 / (last - begin).as_secs_f64()
    );
}

fn stream(name: &str, device: &mut dyn Device, len: usize) {
    let sent_before = device.stats().tx_frames;
    let begin = Instant::now();
    let mut batch = Batch::new();
    while begin.elapsed() < MEASURE {
        for _ in 0..16 {
            while !batch.is_full() {
                batch.extend(frame(device, SINK, len));
            }
            device.tx_burst(&mut batch);
        }
    }
    let frames = (device.stats().tx_frames - sent_before) as f64 / begin.elapsed().as_secs_f64();
    println!(
        "as {name}: sends {:.2} Mpps of {len} bytes, {:.2} GB/s",
        frames / 1e6,
        frames * len as f64 / 1e9
    );
}

/// Keeps the two processes on cores of their own.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cores);
    }
}
