//! The control thread: keeps connections alive while the program does
//! something else, watches the kernel's view of the network, and runs the
//! devices' control sides. It never touches data that the program is working
//! on: whatever it does to a worker, it does under that worker's lock.

use std::os::fd::{BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::time::TimeSpec;

use crate::device::Device;
use crate::host::{Change, Watcher};
use crate::identity::Network;
use crate::request::Requests;
use crate::worker::{Busy, Sleeper, Worker};
use crate::{Stack, clock, fork};

/// A worker that nobody ran for so long is run by the control thread.
const NEGLECT: Duration = Duration::from_millis(1);
/// Longest time between two looks at the workers.
const IDLE_TICK: Duration = Duration::from_millis(16);
/// Devices are looked after at least so often (see `Device::on_control`).
const DEVICE_TICK: Duration = Duration::from_millis(500);

/// Starts the thread, with every signal blocked: signals are the program's.
pub fn spawn(stack: &'static Stack) -> std::io::Result<()> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let spawned = std::thread::Builder::new()
        .name("tpa-control".into())
        .stack_size(256 * 1024)
        .spawn(move || run(stack));
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    spawned.map(drop)
}

struct Control {
    stack: &'static Stack,
    watcher: Option<Watcher>,
    requests: Option<Requests>,
    /// Workers that the program has left alone, one flag each.
    neglected: Vec<bool>,
    tick: Duration,
    devices_due: std::time::Instant,
    fds: Vec<(RawFd, i16)>,
    /// How many of them belong to the watcher, to requests and to the devices'
    /// control sides; those of their data follow.
    controls: usize,
    ready: Vec<PollFd<'static>>,
}

fn run(stack: &'static Stack) {
    let watcher = match &stack.identity().network {
        Network::Kernel { .. } => match Watcher::open() {
            Ok(watcher) => {
                fork::note(watcher.fd());
                // What changed before the watch began.
                stack.refresh_addresses();
                Some(watcher)
            }
            Err(error) => {
                log::warn!("changes of addresses and neighbours go unnoticed: {error}");
                None
            }
        },
        Network::Own(_) => None,
    };
    let mut control = Control {
        stack,
        watcher,
        requests: stack.run_directory().and_then(open_requests),
        neglected: vec![false; stack.workers().len()],
        tick: NEGLECT,
        devices_due: std::time::Instant::now(),
        fds: Vec::new(),
        controls: 0,
        ready: Vec::new(),
    };
    while !stack.is_over() {
        // A panic must not leave the program without its timers.
        if catch_unwind(AssertUnwindSafe(|| control.turn())).is_err() {
            log::error!("the control thread went wrong and goes on; please report this");
            std::thread::sleep(IDLE_TICK);
        }
    }
}

fn open_requests(directory: &Path) -> Option<Requests> {
    let opened = Requests::open(directory);
    opened.inspect_err(|error| log::warn!("`tpa` cannot ask for anything: {error}")).ok()
}

impl Control {
    fn turn(&mut self) {
        let timeout = self.wait_time();
        let (asleep, busy) = self.collect_fds();
        let timeout = if busy { Duration::ZERO } else { timeout };
        let timeout = asleep.iter().filter_map(|(_, limit)| *limit).fold(timeout, Duration::min);
        self.sleep(timeout);
        for (worker, _) in asleep {
            worker.lock().end_sleep(Sleeper::Control);
        }
        self.look_after_devices();
        if let Some(watcher) = &mut self.watcher {
            let stack = self.stack;
            if let Err(error) = watcher.drain(|change| apply(stack, change)) {
                log::warn!("changes of addresses and neighbours go unnoticed from now on: {error}");
                self.watcher = None;
            }
        }
        self.look_after_workers();
    }

    /// While the program works its own workers, a look each millisecond; the
    /// longer it sleeps, the rarer.
    fn wait_time(&mut self) -> Duration {
        let idle = self.stack.workers().iter().all(Worker::is_slept_on);
        self.tick = if idle { (self.tick * 2).min(IDLE_TICK) } else { NEGLECT };
        self.tick
    }

    /// Gathers the descriptors to wait for; on neglected workers we sleep as
    /// the program would. Returns those, with the time until their next timer,
    /// and whether a worker has more to do at once.
    fn collect_fds(&mut self) -> (Vec<(&'static Worker, Option<Duration>)>, bool) {
        self.fds.clear();
        let mut data = Vec::new();
        self.fds.extend(self.watcher.as_ref().map(|watcher| (watcher.fd(), libc::POLLIN)));
        self.fds.extend(self.requests.iter().flat_map(Requests::fds).map(|fd| (fd, libc::POLLIN)));
        let (mut asleep, mut busy) = (Vec::new(), false);
        for (worker, neglected) in self.stack.workers().iter().zip(&self.neglected) {
            let Some(mut guard) = worker.try_lock() else { continue };
            guard.device.control_fds(&mut self.fds);
            if !neglected {
                continue;
            }
            match guard.begin_sleep(Sleeper::Control) {
                Ok(limit) => {
                    data.extend(worker.wait_fds().iter().map(|&fd| (fd, libc::POLLIN)));
                    asleep.push((worker, limit));
                }
                Err(Busy) => busy = true,
            }
        }
        self.controls = self.fds.len();
        self.fds.append(&mut data);
        (asleep, busy)
    }

    fn sleep(&mut self, timeout: Duration) {
        self.ready.clear();
        self.ready.extend(self.fds.iter().map(|&(fd, events)| {
            // SAFETY: descriptors of devices, the watcher and doorbells live as
            // long as the stack; a stale control descriptor polls as POLLNVAL.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            PollFd::new(fd, PollFlags::from_bits_truncate(events))
        }));
        let _ = ppoll(&mut self.ready, Some(TimeSpec::from(timeout)), None);
    }

    fn look_after_devices(&mut self) {
        let now = std::time::Instant::now();
        let signalled = self.ready.iter().take(self.controls).any(|fd| fd.any().unwrap_or(true));
        if !signalled && now < self.devices_due {
            return;
        }
        self.devices_due = now + DEVICE_TICK;
        for worker in self.stack.workers() {
            let mut guard = worker.lock();
            guard.device.on_control();
            guard.keep_house();
        }
        if let Some(requests) = &mut self.requests {
            requests.serve(|request| answer(self.stack, request));
        }
        self.stack.faults().look_after(self.stack.workers());
    }

    fn look_after_workers(&mut self) {
        let now = clock::now();
        for (worker, neglected) in self.stack.workers().iter().zip(&mut self.neglected) {
            *neglected = worker.unattended_for(now) >= NEGLECT;
            if *neglected && let Some(mut guard) = worker.try_lock() {
                // All that waits, but never so long that the program would notice.
                for _ in 0..64 {
                    if guard.poll_for_control() == 0 {
                        break;
                    }
                }
            }
        }
    }
}

/// What the `tpa` command asks for.
fn answer(stack: &Stack, request: &str) -> Result<String, String> {
    let workers = stack.workers();
    match request.split_once(' ').unwrap_or((request, "")) {
        ("fault", "") => Ok(stack.faults().show(workers)),
        ("fault", plan) => {
            let mut faults = stack.faults();
            let plan = if plan.trim() == "off" { "" } else { plan };
            faults.set(plan, workers).map_err(|error| error.to_string())?;
            Ok(faults.show(workers))
        }
        _ => Err(format!("'{request}' is no request")),
    }
}

fn apply(stack: &Stack, change: Change) {
    match change {
        Change::Neighbour { ifindex, addr, mac } if stack.is_on(ifindex) => {
            for worker in stack.workers() {
                worker.lock().neighbour_changed(addr, mac.map(tpa_tcp::wire::EthernetAddress));
            }
        }
        Change::Address | Change::Overrun => stack.refresh_addresses(),
        Change::Link | Change::Route | Change::Neighbour { .. } => {}
    }
}
