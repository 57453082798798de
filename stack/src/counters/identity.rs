//! Which process a file belongs to, beyond its number, which is reused.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// A process, for as long as the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub(super) pid: u32,
    /// Start after boot in clock ticks (proc_pid_stat(5), field 22).
    pub(super) start_time: u64,
    /// Inode of the PID namespace that the number is of (namespaces(7)).
    pub(super) pid_namespace: u64,
}

impl Identity {
    /// The calling process; `None` without a proc(5).
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// The process of that number in our own PID namespace.
    pub fn of(pid: u32) -> Option<Self> {
        let start_time = start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { pid, start_time, pid_namespace: own_namespace()? })
    }

    /// Whether the process is surely gone. One of another PID namespace, which
    /// is out of our sight, is not.
    pub fn is_gone(self) -> bool {
        match own_namespace() {
            Some(own) if own == self.pid_namespace => Self::of(self.pid) != Some(self),
            _ => false,
        }
    }
}

fn own_namespace() -> Option<u64> {
    Some(fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

/// Field 22. The second one is the program's name in brackets and can hold
/// blanks and brackets itself.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields_from_3) = stat.rsplit_once(')')?;
    fields_from_3.split_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_program_name() {
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        for name in ["redis-server", "a b", "x) R 1 (y", ""] {
            assert_eq!(start_time(&format!("17 ({name}) S {}\n", fields.join(" "))), Some(22));
        }
        assert_eq!(start_time("17 (x) S 4 5"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn a_reused_number_is_another_process() {
        let own = Identity::own().unwrap();
        assert!(!own.is_gone());
        assert!(Identity { start_time: own.start_time - 1, ..own }.is_gone());
    }

    #[test]
    fn a_process_of_another_namespace_is_not_taken_for_gone() {
        let own = Identity::own().unwrap();
        assert!(!Identity { start_time: 1, pid_namespace: 1, ..own }.is_gone());
    }
}
