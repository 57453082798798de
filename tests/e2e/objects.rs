//! What the shared objects export and need.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::harness::{dpdk, shim, tpa};

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

/// The symbols that the table of shim/README.md names: what stands in backquotes
/// in the first column of its section.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/README.md");
    let text = std::fs::read_to_string(path).expect("shim/README.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Symbols")).expect("its table");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let columns = rows.filter_map(|row| row.split('|').nth(1));
    columns.flat_map(|column| column.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn the_readme_names_every_symbol_that_is_exported_and_no_other() {
    let (documented, exported) = (documented(), exported(&shim()));
    let unnamed: Vec<_> = exported.difference(&documented).collect();
    let absent: Vec<_> = documented.difference(&exported).collect();
    assert!(unnamed.is_empty() && absent.is_empty(), "not in README: {unnamed:?}; not exported: {absent:?}");
}

/// Programs that people run under the shim. scripts/setup installs those that the
/// end-to-end tests need; of the others those that are there are looked at.
const PROGRAMS: [&str; 14] = [
    "redis-server",
    "redis-cli",
    "redis-benchmark",
    "memcached",
    "nginx",
    "haproxy",
    "iperf3",
    "wrk",
    "curl",
    "ab",
    "python3",
    "node",
    "psql",
    "pgbench",
];

#[test]
fn what_programs_import_to_touch_sockets_is_covered() {
    let mut checked = 0;
    for program in PROGRAMS {
        let search = format!("PATH=/usr/bin:/usr/sbin:/bin:/sbin command -v {program}");
        let found = Command::new("sh").args(["-c", &search]).output().expect("sh");
        if !found.status.success() {
            continue;
        }
        let path = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        let output = Command::new(tpa()).args(["check", "--json", &path]).output().expect("tpa check");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("its report");
        assert_eq!(report["missing"], serde_json::json!({}), "{path} imports what the shim does not export");
        assert_eq!(report["obstacles"], serde_json::json!([]), "{path} is out of reach");
        checked += 1;
    }
    assert!(checked >= 4, "redis' programs and curl at least");
}

#[test]
fn the_dpdk_object_exports_its_table_alone() {
    let exported: Vec<_> = exported(&dpdk()).into_iter().collect();
    assert_eq!(exported, ["tpa_dpdk_table"]);
}
