//! Compiles the XDP steering program and generates the Rust side of what it
//! shares with its users.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "bpf/steer.bpf.c";
const SHARED: &str = "bpf/steer.h";

fn main() {
    for file in [PROGRAM, SHARED, "build.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-env-changed=TPA_CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    compile(&out.join("steer.bpf.o"));
    generate_bindings(&out.join("steer.rs"));
}

/// BTF (`-g`) describes the maps; the kernel's headers need their
/// architecture's own directory, which clang does not know for BPF.
fn compile(object: &Path) {
    let clang = env::var("TPA_CLANG").unwrap_or_else(|_| "clang".into());
    let mut command = Command::new(&clang);
    command.args(["-target", "bpf", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    if let Some(directory) = architecture_headers() {
        command.arg("-idirafter").arg(directory);
    }
    command.arg("-c").arg(PROGRAM).arg("-o").arg(object);
    let status = command.status().unwrap_or_else(|error| {
        panic!("{clang} compiles the steering program (Debian: clang, libbpf-dev): {error}")
    });
    assert!(status.success(), "{command:?} failed");
}

/// Debian's `/usr/include/x86_64-linux-gnu`; elsewhere the headers lie in
/// `/usr/include` itself.
fn architecture_headers() -> Option<PathBuf> {
    let output = Command::new("cc").arg("-print-multiarch").output().ok()?;
    let triplet = String::from_utf8(output.stdout).ok()?;
    let directory = Path::new("/usr/include").join(triplet.trim());
    (!triplet.trim().is_empty() && directory.is_dir()).then_some(directory)
}

fn generate_bindings(path: &Path) {
    bindgen::Builder::default()
        .header_contents("steer_bindings.h", "#include <linux/types.h>\n#include \"bpf/steer.h\"\n")
        .clang_arg(format!("-I{}", env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")))
        .allowlist_type("tpa_(listener|address|instance|count)")
        .allowlist_var("TPA_.*")
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .derive_default(true)
        .derive_eq(true)
        .generate_comments(false)
        .generate()
        .expect("bindgen reads bpf/steer.h (needs libclang)")
        .write_to_file(path)
        .expect("write to OUT_DIR");
}
