//! Where the objects under test lie: beside this test's own executable.

use std::path::PathBuf;

/// `libtpa_shim.so`.
pub fn shim() -> PathBuf {
    built("libtpa_shim.so")
}

/// The `tpa` command.
pub fn tpa() -> PathBuf {
    built("tpa")
}

/// `libtpa_dpdk.so`.
pub fn dpdk() -> PathBuf {
    built("libtpa_dpdk.so")
}

/// This executable is `<profile>/deps/e2e-<hash>`; what cargo built, `<profile>/<name>`.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let path = own.ancestors().nth(2).expect("a profile's directory").join(name);
    assert!(path.exists(), "{} is missing; build the whole workspace first", path.display());
    path
}
