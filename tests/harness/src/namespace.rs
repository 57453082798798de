//! Network namespaces of one test.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::wait_until;
use super::work::unique;

/// A network namespace with a name of its own that goes away with the value,
/// and whatever still runs in it before.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A namespace with loopback up.
    pub fn new(role: &str) -> Self {
        let prefix =
            std::env::var("TPA_TEST_PREFIX").unwrap_or_else(|_| format!("tpa-{}", std::process::id()));
        let namespace = Self { name: format!("{prefix}-{}-{role}", unique()) };
        ip(&["netns", "add", &namespace.name]);
        // No IPv6 unless it is asked for: its neighbour discovery would stir the counters.
        namespace.run(&["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"]);
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// Two namespaces whose `eth0` are the ends of a veth pair, with these
    /// addresses in one /24.
    pub fn pair(left_ip: &str, right_ip: &str) -> (Self, Self) {
        Self::pair_with_queues(left_ip, right_ip, 1)
    }

    /// The same, with so many queues at both ends.
    pub fn pair_with_queues(left_ip: &str, right_ip: &str, queues: u32) -> (Self, Self) {
        let (left, right) = (Self::new("a"), Self::new("b"));
        let (a, b, count) = (left.name.as_str(), right.name.as_str(), queues.to_string());
        let queues = ["numrxqueues", &count, "numtxqueues", &count];
        let mut words = vec!["-n", a, "link", "add", "eth0"];
        words.extend(queues);
        words.extend(["type", "veth", "peer", "name", "eth0", "netns", b]);
        words.extend(queues);
        ip(&words);
        // The sender of a flow chooses the receiver's queue, and must stay with it, as
        // the hash of a real interface does.
        right.run(&["sysctl", "-q", "-w", "net.core.txrehash=0"]);
        for (namespace, address) in [(&left, left_ip), (&right, right_ip)] {
            namespace.run(&["ip", "address", "add", &format!("{address}/24"), "dev", "eth0"]);
            namespace.run(&["ip", "link", "set", "eth0", "up"]);
        }
        (left, right)
    }

    /// Gives an interface an address in an IPv6 /64.
    pub fn add_ipv6(&self, interface: &str, address: &str) {
        self.run(&["sysctl", "-q", "-w", &format!("net.ipv6.conf.{interface}.disable_ipv6=0")]);
        self.run(&["ip", "address", "add", &format!("{address}/64"), "dev", interface, "nodad"]);
    }

    /// The name under which `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a short command in the namespace and gives back what it printed.
    pub fn run(&self, words: &[&str]) -> String {
        let mut all = vec!["netns", "exec", &self.name];
        all.extend(words);
        ip(&all)
    }

    /// Runs a function on a thread that is inside the namespace: its sockets
    /// are plain kernel sockets there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace's file");
                setns(file, CloneFlags::CLONE_NEWNET).expect("to enter a namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Processes that run in the namespace.
    pub fn processes(&self) -> Vec<u32> {
        ip(&["netns", "pids", &self.name]).lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Waits until nothing runs in the namespace.
    pub fn wait_empty(&self, limit: Duration) {
        wait_until(limit, "the namespace's processes to end", || self.processes().is_empty());
    }

    /// Whether an XDP program is attached to `eth0`.
    pub fn has_xdp_program(&self) -> bool {
        self.run(&["ip", "-details", "link", "show", "dev", "eth0"]).contains("xdp")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for pid in self.processes() {
            let pid = nix::unistd::Pid::from_raw(pid as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Runs `ip` and gives back what it printed.
fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output().expect("ip(8)");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {}: {errors}(end-to-end tests need root)", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
