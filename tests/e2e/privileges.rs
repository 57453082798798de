//! Programs that drop root before they serve.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::{wait_until, KernelTcp, Namespace, Program, StackTcp, Work};

const LIMIT: Duration = Duration::from_secs(60);

/// 500 connections in four threads: each stores a value, the last of them of
/// 1 MB less the item's head, and reads it again.
const CLIENT: &str = "
import socket, threading
def run(thread):
    links = [socket.create_connection(('10.77.0.1', 11211)) for _ in range(125)]
    for number, link in enumerate(links):
        size = 1000000 if number == 124 else 10 + number * 400
        value = bytes((thread * 31 + number + i) % 251 for i in range(1000)) * (size // 1000 + 1)
        value = value[:size]
        key = b'k%d-%d' % (thread, number)
        file = link.makefile('rb')
        link.sendall(b'set %s 0 0 %d\\r\\n%s\\r\\n' % (key, size, value))
        assert file.readline() == b'STORED\\r\\n'
        link.sendall(b'get %s\\r\\n' % key)
        assert file.readline() == b'VALUE %s 0 %d\\r\\n' % (key, size)
        assert file.read(size) == value
        assert file.read(7) == b'\\r\\nEND\\r\\n'
    done.append(thread)
done = []
threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(done) == 4
";

fn user_of(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("Uid:")).expect("proc(5)");
    line.split_whitespace().nth(2).expect("the effective user").to_owned()
}

/// Serves the client from a memcached that gives root up, over the device that
/// the configurations name, and shows that all of it went through the stack.
fn serve_as_another_user(server_config: &str, client_config: Option<&str>, work: &Work) {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    // Another user has to read it.
    let config = work.write("tpa.conf", format!("strict = true\nlisten = [11211]\n{server_config}"));
    let memcached = Program::new("memcached")
        .args(&["-u", "memcache", "-t", "2", "-l", "10.77.0.1", "-I", "2m"])
        .accelerated(&config)
        .spawn(&server, work);
    let pid = memcached.pid();
    let up = || user_of(pid) != "0" && StackTcp::of(pid).is_some();
    wait_until(Duration::from_secs(20), "the stack of another user", up);
    let kernel = KernelTcp::of(&server);
    let mut program = Program::new("python3").arg(work.write("client.py", CLIENT));
    if let Some(lines) = client_config {
        let config = work.write("client.conf", format!("strict = true\nconnect = [11211]\n{lines}"));
        program = program.accelerated(&config);
    }
    program.run(&client, work, LIMIT).good();
    assert_eq!(KernelTcp::of(&server), kernel, "the kernel handled no segment");
    let stack = StackTcp::of(pid).expect("the stack");
    let payload = 4 * (1_000_000 + (0..124).map(|number| 10 + number * 400).sum::<u64>());
    for direction in ["bytes_received", "bytes_sent"] {
        let bytes = stack.get(direction);
        assert!((payload..payload + 100_000).contains(&bytes), "{direction}: {bytes} for {payload}");
    }

    // tpad goes with the last of those for whom it keeps the privileges.
    let folder = Path::new("/run/tpa").join(pid.to_string());
    assert!(folder.exists());
    drop(memcached);
    wait_until(LIMIT, "tpad to end", || server.processes().is_empty());
    assert!(!folder.exists(), "tpad removes the folder that it has made");
}

#[test]
fn memcached_as_its_own_user_is_accelerated() {
    serve_as_another_user("device = 'af_xdp:eth0'\n", None, &Work::new());
}

#[test]
fn memcached_as_its_own_user_is_accelerated_over_memif() {
    let work = Work::new();
    let config = |address: &str, role: &str| {
        let socket = work.path().join("memif.sock");
        let memif = format!("[memif]\nsocket = '{}'\nrole = '{role}'\n", socket.display());
        format!("device = 'memif'\naddress = '{address}/24'\n{memif}")
    };
    serve_as_another_user(&config("10.77.0.1", "server"), Some(&config("10.77.0.2", "client")), &work);
}
