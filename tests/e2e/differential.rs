//! One long script of socket calls, on the kernel and under the shim: every
//! return value, errno, flag and event must be the same.
//!
//! The script is C (`differential/*.c`), so that it makes the very calls that
//! programs make. Over a device its peer is on the kernel of the other namespace in
//! both runs; over loopback the peer is a thread of the same process, whose sockets
//! are the shim's as well.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{KernelTcp, Namespace, Program, Work};

const LIMIT: Duration = Duration::from_secs(120);
/// Fewer lines than this are not the whole script.
const LEAST: usize = 4000;

/// The beginning of every configuration.
const PORTS: &str = "strict = true\nlisten = ['7000-7999']\nconnect = ['7000-7999']\n";

/// The script, compiled. Without the compiler's warnings: bad pointers and lengths
/// are what it is about.
fn compiled(work: &Work) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/differential");
    let program = work.path().join("differential");
    let mut command = Command::new("cc");
    command.args(["-O1", "-w", "-pthread", "-o"]).arg(&program);
    let files = std::fs::read_dir(sources).expect("the script's folder");
    let files = files.map(|entry| entry.expect("an entry").path());
    command.args(files.filter(|path| path.extension().is_some_and(|extension| extension == "c")));
    assert!(command.status().expect("a C compiler").success(), "the script does not compile");
    program
}

/// What the script prints over a veth pair, its peer on the kernel at the other end.
fn over_a_device(script: &Path, work: &Work, config: Option<&Path>) -> Vec<String> {
    let (own, peer) = Namespace::pair("10.77.0.1", "10.77.0.2");
    own.add_ipv6("eth0", "fd77::1");
    peer.add_ipv6("eth0", "fd77::2");
    run(script, work, config, &own, &["10.77.0.1", "10.77.0.2", peer.name()])
}

/// What the script prints with a peer in its own process, and the segments that
/// the kernel handled.
fn over_loopback(script: &Path, work: &Work, config: Option<&Path>) -> (Vec<String>, u64) {
    let own = Namespace::new("a");
    let lines = run(script, work, config, &own, &["127.0.0.1", "127.0.0.1", "thread"]);
    (lines, KernelTcp::of(&own).segments)
}

fn run(script: &Path, work: &Work, config: Option<&Path>, own: &Namespace, words: &[&str]) -> Vec<String> {
    let program = Program::new(&script.display().to_string()).args(words);
    let program = match config {
        Some(config) => program.accelerated(config),
        None => program,
    };
    program.run(own, work, LIMIT).good().lines().map(str::to_owned).collect()
}

fn assert_same(kernel: &[String], shim: &[String]) {
    assert!(kernel.len() >= LEAST && kernel.last().is_some_and(|line| line == "the end"));
    let differ = kernel.iter().zip(shim).filter(|(kernel, shim)| kernel != shim);
    let differ: Vec<String> =
        differ.map(|(kernel, shim)| format!("kernel: {kernel}\n  shim: {shim}")).collect();
    assert!(
        differ.is_empty(),
        "{} lines differ:\n{}",
        differ.len(),
        differ[..differ.len().min(40)].join("\n")
    );
    assert_eq!(kernel.len(), shim.len());
}

#[test]
fn a_program_cannot_tell_its_sockets_from_the_kernels() {
    let work = Work::new();
    let script = compiled(&work);
    let config = work.write("tpa.conf", format!("{PORTS}device = 'af_xdp:eth0'\n"));
    let kernel = over_a_device(&script, &work, None);
    assert_same(&kernel, &over_a_device(&script, &work, Some(&config)));
}

#[test]
fn a_program_cannot_tell_loopback_in_the_stack_from_the_kernels() {
    let work = Work::new();
    let script = compiled(&work);
    let config = work.write("tpa.conf", format!("{PORTS}device = 'none'\nloopback = true\n"));
    let (kernel, all_segments) = over_loopback(&script, &work, None);
    let (shim, segments) = over_loopback(&script, &work, Some(&config));
    assert_same(&kernel, &shim);
    // Attempts at ports where nobody listens are the kernel's.
    assert!(segments * 20 < all_segments, "{segments} of {all_segments} segments in the kernel");
}
