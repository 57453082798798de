//! The kernel's answers, in network namespaces of the tests' own: a namespace
//! belongs to a thread here and goes with it. They need root.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBuf;
use tpa_tcp::wire::IpAddress;

use super::*;

const HERE: IpAddress = v4(10, 77, 0, 1);
const PEER: IpAddress = v4(10, 77, 0, 2);
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddress {
    IpAddress::from_v4(Ipv4Addr::new(a, b, c, d))
}

fn v6(text: &str) -> IpAddress {
    IpAddress::from_v6(text.parse().unwrap())
}

/// Runs `body` in a new network namespace.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a command in this thread's namespace.
fn sh(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Another namespace, which answers ARP at the other end of `veth0`.
struct Peer {
    _until: mpsc::Sender<()>,
    thread: i32,
}

impl Peer {
    /// Makes `veth0` here, with [`HERE`], and its other end there, with [`PEER`].
    fn connect() -> Self {
        let (until, end) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
            started.send(nix::unistd::gettid().as_raw()).unwrap();
            let _ = end.recv();
        });
        let peer = Self { _until: until, thread: start.recv().unwrap() };
        sh(&format!("ip link add veth0 type veth peer name veth1 netns {}", peer.thread));
        sh(&format!("ip addr add {HERE}/24 dev veth0"));
        sh("ip link set lo up; ip link set veth0 mtu 1400 up");
        peer.sh("ip link set veth1 address 02:00:00:00:00:02");
        peer.sh(&format!("ip addr add {PEER}/24 dev veth1"));
        peer.sh("ip link set veth1 up");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !interface_by_name("veth0").unwrap().up {
            assert!(Instant::now() < deadline, "veth0 never came up");
            thread::sleep(Duration::from_millis(5));
        }
        peer
    }

    fn sh(&self, line: &str) {
        sh(&format!("nsenter -t {} -n {line}", self.thread));
    }
}

/// Waits for a change that `is_it`.
fn expect_change(watcher: &mut Watcher, is_it: impl Fn(Change) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut seen = false;
        watcher.drain(|change| seen |= is_it(change)).unwrap();
        if seen {
            return;
        }
        assert!(Instant::now() < deadline, "the change never came");
        poll(&mut [PollFd::new(watcher.as_fd(), PollFlags::POLLIN)], PollTimeout::from(200u16)).unwrap();
    }
}

#[test]
fn an_interface_is_told_with_its_addresses() {
    in_namespace(|| {
        let _peer = Peer::connect();
        sh("ip addr add 10.78.0.1/16 dev veth0; ip link set veth0 address 02:00:00:00:00:01");
        let by_name = interface_by_name("veth0").unwrap();
        assert_eq!(by_name.mac, [2, 0, 0, 0, 0, 1]);
        assert_eq!(by_name.mtu, 1400);
        assert_eq!(by_name.addresses, [(HERE, 24), (v4(10, 78, 0, 1), 16)]);
        assert!(by_name.up && !by_name.is_loopback);
        assert_eq!(interface_by_index(by_name.index).unwrap(), by_name);
        assert_eq!(interface_with_address(v4(10, 78, 0, 1)).unwrap(), by_name);

        let lo = interface_by_name("lo").unwrap();
        assert!(lo.is_loopback && lo.up);
        assert_eq!(lo.addresses, [(v4(127, 0, 0, 1), 8), (v6("::1"), 128)]);
        assert_eq!(interfaces().unwrap().len(), 2);

        sh("ip link set veth0 down");
        assert!(!interface_by_name("veth0").unwrap().up);
    });
}

#[test]
fn the_address_of_a_point_to_point_link_is_our_end() {
    in_namespace(|| {
        let _peer = Peer::connect();
        sh("ip addr add 10.9.0.1 peer 10.9.0.2 dev veth0");
        let interface = interface_with_address(v4(10, 9, 0, 1)).unwrap();
        assert_eq!(interface.name, "veth0");
        assert!(interface_with_address(v4(10, 9, 0, 2)).is_err());
    });
}

#[test]
fn an_interface_that_is_not_there_is_named_in_the_error() {
    in_namespace(|| {
        let error = interface_by_name("eth7").unwrap_err();
        assert_eq!(error.to_string(), "no network interface named eth7");
        assert_eq!(error.errno(), libc::ENODEV);
    });
}

#[test]
fn the_driver_of_a_veth_is_veth_and_a_foreign_sysfs_is_not_believed() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let veth = interface_by_name("veth0").unwrap();
        assert_eq!(driver_of(&veth).as_deref(), Some("veth"));
        // The sysfs that this thread sees is that of the first namespace.
        let stranger = Interface { name: "lo".into(), index: 4242, kind: None, ..veth };
        assert_eq!(driver_of(&stranger), None);
    });
}

#[test]
fn a_route_names_interface_source_and_gateway() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let index = interface_by_name("veth0").unwrap().index;
        let on_link = route_to(PEER).unwrap();
        assert_eq!(on_link, Route { ifindex: index, source: HERE, gateway: None, is_local: false });

        let far = v4(192, 0, 2, 1);
        assert_eq!(route_to(far).unwrap_err().errno(), libc::ENETUNREACH);
        sh(&format!("ip route add default via {PEER}"));
        assert_eq!(route_to(far).unwrap().gateway, Some(PEER));

        assert!(route_to(HERE).unwrap().is_local);
        assert!(route_to(v4(127, 0, 0, 1)).unwrap().is_local);
    });
}

#[test]
fn ipv6_has_addresses_routes_and_neighbours_too() {
    in_namespace(|| {
        let peer = Peer::connect();
        let mut watcher = Watcher::open().unwrap();
        sh("ip addr add fd77::1/64 dev veth0 nodad");
        expect_change(&mut watcher, |change| change == Change::Address);
        peer.sh("ip addr add fd77::2/64 dev veth1 nodad");
        let interface = interface_by_name("veth0").unwrap();
        assert_eq!(interface.addresses, [(HERE, 24), (v6("fd77::1"), 64)], "without the link-local one");
        let index = interface.index;

        let there = v6("fd77::2");
        let on_link = Route { ifindex: index, source: v6("fd77::1"), gateway: None, is_local: false };
        assert_eq!(route_to(there).unwrap(), on_link);
        assert!(route_to(v6("fd77::1")).unwrap().is_local);
        let far = v6("2001:db8::1");
        assert_eq!(route_to(far).unwrap_err().errno(), libc::ENETUNREACH);
        sh("ip route add default via fd77::2");
        assert_eq!(route_to(far).unwrap().gateway, Some(there));

        assert_eq!(resolve(index, there).unwrap(), None);
        let found = Change::Neighbour { ifindex: index, addr: there, mac: Some(PEER_MAC) };
        expect_change(&mut watcher, |change| change == found);
        assert_eq!(neighbour(index, there), Some(PEER_MAC));
    });
}

#[test]
fn what_tcp_cannot_connect_to_has_no_route() {
    in_namespace(|| {
        let _peer = Peer::connect();
        sh("ip route add unreachable 198.51.100.0/24; ip route add prohibit 203.0.113.0/24");
        let errno = |a, b, c, d| route_to(v4(a, b, c, d)).unwrap_err().errno();
        assert_eq!(errno(10, 77, 0, 255), libc::ENETUNREACH);
        assert_eq!(errno(198, 51, 100, 1), libc::EHOSTUNREACH);
        assert_eq!(errno(203, 0, 113, 1), libc::EACCES);
        sh("sysctl -q -w net.ipv6.conf.veth0.disable_ipv6=0");
        sh("ip route add 192.0.2.0/24 via inet6 fe80::2 dev veth0");
        assert_eq!(errno(192, 0, 2, 1), libc::ENETUNREACH);
    });
}

#[test]
fn the_kernel_resolves_a_neighbour_and_tells_the_watcher() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let index = interface_by_name("veth0").unwrap().index;
        let mut watcher = Watcher::open().unwrap();
        assert_eq!(neighbour(index, PEER), None);
        assert_eq!(resolve(index, PEER).unwrap(), None);
        let found = Change::Neighbour { ifindex: index, addr: PEER, mac: Some(PEER_MAC) };
        expect_change(&mut watcher, |change| change == found);
        assert_eq!(neighbour(index, PEER), Some(PEER_MAC));
        // No change follows for one that is known: the answer is the answer.
        assert_eq!(resolve(index, PEER).unwrap(), Some(PEER_MAC));

        sh(&format!("ip neigh del {PEER} dev veth0"));
        expect_change(&mut watcher, |change| {
            change == Change::Neighbour { ifindex: index, addr: PEER, mac: None }
        });
        assert_eq!(neighbour(index, PEER), None);
    });
}

#[test]
fn a_neighbour_that_does_not_answer_stays_unknown_and_can_be_asked_again() {
    in_namespace(|| {
        let peer = Peer::connect();
        let index = interface_by_name("veth0").unwrap().index;
        sh("echo 50 > /proc/sys/net/ipv4/neigh/veth0/retrans_time_ms");
        let late = v4(10, 77, 0, 3);
        let mut watcher = Watcher::open().unwrap();
        resolve(index, late).unwrap();
        expect_change(&mut watcher, |change| {
            change == Change::Neighbour { ifindex: index, addr: late, mac: None }
        });
        assert_eq!(neighbour(index, late), None);

        peer.sh("ip addr add 10.77.0.3/24 dev veth1");
        resolve(index, late).unwrap();
        let found = Change::Neighbour { ifindex: index, addr: late, mac: Some(PEER_MAC) };
        expect_change(&mut watcher, |change| change == found);
    });
}

#[test]
fn a_process_without_privilege_has_its_neighbours_resolved_too() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let index = interface_by_name("veth0").unwrap().index;
        let mut watcher = Watcher::open().unwrap();
        // Credentials belong to the thread here: the raw call changes this one alone.
        // SAFETY: setresuid takes three numbers and touches no memory.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
        resolve(index, PEER).unwrap();
        let found = Change::Neighbour { ifindex: index, addr: PEER, mac: Some(PEER_MAC) };
        expect_change(&mut watcher, |change| change == found);
    });
}

#[test]
fn a_permanent_neighbour_stays_permanent() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let index = interface_by_name("veth0").unwrap().index;
        sh(&format!("ip neigh add {PEER} lladdr 02:00:00:00:00:99 dev veth0 nud permanent"));
        resolve(index, PEER).unwrap();
        sh(&format!("ip neigh show {PEER} | grep -q PERMANENT"));
        assert_eq!(neighbour(index, PEER), Some([2, 0, 0, 0, 0, 0x99]));
    });
}

#[test]
fn the_watcher_hears_of_addresses_links_and_routes() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let mut watcher = Watcher::open().unwrap();
        sh("ip addr add 10.79.0.1/24 dev veth0");
        expect_change(&mut watcher, |change| change == Change::Address);
        sh("ip route add 192.0.2.0/24 dev veth0");
        expect_change(&mut watcher, |change| change == Change::Route);
        watcher.drain(drop).unwrap();
        sh("ip rule add from 192.0.2.7 table 7");
        expect_change(&mut watcher, |change| change == Change::Route);
        sh("ip link set veth0 mtu 1300");
        expect_change(&mut watcher, |change| change == Change::Link);
    });
}

#[test]
fn lost_changes_are_told_once_and_the_watcher_lives_on() {
    in_namespace(|| {
        let _peer = Peer::connect();
        let mut watcher = Watcher::open().unwrap();
        setsockopt(&watcher, RcvBuf, &1).unwrap();
        sh("for i in $(seq 1 40); do ip addr add 10.80.$i.1/24 dev veth0; done");
        let mut overruns = 0;
        watcher.drain(|change| overruns += usize::from(change == Change::Overrun)).unwrap();
        assert_eq!(overruns, 1);
        sh("ip addr add 10.81.0.1/24 dev veth0");
        expect_change(&mut watcher, |change| change == Change::Address);
    });
}
