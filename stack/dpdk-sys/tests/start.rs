//! What the start of EAL leaves in the process that it is a guest of. Alone in
//! its process, so that it is this test that starts it.

use std::time::{Duration, Instant};

use dpdk_sys::eal::{self, EalConfig, Hugepages};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

fn affinity() -> Vec<bool> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("own affinity");
    (0..CpuSet::count()).map(|cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

/// Names of this process's threads and the signals that each blocks (proc(5)).
fn threads() -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("proc");
    tasks
        .flatten()
        .filter_map(|task| {
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let field =
                |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            Some((field("Name:")?, u64::from_str_radix(&field("SigBlk:")?, 16).ok()?))
        })
        .collect()
}

/// What descriptors without close-on-exec refer to, in order.
fn inheritable() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("proc").flatten();
    let mut targets: Vec<String> = entries
        .filter(|entry| {
            let info = format!("/proc/self/fdinfo/{}", entry.file_name().to_string_lossy());
            let info = std::fs::read_to_string(info).unwrap_or_default();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            flags.is_some_and(|flags| {
                i32::from_str_radix(flags.trim(), 8).is_ok_and(|f| f & libc::O_CLOEXEC == 0)
            })
        })
        .map(|entry| std::fs::read_link(entry.path()).unwrap_or_default().display().to_string())
        .collect();
    targets.sort();
    targets
}

#[test]
fn eal_starts_once_and_leaves_the_caller_as_it_was() {
    let cpus = affinity();
    let before = inheritable();
    let begin = Instant::now();
    let config = EalConfig { memory_mb: 64, hugepages: Hugepages::Never, ..EalConfig::default() };
    let first = eal::start(&config).expect("EAL starts anywhere without hugepages");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(affinity(), cpus);
    let blocked = threads();
    let dpdk_threads: Vec<_> = blocked.iter().filter(|(name, _)| name.starts_with("eal-")).collect();
    assert!(!dpdk_threads.is_empty(), "{blocked:?}");
    // All but SIGKILL, SIGSTOP and the two that glibc keeps for itself.
    assert!(dpdk_threads.iter().all(|(_, mask)| *mask == 0xffff_fffe_7ffb_feff), "{blocked:x?}");
    assert_eq!(inheritable(), before, "descriptors that a program would inherit");
    let again = eal::start(&EalConfig { memory_mb: 1, ..EalConfig::default() }).expect("the same");
    assert!(std::ptr::eq(first, again));
    let run = format!("/var/run/dpdk/tpa-{}", std::process::id());
    assert!(!std::path::Path::new(&run).exists(), "{run} is left behind");
}
