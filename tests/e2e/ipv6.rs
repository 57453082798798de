//! IPv6 beside IPv4: redis over AF_XDP and memif, a socket for both families, and
//! a router with a smaller MTU.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{wait_until, Device, KernelTcp, Namespace, Program, StackTcp, Stage, Work, PORT};

const LIMIT: Duration = Duration::from_secs(30);
const SERVER: &str = "fd77::1";
const CLIENT: &str = "fd77::2";
const LOAD: [&str; 7] = ["-t", "set,get", "-c", "20", "-n", "20000", "--csv"];

#[test]
fn redis_serves_ipv6_and_ipv4_over_one_device() {
    let stage = Stage::new(Device::AfXdp);
    stage.server.add_ipv6("eth0", SERVER);
    stage.client.add_ipv6("eth0", CLIENT);
    let redis = stage.redis(&["--bind", "0.0.0.0", "-::*"]);
    let load = |host| Program::new("redis-benchmark").args(&["-h", host]).args(&LOAD);
    for host in [SERVER, stage.host()] {
        let transfer = redis.through_stack(|| {
            load(host).run(&stage.client, &stage.work, LIMIT).good();
        });
        assert!(transfer.received > 40_000 * 20, "{host}: {transfer:?}");
    }
    let ping = Program::new("redis-cli").args(&["-h", "::1", "ping"]);
    stage.server.run(&["sysctl", "-q", "-w", "net.ipv6.conf.lo.disable_ipv6=0"]);
    assert_eq!(ping.run(&stage.server, &stage.work, LIMIT).good().trim(), "PONG", "loopback is the kernel's");
    let stack = redis.stack();
    assert_eq!((stack.get("resets_sent"), stack.get("tx_retransmits")), (0, 0));
}

#[test]
fn connections_go_out_over_ipv6_and_the_kernel_finds_the_neighbour() {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    server.add_ipv6("eth0", SERVER);
    client.add_ipv6("eth0", CLIENT);
    let work = Work::new();
    let config = work.write(
        "tpa.conf",
        format!("strict = true\nconnect = ['[fd77::/64]:{PORT}']\ndevice = 'af_xdp:eth0'\n"),
    );
    let redis = Program::new("redis-server")
        .args(&["--bind", "::", "--port", &PORT.to_string(), "--protected-mode", "no", "--save", ""])
        .spawn(&server, &work);
    wait_until(LIMIT, "redis to come up", || redis.stdout().contains("Ready to accept"));
    let before = KernelTcp::of(&client);
    let load = Program::new("redis-benchmark").args(&["-h", SERVER]).args(&LOAD).accelerated(&config);
    load.run(&client, &work, LIMIT).good();
    assert_eq!(KernelTcp::of(&client), before, "the client's kernel handled no segment");
}

/// A configuration of one end of a memif that has IPv6 alone.
fn memif_config(work: &Work, role: &str, lists: &str, address: &str) -> PathBuf {
    let socket = work.path().join("memif.sock");
    let text = format!(
        "strict = true\n{lists} = [{PORT}]\ndevice = 'memif'\naddress6 = '{address}/64'\n\
         [memif]\nsocket = '{}'\nrole = '{role}'\n",
        socket.display()
    );
    work.write(&format!("{role}.conf"), text)
}

#[test]
fn both_ends_of_a_memif_find_each_other_over_ipv6() {
    let (server, client) = (Namespace::new("a"), Namespace::new("b"));
    let work = Work::new();
    let serves = memif_config(&work, "server", "listen", SERVER);
    let connects = memif_config(&work, "client", "connect", CLIENT);
    let redis = Program::new("redis-server")
        .args(&["--bind", "::", "--port", &PORT.to_string(), "--protected-mode", "no", "--save", ""])
        .accelerated(&serves)
        .spawn(&server, &work);
    wait_until(LIMIT, "the stack to come up", || StackTcp::of(redis.pid()).is_some());
    let load = Program::new("redis-benchmark").args(&["-h", SERVER]).args(&LOAD).accelerated(&connects);
    load.run(&client, &work, LIMIT).good();
    let stack = StackTcp::of(redis.pid()).expect("the server's stack");
    assert!(stack.get("bytes_received") > 40_000 * 20);
    assert!(stack.get("nd_advertisements_sent") > 0, "the client asked for the server's address");
    assert_eq!((KernelTcp::of(&server).segments, KernelTcp::of(&client).segments), (0, 0));
}

/// Accepts a client of each family on one socket, and says what it sees; ports
/// that the kernel chose are left out.
const DUAL_STACK_SERVER: &str = r#"
import socket as s, sys
def get(c, *names): return [c.getsockopt(level, name) for level, name in names]
seen = [(s.SOL_SOCKET, s.SO_DOMAIN), (s.IPPROTO_IPV6, s.IPV6_V6ONLY), (s.IPPROTO_IPV6, s.IPV6_TCLASS),
        (s.IPPROTO_IPV6, s.IPV6_UNICAST_HOPS), (s.IPPROTO_IP, s.IP_TOS)]
l = s.create_server(('::', 6379), family=s.AF_INET6, dualstack_ipv6=True)
l.setsockopt(s.IPPROTO_IPV6, s.IPV6_TCLASS, 0x28)
l.setsockopt(s.IPPROTO_IPV6, s.IPV6_UNICAST_HOPS, 9)
print(l.getsockname(), get(l, *seen), flush=True)
for _ in range(2):
    c, a = l.accept()
    print(c.family == s.AF_INET6, a[0], a[2:], c.getpeername() == a, c.getsockname(), get(c, *seen))
    c.setsockopt(s.IPPROTO_IPV6, s.IPV6_TCLASS, 0x50)
    try: c.setsockopt(s.IPPROTO_IPV6, s.IPV6_V6ONLY, 1)
    except OSError as e: print(e.errno)
    print(get(c, *seen), c.recv(100))
    c.sendall(b'bye')
    print(c.recv(1), flush=True)
"#;

/// What the server prints, and the bytes that its stack received.
fn dual_stack(work: &Work, config: Option<&Path>) -> (String, Option<u64>) {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    server.add_ipv6("eth0", SERVER);
    client.add_ipv6("eth0", CLIENT);
    let script = work.write("server.py", DUAL_STACK_SERVER);
    let program = Program::new("python3").arg(script);
    let program = match config {
        Some(config) => program.accelerated(config),
        None => program,
    };
    let running = program.spawn(&server, work);
    wait_until(LIMIT, "the listener", || running.stdout().contains('\n'));
    if config.is_some() {
        wait_until(LIMIT, "the stack to come up", || StackTcp::of(running.pid()).is_some());
    }
    let mut received = None;
    for host in ["10.77.0.1", SERVER] {
        received = StackTcp::of(running.pid()).map(|stack| stack.get("payload_rx")).or(received);
        let client_code = format!(
            "import socket as s; c = s.create_connection(('{host}', 6379)); c.sendall(b'hello'); print(c.recv(9))"
        );
        let python = Program::new("python3").args(&["-c", &client_code]);
        assert_eq!(python.run(&client, work, LIMIT).good().trim(), "b'bye'");
        received = StackTcp::of(running.pid()).map(|stack| stack.get("payload_rx")).or(received);
    }
    (running.finish(LIMIT).good(), received)
}

#[test]
fn a_socket_for_both_families_looks_like_the_kernels() {
    let work = Work::new();
    let config = work.write("tpa.conf", "strict = true\nlisten = [6379]\ndevice = 'af_xdp:eth0'\n");
    let (kernel, _) = dual_stack(&work, None);
    let (shim, received) = dual_stack(&work, Some(&config));
    assert!(kernel.contains("::ffff:10.77.0.2") && kernel.contains(CLIENT), "{kernel}");
    assert_eq!(shim, kernel);
    assert!(received >= Some(5), "{received:?} bytes through the stack");
}

/// A client behind a router whose link to it takes 1400 bytes, while the client
/// itself announces 1500.
#[test]
fn a_router_that_takes_less_is_heard_over_both_families() {
    let stage = Stage::new(Device::AfXdp);
    let (server, router, client) = (&stage.server, &stage.client, Namespace::new("c"));
    server.add_ipv6("eth0", SERVER);
    router.add_ipv6("eth0", CLIENT);
    router.run(&[
        "ip",
        "link",
        "add",
        "eth1",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        client.name(),
    ]);
    for (namespace, interface, v4, v6) in
        [(router, "eth1", "10.78.0.2/24", "fd78::2"), (&client, "eth0", "10.78.0.3/24", "fd78::3")]
    {
        namespace.add_ipv6(interface, v6);
        namespace.run(&["ip", "address", "add", v4, "dev", interface]);
        namespace.run(&["ip", "link", "set", interface, "up"]);
    }
    router.run(&["ip", "link", "set", "eth1", "mtu", "1400"]);
    router.run(&["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    server.run(&["ip", "route", "add", "default", "via", "10.77.0.2"]);
    server.run(&["ip", "route", "add", "default", "via", CLIENT]);
    client.run(&["ip", "route", "add", "default", "via", "10.78.0.2"]);
    client.run(&["ip", "route", "add", "default", "via", "fd78::2"]);
    let redis = stage.redis(&["--bind", "0.0.0.0", "-::*"]);
    redis.ask("SETRANGE big 99999 x");
    for (host, lowered) in [(stage.host(), 1), (SERVER, 2)] {
        let get = Program::new("redis-cli").args(&["-h", host, "get", "big"]);
        assert_eq!(get.run(&client, &stage.work, LIMIT).good().trim().len(), 100_000, "{host}");
        assert_eq!(redis.stack().get("path_mtu_lowered"), lowered, "{host}");
    }
}
