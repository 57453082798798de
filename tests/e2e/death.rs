//! Processes that are killed leave nothing behind.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{wait_until, Device, Role, Stage, Work};

const LIMIT: Duration = Duration::from_secs(10);

/// Huge pages in use, and files in the places where DPDK and we keep some.
fn left_on_the_machine() -> (String, Vec<String>) {
    let memory = std::fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let pages = memory.lines().filter(|line| line.starts_with("HugePages_")).collect::<Vec<_>>().join("\n");
    let folders = ["/run/dpdk", "/dev/hugepages"];
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let files = files.flatten().filter_map(|entry| Some(entry.ok()?.path().display().to_string())).collect();
    (pages, files)
}

fn killed_under_load(device: Device) {
    let before = left_on_the_machine();
    let stage = Stage::new(device);
    for _ in 0..2 {
        let redis = stage.redis(&[]);
        let load = stage.start_benchmark(&["-t", "set,get", "-c", "50", "-n", "100000000"]);
        let received = redis.stack();
        wait_until(LIMIT, "the load to begin", || {
            redis.stack().since(&received, "bytes_received") > 1_000_000
        });
        redis.process.signal(Signal::SIGKILL);
        drop(redis);
        wait_until(LIMIT, "the XDP program to go", || !stage.server.has_xdp_program());
        load.signal(Signal::SIGKILL);
        drop(load);
        stage.server.wait_empty(LIMIT);
        stage.client.wait_empty(LIMIT);
        let (pages, files) = left_on_the_machine();
        assert_eq!(pages, before.0);
        let new: Vec<_> = files.iter().filter(|file| !before.1.contains(file)).collect();
        assert!(new.is_empty(), "left behind: {new:?}");
    }
}

#[test]
fn a_server_killed_under_load_leaves_nothing_over_af_xdp_and_can_be_started_again() {
    killed_under_load(Device::AfXdp);
}

#[test]
fn both_ends_killed_under_load_leave_nothing_over_memif_and_can_be_started_again() {
    killed_under_load(Device::Memif(Role::Server));
}

/// Namespaces and folders that the demo makes are named by its process.
fn demo_interrupted_after(delay: Duration) {
    let work = Work::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo");
    let mut demo = std::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", script, "--quick"])
        .env("TMPDIR", work.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("scripts/demo");
    std::thread::sleep(delay);
    let pid = nix::unistd::Pid::from_raw(demo.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("to interrupt the demo");
    let mut ended = false;
    // Cargo, when it builds, is waited for.
    wait_until(Duration::from_secs(300), "the demo to end", || {
        ended = demo.try_wait().expect("the demo").is_some();
        ended
    });
    let namespaces = std::process::Command::new("ip").args(["netns", "list"]).output().expect("ip(8)");
    let namespaces = String::from_utf8_lossy(&namespaces.stdout).into_owned();
    assert!(!namespaces.contains(&format!("tpa-{pid}-")), "{namespaces}");
    let left = std::fs::read_dir(work.path()).expect("the folder").count();
    assert_eq!(left, 0, "the demo's folder is gone");
}

#[test]
fn a_demo_interrupted_at_any_moment_leaves_nothing() {
    for milliseconds in [300, 1500, 2500, 4000, 6000] {
        demo_interrupted_after(Duration::from_millis(milliseconds));
    }
}
