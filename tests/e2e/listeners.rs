//! Accelerated and plain sockets of one process beside each other, and the
//! ways in which people start it.

use std::time::Duration;

use crate::harness::{wait_until, Device, KernelTcp, Namespace, Program, StackTcp, Stage, Work};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn one_listener_serves_the_device_and_loopback_at_once() {
    let stage = Stage::new(Device::AfXdp);
    let redis = stage.redis(&[]);
    let before = redis.stack();
    let arguments = ["-t", "set,get", "-c", "20", "-n", "100000", "--csv"];
    let over_loopback = Program::new("redis-benchmark").args(&["-h", "127.0.0.1"]).args(&arguments);
    let over_loopback = over_loopback.spawn(&stage.server, &stage.work);
    let accelerated = stage.start_benchmark(&arguments);
    let kernel = KernelTcp::of(&stage.server);
    accelerated.finish(LIMIT).good();
    over_loopback.finish(LIMIT).good();
    // Each SET and each GET of the one side, not of the other.
    let received = redis.stack().since(&before, "bytes_received");
    assert!((5_000_000..10_000_000).contains(&received), "{received} bytes through the stack");
    assert!(KernelTcp::of(&stage.server).segments > kernel.segments, "loopback is the kernel's");

    assert_eq!(stage.cli(&["set", "here", "there"]).trim(), "OK");
    assert!(redis.ask("GET here").contains("there"), "both see the same server");
}

#[test]
fn a_port_that_no_rule_names_is_the_kernels() {
    let stage = Stage::new(Device::AfXdp);
    let make =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout redis.key -out redis.crt";
    Program::new("sh").args(&["-c", make]).run(&stage.server, &stage.work, LIMIT).good();
    let redis = stage.redis(&[
        "--tls-port",
        "6380",
        "--tls-cert-file",
        "redis.crt",
        "--tls-key-file",
        "redis.key",
        "--tls-auth-clients",
        "no",
    ]);
    let stack = redis.stack();
    let reply = Program::new("redis-cli")
        .args(&["--tls", "--insecure", "-h", stage.host(), "-p", "6380", "ping"])
        .run(&stage.client, &stage.work, LIMIT)
        .good();
    assert_eq!(reply.trim(), "PONG");
    assert_eq!(redis.stack().since(&stack, "bytes_received"), 0, "nothing of it through the stack");
    redis.through_stack(|| assert_eq!(stage.cli(&["ping"]).trim(), "PONG"));
}

/// A tpa.conf in the folder where redis is started: nothing but LD_PRELOAD in
/// the environment.
fn in_a_folder_with_tpa_conf(arguments: &[&str]) {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let work = Work::new();
    work.write("tpa.conf", "listen = [6379]\nstrict = true\n");
    let pid_file = work.path().join("redis.pid");
    let started = Program::new("redis-server")
        .preloaded()
        .args(&["--protected-mode", "no", "--save", "", "--pidfile"])
        .arg(&pid_file)
        .args(arguments)
        .in_folder(work.path())
        .spawn(&server, &work);
    let pid = || std::fs::read_to_string(&pid_file).ok()?.trim().parse::<u32>().ok();
    wait_until(Duration::from_secs(20), "the stack to come up", || pid().and_then(StackTcp::of).is_some());
    let ping = Program::new("redis-cli").arg("ping").run(&server, &work, LIMIT).good();
    assert_eq!(ping.trim(), "PONG", "over loopback, once the listener stands");
    // Until that connection is over on both sides.
    std::thread::sleep(Duration::from_millis(50));
    let pid = pid().expect("redis' own pid file");
    let kernel = KernelTcp::of(&server);
    let benchmark = ["-h", "10.77.0.1", "-t", "set,get", "-n", "20000", "--csv"];
    Program::new("redis-benchmark").args(&benchmark).run(&client, &work, LIMIT).good();
    assert_eq!(KernelTcp::of(&server), kernel, "the kernel handled no segment");
    assert!(StackTcp::of(pid).expect("the stack").get("bytes_received") > 40_000 * 20);
    drop(started);
}

#[test]
fn preloading_and_a_tpa_conf_are_all_that_redis_needs() {
    in_a_folder_with_tpa_conf(&[]);
}

#[test]
fn a_server_that_makes_itself_a_daemon_is_accelerated() {
    in_a_folder_with_tpa_conf(&["--daemonize", "yes"]);
}

/// Opens the listener that it then hands to another program by exec(2), as systemd
/// does in socket activation; that one never calls listen(2).
const ACTIVATED: &str = "
import os, socket, sys
if len(sys.argv) == 1:
    listener = socket.create_server(('0.0.0.0', 6379))
    listener.set_inheritable(True)
    os.execvp('python3', ['python3', sys.argv[0], str(listener.fileno())])
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    link, _ = listener.accept()
    while data := link.recv(65536):
        link.sendall(data)
    link.close()
";

#[test]
fn a_listener_from_before_exec_is_accelerated() {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let work = Work::new();
    let config = work.write("tpa.conf", "listen = [6379]\nstrict = true\ndevice = 'af_xdp:eth0'\n");
    let script = work.write("server.py", ACTIVATED);
    let process = Program::new("python3").arg(script).accelerated(&config).spawn(&server, &work);
    let polls = |stack: StackTcp| stack.get("polls") > stack.get("control_polls");
    wait_until(LIMIT, "the stack", || StackTcp::of(process.pid()).is_some_and(polls));
    let kernel = KernelTcp::of(&server);
    let ask = "import socket\nlink = socket.create_connection(('10.77.0.1', 6379), timeout=20)\n\
               for _ in range(100):\n    link.sendall(b'x' * 100)\n    assert link.recv(100, socket.MSG_WAITALL) == b'x' * 100\n";
    Program::new("python3").args(&["-c", ask]).run(&client, &work, LIMIT).good();
    assert_eq!(StackTcp::of(process.pid()).expect("the stack").get("bytes_received"), 10_000);
    assert_eq!(KernelTcp::of(&server), kernel, "the kernel handled no segment");
}

/// Two threads with a listener each at one address, who tell which of them serves.
const SHARING: &str = "
import socket, threading
def serve(name):
    listener = socket.create_server(('0.0.0.0', 6379), reuse_port=True, backlog=100)
    ready.wait()
    while True:
        link, _ = listener.accept()
        link.sendall(name)
        link.close()
ready = threading.Barrier(2)
threads = [threading.Thread(target=serve, args=(name,)) for name in (b'one', b'two')]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
";

#[test]
fn listeners_of_one_process_share_an_address_with_reuseport() {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let work = Work::new();
    let config = work.write("tpa.conf", "listen = [6379]\nstrict = true\ndevice = 'af_xdp:eth0'\n");
    let script = work.write("server.py", SHARING);
    let process = Program::new("python3").arg(script).accelerated(&config).spawn(&server, &work);
    let polls = |stack: StackTcp| stack.get("polls") > stack.get("control_polls");
    wait_until(LIMIT, "the stack", || StackTcp::of(process.pid()).is_some_and(polls));
    std::thread::sleep(Duration::from_millis(200));
    let kernel = KernelTcp::of(&server);
    let ask = "import socket\n\
               def ask(): return socket.create_connection(('10.77.0.1', 6379), timeout=20).makefile('rb').read()\n\
               names = [ask() for _ in range(64)]\n\
               print(sorted(set(names)))\n";
    let answers = Program::new("python3").args(&["-c", ask]).run(&client, &work, LIMIT).good();
    assert_eq!(answers.trim(), "[b'one', b'two']");
    assert_eq!(StackTcp::of(process.pid()).expect("the stack").get("bytes_sent"), 64 * 3);
    assert_eq!(KernelTcp::of(&server), kernel, "the kernel handled no segment");
}

/// A thread waits for an event set, and only then the listener joins it.
const LATE_LISTENER: &str = "
import select, socket, threading, time
events = select.epoll()
heard = []
threads = [threading.Thread(target=lambda: heard.append(events.poll(20))) for _ in range(2)]
[thread.start() for thread in threads]
time.sleep(0.5)
listener = socket.socket()
listener.bind(('0.0.0.0', 6379))
listener.listen()
events.register(listener, select.EPOLLIN)
[thread.join() for thread in threads]
assert heard == [[(listener.fileno(), select.EPOLLIN)]] * 2, heard
link, _ = listener.accept()
link.sendall(link.recv(100).upper())
link.recv(100)
";

const LATE_CLIENT: &str = "
import socket
link = socket.create_connection(('10.77.0.1', 6379), 20)
link.sendall(b'hello')
assert link.recv(100) == b'HELLO'
";

#[test]
fn threads_that_wait_already_hear_of_a_listener_that_joins() {
    let stage = Stage::new(Device::AfXdp);
    let [server, client] = [("server.py", LATE_LISTENER), ("client.py", LATE_CLIENT)]
        .map(|(name, text)| Program::new("python3").arg(stage.work.write(name, text)));
    let server = stage.serve(server);
    let kernel = KernelTcp::of(&stage.server);
    stage.run(client, LIMIT).good();
    server.finish(LIMIT).good();
    assert_eq!(KernelTcp::of(&stage.server), kernel, "the kernel handled no segment");
}
