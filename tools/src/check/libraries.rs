//! The shared libraries that a program is linked with, as ld.so(8) finds them.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use super::binary::Binary;

/// A library that was found.
pub struct Library {
    pub path: PathBuf,
    pub binary: Binary,
}

/// Everything that a program needs, directly or not, except for libc itself and
/// its loader; and the names of what was not found. Libraries that a program
/// opens while it runs (dlopen(3)) cannot be seen.
pub fn needed_by(binary: &Binary) -> (Vec<Library>, Vec<String>) {
    let cache = Cache::read();
    let (mut found, mut lost) = (Vec::<Library>::new(), Vec::new());
    let mut seen = BTreeSet::new();
    let mut waiting: VecDeque<(String, Vec<PathBuf>)> = VecDeque::new();
    let wants = |binary: &Binary| -> Vec<(String, Vec<PathBuf>)> {
        binary.needed.iter().map(|name| (name.clone(), binary.search.clone())).collect()
    };
    waiting.extend(wants(binary));
    while let Some((name, search)) = waiting.pop_front() {
        if is_libc(&name) || !seen.insert(name.clone()) {
            continue;
        }
        let library = cache.find(&name, &search).and_then(|path| {
            let binary = Binary::read(&path).ok()?;
            Some(Library { path, binary })
        });
        match library {
            Some(library) => {
                waiting.extend(wants(&library.binary));
                found.push(library);
            }
            None => lost.push(name),
        }
    }
    (found, lost)
}

/// The parts of the C library: they are what the shim stands before.
fn is_libc(name: &str) -> bool {
    let parts =
        ["libc.so.", "libm.so.", "libdl.so.", "libpthread.so.", "librt.so.", "libresolv.so.", "ld-linux"];
    parts.iter().any(|part| name.starts_with(part))
}

/// Where ldconfig(8) says that libraries are.
struct Cache(Vec<(String, PathBuf)>);

impl Cache {
    fn read() -> Self {
        let output = ["/sbin/ldconfig", "ldconfig"]
            .iter()
            .find_map(|program| Command::new(program).arg("-p").output().ok())
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let lines = output.unwrap_or_default();
        let entry = |line: &str| {
            let (name, path) = line.trim().split_once(" => ")?;
            let (name, kind) = name.split_once(' ')?;
            kind.contains("64").then(|| (name.to_owned(), PathBuf::from(path)))
        };
        Self(lines.lines().filter_map(entry).collect())
    }

    fn find(&self, name: &str, search: &[PathBuf]) -> Option<PathBuf> {
        if name.contains('/') {
            return fs::canonicalize(name).ok();
        }
        let environment = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let environment: Vec<PathBuf> = env::split_paths(&environment).collect();
        let defaults = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from);
        let cached = || self.0.iter().find(|(known, _)| known == name).map(|(_, path)| path.clone());
        let within =
            |folders: &[PathBuf]| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        within(search).or_else(|| within(&environment)).or_else(cached).or_else(|| within(&defaults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_libraries_are_found_and_libc_is_left_out() {
        let path = env::current_exe().unwrap();
        let (found, lost) = needed_by(&Binary::read(&path).unwrap());
        assert!(lost.is_empty(), "{lost:?}");
        assert!(found.iter().all(|library| !library.path.ends_with("libc.so.6")));
        assert!(found.iter().any(|library| library.path.to_string_lossy().contains("libgcc_s")));
    }

    #[test]
    fn a_library_that_is_nowhere_is_named() {
        let path = env::current_exe().unwrap();
        let mut binary = Binary::read(&path).unwrap();
        binary.needed.push("libnowhere.so.1".into());
        assert_eq!(needed_by(&binary).1, ["libnowhere.so.1"]);
    }
}
