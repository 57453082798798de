//! Counters of a process, in a file that anybody may read while they move.
//!
//! Each process has `/run/tpa/<pid>/counters` mapped and counts with plain
//! adds to its memory. The file starts with a text that says what it holds and
//! where, so that any version of a reader reads any version's file:
//!
//! ```text
//! tpa counters 1
//! pid = 4711
//! program = "redis-server"
//! ...
//! ```
//!
//! A process that cannot write there counts in its own memory.

mod file;
mod identity;
mod reader;
mod schema;
mod table;
mod value;

use std::path::PathBuf;

pub use file::CounterFile;
pub(crate) use file::{PAGE, make_directory, make_folder_for, map_words, remove_files};
pub(crate) use identity::Identity;
pub(crate) use reader::contents;
pub use reader::{Instance, Value, read_all};
pub use schema::{Field, Kind};
pub use table::{ProcessCounters, WorkerCounters};
pub use value::{Counter, Gauge, SharedCounter};

/// Directory of the instances, unless `TPA_RUN_DIR` names another.
const RUN_DIR: &str = "/run/tpa";
/// Name of the file in an instance's directory.
const FILE: &str = "counters";

/// The directory that holds a directory for each running process.
pub fn run_dir() -> PathBuf {
    std::env::var_os("TPA_RUN_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| RUN_DIR.into(), PathBuf::from)
}
