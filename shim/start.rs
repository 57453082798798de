//! When and whether the stack runs: configuration, policy, the start at first
//! use, and what becomes of sockets that cannot be accelerated.

use std::cell::Cell;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use once_cell::sync::OnceCell;
use tpa_stack::config::{self, Config, Policy, Reason};
use tpa_stack::{decisions, Purpose, Stack, StartError};

use crate::boundary::shield;
use crate::{fork, logging};

/// What a call on a socket that should be accelerated fails with under
/// `strict`, when the stack cannot run: "Network is down".
const CANNOT_RUN: Errno = Errno::ENETDOWN;

thread_local! {
    /// This thread is inside the start of the stack: what it opens is the
    /// stack's own. Without a destructor, so that it can be read at any time.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The configuration of this process, when it concerns this program.
pub struct Settings {
    config: Config,
    policy: Policy,
    program: String,
}

static SETTINGS: OnceCell<Option<Settings>> = OnceCell::new();
/// Microseconds to poll before a sleep; known once the stack runs.
static SPIN_US: AtomicU32 = AtomicU32::new(0);
/// Held while the stack starts, and over fork(2).
static STARTING: Mutex<()> = Mutex::new(());
/// What is known about whether the stack can run: one of the three below.
static OUTLOOK: AtomicU8 = AtomicU8::new(OPEN);
/// It was not tried yet, or runs.
const OPEN: u8 = 0;
/// It was tried and cannot run.
const FAILED: u8 = 1;
/// This is a forked child of the process whose stack it is.
const FORBIDDEN: u8 = 2;
/// Other processes have all receive queues. It is tried again at [`RETRY_AT`].
const WAITING: u8 = 3;

/// Time between two tries to get a receive queue.
const RETRY: Duration = Duration::from_secs(1);
/// When the next of these is due.
static RETRY_AT: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether the calling thread is inside the start of the stack.
pub fn is_inside() -> bool {
    INSIDE.with(Cell::get)
}

/// The settings of this process, read at the first listen(2) or connect(2) that
/// could matter; `None` when this program is the kernel's.
pub fn settings() -> Option<&'static Settings> {
    if is_inside() {
        return None;
    }
    SETTINGS.get_or_init(load_settings).as_ref()
}

fn load_settings() -> Option<Settings> {
    logging::init();
    let program = config::program_name();
    let config = match config::load() {
        Ok(config) => config?,
        Err(error) => {
            log::error!("{error}; every socket stays with the kernel");
            return None;
        }
    };
    let policy = Policy::new(&config);
    if !policy.concerns(&program) {
        return None;
    }
    fork::install();
    fork::install_exit_handler();
    Some(Settings { config, policy, program })
}

impl Settings {
    /// Whether a listener at this address should be accelerated. Notes it if not,
    /// and otherwise that it waits for its first use.
    pub fn wants_listener(&self, local: SocketAddr) -> bool {
        let decision = self.policy.decide_listen(&self.program, local);
        self.settle(Purpose::Listen(local), decision.reason);
        decision.accelerate
    }

    /// Whether a connection to this address should be accelerated. Notes it if not.
    pub fn wants_connection(&self, remote: SocketAddr) -> bool {
        let decision = self.policy.decide_connect(&self.program, remote);
        if !decision.accelerate {
            self.settle(Purpose::Connect(remote), decision.reason);
        }
        decision.accelerate
    }

    /// Notes what became of a socket, for the log and for `tpa why`.
    pub fn settle(&self, purpose: Purpose, reason: Reason) {
        decisions::note(&self.program, purpose, reason);
        let (what, address) = name_of(purpose);
        match reason {
            Reason::Accelerated => log::info!("{what} {address} is accelerated"),
            Reason::Pending => log::info!("{what} {address} is to be accelerated"),
            Reason::Forks => {
                log::warn!("{what} {address} stays with the kernel ({}): {reason}", reason.code())
            }
            _ => log::debug!("{what} {address} stays with the kernel ({}): {reason}", reason.code()),
        }
    }

    /// Whether connections of the process to itself are the stack's.
    pub fn has_loopback(&self) -> bool {
        self.config.loopback
    }

    /// Memory that devices of all processes of a user may have to lock, in bytes:
    /// there are as many workers at most as receive queues that can be steered.
    pub fn device_memory(&self) -> u64 {
        const MOST_WORKERS: u64 = 64;
        MOST_WORKERS * (u64::from(self.config.dpdk.memory_mb) << 20)
    }

    /// Whether what cannot be accelerated is an error.
    pub fn is_strict(&self) -> bool {
        self.config.strict
    }

    /// What becomes of a socket while the process waits for a queue: the kernel's, but
    /// for a connection, which cannot move later, under `strict`.
    fn meanwhile(&self, purpose: Purpose) -> Result<Option<&'static Stack>, Errno> {
        match purpose {
            Purpose::Connect(_) if self.is_strict() => Err(CANNOT_RUN),
            Purpose::Connect(_) | Purpose::Listen(_) => Ok(None),
        }
    }

    /// Connections cannot be accelerated here as long as other processes have receive
    /// queues, where replies may come in. Said once: a proxy makes many.
    ///
    /// # Errors
    ///
    /// Under `strict`, `ENETUNREACH`.
    pub fn decline_connections<T>(&self, remote: SocketAddr) -> Result<Option<T>, Errno> {
        static SAID: AtomicBool = AtomicBool::new(false);
        let purpose = Purpose::Connect(remote);
        if self.is_strict() || !SAID.swap(true, Ordering::Relaxed) {
            return self.decline(purpose, Reason::SharedQueues, Errno::ENETUNREACH).map(|()| None);
        }
        self.settle(purpose, Reason::SharedQueues);
        if let Some(stack) = Stack::get() {
            stack.count_fallback(purpose);
        }
        Ok(None)
    }

    /// A socket that should be accelerated cannot be. Says so, and returns what
    /// is to become of it: under `strict` the error that its call fails with.
    pub fn decline(&self, purpose: Purpose, reason: Reason, errno: Errno) -> Result<(), Errno> {
        decisions::note(&self.program, purpose, reason);
        let (what, address) = name_of(purpose);
        let why: &dyn Display = if reason == Reason::Refused { &errno.desc() } else { &reason };
        let code = reason.code();
        if self.is_strict() {
            log::error!("{what} {address} cannot be accelerated ({code}): {why}");
            return Err(errno);
        }
        log::warn!("{what} {address} stays with the kernel ({code}): {why}");
        if let Some(stack) = Stack::get() {
            stack.count_fallback(purpose);
        }
        Ok(())
    }
}

fn name_of(purpose: Purpose) -> (&'static str, SocketAddr) {
    match purpose {
        Purpose::Listen(local) => ("listener on", local),
        Purpose::Connect(remote) => ("connection to", remote),
    }
}

/// Why there is no stack.
pub fn why_none() -> Reason {
    match OUTLOOK.load(Ordering::Acquire) {
        FORBIDDEN => Reason::Forked,
        WAITING => Reason::NoQueue,
        _ => Reason::NoStack,
    }
}

/// Whether io_uring_setup(2) is to fail: programs that can do without then use
/// calls that we see. Says so, once.
pub extern "C" fn refuses_io_uring() -> bool {
    static SAID: Once = Once::new();
    let mut refuses = false;
    shield(|| {
        refuses = settings().is_some_and(|settings| !settings.config.io_uring);
        if refuses {
            SAID.call_once(|| log::warn!("io_uring is refused: accelerated sockets do not exist for it"));
        }
    });
    refuses
}

/// Time to poll before a sleep.
pub fn spin_time() -> Duration {
    Duration::from_micros(u64::from(SPIN_US.load(Ordering::Relaxed)))
}

/// The running stack, started if it is not running yet. `Ok(None)`: it cannot
/// run, the one line that says why is out, and the kernel serves. Of
/// several threads one starts it and the others wait.
///
/// # Errors
///
/// Under `strict`, `ENETDOWN` when it cannot run.
pub fn stack(purpose: Purpose) -> Result<Option<&'static Stack>, Errno> {
    if let Some(stack) = Stack::get() {
        return Ok(Some(stack));
    }
    let Some(settings) = settings() else { return Ok(None) };
    let _alone = lock_start();
    if let Some(stack) = Stack::get() {
        return Ok(Some(stack));
    }
    match OUTLOOK.load(Ordering::Acquire) {
        OPEN => start(settings, purpose),
        WAITING if time_to_retry() == Some(Duration::ZERO) => start(settings, purpose),
        WAITING => settings.meanwhile(purpose),
        FAILED if settings.is_strict() => Err(CANNOT_RUN),
        _ => Ok(None),
    }
}

/// While the stack waits for a receive queue, the time until the next try.
#[inline]
pub fn time_to_retry() -> Option<Duration> {
    if OUTLOOK.load(Ordering::Acquire) != WAITING {
        return None;
    }
    let at = *RETRY_AT.lock().unwrap_or_else(PoisonError::into_inner);
    at.map(|at| at.saturating_duration_since(Instant::now()))
}

/// No queue was free: the kernel serves until one is. Said once.
fn wait_for_queue(error: &StartError) {
    let before = OUTLOOK.swap(WAITING, Ordering::AcqRel);
    *RETRY_AT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + RETRY);
    if before != WAITING {
        log::warn!("{error}; the kernel serves until one is free");
    }
}

fn start(settings: &Settings, purpose: Purpose) -> Result<Option<&'static Stack>, Errno> {
    let is_worker = fork::is_worker();
    let mut config = settings.config.clone();
    if is_worker {
        config.af_xdp.queues = config.af_xdp.queues.of_worker();
    }
    match inside(|| Stack::start(&config, &settings.program, purpose)) {
        Ok(stack) => {
            OUTLOOK.store(OPEN, Ordering::Release);
            SPIN_US.store(settings.config.spin_us, Ordering::Relaxed);
            Ok(Some(stack))
        }
        // In a reload the workers of before still have theirs: no fault of anybody's.
        Err(error @ StartError::NoFreeQueue(_)) if is_worker || !settings.is_strict() => {
            wait_for_queue(&error);
            settings.meanwhile(purpose)
        }
        Err(error) if settings.is_strict() => {
            OUTLOOK.store(FAILED, Ordering::Release);
            log::error!("{error}");
            Err(CANNOT_RUN)
        }
        Err(error) => {
            OUTLOOK.store(FAILED, Ordering::Release);
            log::warn!("{error}; the kernel serves");
            Ok(None)
        }
    }
}

/// Runs `body` with the calling thread marked as the stack's own.
pub fn inside<T>(body: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.with(|inside| inside.set(false));
        }
    }
    INSIDE.with(|inside| inside.set(true));
    let _leave = Leave;
    body()
}

/// Keeps the stack from being started; held over fork(2), so that a child
/// never inherits half a start.
pub fn lock_start() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a forked child: the stack is the parent's, and this process gets none.
pub fn forbid() {
    OUTLOOK.store(FORBIDDEN, Ordering::Release);
}
