//! What an ELF file says of itself.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader64};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};

/// An executable or a shared object for this machine.
#[derive(Debug)]
pub struct Binary {
    /// It names a dynamic loader: LD_PRELOAD is read at all.
    pub has_loader: bool,
    /// The Go linker has made it.
    pub is_go: bool,
    /// Names of the libraries that it needs.
    pub needed: Vec<String>,
    /// Folders in which they are looked for first, `$ORIGIN` resolved.
    pub search: Vec<PathBuf>,
    /// Names of functions that it takes from elsewhere.
    pub imports: Vec<String>,
    /// Names that it offers to others.
    pub exports: Vec<String>,
}

type Elf<'a> = ElfFile64<'a, Endianness>;

impl Binary {
    /// Reads an ELF file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bad = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
        let data = fs::read(path).map_err(|error| bad(&error))?;
        let header =
            FileHeader64::<Endianness>::parse(&*data).map_err(|_| bad(&"not a 64-bit ELF program"))?;
        let endian = header.endian().map_err(|error| bad(&error))?;
        let machine = if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 };
        if header.e_machine(endian) != machine {
            return Err(bad(&"a program for another kind of processor"));
        }
        let elf = Elf::parse(&*data).map_err(|error| bad(&error))?;
        Self::from_elf(path, &elf).map_err(|error| bad(&error))
    }

    fn from_elf(path: &Path, elf: &Elf<'_>) -> object::read::Result<Self> {
        let endian = elf.endian();
        let mut segments = elf.elf_program_headers().iter();
        let mut binary = Self {
            has_loader: segments.any(|segment| segment.p_type(endian) == elf::PT_INTERP),
            is_go: elf.sections().any(|section| {
                matches!(section.name(), Ok(".go.buildinfo" | ".note.go.buildid" | ".gopclntab"))
            }),
            needed: Vec::new(),
            search: Vec::new(),
            imports: elf.imports()?.iter().map(|import| text(import.name())).collect(),
            exports: elf.exports()?.iter().map(|export| text(export.name())).collect(),
        };
        let origin = path.parent().unwrap_or(Path::new("/"));
        let table = elf.elf_dynamic_table()?;
        for entry in table.iter() {
            let string = || table.string(entry).map(text);
            match entry.tag {
                elf::DT_NEEDED => binary.needed.push(string()?),
                elf::DT_RPATH | elf::DT_RUNPATH => {
                    let folders = string()?.replace("${ORIGIN}", "$ORIGIN");
                    let folders = folders.replace("$ORIGIN", &origin.to_string_lossy());
                    binary.search.extend(folders.split(':').map(PathBuf::from));
                }
                _ => {}
            }
        }
        Ok(binary)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The program that runs a script: what stands behind `#!` (execve(2)), with
/// the one that env(1) is told to look for in its place.
pub fn interpreter_of_script(path: &Path) -> Result<Option<PathBuf>, String> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    file.take(256).read_to_end(&mut start).map_err(|error| format!("{}: {error}", path.display()))?;
    let Some(line) = start.strip_prefix(b"#!") else { return Ok(None) };
    let line = text(line.split(|&byte| byte == b'\n').next().unwrap_or_default());
    let mut words = line.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    match words.next() {
        Some(program) if interpreter.ends_with("/env") && !program.starts_with('-') => {
            super::find_program(Path::new(program)).map(Some)
        }
        _ => Ok(Some(PathBuf::from(interpreter))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_libc_and_imports_from_it() {
        let own = Binary::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(own.has_loader && !own.is_go);
        assert!(own.needed.iter().any(|name| name == "libc.so.6"), "{:?}", own.needed);
        assert!(own.imports.iter().any(|name| name == "write"));
    }

    #[test]
    fn a_script_is_its_interpreter() {
        let script = std::env::temp_dir().join(format!("tpa-check-{}", std::process::id()));
        for (text, found) in [
            ("#!/bin/sh -e\ntrue\n", Some("/bin/sh")),
            ("#! /usr/bin/env cat\n", Some("/usr/bin/cat")),
            ("no script", None),
        ] {
            fs::write(&script, text).unwrap();
            let interpreter = interpreter_of_script(&script).unwrap();
            let canonical = |path: PathBuf| fs::canonicalize(path).unwrap();
            assert_eq!(interpreter.map(canonical), found.map(PathBuf::from).map(canonical), "{text}");
        }
        fs::remove_file(script).unwrap();
    }
}
