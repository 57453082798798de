//! AF_XDP with our steering program on a veth, against a kernel peer, in
//! network namespaces of its own. Needs root.

mod agent;
mod frame;
mod net;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use agent::Agent;
use net::{Net, PATIENCE, STACK, connect, connect_from};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The port that agents take, and two that they leave to the kernel.
const OURS: u16 = 7000;
const KERNEL: u16 = 7001;

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

#[test]
fn agent_in_a_namespace() {
    agent::run();
}

#[test]
fn a_steered_port_is_ours_and_everything_else_the_kernels() {
    if !is_root() {
        return;
    }
    let net = Net::new("steer", 1);
    let mut agent = Agent::start(&net, "");
    assert!(agent.expect("open").starts_with("open queues 1"), "one queue");
    agent.command(&format!("kernel {KERNEL}"));
    agent.command(&format!("listen {OURS}"));

    // ARP has to be answered by the kernel before anything arrives at all.
    let error = net.in_peer(|| connect(STACK, OURS)).expect_err("agents answer with RST");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(agent.expect("frame"), format!("frame {OURS} syn"));

    let mut banner = String::new();
    let mut stream = net.in_peer(|| connect(STACK, KERNEL)).expect("the kernel's port");
    stream.read_to_string(&mut banner).expect("banner");
    assert_eq!(banner, "kernel");

    assert!(net.ping(STACK, 56), "ICMP is the kernel's");
    agent.command("counts");
    let counts = agent.expect("counts");
    assert!(counts.contains("redirect_syn: 1"), "{counts}");
    assert!(counts.contains("pass_no_socket: 0"), "{counts}");
}

#[test]
fn a_flow_that_the_kernel_has_stays_with_it() {
    if !is_root() {
        return;
    }
    let net = Net::new("flow", 1);
    let mut agent = Agent::start(&net, "");
    agent.expect("open");
    agent.command(&format!("echo {OURS}"));
    let mut stream = net.in_peer(|| connect(STACK, OURS)).expect("the kernel's listener");
    echo(&mut stream);
    agent.command(&format!("listen {OURS}"));
    echo(&mut stream);
    let error = net.in_peer(|| connect(STACK, OURS)).expect_err("new ones are ours");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    echo(&mut stream);

    // Without the listener new ones are the kernel's again.
    agent.command(&format!("unlisten {OURS}"));
    let mut second = net.in_peer(|| connect(STACK, OURS)).expect("the kernel's listener");
    echo(&mut second);
    agent.command("counts");
    let counts = agent.expect("counts");
    assert!(!counts.contains("pass_kernel_flow: 0"), "{counts}");
}

#[test]
fn a_flow_that_takes_the_numbers_of_one_in_time_wait_is_ours() {
    if !is_root() {
        return;
    }
    let net = Net::new("reuse", 1);
    let mut agent = Agent::start(&net, "accept");
    agent.expect("open");
    // The kernel's side closes first, so TIME-WAIT is there.
    agent.command(&format!("kernel {OURS}"));
    let mut stream = TcpStream::from(net.in_peer(|| connect_from(5555, STACK, OURS)).expect("the kernel's"));
    stream.read_to_end(&mut Vec::new()).expect("banner");
    drop(stream);
    // Until the peer's own end is gone.
    std::thread::sleep(SETTLE);
    agent.command(&format!("listen {OURS}"));
    let _stream = net.in_peer(|| connect_from(5555, STACK, OURS)).expect("ours");
    assert_eq!(agent.expect("frame"), format!("frame {OURS} syn"));
    assert_eq!(agent.expect("frame"), format!("frame {OURS} other"), "its ACK");
}

#[test]
fn a_child_that_outlives_us_does_not_keep_the_queue() {
    if !is_root() {
        return;
    }
    let net = Net::new("fork", 1);
    let mut agent = Agent::start(&net, "");
    agent.expect("open");
    agent.command("fork");
    let child = agent.expect("child");
    let child = Pid::from_raw(child.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a number"));
    agent.kill();
    let mut second = Agent::start(&net, "");
    let outcome = second.try_expect("open");
    kill(child, Signal::SIGKILL).expect("the child was alive all the time");
    assert_eq!(outcome.as_deref(), Ok("open queues 1 of 1"));
}

#[test]
fn the_interface_keeps_its_flags() {
    if !is_root() {
        return;
    }
    let net = Net::new("flags", 1);
    net.stack_link(&["promisc", "on"]);
    let mut agent = Agent::start(&net, "");
    agent.expect("open");
    assert!(net.describe().contains("PROMISC"), "{}", net.describe());
    drop(agent);
    assert!(net.describe().contains("PROMISC"), "{}", net.describe());
}

#[test]
fn a_program_of_others_is_left_alone() {
    if !is_root() {
        return;
    }
    let net = Net::new("other", 1);
    let object = std::env::temp_dir().join(format!("tpax-{}.o", std::process::id()));
    std::fs::write(&object, include_bytes!(concat!(env!("OUT_DIR"), "/steer.bpf.o"))).expect("written");
    // By name and content it could be ours, but it says of no interface that it is its.
    net.stack_link(&["xdp", "object", object.to_str().expect("text"), "section", "xdp"]);
    let mut agent = Agent::start(&net, "");
    let error = agent.expect("error");
    std::fs::remove_file(object).expect("ours");
    assert!(error.contains("another XDP program is attached"), "{error}");
    assert!(net.has_xdp());
}

#[test]
fn a_block_of_local_ports_is_ours() {
    if !is_root() {
        return;
    }
    let net = Net::new("block", 1);
    let mut agent = Agent::start(&net, "");
    agent.expect("open");
    agent.command("block 49152");
    let inside = net.in_peer(|| connect(STACK, 49152 + 63)).expect_err("no listener");
    assert_eq!(inside.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(agent.expect("frame"), format!("frame {} syn", 49152 + 63));
    let outside = net.in_peer(|| connect(STACK, 49152 + 64)).expect_err("no listener");
    assert_eq!(outside.kind(), ErrorKind::ConnectionRefused);
    agent.command("counts");
    assert!(agent.expect("counts").contains("redirect_block: 1"));
}

#[test]
fn an_address_of_our_own_is_all_ours() {
    if !is_root() {
        return;
    }
    let net = Net::new("own", 1);
    let mut agent = Agent::start(&net, "own");
    agent.expect("open");
    let error = net.in_peer(|| connect(net::OWN, 1)).expect_err("nobody answers ARP");
    assert_ne!(error.kind(), ErrorKind::ConnectionRefused);
    agent.expect("arp");
    agent.command(&format!("kernel {KERNEL}"));
    net.in_peer(|| connect(STACK, KERNEL)).expect("the kernel's address is the kernel's");
}

#[test]
fn packet_sockets_serve_an_address_of_our_own() {
    if !is_root() {
        return;
    }
    let net = Net::new("packet", 1);
    let mut agent = Agent::start(&net, "packet");
    assert!(agent.expect("error").contains("needs an `address`"));
    let mut agent = Agent::start(&net, "packet own");
    agent.expect("open");
    let error = net.in_peer(|| connect(net::OWN, 1)).expect_err("nobody answers ARP");
    assert_ne!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(agent.expect("arp"), format!("arp {}", net::OWN));
    net.peer_neighbour(net::OWN);
    assert!(net.ping(net::OWN, 1472));
}

#[test]
fn the_largest_mtu_passes_in_both_directions() {
    if !is_root() {
        return;
    }
    let net = Net::new("mtu", 1);
    net.set_mtu(3506);
    let mut agent = Agent::start(&net, "own");
    agent.expect("open");
    net.peer_neighbour(net::OWN);
    // 8 bytes of ICMP header, 20 of IP: a frame as long as the MTU allows.
    assert!(net.ping(net::OWN, 3506 - 28));
    drop(agent);
    net.set_mtu(3507);
    let mut agent = Agent::start(&net, "own");
    let error = agent.expect("error");
    assert!(error.contains("MTU of at most 3506"), "{error}");
}

#[test]
fn processes_share_the_queues_of_an_interface_and_none_leaves_anything_behind() {
    if !is_root() {
        return;
    }
    let net = Net::new("join", 2);
    let mut first = Agent::start(&net, "queues=1");
    assert_eq!(first.expect("open"), "open queues 1 of 2");
    first.command(&format!("listen {OURS}"));
    let mut second = Agent::start(&net, "");
    assert_eq!(second.expect("open"), "open queues 1 of 2");
    second.command(&format!("listen {OURS}"));
    let mut third = Agent::start(&net, "");
    let error = third.expect("error");
    assert!(error.contains("all of its 2 receive queues"), "{error}");

    // The peer's flows are spread over both queues, and each is answered.
    for _ in 0..32 {
        let error = net.in_peer(|| connect(STACK, OURS)).expect_err("agents answer with RST");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    assert!(first.frames() > 0 && second.frames() > 0);

    first.kill();
    assert!(net.has_xdp(), "the second still needs the program");
    second.command("counts");
    second.expect("counts");
    // Nobody listens on the dead one's queue: its flows are the kernel's.
    second.forget_frames();
    let mut fourth = Agent::start(&net, "");
    assert_eq!(fourth.expect("open"), "open queues 1 of 2");
    fourth.command("counts");
    fourth.expect("counts");
    for _ in 0..32 {
        let _ = net.in_peer(|| connect(STACK, OURS));
    }
    assert_eq!(fourth.frames(), 0, "it inherited the dead one's listener");
    assert!(second.frames() > 0);

    second.kill();
    fourth.kill();
    net.wait_until("the program is gone", |net| !net.has_xdp());
}

#[test]
fn an_orderly_end_frees_the_queue_at_once() {
    if !is_root() {
        return;
    }
    let net = Net::new("again", 1);
    let mut agent = Agent::start(&net, "");
    agent.expect("open");
    agent.command("reopen");
    assert_eq!(agent.expect("open"), "open queues 1 of 1");
    agent.command(&format!("listen {OURS}"));
    let error = net.in_peer(|| connect(STACK, OURS)).expect_err("agents answer with RST");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    drop(agent);
    assert!(!net.has_xdp());
}

#[test]
fn the_descriptor_is_readable_exactly_while_frames_wait() {
    if !is_root() {
        return;
    }
    let net = Net::new("wake", 1);
    let mut agent = Agent::start(&net, "sleep");
    agent.expect("open");
    agent.command(&format!("listen {OURS}"));
    for _ in 0..20 {
        std::thread::sleep(SETTLE);
        let error = net.in_peer(|| connect(STACK, OURS)).expect_err("agents answer with RST");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    agent.command("wakes");
    let wakes = agent.expect("wakes");
    let (woken, spurious) = wakes.split_once(' ').map(|(_, rest)| rest.split_once(' ').unwrap()).unwrap();
    assert!(woken.parse::<u32>().unwrap() >= 10, "{wakes}");
    assert!(spurious.parse::<u32>().unwrap() <= 2, "{wakes}");
}

fn echo(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.write_all(b"hello").expect("write");
    let mut text = [0; 5];
    stream.read_exact(&mut text).expect("the kernel's echo");
    assert_eq!(&text, b"hello");
}

/// A pause after which an agent has done what it was to do.
const SETTLE: Duration = Duration::from_millis(50);
