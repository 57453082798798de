//! The object that is built: what it exports and what it needs.

use std::path::PathBuf;
use std::process::Command;

fn object() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    test.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("libtpa_dpdk.so")
}

#[test]
fn one_symbol_is_exported() {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(object()).output().expect("nm runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let symbols: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(symbols, ["tpa_dpdk_table"]);
}

#[test]
fn no_dpdk_library_is_needed_at_run_time() {
    let output = Command::new("readelf").arg("-d").arg(object()).output().expect("readelf runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("[libc.so.6]"), "{text}");
    assert!(!text.contains("librte_"), "{text}");
}
