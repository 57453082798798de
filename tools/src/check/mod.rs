//! `tpa check PROGRAM`: whether LD_PRELOAD reaches a program, and whether the
//! shim covers every libc function through which it touches sockets.

mod binary;
mod libraries;
mod reach;
mod symbols;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Value as Json, json};

use binary::Binary;
use libraries::Library;

/// What was found out about a program.
struct Report {
    /// The file that the kernel executes: the interpreter of a script.
    program: PathBuf,
    /// Reasons for which LD_PRELOAD cannot reach the program or its sockets.
    obstacles: Vec<String>,
    /// Functions that touch sockets and that the shim exports.
    covered: Vec<&'static str>,
    /// The others: what each does, and which objects import it.
    missing: BTreeMap<&'static str, Vec<PathBuf>>,
    /// Libraries that were named as needed and not found.
    lost: Vec<String>,
    /// Libraries that were read.
    libraries: usize,
}

/// Checks a program against a shim and prints what was found; an error when the
/// program would not be accelerated, or not wholly.
pub fn run(program: &Path, shim: Option<PathBuf>, as_json: bool) -> Result<(), String> {
    let shim = shim.map_or_else(find_shim, Ok)?;
    let exported = Binary::read(&shim)?.exports;
    let report = examine(find_program(program)?, &exported)?;
    if as_json {
        println!("{:#}", report.to_json());
    } else {
        print!("{}", report.to_text());
    }
    if report.is_good() { Ok(()) } else { Err(report.verdict()) }
}

fn examine(found: PathBuf, exported: &[String]) -> Result<Report, String> {
    let program = binary::interpreter_of_script(&found)?.unwrap_or(found);
    let binary = Binary::read(&program)?;
    let obstacles = reach::obstacles(&program, &binary)?;
    let (libraries, lost) = libraries::needed_by(&binary);
    let mut report = Report {
        obstacles,
        covered: Vec::new(),
        missing: BTreeMap::new(),
        lost,
        libraries: libraries.len(),
        program: program.clone(),
    };
    let all = [Library { path: program, binary }].into_iter().chain(libraries);
    for Library { path, binary } in all {
        report.add(&path, &binary, exported);
    }
    report.covered.sort_unstable();
    report.covered.dedup();
    Ok(report)
}

impl Report {
    /// Adds what one object imports from libc.
    fn add(&mut self, path: &Path, binary: &Binary, exported: &[String]) {
        for &(name, _) in symbols::TOUCHES_SOCKETS {
            if !binary.imports.iter().any(|import| import == name) {
                continue;
            }
            if exported.iter().any(|export| export == name) {
                self.covered.push(name);
            } else {
                self.missing.entry(name).or_default().push(path.to_owned());
            }
        }
    }

    fn is_good(&self) -> bool {
        self.obstacles.is_empty() && self.missing.is_empty() && self.lost.is_empty()
    }

    fn verdict(&self) -> String {
        let program = self.program.display();
        if self.obstacles.is_empty() {
            format!("{program}: not everything is covered")
        } else {
            format!("{program}: cannot be accelerated")
        }
    }

    fn to_text(&self) -> String {
        let mut lines = vec![format!("{}, {} libraries", self.program.display(), self.libraries)];
        lines.extend(self.obstacles.iter().map(|obstacle| format!("  out of reach: {obstacle}")));
        lines.push(match self.covered.len() {
            0 => "  imports no function that the shim covers".to_owned(),
            count => format!("  covered: {count} functions ({})", self.covered.join(", ")),
        });
        for (name, importers) in &self.missing {
            let importers: Vec<String> = importers.iter().map(|path| path.display().to_string()).collect();
            let what = symbols::meaning(name);
            lines.push(format!("  not covered: {name} ({what}), imported by {}", importers.join(", ")));
        }
        lines.extend(self.lost.iter().map(|name| format!("  not found: {name}, a library that it needs")));
        if self.is_good() {
            lines
                .push("  LD_PRELOAD reaches it, and every function through which it touches sockets.".into());
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn to_json(&self) -> Json {
        json!({
            "program": self.program,
            "ok": self.is_good(),
            "obstacles": self.obstacles,
            "covered": self.covered,
            "missing": self.missing,
            "libraries": self.libraries,
            "libraries_not_found": self.lost,
        })
    }
}

/// A program as the shell would find it.
fn find_program(program: &Path) -> Result<PathBuf, String> {
    let named = program.components().count() > 1 || program.is_absolute();
    if named {
        return Ok(program.to_owned());
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{}: not found in PATH", program.display()))
}

/// The shim beside this command, or in the library folder beside its own.
fn find_shim() -> Result<PathBuf, String> {
    let own = env::current_exe().and_then(fs::canonicalize).map_err(|error| error.to_string())?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    ["", "../lib", "deps"]
        .iter()
        .map(|beside| folder.join(beside).join("libtpa_shim.so"))
        .find(|path| path.is_file())
        .ok_or_else(|| "libtpa_shim.so is not beside this command: name it with --shim".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exports(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_function_that_the_shim_lacks_is_named_with_its_importer() {
        let report = examine("/bin/cat".into(), &exports(&["read"])).unwrap();
        assert!(report.covered.contains(&"read"));
        assert_eq!(report.missing["write"], [PathBuf::from("/bin/cat")]);
        assert!(!report.is_good());
        assert!(report.to_text().contains("not covered: write (writes), imported by /bin/cat"));
    }

    #[test]
    fn a_program_that_is_covered_is_said_to_be() {
        let all: Vec<&str> = symbols::TOUCHES_SOCKETS.iter().map(|&(name, _)| name).collect();
        let report = examine("/bin/cat".into(), &exports(&all)).unwrap();
        assert!(report.is_good(), "{}", report.to_text());
        assert_eq!(report.to_json()["ok"], true);
    }

    #[test]
    fn what_is_no_program_is_refused_with_its_name() {
        let error = examine("/etc/passwd".into(), &[]).err().unwrap();
        assert!(error.starts_with("/etc/passwd: "), "{error}");
        assert!(find_program(Path::new("no-such-program")).unwrap_err().contains("PATH"));
    }
}
