//! What the shared objects export and need.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::harness::{dpdk, shim};

fn lines(program: &str, arguments: &[&str], file: &Path) -> Vec<String> {
    let output = Command::new(program).args(arguments).arg(file).output().expect("binutils");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Names of the dynamic symbols that an object defines, without versions.
fn exported(file: &Path) -> BTreeSet<String> {
    let lines = lines("nm", &["-D", "--defined-only"], file);
    let names = lines.iter().filter_map(|line| line.split_whitespace().nth(2));
    names.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect()
}

/// The libraries that an object names as needed.
fn needed(file: &Path) -> Vec<String> {
    let lines = lines("readelf", &["--dynamic", "--wide"], file);
    let names = lines.iter().filter(|line| line.contains("(NEEDED)"));
    names.filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']').to_owned())).collect()
}

/// The C library that this test itself runs on.
fn libc() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
    let path =
        maps.lines().find_map(|line| line.split_whitespace().last().filter(|p| p.ends_with("/libc.so.6")));
    path.expect("libc.so.6 is loaded").to_owned()
}

#[test]
fn the_shim_needs_libc_alone() {
    let needed = needed(&shim());
    // The loader is part of the C library: thread-local storage is its business.
    let others: Vec<_> = needed.iter().filter(|name| !name.starts_with("ld-linux")).collect();
    assert_eq!(others, ["libc.so.6"]);
}

#[test]
fn the_shim_exports_symbols_of_libc_only() {
    let ours = exported(&shim());
    let libcs = exported(Path::new(&libc()));
    let strange: Vec<_> = ours.difference(&libcs).collect();
    assert!(strange.is_empty(), "exported, but not by libc: {strange:?}");
    assert!(ours.contains("read") && ours.contains("epoll_wait"), "the hooks are exported: {ours:?}");
}

/// Functions through which redis' programs touch sockets that may be the
/// stack's. bind(2) is not among them: a socket is the kernel's until it listens
/// or connects.
const NEEDED_HOOKS: [&str; 23] = [
    "accept",
    "accept4",
    "close",
    "connect",
    "dup2",
    "epoll_create",
    "epoll_ctl",
    "epoll_wait",
    "fcntl",
    "fcntl64",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ioctl",
    "listen",
    "poll",
    "read",
    "recv",
    "send",
    "setsockopt",
    "shutdown",
    "socket",
    "write",
];

#[test]
fn what_redis_imports_is_hooked() {
    let ours = exported(&shim());
    let hooked: BTreeSet<String> = NEEDED_HOOKS.iter().map(|name| (*name).to_owned()).collect();
    for program in ["redis-server", "redis-cli", "redis-benchmark"] {
        let path = Path::new("/usr/bin").join(program);
        let lines = lines("nm", &["-D", "--undefined-only"], &path);
        let imports = lines.iter().filter_map(|line| line.split_whitespace().last());
        let imports: BTreeSet<String> =
            imports.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect();
        let missing: Vec<_> = imports.intersection(&hooked).filter(|name| !ours.contains(*name)).collect();
        assert!(missing.is_empty(), "{program} imports {missing:?}, which the shim does not export");
    }
}

#[test]
fn the_dpdk_object_exports_its_table_alone() {
    let exported: Vec<_> = exported(&dpdk()).into_iter().collect();
    assert_eq!(exported, ["tpa_dpdk_table"]);
}
