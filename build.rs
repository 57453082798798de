//! How `libtpa_shim.so` is linked: it needs libc alone and is never unloaded.
//!
//! What it exports needs no list here: rustc gives a cdylib a version script
//! with the `no_mangle` functions of the shim (those of `shim/hooks`, and no
//! others) and hides the rest.

use std::path::Path;
use std::{env, fs, io};

/// Links against a `libgcc_s.so` that stands for the static unwinder: a program
/// that inherits `LD_PRELOAD` has no further library loaded for our sake.
const STATIC_UNWINDER: &str = "INPUT(-lgcc_eh)\n";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let out = Path::new(&out);
    fs::write(out.join("libgcc_s.so"), STATIC_UNWINDER)?;
    // Before the compiler's own folders, where the shared one is.
    println!("cargo::rustc-link-arg-cdylib=-L{}", out.display());
    // dlclose(3) must not take away code that the program's threads stand in,
    // and every symbol is bound at load, not inside a signal handler.
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,nodelete,-z,now");
    Ok(())
}
