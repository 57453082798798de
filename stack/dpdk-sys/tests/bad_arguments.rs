//! Arguments that EAL answers by printing and exiting, in a process of their
//! own: it goes on, and its standard output stays the program's.

use std::process::Command;

use dpdk_sys::eal::{self, EalConfig};

/// Set in the child: the EAL argument to try.
const CHILD: &str = "TPA_TEST_EAL_ARGUMENT";

#[test]
fn in_the_child() {
    let Ok(argument) = std::env::var(CHILD) else { return };
    let config = EalConfig { memory_mb: 32, extra_args: vec![argument], ..EalConfig::default() };
    let error = eal::start(&config).expect_err("EAL refuses it");
    assert!(error.to_string().starts_with("DPDK does not start"), "{error}");
}

#[test]
fn eal_neither_exits_nor_prints() {
    for argument in ["--help", "--nonsense", "--version", "--lcores=bad"] {
        let output = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "in_the_child", "--nocapture"])
            .env(CHILD, argument)
            .output()
            .expect("the test runs again");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{argument}: {stdout}{stderr}");
        assert!(stdout.contains("1 passed"), "{argument}: {stdout}");
        assert!(!stdout.contains("EAL") && !stderr.contains("EAL"), "{argument}: {stdout}{stderr}");
    }
}
