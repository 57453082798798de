//! Connections of a process to itself, inside the stack.

use std::time::Duration;

use crate::harness::{wait_until, Device, KernelTcp, Namespace, Program, StackTcp, Stage, Work};

const LIMIT: Duration = Duration::from_secs(60);

const CONFIG: &str = "strict = true\nlisten = ['7000-7999']\nconnect = ['7000-7999']\nloopback = true\n";

/// What a program does before it says that it has done it and waits for a byte.
fn script(body: &str) -> String {
    format!("import asyncio, errno, selectors, socket, sys, threading\n{body}\nprint('done', flush=True)\nsys.stdin.read()\n")
}

/// Runs a script with loopback in the stack and no device, and returns its counters
/// and the segments that the kernel handled.
fn run(body: &str) -> (StackTcp, u64) {
    let (namespace, work) = (Namespace::new("a"), Work::new());
    namespace.add_ipv6("lo", "fd77::5");
    let config = work.write("tpa.conf", format!("{CONFIG}device = 'none'\n"));
    // `sleep` holds the other end of the pipe.
    let text = work.write("script.py", script(body));
    let program = Program::new("sh").args(&["-c", "sleep 60 | exec python3 \"$0\""]).arg(text);
    let mut program = program.accelerated(&config).spawn(&namespace, &work);
    wait_until(LIMIT, "the script to be done", || {
        assert!(program.status().is_none(), "it ended\n{}", program.printed());
        program.stdout().contains("done")
    });
    let python = |pid: &u32| StackTcp::of(*pid).is_some();
    let pid = namespace.processes().into_iter().find(python).expect("a process with a stack");
    (StackTcp::of(pid).expect("its counters"), KernelTcp::of(&namespace).segments)
}

#[test]
fn one_thread_connects_accepts_and_talks_at_both_ends() {
    let (stack, kernel) = run("
l = socket.create_server(('127.0.0.1', 7001))
for blocking in True, False:
    a = socket.socket()
    a.setblocking(blocking)
    assert a.connect_ex(('127.0.0.1', 7001)) == (0 if blocking else errno.EINPROGRESS)
    b, name = l.accept()
    assert name == a.getsockname() and a.getpeername() == ('127.0.0.1', 7001)
    a.setblocking(False); b.setblocking(False)
    data = bytes(range(256)) * 8192
    sent, got = {a: 0, b: 0}, {a: b'', b: b''}
    while min(map(len, got.values())) < len(data):
        for s in a, b:
            try: sent[s] += s.send(data[sent[s]:])
            except BlockingIOError: pass
            try: got[s] += s.recv(1 << 20)
            except BlockingIOError: pass
    assert got[a] == data and got[b] == data
    a.close()
    b.setblocking(True)
    assert b.recv(1) == b''
    b.close()
");
    assert_eq!(stack.get("bytes_sent"), 4 * 256 * 8192);
    assert_eq!(stack.get("bytes_received"), stack.get("bytes_sent"));
    assert_eq!((stack.get("connections_opened"), stack.get("connections_accepted")), (2, 2));
    assert!(stack.get("loopback_frames") > 100);
    assert_eq!(stack.get("tx_frames"), 0);
    assert_eq!(kernel, 0, "the kernel saw segments");
}

#[test]
fn threads_and_event_loops_meet_over_loopback() {
    let (stack, kernel) = run("
def serve(l):
    for _ in range(20):
        with l.accept()[0] as c:
            while data := c.recv(65536): c.sendall(data)
l = socket.create_server(('', 7002))
t = threading.Thread(target=serve, args=(l,)); t.start()
for n in range(20):
    with socket.create_connection(('127.0.0.%d' % (n + 1), 7002)) as c:
        c.sendall(b'x' * 10000)
        c.shutdown(socket.SHUT_WR)
        assert len(b''.join(iter(lambda: c.recv(65536), b''))) == 10000
t.join()

async def echo(reader, writer):
    writer.write(await reader.read())
    writer.close()
async def ask(n):
    reader, writer = await asyncio.open_connection('127.0.0.1', 7003)
    writer.write(b'%d' % n * 50000); writer.write_eof()
    assert await reader.read() == b'%d' % n * 50000
    writer.close()
async def main():
    async with await asyncio.start_server(echo, '127.0.0.1', 7003):
        await asyncio.gather(*map(ask, range(100)))
asyncio.run(main())
");
    assert_eq!(stack.get("connections_opened"), 120);
    assert!(stack.get("bytes_received") > 9_000_000, "{stack:?}");
    assert_eq!(kernel, 0, "the kernel saw segments");
}

#[test]
fn ipv6_and_both_families_of_one_listener_loop() {
    let (stack, kernel) = run("
for port, bound, to in (7011, '::1', '::1'), (7012, '::', '127.0.0.1'), (7013, '::', '::ffff:127.0.0.1'), (7014, '::', 'fd77::5'), (7015, '::', '::'):
    l = socket.create_server((bound, port), family=socket.AF_INET6, dualstack_ipv6=bound == '::')
    with socket.create_connection((to, port)) as a, l.accept()[0] as b:
        assert b.getpeername()[1] == a.getsockname()[1]
        a.sendall(b'x' * 100000); a.shutdown(socket.SHUT_WR)
        assert len(b''.join(iter(lambda: b.recv(65536), b''))) == 100000
");
    assert_eq!((stack.get("connections_opened"), stack.get("bytes_received")), (5, 500_000));
    assert_eq!(kernel, 0, "the kernel saw segments");
}

#[test]
fn where_no_listener_of_ours_is_the_kernel_serves_even_under_strict() {
    let (stack, kernel) = run("
l = socket.create_server(('127.0.0.1', 7004))
for port in 7005, 7006:
    assert socket.socket().connect_ex(('127.0.0.1', port)) == errno.ECONNREFUSED
# Port 8000 is no accelerated one: the kernel's at both ends.
k = socket.create_server(('127.0.0.1', 8000))
c = socket.create_connection(('127.0.0.1', 8000))
k.accept()[0].send(b'kernel')
assert c.recv(10) == b'kernel'
# A socket that was refused may find a listener of ours the next time.
s = socket.socket()
assert s.connect_ex(('127.0.0.1', 7007)) == errno.ECONNREFUSED
m = socket.create_server(('127.0.0.1', 7007))
s.connect(('0.0.0.0', 7007))
m.accept()[0].send(b'stack')
assert s.recv(10) == b'stack'
");
    assert_eq!((stack.get("connections_opened"), stack.get("bytes_received")), (1, 5));
    assert!(kernel > 0);
}

#[test]
fn loopback_in_the_stack_goes_along_with_a_device_and_the_kernels_loopback() {
    let stage = Stage::with(Device::AfXdp, "loopback = true\nconnect = [6379]");
    let redis = stage.redis(&[]);
    // Over the device, and from another process over the kernel's loopback.
    redis.through_stack(|| assert_eq!(stage.cli(&["set", "here", "there"]).trim(), "OK"));
    assert!(redis.ask("GET here").contains("there"));
    // From itself, at its own address: MIGRATE connects to where it is told.
    let before = redis.stack();
    let reply = redis.ask(&format!("MIGRATE {} 6379 here 1 300 COPY", stage.host()));
    let stack = redis.stack();
    assert!(stack.since(&before, "loopback_frames") > 0, "{reply}");
    assert_eq!(stack.since(&before, "connections_opened"), 1);
}
