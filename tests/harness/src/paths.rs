//! Where the objects under test lie: beside this executable.

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

/// A program of cargo's is `<profile>/<name>`, a test `<profile>/deps/<name>-<hash>`.
///
/// # Panics
///
/// When it is missing: the whole workspace has to be built first.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the path of this executable");
    let mut folders = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    folders
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no {name} beside {}; build the whole workspace first", own.display()))
}
