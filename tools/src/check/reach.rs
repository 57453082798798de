//! Whether LD_PRELOAD can reach a program at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::binary::Binary;

/// S_ISUID and S_ISGID of inode(7).
const SET_ID: u32 = 0o6000;

/// What keeps the shim out of a program, in words.
pub fn obstacles(program: &Path, binary: &Binary) -> Result<Vec<String>, String> {
    let mode = fs::metadata(program).map_err(|error| format!("{}: {error}", program.display()))?;
    let mut obstacles = Vec::new();
    if !binary.has_loader {
        obstacles.push("it is linked statically, so that no loader reads LD_PRELOAD".to_owned());
    }
    if binary.is_go {
        obstacles.push("it is a Go program, which calls the kernel without libc".to_owned());
    }
    if mode.permissions().mode() & SET_ID != 0 {
        obstacles
            .push("it is set-uid or set-gid, and the loader ignores LD_PRELOAD there (ld.so(8))".to_owned());
    }
    if has_capabilities(program) {
        obstacles
            .push("its file has capabilities, and the loader ignores LD_PRELOAD there (ld.so(8))".to_owned());
    }
    Ok(obstacles)
}

/// Whether the file grants capabilities (capabilities(7)).
fn has_capabilities(program: &Path) -> bool {
    xattr::get(program, "security.capability").is_ok_and(|value| value.is_some())
}
