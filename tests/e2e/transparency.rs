//! A program of which nothing is accelerated behaves as without the shim.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{shim, Finished, Namespace, Program, Running, Work};

const LIMIT: Duration = Duration::from_secs(20);

/// Configurations under which nothing of these programs is accelerated.
fn configurations(work: &Work) -> Vec<Option<std::path::PathBuf>> {
    let other_port = work.write("other-port.conf", "listen = [6379]\nconnect = [6379]\nstrict = true\n");
    let other_program = work.write(
        "other-program.conf",
        "listen = ['1-65535']\nconnect = ['1-65535']\nprograms = ['redis-server']\nstrict = true\n",
    );
    vec![None, Some(other_port), Some(other_program)]
}

fn same(namespace: &Namespace, work: &Work, program: Program) {
    let plain = program.run(namespace, work, LIMIT);
    for config in configurations(work) {
        let preloaded = match &config {
            Some(config) => program.clone().accelerated(config),
            None => program.clone().preloaded(),
        };
        let preloaded = preloaded.run(namespace, work, LIMIT);
        let seen =
            |finished: &Finished| (finished.status.code(), finished.stdout.clone(), finished.stderr.clone());
        assert_eq!(seen(&preloaded), seen(&plain), "under {config:?}");
    }
}

fn http_server(namespace: &Namespace, work: &Work) -> Running {
    work.write("page", "a page\n".repeat(10_000));
    let server = Program::new("python3").args(&["-m", "http.server", "--bind", "127.0.0.1", "8000"]);
    let server = server.in_folder(work.path()).spawn(namespace, work);
    crate::harness::wait_until(LIMIT, "the web server", || {
        namespace.within(|| std::net::TcpStream::connect("127.0.0.1:8000").is_ok())
    });
    server
}

#[test]
fn programs_print_and_return_the_same() {
    let (namespace, work) = (Namespace::new("a"), Work::new());
    let _server = http_server(&namespace, &work);
    let page = "http://127.0.0.1:8000/page";
    for program in [
        Program::new("ls").args(&["-l", "/usr/bin"]),
        Program::new("ls").arg("/nonexistent"),
        Program::new("false"),
        Program::new("curl").args(&["-sS", page]),
        Program::new("curl").args(&["-s", "http://127.0.0.1:8001/"]),
        Program::new("python3").args(&["-c", "import socket, sys; print(socket.gethostname()); sys.exit(7)"]),
        Program::new("sh")
            .args(&["-c", &format!("curl -s {page} | sort | uniq -c; seq 100000 | tail -n 1 | wc -c")]),
        Program::new("bash").args(&[
            "-c",
            "exec 3<>/dev/tcp/127.0.0.1/8000; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3",
        ]),
    ] {
        same(&namespace, &work, program);
    }
}

#[test]
fn dpdk_never_starts() {
    let (namespace, work) = (Namespace::new("a"), Work::new());
    for config in configurations(&work).into_iter().flatten() {
        let script = "import socket; s = socket.socket(); s.bind(('', 0)); s.listen(); \
                      print(open('/proc/self/maps').read(), open('/proc/self/status').read())";
        let program = Program::new("python3").args(&["-c", script]).accelerated(&config);
        let seen = program.run(&namespace, &work, LIMIT).good();
        assert!(seen.contains("libtpa_shim.so"), "the shim is there");
        assert!(!seen.contains("libtpa_dpdk.so"), "DPDK is not");
        assert!(seen.contains("Threads:\t1\n"), "no thread was started");
    }
}

#[test]
fn starting_a_program_takes_less_than_two_milliseconds_more() {
    let time = |preload: Option<std::path::PathBuf>| {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).env_remove("LD_PRELOAD");
        if let Some(preload) = preload {
            command.env("LD_PRELOAD", preload);
        }
        let start = Instant::now();
        assert!(command.status().expect("/bin/true").success());
        start.elapsed()
    };
    let (mut plain, mut preloaded) = (Vec::new(), Vec::new());
    for _ in 0..300 {
        plain.push(time(None));
        preloaded.push(time(Some(shim())));
    }
    let (plain, preloaded) = (median(plain), median(preloaded));
    println!("start: {plain:?} without, {preloaded:?} with the shim");
    assert!(preloaded.saturating_sub(plain) < Duration::from_millis(2), "{plain:?}, {preloaded:?}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
