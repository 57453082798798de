//! The command as people type it.

use std::process::{Command, Output};

fn tpa(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tpa"));
    for variable in ["TPA_CONF", "TPA_LISTEN", "TPA_CONNECT", "TPA_STRICT", "TPA_DEVICE", "TPA_RUN_DIR"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().expect("tpa runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_right_configuration_is_printed_with_its_defaults() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/examples/af_xdp.conf");
    let output = tpa(&["conf", "check", file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("listen = [\"6379\"]\n"), "{printed}");
    assert!(printed.contains("spin_us = 50\n"), "{printed}");
}

#[test]
fn a_wrong_configuration_is_named_with_its_place_and_fails() {
    let file = std::env::temp_dir().join(format!("tpa-cli-{}.conf", std::process::id()));
    std::fs::write(&file, "listen = [6379]\nworker = 2\n").expect("a file");
    let name = file.display().to_string();
    let output = tpa(&["conf", "check", &name]);
    std::fs::remove_file(&file).expect("the file");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("tpa: {name}:2:1: unknown key 'worker', did you mean 'workers'?\n");
    assert_eq!(text(&output.stderr), expected);
    assert!(output.stdout.is_empty());
}

#[test]
fn a_process_without_a_stack_has_no_counters() {
    let own = std::process::id().to_string();
    let output = tpa(&["stat", &own]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), format!("tpa: process {own} does not run on the stack\n"));
}

#[test]
fn a_process_without_a_stack_has_no_faults() {
    let own = std::process::id().to_string();
    let output = tpa(&["fault", &own, "drop=1%"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), format!("tpa: process {own} does not run on the stack\n"));
}

#[test]
fn what_narrows_a_plan_needs_one() {
    let output = tpa(&["fault", "1", "off", "--for", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "tpa: --port, --seed and --for go with a plan, not with 'off'\n");
}
