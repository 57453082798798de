//! A process in the stack's namespace that has the device open: this test
//! binary once more, told what to do by lines on its standard input.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::BorrowedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tpa_stack::device::af_packet;
use tpa_stack::device::af_xdp::{self, AfXdpOptions, XdpSteering};
use tpa_stack::device::{Arm, Batch, Device, Opened, Steering};
use tpa_stack::host;
use tpa_tcp::wire::IpAddress;

use crate::frame::{self, Kind};
use crate::net::{INTERFACE, Net, OWN, PATIENCE};

/// Environment of an agent: its options.
const AGENT: &str = "TPA_TEST_AGENT";

/// The test's side of an agent. Killed when dropped.
pub struct Agent {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    kept: Vec<String>,
}

impl Agent {
    pub fn start(net: &Net, options: &str) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", net.stack()])
            .arg(std::env::current_exe().expect("own path"))
            .args(["--exact", "agent_in_a_namespace", "--nocapture"])
            .env(AGENT, options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        Self { child, stdin, lines, kept: Vec::new() }
    }

    /// Sends a command; it is done when this returns.
    pub fn command(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("the agent reads");
        self.expect("done");
    }

    /// The next line that begins with this word.
    pub fn expect(&mut self, word: &str) -> String {
        self.try_expect(word).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The next line that begins with this word, or what came instead.
    pub fn try_expect(&mut self, word: &str) -> Result<String, String> {
        if let Some(at) = self.kept.iter().position(|line| line.starts_with(word)) {
            return Ok(self.kept.remove(at));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(word) => return Ok(line),
                Ok(line) => self.kept.push(line),
                Err(error) => return Err(format!("no \"{word}\": {error}; said so far: {:?}", self.kept)),
            }
        }
    }

    fn gather(&mut self) {
        loop {
            match self.lines.recv_timeout(crate::SETTLE) {
                Ok(line) => self.kept.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Frames that arrived and were not expected yet.
    pub fn frames(&mut self) -> usize {
        self.gather();
        self.kept.iter().filter(|line| line.starts_with("frame")).count()
    }

    pub fn forget_frames(&mut self) {
        self.gather();
        self.kept.retain(|line| !line.starts_with("frame"));
    }

    /// SIGKILL, to the agent itself: `ip netns exec` has become it.
    pub fn kill(&mut self) {
        self.child.kill().expect("alive");
        self.child.wait().expect("ours");
    }
}

impl Drop for Agent {
    /// Orderly when it can be: end of its input.
    fn drop(&mut self) {
        let _ = writeln!(self.stdin, "exit");
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent's own side.
struct Open {
    opened: Opened,
    steering: Option<XdpSteering>,
}

fn say(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}

fn open(options: &str) -> Result<Open, Box<dyn Error>> {
    let mut wanted = AfXdpOptions { zero_copy: false, ..AfXdpOptions::default() };
    wanted.eal.memory_mb = 64;
    if options.contains("queues=1") {
        wanted.queues = Some(1);
    }
    if options.contains("own") {
        wanted.own_addresses = vec![OWN.into()];
    }
    let interface = host::interface_by_name(INTERFACE).expect("the test made it");
    if options.contains("packet") {
        let opened = af_packet::open(&interface, !wanted.own_addresses.is_empty(), &wanted.eal)?;
        say(format_args!("open packet"));
        return Ok(Open { opened, steering: None });
    }
    let (opened, steering) = af_xdp::open_steered(&interface, &wanted, 8)?;
    let total = std::fs::read_dir(format!("/sys/class/net/{INTERFACE}/queues")).map(|entries| {
        entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("rx-")).count()
    });
    say(format_args!("open queues {} of {}", opened.workers.len(), total.unwrap_or(0)));
    Ok(Open { opened, steering: Some(steering) })
}

/// Does what the commands say until the input ends; nothing in an ordinary test run.
pub fn run() {
    let Ok(options) = std::env::var(AGENT) else { return };
    let commands = commands();
    let mut device = match open(&options) {
        Ok(device) => device,
        Err(error) => return say(format_args!("error {error}")),
    };
    let mut wakes = Wakes::default();
    let flags = if options.contains("accept") { frame::SYN_ACK } else { frame::RST_ACK };
    loop {
        match commands.try_recv() {
            Ok(command) if command == "reopen" => {
                drop(device);
                device = open(&options).expect("the queue is free again");
                say(format_args!("done"));
            }
            Ok(command) if command == "exit" => return,
            Ok(command) => obey(&command, device.steering.as_ref(), &wakes),
            Err(mpsc::TryRecvError::Disconnected) => return,
            Err(mpsc::TryRecvError::Empty) => {}
        }
        let faces = &mut device.opened.workers;
        if options.contains("sleep") {
            wakes.sleep(faces[0].as_mut());
        }
        faces.iter_mut().for_each(|face| serve(face.as_mut(), flags, &mut wakes));
    }
}

fn commands() -> Receiver<String> {
    let (sender, commands) = mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).for_each(|line| {
            let _ = sender.send(line);
        });
    });
    commands
}

fn obey(command: &str, steering: Option<&XdpSteering>, wakes: &Wakes) {
    let steering = || steering.expect("an AF_XDP device");
    let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
    let port = rest.parse().unwrap_or(0);
    match word {
        "listen" => steering().add_listener(IpAddress::V4_UNSPECIFIED, port).expect("listen"),
        "unlisten" => steering().remove_listener(IpAddress::V4_UNSPECIFIED, port).expect("unlisten"),
        "block" => steering().add_port_block(port).expect("block"),
        "counts" => say(format_args!("counts {:?}", steering().counts().expect("counts"))),
        "wakes" => say(format_args!("wakes {} {}", wakes.woken, wakes.spurious)),
        "fork" => say(format_args!("child {}", fork_orphan())),
        "kernel" => kernel_server(port, |mut stream| stream.write_all(b"kernel").expect("write")),
        "echo" => kernel_server(port, |stream| {
            let mut writer = stream.try_clone().expect("clone");
            for byte in BufReader::new(stream).bytes().map_while(Result::ok) {
                writer.write_all(&[byte]).expect("write");
            }
        }),
        other => panic!("unknown command {other}"),
    }
    say(format_args!("done"));
}

/// Forks a child that closes all that it inherited, and waits to be killed.
fn fork_orphan() -> libc::pid_t {
    // SAFETY: the child makes system calls alone.
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: nothing in this child uses a descriptor or a signal handler.
            unsafe {
                libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
                libc::pause();
            }
        },
        child => child,
    }
}

/// A server on the kernel's side of this process.
fn kernel_server(port: u16, serve: fn(std::net::TcpStream)) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream));
        }
    });
}

/// Sleeps that were ended by the descriptor, and those after which no frame was there.
#[derive(Default)]
struct Wakes {
    woken: u32,
    spurious: u32,
    frames_due: bool,
}

impl Wakes {
    fn sleep(&mut self, face: &mut dyn Device) {
        self.frames_due = false;
        if face.arm() == Arm::Armed {
            // SAFETY: the device keeps its descriptors open as long as it lives.
            let fd = unsafe { BorrowedFd::borrow_raw(face.wait_fds()[0]) };
            let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
            self.frames_due = poll(&mut fds, PollTimeout::from(20u8)).expect("poll") > 0;
        }
        face.disarm();
        self.woken += u32::from(self.frames_due);
    }
}

fn serve(face: &mut dyn Device, flags: u8, wakes: &mut Wakes) {
    let mut batch = Batch::new();
    face.rx_burst(&mut batch);
    wakes.spurious += u32::from(wakes.frames_due && batch.is_empty());
    wakes.frames_due = false;
    for packet in batch {
        match frame::kind(packet.bytes()) {
            Kind::Tcp { port, syn } => {
                say(format_args!("frame {port} {}", if syn { "syn" } else { "other" }));
                if syn {
                    send(face, &frame::answer(packet.bytes(), flags));
                }
            }
            Kind::Arp(address) => say(format_args!("arp {address}")),
            Kind::Ping => send(face, &frame::pong(packet.bytes())),
            Kind::Other => say(format_args!("other")),
        }
    }
}

fn send(face: &mut dyn Device, frame: &[u8]) {
    let mut packet = face.alloc().expect("a buffer");
    packet.buffer_mut()[..frame.len()].copy_from_slice(frame);
    packet.set_len(frame.len());
    let mut batch = Batch::new();
    batch.push(packet);
    face.tx_burst(&mut batch);
    assert!(batch.is_empty(), "the ring has room");
}
