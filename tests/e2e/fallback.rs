//! When a socket cannot be accelerated the program runs on the kernel, and one
//! line on standard error says why.

use std::time::Duration;

use crate::harness::{wait_until, KernelTcp, Namespace, Program, StackTcp, Work};

const LIMIT: Duration = Duration::from_secs(20);

/// Starts redis with a configuration, lets a client use it, and gives back the
/// lines of the shim on standard error.
fn served_by_the_kernel(config: &str, wrapper: &[&str]) -> Vec<String> {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let work = Work::new();
    let config = work.write("tpa.conf", config);
    let mut redis = Program::new("redis-server")
        .args(&["--protected-mode", "no", "--save", ""])
        .accelerated(&config)
        .under(wrapper)
        .spawn(&server, &work);
    let ping = Program::new("redis-cli").args(&["-h", "10.77.0.1", "ping"]);
    wait_until(LIMIT, "redis to answer", || {
        assert!(redis.status().is_none(), "redis ended\n{}", redis.printed());
        ping.run(&client, &work, LIMIT).stdout.trim() == "PONG"
    });
    let before = KernelTcp::of(&server);
    let benchmark = ["-h", "10.77.0.1", "-t", "set,get", "-n", "5000", "--csv"];
    Program::new("redis-benchmark").args(&benchmark).run(&client, &work, LIMIT).good();
    assert!(KernelTcp::of(&server).segments > before.segments + 10_000, "the kernel serves");
    assert!(StackTcp::of(redis.pid()).is_none_or(|stack| stack.get("bytes_received") == 0));
    redis.stderr().lines().map(str::to_owned).collect()
}

/// The one line that says that the kernel serves must say all of these. Beside
/// it there may be DPDK's, on the pages that it runs on.
fn assert_one_line(lines: &[String], words: &[&str]) {
    let (about_kernel, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("kernel"));
    assert_eq!(about_kernel.len(), 1, "one line about the kernel: {lines:#?}");
    assert!(others.iter().all(|line| line.contains("hugepages")), "nothing else: {others:#?}");
    for word in words {
        assert!(about_kernel[0].contains(word), "'{}' does not say '{word}'", about_kernel[0]);
    }
}

#[test]
fn without_the_device_the_kernel_serves() {
    let lines = served_by_the_kernel("listen = [6379]\ndevice = 'af_xdp:nosuch0'\n", &[]);
    assert_one_line(&lines, &["nosuch0"]);
}

#[test]
fn without_permission_the_kernel_serves() {
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let lines = served_by_the_kernel("listen = [6379]\ndevice = 'af_xdp:eth0'\n", &nobody);
    assert_one_line(&lines, &["AF_XDP", "root"]);
}

#[test]
fn with_a_wrong_configuration_the_kernel_serves() {
    let lines = served_by_the_kernel("listen = [6379]\nstrickt = true\n", &[]);
    assert_one_line(&lines, &["tpa.conf:2:1: unknown key 'strickt', did you mean 'strict'?"]);
}

#[test]
fn without_memory_the_kernel_serves() {
    let config = "listen = [6379]\ndevice = 'af_xdp:eth0'\n[dpdk]\nmemory_mb = 1048576\nhugepages = 'only'\n";
    let lines = served_by_the_kernel(config, &[]);
    assert_one_line(&lines, &["hugepages"]);
}

#[test]
fn when_memory_runs_out_at_the_start_the_kernel_serves() {
    // Enough for redis: not for the steering program, and not for DPDK.
    for limit in ["--as=105000000", "--as=120000000", "--as=210000000"] {
        let config = "listen = [6379]\ndevice = 'af_xdp:eth0'\n";
        let mut lines = served_by_the_kernel(config, &["prlimit", limit]);
        // Redis' own allocator complains as well, with the shim or without.
        lines.retain(|line| !line.starts_with("<jemalloc>"));
        assert_one_line(&lines, &[]);
    }
}

#[test]
fn under_strict_what_cannot_be_accelerated_is_an_error() {
    let (server, work) = (Namespace::new("a"), Work::new());
    let config = work.write("tpa.conf", "strict = true\nlisten = [6379]\ndevice = 'af_xdp:nosuch0'\n");
    let script = "import socket\n\
                  s = socket.socket(); s.bind(('0.0.0.0', 6379))\n\
                  try:\n    s.listen(); s.setblocking(False); s.accept()\n\
                  except BlockingIOError: print('the kernel listens')\n\
                  except OSError as error: print('refused', error.errno)\n";
    let program = Program::new("python3").args(&["-c", script]).accelerated(&config);
    let finished = program.run(&server, &work, LIMIT);
    assert!(finished.stdout.starts_with("refused"), "{}{}", finished.stdout, finished.stderr);
}
