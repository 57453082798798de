//! Programs that know nothing of each other on one interface: each takes what is
//! free, and what comes in on the other's queue is the kernel's.

use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{wait_until, KernelTcp, Namespace, Program, Running, StackTcp, Work};

const LIMIT: Duration = Duration::from_secs(60);

/// 32 connections, spread over the queues, each asked in its protocol.
const CLIENT: &str = "
import socket, sys
def ask(port, command, reply):
    link = socket.create_connection(('10.77.0.1', port), timeout=20)
    file = link.makefile('rwb')
    for _ in range(10):
        file.write(command)
        file.flush()
        assert file.read(len(reply)) == reply
    return link
for _ in range(32):
    for port in map(int, sys.argv[1:]):
        if port == 6379:
            ask(port, b'PING\\r\\n', b'+PONG\\r\\n')
        else:
            ask(port, b'get no\\r\\n', b'END\\r\\n')
";

/// Bytes of the requests of all connections to either.
const REDIS_REQUESTS: u64 = 32 * 10 * 6;
const MEMCACHED_REQUESTS: u64 = 32 * 10 * 8;

struct Two {
    server: Namespace,
    client: Namespace,
    work: Work,
}

impl Two {
    fn new() -> Self {
        let (server, client) = Namespace::pair_with_queues("10.77.0.1", "10.77.0.2", 2);
        Self { server, client, work: Work::new() }
    }

    fn start(&self, program: Program, config: &str) -> Running {
        let name = format!("{}.conf", program.name());
        let text = format!("listen = [6379, 11211]\ndevice = 'af_xdp:eth0'\n{config}\n");
        program.accelerated(&self.work.write(&name, text)).spawn(&self.server, &self.work)
    }

    fn redis(&self, config: &str) -> Running {
        let arguments = ["--protected-mode", "no", "--save", "", "--daemonize", "no"];
        self.start(Program::new("redis-server").args(&arguments), config)
    }

    fn memcached(&self, config: &str) -> Running {
        self.start(Program::new("memcached").args(&["-u", "memcache"]), config)
    }

    /// Asks the servers at these ports.
    fn ask(&self, ports: &[&str]) {
        let script = self.work.write("client.py", CLIENT);
        Program::new("python3").arg(script).args(ports).run(&self.client, &self.work, LIMIT).good();
    }

    fn wait_listening(&self, port: u16) {
        let connects = || self.server.within(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        wait_until(LIMIT, "a server over loopback", connects);
    }
}

fn received(process: &Running) -> u64 {
    StackTcp::of(process.pid()).map_or(0, |stack| stack.get("bytes_received"))
}

fn wait_accelerated(process: &Running) {
    let runs = |stack: StackTcp| stack.get("polls") > stack.get("control_polls");
    wait_until(LIMIT, "a stack", || StackTcp::of(process.pid()).is_some_and(runs));
}

#[test]
fn two_programs_share_an_interface_and_the_kernel_serves_what_is_not_theirs() {
    let two = Two::new();
    let one = "strict = true\n[af_xdp]\nqueues = 1";
    let mut redis = two.redis(one);
    wait_accelerated(&redis);
    let memcached = two.memcached(one);
    wait_accelerated(&memcached);
    let kernel = KernelTcp::of(&two.server).segments;
    two.ask(&["6379", "11211"]);
    // Each has the flows of its own queue.
    assert!((1..REDIS_REQUESTS).contains(&received(&redis)), "{}", received(&redis));
    assert!((1..MEMCACHED_REQUESTS).contains(&received(&memcached)), "{}", received(&memcached));
    assert!(KernelTcp::of(&two.server).segments > kernel, "the kernel serves the other queue");

    // The one that has attached the steering program dies.
    redis.signal(Signal::SIGKILL);
    wait_until(LIMIT, "redis to die", || redis.status().is_some());
    assert!(two.server.has_xdp_program());
    let before = received(&memcached);
    two.ask(&["11211"]);
    assert!((1..MEMCACHED_REQUESTS).contains(&(received(&memcached) - before)));
}

/// A server that forks two children, which wait in accept(2) on the listener that
/// they have inherited, and serve one connection after the other. The port is on the
/// command line, and so is what the children wait in.
const PREFORKING: &str = "
import os, select, socket, sys
listener = socket.create_server(('0.0.0.0', int(sys.argv[1])), backlog=100)
def serve():
    while True:
        if sys.argv[2] == 'poll':
            poll = select.poll()
            poll.register(listener, select.POLLIN)
            poll.poll()
        elif sys.argv[2] == 'select':
            select.select([listener], [], [])
        link, _ = listener.accept()
        file = link.makefile('rwb')
        while command := file.readline():
            file.write(b'+PONG\\r\\n')
            file.flush()
        link.close()
for _ in range(2):
    if os.fork() == 0:
        serve()
os.wait()
";

#[test]
fn children_of_a_preforking_server_have_a_queue_each() {
    for wait in ["accept", "poll", "select"] {
        let two = Two::new();
        let script = two.work.write("server.py", PREFORKING);
        let server = Program::new("python3").arg(script).args(&["6379", wait]);
        let server = two.start(server, "strict = true");
        let children = || -> Vec<u32> {
            two.server.processes().into_iter().filter(|&pid| pid != server.pid()).collect()
        };
        let is_accelerated = |pid: &u32| {
            StackTcp::of(*pid).is_some_and(|stack| stack.get("polls") > stack.get("control_polls"))
        };
        wait_until(LIMIT, "two stacks", || children().iter().filter(|pid| is_accelerated(pid)).count() == 2);
        let sum = || -> u64 {
            let stacks = children().into_iter().filter_map(StackTcp::of);
            stacks.map(|stack| stack.get("bytes_received")).sum()
        };
        let (before, kernel) = (sum(), KernelTcp::of(&two.server));
        two.ask(&["6379"]);
        assert_eq!(sum() - before, REDIS_REQUESTS, "{wait}");
        assert_eq!(KernelTcp::of(&two.server), kernel, "{wait}: the kernel handled segments");
    }
}

#[test]
fn a_program_that_finds_no_queue_says_so_and_takes_one_later() {
    let two = Two::new();
    let mut redis = two.redis("");
    wait_accelerated(&redis);
    let memcached = two.memcached("");
    two.wait_listening(11211);
    two.ask(&["11211"]);
    assert_eq!(received(&memcached), 0, "redis has both queues");
    let lines = memcached.stderr();
    let about: Vec<&str> = lines.lines().filter(|line| line.contains("until one is free")).collect();
    assert_eq!(about.len(), 1, "{lines}");
    redis.signal(Signal::SIGTERM);
    wait_until(LIMIT, "redis to end", || redis.status().is_some());
    wait_accelerated(&memcached);
    let (before, kernel) = (received(&memcached), KernelTcp::of(&two.server));
    two.ask(&["11211"]);
    assert_eq!(received(&memcached) - before, MEMCACHED_REQUESTS);
    assert_eq!(KernelTcp::of(&two.server), kernel, "the kernel handled segments");
}
