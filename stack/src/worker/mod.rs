//! A worker: queues of a device, the sockets on them, and one lock around all
//! of it.
//!
//! There is no thread here. Whoever waits for one of the worker's sockets
//! locks it and runs a round ([`WorkerGuard::poll`]); when nobody does for a
//! millisecond, the control thread does.

mod calls;
mod core;
mod icmp;
mod input;
mod interest;
mod limit;
mod loopback;
mod output;
mod passive;
mod path_mtu;
mod readiness;
mod resolution;
mod secret;
mod settings;
mod shelf;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod time_wait;

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use arrayvec::ArrayVec;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tpa_tcp::Instant;
use tpa_tcp::wire::{EthernetAddress, IpAddress};

use crate::clock;
use crate::descriptor::move_high;
use crate::device::fault::FaultPlan;
use crate::device::{Arm, Device};
use crate::handle::Handle;

pub use calls::{ConnectState, Queued};
use core::Core;
pub(crate) use core::Parts;
pub(crate) use settings::Settings;
use socket::Socket;

/// Descriptors that [`Worker::wait_fds`] may return.
pub const MAX_WAIT_FDS: usize = 20;

/// Sleep between two looks at a device that cannot signal.
const NAP: Duration = Duration::from_micros(50);

/// A pause when the device does not take our frames.
const BLOCKED_PAUSE: Duration = Duration::from_micros(200);

/// Work is pending: poll instead of sleeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Who sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleeper {
    Program,
    Control,
}

/// A worker; shared by all threads.
pub struct Worker {
    id: usize,
    core: Mutex<Core>,
    doorbell: OwnedFd,
    wait_fds: ArrayVec<RawFd, MAX_WAIT_FDS>,
    /// Threads asleep, the control thread included; changed under the lock.
    sleepers: AtomicU32,
    /// Threads of the program among them.
    program_sleepers: AtomicU32,
    /// The doorbell is readable; changed under the lock.
    rung: AtomicBool,
    /// Sockets to close at the next round, for who must not wait for the lock.
    abandoned: Mutex<Vec<Handle>>,
    has_abandoned: AtomicBool,
    /// When the program last ran a round, in microseconds of our clock.
    attended_at: AtomicU64,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> std::io::Result<Self> {
        let doorbell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let doorbell = move_high(doorbell.into())?;
        let mut wait_fds = ArrayVec::new();
        for fd in parts.device.wait_fds().iter().copied().chain([doorbell.as_raw_fd()]) {
            wait_fds.try_push(fd).map_err(|_| std::io::Error::other("the device has too many queues"))?;
        }
        Ok(Self {
            id: parts.id.into(),
            core: Mutex::new(Core::new(parts)?),
            doorbell,
            wait_fds,
            sleepers: AtomicU32::new(0),
            program_sleepers: AtomicU32::new(0),
            rung: AtomicBool::new(false),
            abandoned: Mutex::default(),
            has_abandoned: AtomicBool::new(false),
            attended_at: AtomicU64::new(clock::now().as_micros()),
        })
    }

    /// Number of the worker.
    pub fn id(&self) -> usize {
        self.id
    }

    /// Takes the worker's lock.
    #[inline]
    pub fn lock(&self) -> WorkerGuard<'_> {
        // A panic is caught at the C boundary; the next caller goes on with
        // what stands, as the program would after a failed call.
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        WorkerGuard { worker: self, core, falls_asleep: false }
    }

    /// Takes the lock unless somebody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<WorkerGuard<'_>> {
        let core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(WorkerGuard { worker: self, core, falls_asleep: false })
    }

    /// Closes a socket at the next round: for a caller that may hold the lock
    /// already.
    pub fn close_later(&self, handle: Handle) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        self.has_abandoned.store(true, Ordering::Release);
    }

    /// Descriptors to wait for with ppoll(2) and `POLLIN` while asleep: the
    /// device's and the doorbell. They stay the same.
    pub fn wait_fds(&self) -> &ArrayVec<RawFd, MAX_WAIT_FDS> {
        &self.wait_fds
    }

    /// Ends the sleep that [`WorkerGuard::prepare_sleep`] began.
    pub fn finish_sleep(&self) {
        self.lock().end_sleep(Sleeper::Program);
    }

    /// How long the program has left the worker alone; zero while one of its
    /// threads sleeps on it.
    pub(crate) fn unattended_for(&self, now: Instant) -> Duration {
        if self.program_sleepers.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        let at = self.attended_at.load(Ordering::Relaxed);
        Duration::from_micros(now.as_micros().saturating_sub(at))
    }

    /// Whether a thread of the program sleeps on the worker.
    pub(crate) fn is_slept_on(&self) -> bool {
        self.program_sleepers.load(Ordering::Relaxed) > 0
    }
}

/// A worker, locked.
pub struct WorkerGuard<'a> {
    worker: &'a Worker,
    core: MutexGuard<'a, Core>,
    /// This guard has just prepared a sleep: nobody has to be told.
    falls_asleep: bool,
}

impl Deref for WorkerGuard<'_> {
    type Target = Core;
    #[inline]
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl DerefMut for WorkerGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl Drop for WorkerGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.worker.sleepers.load(Ordering::Relaxed) > 0 && !self.falls_asleep {
            self.serve_sleepers();
        }
        self.core.stirred = false;
    }
}

impl WorkerGuard<'_> {
    /// Others sleep: what this guard's holder wrote must not wait for them, and
    /// they must hear of what concerns them, be it an event or an earlier timer.
    #[cold]
    fn serve_sleepers(&mut self) {
        if !self.core.dirty.is_empty() {
            self.now();
            self.core.transmit();
        }
        self.core.run_loopback();
        let earlier = self.core.next_deadline().is_some_and(|at| at < self.core.sleep_until);
        if self.core.stirred || earlier {
            self.ring();
        }
    }

    /// Closes what [`Worker::close_later`] was told.
    #[inline]
    fn close_abandoned(&mut self) {
        if self.worker.has_abandoned.load(Ordering::Acquire) {
            self.worker.has_abandoned.store(false, Ordering::Relaxed);
            let abandoned =
                std::mem::take(&mut *self.worker.abandoned.lock().unwrap_or_else(PoisonError::into_inner));
            abandoned.into_iter().for_each(|handle| self.close(handle));
        }
    }

    /// One round for the program: receive, TCP, timers, transmit. Returns the
    /// frames received.
    #[inline]
    pub fn poll(&mut self) -> usize {
        self.close_abandoned();
        let frames = self.core.round();
        self.worker.attended_at.store(self.core.now.as_micros(), Ordering::Relaxed);
        frames
    }

    /// One round while the program does something else.
    pub(crate) fn poll_for_control(&mut self) -> usize {
        self.close_abandoned();
        self.core.counters.control_polls.add(1);
        self.core.round()
    }

    /// The time now, for a call outside of a round.
    fn now(&mut self) -> Instant {
        self.core.now = clock::now();
        self.core.now
    }

    /// Ends what is due and arms the device: the caller may then drop the
    /// guard, sleep on [`Worker::wait_fds`] for at most the returned time
    /// (`None`: no limit of ours), and must call [`Worker::finish_sleep`].
    ///
    /// # Errors
    ///
    /// [`Busy`] when there is something to do at once.
    pub fn prepare_sleep(&mut self) -> Result<Option<Duration>, Busy> {
        self.begin_sleep(Sleeper::Program)
    }

    pub(crate) fn begin_sleep(&mut self, sleeper: Sleeper) -> Result<Option<Duration>, Busy> {
        // The bell that still rings is for those who sleep: another who lay down
        // now would wake at once, and might keep it ringing for ever.
        if self.worker.rung.load(Ordering::Relaxed) {
            return Err(Busy);
        }
        self.now();
        self.core.transmit();
        let mut limit = self
            .core
            .next_deadline()
            .map(|at| Duration::from_micros(at.as_micros().saturating_sub(self.core.now.as_micros())));
        if limit == Some(Duration::ZERO) || self.core.stirred || self.core.has_looped() {
            return Err(Busy);
        }
        if !self.core.dirty.is_empty() || !self.core.tx.is_empty() {
            limit = Some(limit.map_or(BLOCKED_PAUSE, |limit| limit.min(BLOCKED_PAUSE)));
        }
        match self.core.device.arm() {
            Arm::Pending => {
                // The device signals no longer: whoever sleeps already must
                // wake and arm it again.
                if self.worker.sleepers.load(Ordering::Relaxed) > 0 {
                    self.ring();
                }
                return Err(Busy);
            }
            Arm::Armed => self.core.counters.sleeps.add(1),
            Arm::Unsupported => {
                self.core.counters.naps.add(1);
                limit = Some(limit.map_or(NAP, |limit| limit.min(NAP)));
            }
        }
        let until = limit.map_or(Instant::FAR, |limit| {
            self.core.now + tpa_tcp::Duration::from_micros(limit.as_micros() as u64)
        });
        let first = self.worker.sleepers.fetch_add(1, Ordering::Relaxed) == 0;
        self.core.sleep_until = if first { until } else { self.core.sleep_until.min(until) };
        if sleeper == Sleeper::Program {
            self.worker.program_sleepers.fetch_add(1, Ordering::Relaxed);
        }
        self.falls_asleep = true;
        Ok(limit)
    }

    pub(crate) fn end_sleep(&mut self, sleeper: Sleeper) {
        self.core.counters.wakes.add(1);
        if sleeper == Sleeper::Program {
            self.worker.program_sleepers.fetch_sub(1, Ordering::Relaxed);
            self.worker.attended_at.store(clock::now().as_micros(), Ordering::Relaxed);
        }
        // Whoever wakes last silences the doorbell and the device: until then
        // both must stay readable for the others.
        if self.worker.sleepers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.core.device.disarm();
            if self.worker.rung.swap(false, Ordering::Relaxed) {
                let mut count = [0; 8];
                let _ = nix::unistd::read(&self.worker.doorbell, &mut count);
            }
        }
    }

    /// Wakes all who sleep on the worker, to look at something else than sockets.
    pub fn wake_sleepers(&mut self) {
        if self.worker.sleepers.load(Ordering::Relaxed) > 0 {
            self.ring();
        }
    }

    /// Wakes all who sleep on the worker: readiness may have changed.
    fn ring(&mut self) {
        if !self.worker.rung.swap(true, Ordering::Relaxed) {
            self.core.counters.doorbells.add(1);
            let _ = nix::unistd::write(&self.worker.doorbell, &1u64.to_ne_bytes());
        }
    }

    /// What is due once in a while: gives unused local ports back, brings the
    /// device's own counts into the counter file.
    pub(crate) fn keep_house(&mut self) {
        let now = self.now();
        let core = &mut *self.core;
        core.ports.sweep(core.identity.steering.as_deref(), now);
        let stats = self.core.device.stats();
        let counters = self.core.counters;
        for (counter, now) in [
            (&counters.device_connects, stats.connects),
            (&counters.device_disconnects, stats.disconnects),
            (&counters.device_tx_dropped, stats.tx_dropped),
            (&counters.device_rx_errors, stats.rx_errors),
        ] {
            counter.add(now.saturating_sub(counter.get()));
        }
    }

    /// Begins a plan of faults in place of the one before; an idle plan ends them.
    pub(crate) fn inject(&mut self, plan: &FaultPlan) {
        self.core.device.inject(plan);
        self.core.counters.faults_on.set(u64::from(!plan.is_idle()));
        // What the former plan held back goes on now.
        self.wake_sleepers();
    }

    /// Whether faults are injected, and for how long still, where that ends by
    /// itself.
    pub(crate) fn faults(&self) -> Option<Option<Duration>> {
        let faults = self.core.device.faults();
        self.core.counters.faults_on.set(u64::from(faults.is_some()));
        faults
    }

    /// The process ends: every connection is closed.
    pub(crate) fn close_all(&mut self) {
        for index in self.core.sockets.indices() {
            if let Some(handle) = self.core.sockets.handle_at(index) {
                self.close(handle);
            }
        }
    }

    /// Whether a peer has not acknowledged all that was written, the end included.
    pub(crate) fn has_unsent(&self) -> bool {
        use tpa_tcp::State::{Closing, FinWait1, LastAck};
        let unfinished = |socket: &Socket| {
            matches!(socket, Socket::Stream(stream)
                if matches!(stream.connection.state(), FinWait1 | Closing | LastAck))
        };
        self.core.sockets.iter().any(unfinished)
    }

    /// The kernel told a neighbour's hardware address (`None`: it is gone).
    pub(crate) fn neighbour_changed(&mut self, address: IpAddress, mac: Option<EthernetAddress>) {
        match mac {
            Some(mac) => {
                let streams = self.core.neighbours.refresh(address, mac);
                self.now();
                self.core.wake_streams(address, streams, Some(mac));
                self.core.transmit();
            }
            None => self.core.neighbours.forget(address),
        }
    }
}
