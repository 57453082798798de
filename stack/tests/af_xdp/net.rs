//! Two namespaces and a veth pair between them, gone when dropped.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, recv, sendto, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The stack's side, the kernel's address there.
pub const STACK: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// An address of the stack's side that no kernel has.
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 77);
/// The peer's.
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// Name of the interface on the stack's side.
pub const INTERFACE: &str = "tpa0";
/// Hardware address there.
pub const STACK_MAC: &str = "02:00:00:00:99:01";
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Net {
    stack: String,
    peer: String,
}

fn run(args: &[&str]) {
    let output = Command::new(args[0]).args(&args[1..]).output().expect("the command exists");
    assert!(output.status.success(), "{args:?}: {output:?}");
}

impl Net {
    pub fn new(name: &str, queues: u32) -> Self {
        let id = std::process::id();
        let net = Self { stack: format!("tpax-{id}-{name}-s"), peer: format!("tpax-{id}-{name}-p") };
        let (stack, peer, queues) = (&*net.stack, &*net.peer, &*queues.to_string());
        run(&["ip", "netns", "add", stack]);
        run(&["ip", "netns", "add", peer]);
        run(&[
            "ip",
            "-n",
            stack,
            "link",
            "add",
            INTERFACE,
            "address",
            STACK_MAC,
            "numrxqueues",
            queues,
            "numtxqueues",
            queues,
            "type",
            "veth",
            "peer",
            "name",
            "peer0",
            "netns",
            peer,
            "numrxqueues",
            queues,
            "numtxqueues",
            queues,
        ]);
        run(&["ip", "-n", stack, "address", "add", &format!("{STACK}/24"), "dev", INTERFACE]);
        run(&["ip", "-n", peer, "address", "add", &format!("{PEER}/24"), "dev", "peer0"]);
        for (namespace, device) in [(stack, INTERFACE), (stack, "lo"), (peer, "peer0"), (peer, "lo")] {
            run(&["ip", "-n", namespace, "link", "set", device, "up"]);
        }
        net
    }

    pub fn stack(&self) -> &str {
        &self.stack
    }

    pub fn set_mtu(&self, mtu: u32) {
        run(&["ip", "-n", &self.stack, "link", "set", INTERFACE, "mtu", &mtu.to_string()]);
        run(&["ip", "-n", &self.peer, "link", "set", "peer0", "mtu", &mtu.to_string()]);
    }

    /// Tells the peer who has an address, so that it need not ask.
    pub fn peer_neighbour(&self, address: Ipv4Addr) {
        run(&[
            "ip",
            "-n",
            &self.peer,
            "neighbour",
            "replace",
            &address.to_string(),
            "lladdr",
            STACK_MAC,
            "dev",
            "peer0",
        ]);
    }

    /// Whether an address answers an ICMP echo request of so many bytes of
    /// payload, unfragmented, to the peer.
    pub fn ping(&self, address: Ipv4Addr, payload: usize) -> bool {
        self.in_peer(|| echo_request(address, payload).unwrap_or(false))
    }

    /// Whether an XDP program is attached on the stack's side.
    pub fn has_xdp(&self) -> bool {
        self.describe().contains("xdp")
    }

    pub fn stack_link(&self, arguments: &[&str]) {
        run(&[&["ip", "-n", &self.stack, "link", "set", INTERFACE], arguments].concat());
    }

    /// What `ip link` says of the stack's side.
    pub fn describe(&self) -> String {
        let output = Command::new("ip").args(["-n", &self.stack, "link", "show", INTERFACE]).output();
        String::from_utf8_lossy(&output.expect("ip runs").stdout).into_owned()
    }

    pub fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs something in the peer's namespace, in a thread of its own.
    pub fn in_peer<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.peer)).expect("the peer's namespace");
        let enter = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
            action()
        };
        std::thread::scope(|scope| scope.spawn(enter).join().expect("no panic"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in [&self.stack, &self.peer] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

/// Sends one ICMP echo request (RFC 792) and waits for its reply.
fn echo_request(address: Ipv4Addr, payload: usize) -> nix::Result<bool> {
    let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp)?;
    let wait = TimeVal::milliseconds(2000);
    setsockopt(&socket, sockopt::ReceiveTimeout, &wait)?;
    let mut request = vec![0; 8 + payload];
    request[0] = 8;
    // Type 8 and zeros otherwise: the sum is known.
    request[2..4].copy_from_slice(&(!0x0800u16).to_be_bytes());
    let target = SockaddrIn::from(SocketAddrV4::new(address, 0));
    sendto(socket.as_raw_fd(), &request, &target, MsgFlags::empty())?;
    let mut answer = vec![0; 65536];
    loop {
        let len = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        // The IP header comes along.
        if len >= 28 && answer[20] == 0 && answer[12..16] == address.octets() {
            return Ok(len == 28 + payload);
        }
    }
}

/// Connects from a port that an earlier connection may have had.
pub fn connect_from(local: u16, address: Ipv4Addr, port: u16) -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(3))?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(PEER, local)))?;
    nix::sys::socket::connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, port)))?;
    Ok(socket)
}

pub fn connect(address: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::from((address, port)), Duration::from_secs(3))
}
