//! One long script of socket calls, on the kernel and under the shim: every
//! return value, errno, flag and event must be the same.
//!
//! The script is C (`differential/*.c`), so that it makes the very calls that
//! programs make. Its peer is on the kernel of the other namespace in both runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{Namespace, Program, Work};

const LIMIT: Duration = Duration::from_secs(120);
/// Fewer lines than this are not the whole script.
const LEAST: usize = 4000;

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

/// What the script prints, in namespaces of its own.
fn run(script: &Path, work: &Work, config: Option<&Path>) -> Vec<String> {
    let (own, peer) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let program = Program::new(&script.display().to_string()).args(&["10.77.0.1", "10.77.0.2", peer.name()]);
    let program = match config {
        Some(config) => program.accelerated(config),
        None => program,
    };
    program.run(&own, work, LIMIT).good().lines().map(str::to_owned).collect()
}

#[test]
fn a_program_cannot_tell_its_sockets_from_the_kernels() {
    let work = Work::new();
    let script = compiled(&work);
    let ports = "['7000-7999']";
    let config = work.write(
        "tpa.conf",
        format!("strict = true\nlisten = {ports}\nconnect = {ports}\ndevice = 'af_xdp:eth0'\n"),
    );
    let (kernel, shim) = (run(&script, &work, None), run(&script, &work, Some(&config)));
    assert!(kernel.len() >= LEAST && kernel.last().is_some_and(|line| line == "the end"));
    let differ = kernel.iter().zip(&shim).filter(|(kernel, shim)| kernel != shim);
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
