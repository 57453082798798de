//! Programs that open, connect, double and close descriptors as fast as they can,
//! over connections to themselves. A minute of the one and ten million connections of
//! the other with `TPA_FULL=1`.
//!
//! Last seen in full: 12 073 581 calls with 1 129 923 connections and 30 020 children in
//! a minute; ten million connections in six minutes on a busy machine of two cores, with
//! 5776 KiB of memory after the first million and 5908 KiB at the end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{wait_until, KernelTcp, Namespace, Program, Running, StackTcp, Work};

const CONFIG: &str =
    "strict = true\nlisten = ['7000-7999']\nconnect = ['7000-7999']\nloopback = true\ndevice = 'none'\n";

fn is_full() -> bool {
    std::env::var_os("TPA_FULL").is_some()
}

/// A program of `programs/`, compiled.
fn compiled(name: &str, work: &Work) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/programs").join(name);
    let program = work.path().join("program");
    let status =
        Command::new("cc").args(["-O1", "-Wall", "-pthread", "-o"]).arg(&program).arg(source).status();
    assert!(status.expect("a C compiler").success(), "{name} does not compile");
    program
}

/// Runs it, accelerated, until it has closed everything.
fn run(name: &str, arguments: &[&str], limit: Duration, namespace: &Namespace, work: &Work) -> Running {
    let config = work.write("tpa.conf", CONFIG);
    let program = Program::new(&compiled(name, work).display().to_string()).args(arguments);
    let mut program = program.accelerated(&config).variable("TPA_TEST_STAY", "1").spawn(namespace, work);
    wait_until(limit, "it to close everything", || {
        assert!(program.status().is_none(), "it ended\n{}", program.printed());
        program.stdout().contains("closed")
    });
    program
}

#[test]
fn numbers_stay_right_whatever_threads_do_with_them() {
    let (namespace, work) = (Namespace::new("a"), Work::new());
    let seconds = if is_full() { 60 } else { 8 };
    let seed = std::env::var("TPA_TEST_SEED").unwrap_or_else(|_| std::process::id().to_string());
    println!("TPA_TEST_SEED={seed}");
    let limit = Duration::from_secs(seconds + 60);
    let program = run("descriptors.c", &[&seconds.to_string(), &seed], limit, &namespace, &work);
    println!("{}", program.stdout());
    let stack = || StackTcp::of(program.pid()).expect("its stack");
    assert!(stack().get("connections_opened") > 1000);
    wait_until(Duration::from_secs(20), "the last connections to end", || {
        stack().get("connections_now") + stack().get("half_open_now") == 0
    });
}

#[test]
fn connections_that_come_and_go_take_no_memory_along() {
    let (namespace, work) = (Namespace::new("a"), Work::new());
    let cycles = if is_full() { 10_000_000 } else { 200_000 };
    let limit = Duration::from_secs(if is_full() { 1200 } else { 120 });
    let program = run("cycles.c", &[&cycles.to_string()], limit, &namespace, &work);
    println!("{}", program.stdout());
    let stack = StackTcp::of(program.pid()).expect("its stack");
    assert_eq!(stack.get("connections_opened"), cycles);
    assert_eq!(KernelTcp::of(&namespace).segments, 0, "the kernel saw segments");
    let text = program.stdout();
    let sizes: Vec<u64> =
        text.split(": ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
    let [early, late] = sizes[..] else { panic!("{text}") };
    assert!(late <= early + 512, "it has grown by {} KiB\n{text}", late - early);
}
