//! Writer and reader together.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::counters::{Instance, Kind, Value, read_all};

/// A run directory of a test's own.
struct RunDir(PathBuf);

impl RunDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("tpa-counters-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn own(&self) -> PathBuf {
        self.0.join(std::process::id().to_string())
    }

    /// A file as a process of that identity would have left it.
    fn plant(&self, process: Identity) -> PathBuf {
        let dir = self.0.join(process.pid.to_string());
        fs::create_dir(&dir).unwrap();
        Image::new(process, "planted", "memif:0", 1).unwrap().write_and_map(&dir).unwrap();
        dir
    }

    fn read_one(&self) -> Instance {
        let mut instances = read_all(&self.0);
        assert_eq!(instances.len(), 1);
        instances.pop().unwrap()
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get(values: &[Value], name: &str) -> u64 {
    values.iter().find(|value| value.field.name == name).unwrap().value
}

#[test]
fn a_reader_sees_what_each_worker_counts() {
    let run_dir = RunDir::new();
    let file = CounterFile::create_in(&run_dir.0, "redis \"server\"\n", "af_xdp:eth0", 3);
    file.worker(0).rx_frames.add(5);
    file.worker(2).rx_frames.add(7);
    file.worker(2).connections_now.set(2);
    file.worker(2).device_disconnects.add(u64::MAX);
    file.process().fallback_connect.add(9);

    let instance = run_dir.read_one();
    assert_eq!(instance.pid, std::process::id());
    assert_eq!(instance.program, "redis \"server\"\n");
    assert_eq!(instance.device, "af_xdp:eth0");
    assert!(instance.alive);
    let rx: Vec<u64> = instance.workers.iter().map(|worker| get(worker, "rx_frames")).collect();
    assert_eq!(rx, [5, 0, 7]);
    assert_eq!(get(&instance.workers[2], "device_disconnects"), u64::MAX);
    assert_eq!(get(&instance.workers[1], "connections_now"), 0);
    assert_eq!(get(&instance.process, "fallback_connect"), 9);
    let gauge = instance.workers[2].iter().find(|value| value.field.kind == Kind::Gauge).unwrap();
    assert_eq!((gauge.field.name.as_str(), gauge.value), ("connections_now", 2));
}

#[test]
fn anybody_may_read_and_only_the_owner_write() {
    let run_dir = RunDir::new();
    let _file = CounterFile::create_in(&run_dir.0, "p", "d", 64);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(run_dir.own()), 0o755);
    assert_eq!(mode(run_dir.own().join(FILE)), 0o644);
    assert!(!run_dir.own().join(UNFINISHED).exists());
}

#[test]
fn the_file_goes_with_its_owner() {
    let run_dir = RunDir::new();
    let file = CounterFile::create_in(&run_dir.0, "p", "d", 1);
    assert_eq!(file.directory(), Some(run_dir.own().as_path()));
    file.remove();
    assert!(!run_dir.own().exists());
    file.worker(0).polls.add(1);
    assert_eq!(file.worker(0).polls.get(), 1);
}

#[test]
fn a_directory_that_cannot_be_made_leaves_the_counters_in_memory() {
    let run_dir = RunDir::new();
    let not_a_directory = run_dir.0.join("file");
    fs::write(&not_a_directory, "").unwrap();
    let file = CounterFile::create_in(&not_a_directory, "p", "d", 2);
    assert_eq!(file.directory(), None);
    file.worker(1).polls.add(3);
    assert_eq!((file.worker(0).polls.get(), file.worker(1).polls.get()), (0, 3));
}

#[test]
fn files_of_the_dead_are_removed_and_no_others() {
    let run_dir = RunDir::new();
    let own = Identity::own().unwrap();
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let dead = run_dir.plant(Identity { pid: child.id(), start_time: 1, ..own });
    let foreign = run_dir.plant(Identity { pid: 1, start_time: 1, pid_namespace: 1 });
    let rubbish = run_dir.0.join("77");
    fs::create_dir(&rubbish).unwrap();
    fs::write(rubbish.join(FILE), "not ours").unwrap();

    let file = CounterFile::create_in(&run_dir.0, "p", "d", 1);
    assert!(!dead.exists());
    assert!(foreign.join(FILE).exists());
    assert!(rubbish.join(FILE).exists());
    assert!(file.directory().is_some());
    let alive: Vec<_> = read_all(&run_dir.0).into_iter().map(|i| (i.pid, i.alive)).collect();
    assert_eq!(alive, [(1, true), (own.pid, true)]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_directory_of_a_program_before_exec_is_taken_over() {
    let run_dir = RunDir::new();
    run_dir.plant(Identity::own().unwrap());
    let _file = CounterFile::create_in(&run_dir.0, "second", "d", 1);
    assert_eq!(run_dir.read_one().program, "second");
}

#[test]
fn the_directory_of_a_namesake_in_another_pid_namespace_is_left_alone() {
    let run_dir = RunDir::new();
    let own = Identity::own().unwrap();
    run_dir.plant(Identity { pid_namespace: 1, ..own });
    let file = CounterFile::create_in(&run_dir.0, "second", "d", 1);
    assert_eq!(file.directory(), None);
    drop(file);
    assert_eq!(run_dir.read_one().program, "planted");
}

#[test]
fn a_link_or_a_pipe_in_the_place_of_a_file_is_not_read() {
    let run_dir = RunDir::new();
    let real = run_dir.plant(Identity::own().unwrap()).join(FILE);
    let other = run_dir.0.join("1");
    fs::create_dir(&other).unwrap();
    std::os::unix::fs::symlink(real, other.join(FILE)).unwrap();
    nix::unistd::mkfifo(&run_dir.0.join("2"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(run_dir.0.join("3")).unwrap();
    nix::unistd::mkfifo(&run_dir.0.join("3").join(FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(read_all(&run_dir.0).len(), 1);
}

#[test]
fn a_file_of_a_later_version_is_read_as_far_as_it_is_known() {
    let run_dir = RunDir::new();
    let dir = run_dir.0.join("5");
    fs::create_dir(&dir).unwrap();
    let text = "tpa counters 1\nprogram = 'p'\ndevice = 'd'\nmood = 'new'\n\
        [process]\npid = 5\nstart_time = 1\npid_namespace = 1\n\
        [[blocks]]\nscope = 'socket'\noffset = 0\nstride = 8\ncount = 1\nfields = []\n\
        [[blocks]]\nscope = 'worker'\noffset = 1024\nstride = 16\ncount = 2\n\
        [[blocks.fields]]\nname = 'x'\nkind = 'histogram'\nunit = 'u'\nhelp = 'h'\nwidth = 3\n";
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(1024, 0);
    bytes.extend([1u64, 0, 2, 0].map(u64::to_ne_bytes).concat());
    fs::write(dir.join(FILE), bytes).unwrap();
    let instance = run_dir.read_one();
    assert_eq!(instance.workers.iter().map(|w| get(w, "x")).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(instance.workers[0][0].field.kind, Kind::Other);
}

/// Reads a file with the given bytes in the place of a real one.
fn read_bytes(run_dir: &RunDir, bytes: &[u8]) -> Vec<Instance> {
    let dir = run_dir.own();
    let _ = fs::create_dir(&dir);
    fs::write(dir.join(FILE), bytes).unwrap();
    read_all(&run_dir.0)
}

#[test]
fn numbers_that_point_out_of_the_file_give_no_values() {
    let run_dir = RunDir::new();
    let image = Image::new(Identity::own().unwrap(), "p", "d", 2).unwrap();
    let text = Header::decode(&image.bytes).unwrap();
    let lies: [fn(&mut Block); 5] = [
        |block| block.offset = usize::MAX >> 1,
        |block| block.count = usize::MAX >> 1,
        |block| block.stride = 0,
        |block| block.stride = 8,
        |block| (block.count, block.stride) = (1 << 40, 1 << 40),
    ];
    for lie in lies {
        let mut header = text.clone();
        lie(&mut header.blocks[1]);
        let mut bytes = header.encode().unwrap().into_bytes();
        bytes.resize(image.bytes.len(), 0);
        assert_eq!(read_bytes(&run_dir, &bytes)[0].workers, Vec::<Vec<Value>>::new());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let run_dir = RunDir::new();
        let mut bytes = Image::new(Identity::own().unwrap(), "p", "d", 1).unwrap().bytes;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        read_bytes(&run_dir, &bytes);
    }
}

#[test]
fn an_empty_folder_of_the_dead_is_removed_when_it_is_old() {
    let run_dir = RunDir::new();
    // Beyond the highest number that a process can have (PID_MAX_LIMIT).
    let [old, young, full] = ["4194305", "4194306", "4194307"].map(|name| run_dir.0.join(name));
    for folder in [&old, &young, &full] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(full.join("something"), "of somebody").unwrap();
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(120));
    for folder in [&old, &full] {
        File::open(folder).unwrap().set_times(times).unwrap();
    }
    remove_stale(&run_dir.0);
    assert_eq!([old, young, full].map(|folder| folder.exists()), [false, true, true]);
}
