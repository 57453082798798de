//! The reader's side: what all processes have counted.
//!
//! The files are read, not mapped: their owners may cut them at any moment.
//! Nothing in a file is believed before it is checked.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FILE;
use super::schema::{Block, Field, Header, Scope};

/// Most bytes of a file that are looked at; a real one has some 40 KiB.
const MAX_FILE: u64 = 1 << 20;

/// One number and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Name, unit and meaning.
    pub field: Arc<Field>,
    /// The number when it was read.
    pub value: u64,
}

/// A process and its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Number of the process.
    pub pid: u32,
    /// The program's name.
    pub program: String,
    /// The device's name.
    pub device: String,
    /// Whether it still runs, as far as can be seen: a process of another PID
    /// namespace counts as alive.
    pub alive: bool,
    /// Values of the process as a whole.
    pub process: Vec<Value>,
    /// Values of each worker.
    pub workers: Vec<Vec<Value>>,
}

/// Reads the counters of all processes that have a directory under `run_dir`,
/// by number. Whatever is not a counter file is skipped.
pub fn read_all(run_dir: &Path) -> Vec<Instance> {
    let mut instances: Vec<_> = list(run_dir).map(|listed| listed.read()).collect();
    instances.sort_by_key(|instance| instance.pid);
    instances
}

/// A counter file that makes sense at first sight.
pub(super) struct Listed {
    pub(super) dir: PathBuf,
    pub(super) header: Header,
    bytes: Vec<u8>,
}

/// The counter files under `run_dir`.
pub(super) fn list(run_dir: &Path) -> impl Iterator<Item = Listed> {
    fs::read_dir(run_dir).into_iter().flatten().flatten().filter_map(|entry| Listed::open(&entry.path()))
}

impl Listed {
    /// The counter file in an instance's directory, which bears the number of
    /// its process.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let pid: u32 = dir.file_name()?.to_str()?.parse().ok()?;
        let bytes = contents(&dir.join(FILE))?;
        let header = Header::decode(&bytes).filter(|header| header.process.pid == pid)?;
        Some(Self { dir: dir.to_owned(), header, bytes })
    }

    fn read(self) -> Instance {
        let mut instance = Instance {
            pid: self.header.process.pid,
            program: self.header.program,
            device: self.header.device,
            alive: !self.header.process.is_gone(),
            process: Vec::new(),
            workers: Vec::new(),
        };
        for block in self.header.blocks {
            match block.scope {
                Scope::Process => instance.process.extend(values(&self.bytes, block).into_iter().flatten()),
                Scope::Worker => instance.workers.extend(values(&self.bytes, block)),
                Scope::Other => {}
            }
        }
        instance
    }
}

/// The bytes of a regular file; a link or a pipe in its place is not opened.
pub fn contents(path: &Path) -> Option<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The values of a block, once for each of its `count`; nothing when it does
/// not lie within the file.
fn values(file: &[u8], block: Block) -> Vec<Vec<Value>> {
    let Block { offset, stride, count, fields, .. } = block;
    let len = count.checked_mul(stride).filter(|_| stride >= fields.len().max(1) * 8);
    let Some(bytes) = len.and_then(|len| file.get(offset..offset.checked_add(len)?)) else {
        return Vec::new();
    };
    let fields: Vec<_> = fields.into_iter().map(Arc::new).collect();
    bytes.chunks_exact(stride).map(|one| numbers(one, &fields)).collect()
}

fn numbers(bytes: &[u8], fields: &[Arc<Field>]) -> Vec<Value> {
    let numbers = bytes.chunks_exact(8).filter_map(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)));
    fields.iter().zip(numbers).map(|(field, value)| Value { field: Arc::clone(field), value }).collect()
}
