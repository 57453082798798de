//! haproxy with two threads between a client and a server, both of its sides
//! accelerated, as the user that it becomes before it serves.

use super::{Sides, Who, LIMIT};
use crate::harness::{assert_same, noise, wait_until, Program, Running, StackTcp};

/// What is behind haproxy.
const BACKEND_PORT: u16 = 6380;
const BYTES: usize = 3_000_000;

fn configuration(mode: &str, backend: &str) -> String {
    format!(
        "global
    nbthread 2
    user haproxy
    group haproxy
defaults
    mode {mode}
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen proxy
    bind 0.0.0.0:6379
    server one {backend}:{BACKEND_PORT}
"
    )
}

/// The kernel's HTTP server behind haproxy, on the clients' side.
fn start_backend(sides: &Sides) -> Running {
    let script = super::http::SERVER.replace("6379", &BACKEND_PORT.to_string());
    let program = Program::new("python3").args(&["-c", &script]);
    let backend = program.spawn(&sides.stage.client, &sides.stage.work);
    let filter = format!("sport = :{BACKEND_PORT}");
    let listens = || !sides.stage.client.run(&["ss", "-Hltn", &filter]).is_empty();
    wait_until(LIMIT, "the server behind haproxy", listens);
    backend
}

fn proxies(mode: &str) {
    let sides = Sides::with(Who::Server, &format!("connect = [{BACKEND_PORT}]"));
    let work = &sides.stage.work;
    work.write("file", noise(BYTES, 5));
    let _backend = start_backend(&sides);
    let file = work.write("haproxy.cfg", configuration(mode, sides.stage.peer()));
    let haproxy = sides.serve(Program::new("haproxy").args(&["-db", "-f"]).arg(file));
    let status = std::fs::read_to_string(format!("/proc/{}/status", haproxy.pid())).expect("haproxy runs");
    assert!(!status.contains("Uid:\t0"), "haproxy is still root");

    let [host, port] = sides.at_server();
    let url = format!("http://{host}:{port}/file");
    let payload = sides.through_stack(&haproxy, || {
        sides.run_client(Program::new("curl").args(&["-fsS", "-o", "got", &url]));
        let post = ["-fsS", "-H", "Expect:", "--data-binary", "@file", "-o", "back", &url];
        sides.run_client(Program::new("curl").args(&post));
        let said = sides.run_client(Program::new("ab").args(&["-q", "-n", "30", "-c", "10", &url]));
        let failed = said.lines().find(|line| line.starts_with("Failed requests:"));
        assert_eq!(failed.and_then(|line| line.split_whitespace().last()), Some("0"), "{said}");
    });
    assert_same(&work.path().join("file"), &work.path().join("got"));
    assert_same(&work.path().join("file"), &work.path().join("back"));
    // Both sides' bytes, of 31 replies and one body that was posted and sent back.
    let bodies = 33 * BYTES as u64;
    for bytes in [payload.read, payload.written] {
        assert!((bodies..bodies + 100_000).contains(&bytes), "{mode}: {bodies}, {payload:?}");
    }
    let stack = StackTcp::of(haproxy.pid()).expect("haproxy's stack");
    // ab opens one more now and then, and asks nothing over it.
    let [accepted, opened] = ["connections_accepted", "connections_opened"].map(|name| stack.get(name));
    assert!(opened >= 32 && accepted >= opened, "{accepted} accepted, {opened} opened");
}

#[test]
fn haproxy_passes_http_on() {
    proxies("http");
}

#[test]
fn haproxy_splices_tcp() {
    proxies("tcp\n    option splice-auto");
}
