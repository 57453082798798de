//! Builds `libtpa_dpdk.so` from the system's DPDK and generates the Rust side
//! of its table.
//!
//! The object is C alone: our few files, and EAL with the drivers from DPDK's
//! static archives. It is put into the profile's directory (`target/release`),
//! where `libtpa_shim.so` will be and looks for it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The one object that this package makes.
const OBJECT: &str = "libtpa_dpdk.so";

const SOURCES: [&str; 6] = ["c/port.c", "c/pool.c", "c/eal.c", "c/xsk.c", "c/flow.c", "c/cloexec.c"];

/// Archives that are linked whole, since their constructors register them:
/// EAL and the libraries under ethdev, then buses and drivers.
const WHOLE: [&str; 23] = [
    "kvargs",
    "telemetry",
    "eal",
    "ring",
    "rcu",
    "mempool",
    "mbuf",
    "net",
    "meter",
    "ethdev",
    "pci",
    "mempool_ring",
    "bus_vdev",
    "bus_pci",
    "bus_auxiliary",
    "common_mlx5",
    "net_mlx5",
    "net_af_xdp",
    "net_af_packet",
    "net_memif",
    "net_ring",
    "net_null",
    "net_tap",
];

/// Of the shared libraries that pkg-config names for all of DPDK, those that
/// the archives above may need; the linker keeps what they do need.
const SHARED: [&str; 13] =
    ["atomic", "bpf", "bsd", "dl", "elf", "ibverbs", "m", "mlx5", "numa", "pthread", "rt", "xdp", "z"];

/// What DPDK and libxdp do that a guest in somebody's process must not: see
/// c/eal.c, c/xsk.c and c/cloexec.c.
const WRAPPED: [&str; 24] = [
    "open64",
    "socket",
    "pipe",
    "epoll_create",
    "eventfd",
    "timerfd_create",
    "memfd_create",
    "printf",
    "__printf_chk",
    "fprintf",
    "__fprintf_chk",
    "__vfprintf_chk",
    "puts",
    "putchar",
    "exit",
    "abort",
    "ioctl",
    "xsk_umem__create",
    "xsk_socket__create",
    "xsk_socket__create_shared",
    "xsk_socket__delete",
    "xsk_umem__delete",
    "bpf_xdp_query_id",
    "bpf_xdp_detach",
];

fn main() {
    for source in SOURCES.iter().chain(&["c/table.h", "c/internal.h"]) {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    generate_bindings(&out);
    let dpdk = find_dpdk();
    let objects = compile(&dpdk, &out);
    let object = link(&dpdk, &objects, &out);
    install(&object, &out);
}

/// What pkg-config says about libdpdk.
struct Dpdk {
    cflags: Vec<String>,
    archives: Vec<String>,
    shared: Vec<String>,
}

fn find_dpdk() -> Dpdk {
    pkg_config::Config::new()
        .atleast_version("21.11")
        .cargo_metadata(false)
        .probe("libdpdk")
        .expect("libdpdk, with its static archives (Debian: libdpdk-dev)");
    let libs = pkg_config_flags(&["--static", "--libs"]);
    let archives = libs
        .iter()
        .filter_map(|flag| flag.strip_prefix("-l:librte_"))
        .filter_map(|name| name.strip_suffix(".a"))
        .map(str::to_owned)
        .collect();
    let is_wanted = |flag: &&String| {
        flag.starts_with("-L") || flag.strip_prefix("-l").is_some_and(|name| SHARED.contains(&name))
    };
    let shared = libs.iter().filter(is_wanted).cloned().collect();
    Dpdk { cflags: pkg_config_flags(&["--cflags"]), archives, shared }
}

fn pkg_config_flags(args: &[&str]) -> Vec<String> {
    let command = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(command).args(args).arg("libdpdk").output().expect("pkg-config runs");
    assert!(output.status.success(), "pkg-config {args:?} libdpdk failed");
    let text = String::from_utf8(output.stdout).expect("pkg-config prints text");
    text.split_whitespace().map(str::to_owned).collect()
}

fn compile(dpdk: &Dpdk, out: &Path) -> Vec<PathBuf> {
    let mut build = cc::Build::new();
    build.files(SOURCES).pic(true).opt_level(3).flag("-fvisibility=hidden").cargo_metadata(false);
    build
        .define("_GNU_SOURCE", None)
        .define("ALLOW_EXPERIMENTAL_API", None)
        .warnings(true)
        .extra_warnings(true);
    // DPDK's own headers are not free of warnings.
    build.flag("-Wno-unused-parameter").flag("-Wno-missing-field-initializers");
    for flag in &dpdk.cflags {
        build.flag(flag);
    }
    build.out_dir(out).compile_intermediates()
}

fn link(dpdk: &Dpdk, objects: &[PathBuf], out: &Path) -> PathBuf {
    let object = out.join(OBJECT);
    let versions = out.join("tpa_dpdk.map");
    fs::write(&versions, "{ global: tpa_dpdk_table; local: *; };\n").expect("write to OUT_DIR");
    let mut command = cc::Build::new().opt_level(2).get_compiler().to_command();
    command.arg("-shared").arg("-o").arg(&object).args(objects);
    command.args(WRAPPED.iter().map(|symbol| format!("-Wl,--wrap={symbol}")));
    command.arg("-Wl,--whole-archive");
    command.args(WHOLE.iter().filter(|name| has_archive(dpdk, name)).map(|name| archive(name)));
    command.arg("-Wl,--no-whole-archive").arg("-Wl,--start-group");
    command.args(dpdk.archives.iter().filter(|name| is_plain_library(name)).map(|name| archive(name)));
    command.args(["-Wl,--end-group", "-Wl,--as-needed"]).args(&dpdk.shared);
    command.args(["-Wl,--exclude-libs,ALL", "-Wl,-z,now", "-Wl,-z,nodelete", "-Wl,--no-undefined"]);
    command.arg(format!("-Wl,--version-script={}", versions.display()));
    command.arg("-Wl,-soname,libtpa_dpdk.so");
    let status = command.status().expect("the C compiler runs");
    assert!(status.success(), "linking {OBJECT} failed: {command:?}");
    object
}

fn has_archive(dpdk: &Dpdk, name: &str) -> bool {
    let found = dpdk.archives.iter().any(|archive| archive == name);
    if !found {
        println!("cargo::warning=this libdpdk has no librte_{name}.a: built without it");
    }
    found
}

/// A library, not a driver: taken only as far as something needs it.
fn is_plain_library(name: &str) -> bool {
    !WHOLE.contains(&name) && !name.contains('_')
}

fn archive(name: &str) -> String {
    format!("-l:librte_{name}.a")
}

/// Puts the object where cargo puts this profile's own objects, which is three
/// directories above `OUT_DIR` (`<profile>/build/<package>/out`). Renamed into
/// place, so that a process that runs on the former one keeps it.
fn install(object: &Path, out: &Path) {
    let profile = out.ancestors().nth(3).expect("OUT_DIR lies in the profile's directory");
    let temporary = profile.join(format!("{OBJECT}.{}", std::process::id()));
    fs::copy(object, &temporary).expect("copy to the profile's directory");
    fs::rename(&temporary, profile.join(OBJECT)).expect("rename in the profile's directory");
}

fn generate_bindings(out: &Path) {
    bindgen::Builder::default()
        .header("c/table.h")
        .allowlist_item("(tpa|TPA)_.*")
        .blocklist_function(".*")
        .derive_default(true)
        .generate_comments(false)
        .layout_tests(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .generate()
        .expect("bindgen reads c/table.h (needs libclang)")
        .write_to_file(out.join("table.rs"))
        .expect("write to OUT_DIR");
}
