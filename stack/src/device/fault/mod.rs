//! A device around a device that loses, doubles, delays, disorders and damages
//! frames: for tests, and off unless asked for.
//!
//! All chance comes from the plan's seed, so a run of frames meets the same
//! faults every time.

mod line;
mod plan;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

pub use plan::{FaultPlan, Faults, PlanError, Share};

use super::{Arm, Batch, Device, DeviceInfo, DeviceStats};
use crate::packet::Packet;
use line::Line;

/// Makes the two directions' chances differ.
const TX_SEED: u64 = 0x5851_F42D_4C95_7F2D;
/// A timer set to zero would be off.
const SHORTEST_WAIT: Duration = Duration::from_nanos(1);

/// A device whose frames suffer. See [`FaultPlan`].
pub struct FaultDevice {
    // The lines go before the device, to whose pool their frames return.
    rx: Line,
    tx: Line,
    inner: Box<dyn Device>,
    info: DeviceInfo,
    /// Wakes a sleeper for frames that become due; `None`: the system had none
    /// left, and sleep is refused while frames are held.
    timer: Option<TimerFd>,
    wait_fds: Vec<RawFd>,
}

impl FaultDevice {
    /// Wraps a device.
    pub fn wrap(inner: Box<dyn Device>, plan: FaultPlan) -> Box<dyn Device> {
        let mut info = inner.info().clone();
        // Damage must show: nobody may take checksums for granted, nor add
        // good ones to bad frames afterwards.
        info.lossless_memory &= !plan.rx.garbles();
        info.tx_checksum &= !plan.tx.garbles();
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok();
        let timer_fd = timer.as_ref().map(|timer| timer.as_fd().as_raw_fd());
        let wait_fds = inner.wait_fds().iter().copied().chain(timer_fd).collect();
        let rx = Line::new(plan.rx, plan.seed);
        let tx = Line::new(plan.tx, plan.seed ^ TX_SEED);
        Box::new(Self { inner, info, rx, tx, timer, wait_fds })
    }

    /// Sends what is due, as far as the device takes it.
    fn flush(&mut self, now: Instant) {
        self.tx.advance(now);
        let mut batch = Batch::new();
        while !self.tx.ready().is_empty() {
            let room = batch.remaining_capacity().min(self.tx.ready().len());
            batch.extend(self.tx.ready().drain(..room));
            self.inner.tx_burst(&mut batch);
            if !batch.is_empty() {
                batch.drain(..).rev().for_each(|packet| self.tx.ready().push_front(packet));
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.rx.next_due().into_iter().chain(self.tx.next_due()).min()
    }

    /// Sets the timer for the next frame that becomes due; `false` when sleep
    /// would miss it.
    fn set_timer(&mut self) -> bool {
        let Some(due) = self.next_due() else {
            return true;
        };
        let wait = due.saturating_duration_since(Instant::now()).max(SHORTEST_WAIT);
        let after = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.as_ref().is_some_and(|timer| timer.set(after, TimerSetTimeFlags::empty()).is_ok())
    }
}

impl Device for FaultDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn rx_burst(&mut self, batch: &mut Batch) {
        if !self.tx.is_idle() {
            self.flush(Instant::now());
        }
        if self.rx.is_idle() {
            return self.inner.rx_burst(batch);
        }
        let now = Instant::now();
        if self.rx.ready().len() < batch.remaining_capacity() {
            let mut fresh = Batch::new();
            self.inner.rx_burst(&mut fresh);
            for packet in fresh {
                self.rx.feed(packet, now, || self.inner.alloc());
            }
        }
        self.rx.advance(now);
        let count = batch.remaining_capacity().min(self.rx.ready().len());
        batch.extend(self.rx.ready().drain(..count));
    }

    fn alloc(&mut self) -> Option<Packet> {
        self.inner.alloc()
    }

    fn tx_burst(&mut self, batch: &mut Batch) {
        if self.tx.is_idle() {
            return self.inner.tx_burst(batch);
        }
        let now = Instant::now();
        self.flush(now);
        if self.tx.ready().is_empty() {
            for packet in batch.drain(..) {
                self.tx.feed(packet, now, || self.inner.alloc());
            }
            self.flush(now);
        }
    }

    fn free_buffers(&self) -> u32 {
        self.inner.free_buffers()
    }

    fn wait_fds(&self) -> &[RawFd] {
        &self.wait_fds
    }

    fn arm(&mut self) -> Arm {
        if !self.rx.ready().is_empty() || !self.tx.ready().is_empty() || !self.set_timer() {
            return Arm::Pending;
        }
        self.inner.arm()
    }

    fn disarm(&mut self) {
        if let Some(timer) = &self.timer {
            // Setting it to nothing also takes back an expiration.
            let _ = timer.unset();
        }
        self.inner.disarm();
    }

    fn control_fds(&self, fds: &mut Vec<(RawFd, i16)>) {
        self.inner.control_fds(fds);
    }

    fn on_control(&mut self) {
        self.inner.on_control();
    }

    fn link_up(&self) -> bool {
        self.inner.link_up()
    }

    fn stats(&self) -> DeviceStats {
        self.inner.stats()
    }
}
