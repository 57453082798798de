//! Why sockets are accelerated or not: how often each reason held, and the last
//! decisions, for `tpa why`.
//!
//! They lie in `/run/tpa/<pid>/decisions`, which is there from the first decision
//! on: the question is most urgent where the stack never started. A process that
//! cannot write there keeps them in its own memory.

mod file;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tpa_tcp::wire::IpAddress;

use crate::Stack;
use crate::config::Reason;
use crate::instance::Purpose;

pub use file::{Entry, Log, read};
pub(crate) use file::{FILE, remove_stale};

/// Decisions that are kept; older ones are only counted.
const KEPT: usize = 64;

/// The decisions of one process.
struct Record {
    owner: u32,
    /// [`file::WORDS`] of them, as [`file`] lays them out.
    words: &'static [AtomicU64],
    /// Where they lie, unless in memory.
    directory: Option<PathBuf>,
}

/// The record of this process or, right after a fork, of its parent. What is
/// replaced is never freed: another thread may be writing to it.
static RECORD: AtomicPtr<Record> = AtomicPtr::new(std::ptr::null_mut());
/// Held while a record is made. Nobody waits for it: it may have been held by
/// another thread when this process was forked.
static MAKING: Mutex<()> = Mutex::new(());

/// Notes what became of a socket. One store for each word, and a getpid(2); the
/// first call makes the file.
pub fn note(program: &str, purpose: Purpose, reason: Reason) {
    let Some(record) = own_record(program) else { return };
    let (kind, address) = match purpose {
        Purpose::Listen(local) => (file::LISTEN, local),
        Purpose::Connect(remote) => (file::CONNECT, remote),
    };
    record.add(kind, address, reason);
    if let Some(stack) = Stack::get() {
        stack.count_decision(reason, 1);
    }
}

/// The stack starts: a record that had to be kept in memory may find its folder
/// now. Returns how often each reason has held so far.
pub(crate) fn publish(program: &str) -> Vec<(Reason, u64)> {
    let own = current().filter(|record| record.owner == std::process::id());
    let Some(mut record) = own else { return Vec::new() };
    if record.directory.is_none() {
        record = renew(program).unwrap_or(record);
    }
    Reason::ALL.into_iter().map(|reason| (reason, record.count(reason))).collect()
}

/// Removes the file, at the end of the process.
pub fn remove() {
    if let Some(record) = current().filter(|record| record.owner == std::process::id())
        && let Some(directory) = &record.directory
    {
        file::remove(directory);
    }
}

fn current() -> Option<&'static Record> {
    // SAFETY: only ever null or leaked.
    unsafe { RECORD.load(Ordering::Acquire).as_ref() }
}

/// The record of this process. After a fork it begins with its parent's.
fn own_record(program: &str) -> Option<&'static Record> {
    match current() {
        Some(record) if record.owner == std::process::id() => Some(record),
        _ => renew(program),
    }
}

fn renew(program: &str) -> Option<&'static Record> {
    let _alone = MAKING.try_lock().ok()?;
    let before = current();
    let (words, directory) = match file::create(program) {
        Ok((words, directory)) => (words, Some(directory)),
        Err(error) => {
            log::debug!("decisions stay in memory: {error}");
            (Vec::from_iter((0..file::WORDS).map(|_| AtomicU64::new(0))).leak() as &_, None)
        }
    };
    for (new, old) in words.iter().zip(before.map_or(&[] as &[_], |record| record.words)) {
        new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    let record: &'static Record = Box::leak(Box::new(Record { owner: std::process::id(), words, directory }));
    RECORD.store(std::ptr::from_ref(record).cast_mut(), Ordering::Release);
    Some(record)
}

impl Record {
    fn add(&self, kind: u64, address: SocketAddr, reason: Reason) {
        let (total, counts, entries) = file::parts(self.words);
        if let Some(count) = counts.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nth = total.map_or(0, |total| total.fetch_add(1, Ordering::Relaxed));
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let what = u64::from(address.port()) << 16 | kind << 8 | reason as u64;
        let [high, low] = IpAddress::from(address.ip()).words();
        let values = [at, what, high, low];
        if let Some(entry) = entries.get(nth as usize % KEPT) {
            entry.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
        }
    }

    fn count(&self, reason: Reason) -> u64 {
        let (_, counts, _) = file::parts(self.words);
        counts.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
