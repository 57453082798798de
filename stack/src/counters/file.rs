//! The writer's side: makes the file, maps it, removes it.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use memmap2::{Advice, MmapRaw};

use super::identity::Identity;
use super::reader::{Listed, list};
use super::schema::{Block, Header, Scope};
use super::table::{ProcessCounters, WorkerCounters};
use super::{FILE, run_dir};
use crate::decisions;
use crate::request::SOCKET;

/// Most workers that a process has.
const MAX_WORKERS: usize = 64;
/// The file while it is being written.
const UNFINISHED: &str = "counters.new";
/// How long an empty folder may wait for its files.
const FRESH: Duration = Duration::from_secs(60);
/// Where values start: a multiple of this, so of a block's alignment too.
pub const PAGE: usize = 4096;

/// The counters of this process.
#[derive(Debug)]
pub struct CounterFile {
    process: &'static ProcessCounters,
    workers: &'static [WorkerCounters],
    /// The instance's directory and the process that made it.
    place: Option<(PathBuf, Identity)>,
}

impl CounterFile {
    /// Makes the counters of a process with that many workers (1 to 64), in a
    /// file under [`run_dir`] where it can be, else in memory. Removes the
    /// files of processes that have died.
    ///
    /// The mapping is not inherited by forked children (`MADV_DONTFORK`): they
    /// must not count.
    pub fn create(program: &str, device: &str, workers: usize) -> Self {
        Self::create_in(&run_dir(), program, device, workers)
    }

    /// Counters in the process's own memory, which nobody else sees.
    pub fn anonymous(workers: usize) -> Self {
        let workers: Vec<_> = (0..workers).map(|_| WorkerCounters::default()).collect();
        Self { process: Box::leak(Box::default()), workers: workers.leak(), place: None }
    }

    fn create_in(run_dir: &Path, program: &str, device: &str, workers: usize) -> Self {
        let workers = workers.clamp(1, MAX_WORKERS);
        remove_stale(run_dir);
        Self::in_file(run_dir, program, device, workers).unwrap_or_else(|error| {
            log::debug!("counters stay in memory: {}: {error}", run_dir.display());
            Self::anonymous(workers)
        })
    }

    fn in_file(run_dir: &Path, program: &str, device: &str, workers: usize) -> io::Result<Self> {
        let own = Identity::own().ok_or_else(|| io::Error::other("no /proc"))?;
        let image = Image::new(own, program, device, workers)?;
        let dir = make_directory(run_dir, own)?;
        let (process, workers) = image.write_and_map(&dir)?;
        Ok(Self { process, workers, place: Some((dir, own)) })
    }

    /// The counters of one worker; one thread at a time may write them.
    ///
    /// # Panics
    ///
    /// When there is no such worker.
    pub fn worker(&self, index: usize) -> &'static WorkerCounters {
        &self.workers[index]
    }

    /// The counters of the process.
    pub fn process(&self) -> &'static ProcessCounters {
        self.process
    }

    /// The instance's directory, when the counters are in a file.
    pub fn directory(&self) -> Option<&Path> {
        self.place.as_ref().map(|(dir, _)| dir.as_path())
    }

    /// Removes the file, at the orderly end of the process; a forked child
    /// leaves its parent's alone. Counting may go on.
    pub fn remove(&self) {
        if let Some((dir, _)) = self.place.as_ref().filter(|(_, owner)| Identity::own() == Some(*owner)) {
            remove_files(dir);
        }
    }
}

impl Drop for CounterFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The file as it is first written.
struct Image {
    bytes: Vec<u8>,
    process_at: usize,
    workers_at: usize,
    workers: usize,
}

impl Image {
    fn new(own: Identity, program: &str, device: &str, workers: usize) -> io::Result<Self> {
        let mut header = Header {
            program: program.to_owned(),
            device: device.to_owned(),
            process: own,
            blocks: vec![
                Block {
                    scope: Scope::Process,
                    offset: 0,
                    stride: size_of::<ProcessCounters>(),
                    count: 1,
                    fields: ProcessCounters::schema(),
                },
                Block {
                    scope: Scope::Worker,
                    offset: 0,
                    stride: size_of::<WorkerCounters>(),
                    count: workers,
                    fields: WorkerCounters::schema(),
                },
            ],
        };
        let encode =
            |header: &Header| header.encode().ok_or_else(|| io::Error::other("no TOML for the header"));
        // The places are in the text whose length they depend on: a page more
        // than the text without them is enough for their digits.
        let process_at = (encode(&header)?.len() + 1).next_multiple_of(PAGE) + PAGE;
        let workers_at = process_at + size_of::<ProcessCounters>();
        header.blocks[0].offset = process_at;
        header.blocks[1].offset = workers_at;
        let mut bytes = encode(&header)?.into_bytes();
        bytes.resize(workers_at + workers * size_of::<WorkerCounters>(), 0);
        Ok(Self { bytes, process_at, workers_at, workers })
    }

    fn write_and_map(&self, dir: &Path) -> io::Result<(&'static ProcessCounters, &'static [WorkerCounters])> {
        write(dir, FILE, &self.bytes, |file| self.map(file))
    }

    fn map(&self, file: &File) -> io::Result<(&'static ProcessCounters, &'static [WorkerCounters])> {
        let map = MmapRaw::map_raw(file)?;
        map.advise(Advice::DontFork)?;
        let base = ManuallyDrop::new(map).as_mut_ptr();
        // SAFETY: the mapping is never unmapped, and as long as `bytes`, which
        // ends with the last block; both places are multiples of 128, the
        // blocks' alignment; any bits are a valid AtomicU64; nobody holds a
        // reference to this memory that is not to atomics.
        unsafe {
            let process = &*base.add(self.process_at).cast::<ProcessCounters>();
            let workers = base.add(self.workers_at).cast::<WorkerCounters>();
            Ok((process, std::slice::from_raw_parts(workers, self.workers)))
        }
    }
}

/// Writes a file under another name, maps it, and gives it its name: a reader
/// never sees half of it.
fn write<T>(dir: &Path, name: &str, bytes: &[u8], map: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
    let unfinished = dir.join(UNFINISHED);
    let _ = fs::remove_file(&unfinished);
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&unfinished)?;
    // The program's umask has taken from the mode.
    file.set_permissions(Permissions::from_mode(0o644))?;
    // Written in full, not left sparse: a file system without room says so now
    // and not by a SIGBUS later.
    file.write_all(bytes)?;
    let mapped = map(&file)?;
    fs::rename(unfinished, dir.join(name))?;
    Ok(mapped)
}

/// Makes a file of `head`, whose length is a multiple of [`PAGE`], and that many
/// 64-bit numbers behind it, and maps these. A forked child reads on in the
/// parent's.
pub fn map_words(
    dir: &Path,
    name: &str,
    mut head: Vec<u8>,
    words: usize,
) -> io::Result<&'static [AtomicU64]> {
    let offset = head.len().next_multiple_of(PAGE);
    head.resize(offset + words * size_of::<AtomicU64>(), 0);
    write(dir, name, &head, |file| {
        let base = ManuallyDrop::new(MmapRaw::map_raw(file)?).as_mut_ptr();
        // SAFETY: the mapping is never unmapped, and as long as `head`, which ends
        // with the numbers; `offset` is a multiple of a page; any bits are a valid
        // AtomicU64; nobody holds a reference to this memory that is not to atomics.
        Ok(unsafe { std::slice::from_raw_parts(base.add(offset).cast::<AtomicU64>(), words) })
    })
}

/// Makes the directory of this process, or takes over the one of an earlier
/// program of the same process (`exec`).
pub fn make_directory(run_dir: &Path, own: Identity) -> io::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    builder.mode(0o755);
    if builder.create(run_dir).is_ok() {
        fs::set_permissions(run_dir, Permissions::from_mode(0o755))?;
    }
    let dir = run_dir.join(own.pid.to_string());
    match builder.create(&dir) {
        Ok(()) => fs::set_permissions(&dir, Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_ours(&dir, own)?,
        Err(error) => return Err(error),
    }
    Ok(dir)
}

/// Makes the folder of another process, which may then write to it: for one that
/// may not make it itself.
///
/// # Errors
///
/// When it cannot be made, or is in use.
pub fn make_folder_for(pid: i32, uid: u32, gid: u32) -> io::Result<PathBuf> {
    let own = u32::try_from(pid).ok().and_then(Identity::of);
    let dir = make_directory(&run_dir(), own.ok_or(io::ErrorKind::NotFound)?)?;
    std::os::unix::fs::lchown(&dir, Some(uid), Some(gid))?;
    Ok(dir)
}

/// An error when another process (one of the same number in another PID
/// namespace) uses the directory.
fn check_ours(dir: &Path, own: Identity) -> io::Result<()> {
    let taken = Listed::open(dir).is_some_and(|listed| listed.header.process != own);
    let is_dir = fs::symlink_metadata(dir)?.is_dir();
    if taken || !is_dir { Err(io::Error::from(io::ErrorKind::AlreadyExists)) } else { Ok(()) }
}

fn remove_stale(run_dir: &Path) {
    decisions::remove_stale(run_dir);
    for listed in list(run_dir).filter(|listed| listed.header.process.is_gone()) {
        remove_files(&listed.dir);
    }
    // A program that dropped root removes its files, but may not remove the folder;
    // tpad does, unless it is killed. Only an empty one can be removed so.
    for folder in fs::read_dir(run_dir).into_iter().flatten().flatten().filter(is_forsaken) {
        let _ = fs::remove_dir(folder.path());
    }
}

/// Whether a folder is that of a process which is gone, and nobody is about to fill
/// it: a process of another PID namespace may have been given it just now.
fn is_forsaken(folder: &DirEntry) -> bool {
    let pid = folder.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let age = folder.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
        && age.is_some_and(|age| age > FRESH)
}

/// Removes what we put into an instance's directory, and the directory when
/// nothing else is in it.
pub fn remove_files(dir: &Path) {
    for file in [FILE, UNFINISHED, SOCKET, decisions::FILE] {
        let _ = fs::remove_file(dir.join(file));
    }
    let _ = fs::remove_dir(dir);
}

#[cfg(test)]
mod tests;
