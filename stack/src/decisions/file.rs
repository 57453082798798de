//! The file: a text that says whose it is and names the reasons, then 64-bit
//! numbers in host byte order: how many decisions there were, how many of them
//! for each reason, and the last ones, four numbers each.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::KEPT;
use crate::config::Reason;
use crate::counters::{self, Identity};

/// Name of the file in an instance's directory.
pub const FILE: &str = "decisions";
/// First line of the file.
const MAGIC: &str = "tpa decisions 1\n";
/// Kinds of sockets.
pub const LISTEN: u64 = 1;
pub const CONNECT: u64 = 2;
/// Numbers of an entry: milliseconds since 1970; port, kind and reason; the
/// address as IPv6 has it, IPv4 ones mapped.
const ENTRY: usize = 4;
/// Numbers in the file.
pub const WORDS: usize = 1 + Reason::ALL.len() + KEPT * ENTRY;

/// The text as data.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    program: String,
    /// Bytes before the numbers.
    offset: usize,
    /// Entries that are kept.
    kept: usize,
    process: Identity,
    reasons: Vec<Named>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Named {
    code: String,
    help: String,
}

/// What was decided about sockets of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The program's name.
    pub program: String,
    /// Each reason that ever held: its code, what it means, how often.
    pub counts: Vec<(String, String, u64)>,
    /// The last decisions, the oldest first.
    pub last: Vec<Entry>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was made.
    pub at: SystemTime,
    /// Whether about a listener; else about a connection.
    pub listens: bool,
    /// The listener's local address, or where the connection goes.
    pub address: SocketAddr,
    /// Code of the reason.
    pub code: String,
}

/// The three parts of the numbers: the total, the counts, the entries.
pub fn parts<T>(words: &[T]) -> (Option<&T>, &[T], &[[T; ENTRY]]) {
    let Some((total, rest)) = words.split_first() else { return (None, &[], &[]) };
    let (counts, entries) = rest.split_at(Reason::ALL.len().min(rest.len()));
    (Some(total), counts, entries.as_chunks().0)
}

/// Makes the file of this process and maps its numbers.
pub fn create(program: &str) -> io::Result<(&'static [AtomicU64], PathBuf)> {
    let own = Identity::own().ok_or_else(|| io::Error::other("no /proc"))?;
    let run_dir = counters::run_dir();
    remove_stale(&run_dir);
    let reasons = Reason::ALL.map(|reason| Named { code: reason.code().into(), help: reason.to_string() });
    let offset = counters::PAGE;
    let header =
        Header { program: program.to_owned(), process: own, offset, kept: KEPT, reasons: reasons.into() };
    let text = toml::to_string(&header).map_err(io::Error::other)?;
    let mut bytes = format!("{MAGIC}{text}").into_bytes();
    if bytes.len() >= offset {
        return Err(io::Error::other("the text is too long"));
    }
    bytes.resize(offset, 0);
    let directory = counters::make_directory(&run_dir, own)?;
    Ok((counters::map_words(&directory, FILE, bytes, WORDS)?, directory))
}

/// Removes the file from an instance's directory, and that when it is empty.
pub fn remove(directory: &Path) {
    let _ = fs::remove_file(directory.join(FILE));
    let _ = fs::remove_dir(directory);
}

/// Removes the files of processes that have died.
pub fn remove_stale(run_dir: &Path) {
    for entry in fs::read_dir(run_dir).into_iter().flatten().flatten() {
        let directory = entry.path();
        if header_of(&directory).is_some_and(|(header, _)| header.process.is_gone()) {
            remove(&directory);
        }
    }
}

fn header_of(directory: &Path) -> Option<(Header, Vec<u8>)> {
    let bytes = counters::contents(&directory.join(FILE))?;
    let text = bytes.split(|&byte| byte == 0).next()?;
    let text = std::str::from_utf8(text).ok()?.strip_prefix(MAGIC)?;
    Some((toml::from_str(text).ok()?, bytes))
}

/// Reads the decisions of a process; `None` when it has no file, or is gone.
pub fn read(run_dir: &Path, pid: u32) -> Option<Log> {
    let (header, bytes) = header_of(&run_dir.join(pid.to_string()))?;
    if header.process.is_gone() {
        return None;
    }
    let numbers: Vec<u64> =
        bytes.get(header.offset..)?.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    let (total, rest) = numbers.split_first()?;
    let (counts, entries) = rest.split_at_checked(header.reasons.len())?;
    let entries: &[[u64; ENTRY]] = entries.as_chunks().0;
    let kept = header.kept.min(entries.len()) as u64;
    let last = (total.saturating_sub(kept)..*total)
        .filter_map(|nth| entry(entries.get(nth.checked_rem(kept)? as usize)?, &header.reasons))
        .collect();
    let counts = header.reasons.iter().zip(counts).filter(|(_, count)| **count > 0);
    let counts = counts.map(|(named, count)| (named.code.clone(), named.help.clone(), *count)).collect();
    Some(Log { program: header.program, counts, last })
}

/// `None` for one that is just being written.
fn entry(&[at, what, high, low]: &[u64; ENTRY], reasons: &[Named]) -> Option<Entry> {
    let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    let kind = what >> 8 & 0xff;
    Some(Entry {
        at: UNIX_EPOCH + Duration::from_millis(at),
        listens: kind == LISTEN,
        address: SocketAddr::new(address.to_canonical(), (what >> 16) as u16),
        code: reasons.get((what & 0xff) as usize).filter(|_| matches!(kind, LISTEN | CONNECT))?.code.clone(),
    })
}
