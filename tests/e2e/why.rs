//! Why sockets run on the stack or not: the reasons, as `tpa why` and the log tell
//! them.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{tpa, wait_until, Namespace, Program, StackTcp, Work};

const LIMIT: Duration = Duration::from_secs(30);

/// What a script's process has decided when it says that it is done, and its log.
fn decisions(config: &str, script: &str) -> (Value, String) {
    let (namespace, _peer) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let work = Work::new();
    let config = work.write("tpa.conf", config);
    let script =
        format!("import errno, os, socket, time\n{script}\nprint('done', flush=True)\ntime.sleep(60)\n");
    let program = Program::new("python3").args(&["-c", &script]).variable("TPA_LOG", "debug");
    let mut program = program.accelerated(&config).spawn(&namespace, &work);
    wait_until(LIMIT, "the script to be done", || {
        assert!(program.status().is_none(), "it ended\n{}", program.printed());
        program.stdout().contains("done")
    });
    let pid = program.pid();
    let output = Command::new(tpa()).args(["why", "--json", &pid.to_string()]).output().expect("tpa why");
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), program.printed());
    let why: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    if let Some(stack) = StackTcp::of(pid) {
        for (code, count) in why["reasons"].as_object().expect("reasons") {
            assert_eq!(Some(stack.get(&format!("decided_{code}"))), count.as_u64(), "{code}");
        }
    }
    (why, program.stderr())
}

/// The last decisions as "call address reason".
fn lines(why: &Value) -> Vec<String> {
    let text = |entry: &Value, name: &str| entry[name].as_str().expect("text").to_owned();
    let line = |entry| ["call", "address", "reason"].map(|name| text(entry, name)).join(" ");
    why["last"].as_array().expect("a list").iter().map(line).collect()
}

#[test]
fn each_socket_has_a_reason_that_tools_and_log_tell() {
    let config =
        "listen = ['6379-6380', '10.77.0.9:80']\nconnect = ['10.77.0.0/16:7000-7010', '203.0.113.0/24:1-99']\n\
                  device = 'af_xdp:eth0'\n[[rule]]\nconnect = ['10.77.0.2:7005']\naction = 'kernel'\n\
                  [[rule]]\nprograms = ['curl']\nconnect = [81]\n";
    let (why, log) = decisions(
        config,
        "l = socket.create_server(('', 6379)); l.setblocking(False)\n\
         try: l.accept()\nexcept BlockingIOError: pass\n\
         socket.create_server(('127.0.0.1', 6380))\n\
         for name in ('10.77.0.2', 7000), ('10.77.0.2', 7005), ('10.77.0.2', 22), ('203.0.113.7', 80), ('10.77.0.2', 81), ('10.77.0.1', 7001):\n    \
             s = socket.socket(); s.setblocking(False); s.connect_ex(name) == errno.EINPROGRESS and s.connect_ex(name)\n\
         u = socket.socket(type=socket.SOCK_DGRAM); u.connect(('10.77.0.2', 53))",
    );
    let expected = [
        "listen 0.0.0.0:6379 pending",
        "listen 0.0.0.0:6379 accelerated",
        "listen 127.0.0.1:6380 loopback",
        "connect 10.77.0.2:7000 accelerated",
        "connect 10.77.0.2:7005 kernel_rule",
        "connect 10.77.0.2:22 no_rule",
        "connect 203.0.113.7:80 no_path",
        "connect 10.77.0.2:81 other_program",
        "connect 10.77.0.1:7001 loopback",
    ];
    assert_eq!(lines(&why), expected, "{log}");
    assert_eq!(why["reasons"]["accelerated"], 2);
    for line in [
        "connection to 10.77.0.2:7005 stays with the kernel (kernel_rule)",
        "connection to 203.0.113.7:80 stays with the kernel (no_path)",
        "listener on 0.0.0.0:6379 is accelerated",
    ] {
        assert_eq!(log.matches(line).count(), 1, "once a socket: {line}\n{log}");
    }
}

#[test]
fn where_the_stack_cannot_start_the_reason_can_be_read_all_the_same() {
    let (why, log) = decisions(
        "listen = [6379]\ndevice = 'af_xdp:nosuch0'\n",
        "l = socket.create_server(('', 6379)); l.setblocking(False)\n\
         try: l.accept()\nexcept BlockingIOError: pass",
    );
    assert_eq!(lines(&why), ["listen 0.0.0.0:6379 pending", "listen 0.0.0.0:6379 no_stack"], "{log}");
}

#[test]
fn a_daemon_takes_its_decisions_along_and_a_forked_child_has_its_own() {
    let (why, log) = decisions(
        "listen = ['7000-7999']\nconnect = ['7000-7999']\nloopback = true\ndevice = 'none'\n",
        "l = socket.create_server(('127.0.0.1', 7001))\n\
         socket.create_connection(('127.0.0.1', 7001)); l.accept()\n\
         r, w = os.pipe()\n\
         if not os.fork():\n    \
             s = socket.socket(); s.connect_ex(('10.77.0.2', 7002)); os.write(w, b'x'); time.sleep(60)\n\
         os.read(r, 1)",
    );
    let expected = [
        "listen 127.0.0.1:7001 pending",
        "listen 127.0.0.1:7001 accelerated",
        "connect 127.0.0.1:7001 accelerated",
    ];
    assert_eq!(lines(&why), expected, "{log}");
}
