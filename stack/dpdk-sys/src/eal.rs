//! Starting DPDK's environment, EAL, as a guest of the program.
//!
//! EAL starts once a process, and cannot be tried again after most failures.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::library::{Dpdk, OpenError};
use crate::{Error, check, log_sink};

/// How EAL is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EalConfig {
    /// Most memory for packet buffers and rings, in MiB.
    pub memory_mb: u32,
    /// What kind of memory that is.
    pub hugepages: Hugepages,
    /// PCI addresses to probe, such as `0000:03:00.0`; with none the PCI bus is
    /// not even looked at.
    pub pci: Vec<String>,
    /// Arguments of EAL's own, added last.
    pub extra_args: Vec<String>,
}

impl EalConfig {
    /// Whether DPDK's memory will be of hugepages, if it starts now.
    pub fn takes_hugepages(&self) -> bool {
        match self.hugepages {
            Hugepages::Auto => free_hugepages_mb(Path::new(HUGEPAGES)) >= u64::from(self.memory_mb),
            Hugepages::Never => false,
            Hugepages::Only => true,
        }
    }
}

/// Where the kernel tells what hugepages there are.
const HUGEPAGES: &str = "/sys/kernel/mm/hugepages";

/// Whether DPDK's memory is made of hugepages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hugepages {
    /// When as many as the memory that is wanted are free.
    #[default]
    Auto,
    /// Ordinary pages.
    Never,
    /// Hugepages, or no start.
    Only,
}

impl Default for EalConfig {
    fn default() -> Self {
        Self { memory_mb: 256, hugepages: Hugepages::Auto, pci: Vec::new(), extra_args: Vec::new() }
    }
}

/// Why EAL does not run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// `libtpa_dpdk.so` could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An argument cannot be given to C.
    #[error("EAL argument {0:?} holds a NUL byte")]
    Argument(String),
    /// Only hugepages will do, and too few are free.
    #[error("{free} MiB of hugepages are free, {wanted} MiB are wanted")]
    Hugepages {
        /// MiB that are wanted.
        wanted: u32,
        /// MiB that are free.
        free: u64,
    },
    /// `rte_eal_init` failed.
    #[error("DPDK does not start: {0}")]
    Init(Error),
}

/// Starts EAL, or returns the outcome of the start that was: one instance a
/// process. The caller's CPU affinity and signal mask stay what they are.
pub fn start(config: &EalConfig) -> Result<&'static Dpdk, StartError> {
    static STARTED: OnceLock<Result<&'static Dpdk, StartError>> = OnceLock::new();
    STARTED.get_or_init(|| init(config)).clone()
}

fn init(config: &EalConfig) -> Result<&'static Dpdk, StartError> {
    let dpdk = Dpdk::open()?;
    log_sink::install(dpdk);
    let free_mb = free_hugepages_mb(Path::new(HUGEPAGES));
    let enough = free_mb >= u64::from(config.memory_mb);
    let huge = match config.hugepages {
        Hugepages::Auto => enough,
        Hugepages::Never => false,
        Hugepages::Only if enough => true,
        Hugepages::Only => return Err(StartError::Hugepages { wanted: config.memory_mb, free: free_mb }),
    };
    let started = Instant::now();
    run(dpdk, arguments(config, huge))?;
    let elapsed = started.elapsed().as_millis();
    let (version, memory) = (dpdk.version(), config.memory_mb);
    if huge {
        log::info!("{version} started in {elapsed} ms on hugepages, at most {memory} MiB");
    } else {
        log::warn!(
            "{version} started in {elapsed} ms without hugepages ({free_mb} MiB of them free), {memory} MiB"
        );
    }
    Ok(dpdk)
}

fn run(dpdk: &Dpdk, arguments: Vec<String>) -> Result<(), StartError> {
    log::debug!("EAL arguments: {arguments:?}");
    let mut pointers = Vec::with_capacity(arguments.len() + 1);
    for argument in arguments {
        let argument = CString::new(argument.clone()).map_err(|_| StartError::Argument(argument))?;
        // EAL may keep what it was given.
        pointers.push(argument.into_raw());
    }
    let count = pointers.len() as i32;
    pointers.push(std::ptr::null_mut());
    // SAFETY: an argument vector as main's: `count` strings and a NULL.
    let result = unsafe { (dpdk.f().eal_init)(count, pointers.as_mut_ptr()) };
    check("rte_eal_init", result).map_err(StartError::Init)
}

/// EAL's command line. Nothing of the instance is visible outside of it: no
/// shared files, no telemetry socket, a prefix of its own.
fn arguments(config: &EalConfig, huge: bool) -> Vec<String> {
    let mut arguments = vec![
        "tpa".to_owned(),
        format!("--lcores=0@({})", allowed_cpus()),
        format!("--file-prefix=tpa-{}", std::process::id()),
        "--no-telemetry".into(),
        "--iova-mode=va".into(),
    ];
    if huge {
        arguments.push("--in-memory".into());
        arguments.push(format!("--socket-limit={}", config.memory_mb));
    } else {
        arguments.extend(["--no-huge".into(), "--no-shconf".into()]);
        arguments.extend(["-m".into(), config.memory_mb.to_string()]);
    }
    if config.pci.is_empty() {
        arguments.push("--no-pci".into());
    }
    arguments.extend(config.pci.iter().map(|address| format!("--allow={address}")));
    arguments.extend(config.extra_args.iter().cloned());
    arguments
}

/// The CPUs that this thread may use, so that EAL's main "lcore", which is this
/// thread, stays as free as it was.
fn allowed_cpus() -> String {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    let cpus: Vec<String> = (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .map(|cpu| cpu.to_string())
        .collect();
    if cpus.is_empty() { "0".into() } else { cpus.join(",") }
}

/// Free hugepages of all sizes, in MiB.
fn free_hugepages_mb(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let kilobytes: u64 = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let free = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
            Some(size * free.trim().parse::<u64>().ok()?)
        })
        .sum();
    kilobytes / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugepages_are_counted_over_all_sizes() {
        let directory = std::env::temp_dir().join(format!("tpa-hugepages-{}", std::process::id()));
        for (size, free) in [("2048kB", "3\n"), ("1048576kB", "1\n")] {
            let size = directory.join(format!("hugepages-{size}"));
            fs::create_dir_all(&size).expect("temporary directory");
            fs::write(size.join("free_hugepages"), free).expect("temporary file");
        }
        let free = free_hugepages_mb(&directory);
        fs::remove_dir_all(&directory).expect("ours");
        assert_eq!(free, 6 + 1024);
    }

    #[test]
    fn without_hugepages_nothing_is_shared_and_memory_is_bounded() {
        let arguments = arguments(&EalConfig { memory_mb: 64, ..EalConfig::default() }, false);
        for wanted in ["--no-huge", "--no-shconf", "--no-telemetry", "--no-pci", "64"] {
            assert!(arguments.iter().any(|argument| argument == wanted), "{wanted}: {arguments:?}");
        }
    }

    #[test]
    fn extra_arguments_come_last_and_pci_devices_are_allowed_one_by_one() {
        let config = EalConfig {
            pci: vec!["0000:03:00.0".into()],
            extra_args: vec!["--single-file-segments".into()],
            ..EalConfig::default()
        };
        let arguments = arguments(&config, true);
        assert_eq!(arguments.last().map(String::as_str), Some("--single-file-segments"));
        assert!(arguments.contains(&"--allow=0000:03:00.0".to_owned()));
        assert!(!arguments.contains(&"--no-pci".to_owned()));
    }
}
