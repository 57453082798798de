//! A device that loses, doubles, delays, disorders and damages frames when it
//! is told to: to try programs out, at any time, in any build.
//!
//! Every worker's device is inside of a [`FaultDevice`]. Without a plan that
//! costs a branch a burst. All chance comes from the plan's seed, so a run of
//! frames meets the same faults every time.

mod checksum;
mod line;
mod loss;
mod plan;
mod random;
#[cfg(test)]
mod tests;
mod text;

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use tpa_tcp::wire::{ETHERNET_HEADER_LEN, IPV4_HEADER_LEN};

pub use plan::{Bursts, FaultPlan, Faults, Share};
pub use text::PlanError;

use super::{Arm, Batch, Device, DeviceInfo, DeviceStats};
use crate::counters::WorkerCounters;
use crate::packet::Packet;
use line::Line;

/// Makes the two directions' chances differ.
const TX_SEED: u64 = 0x5851_F42D_4C95_7F2D;

/// A device whose frames suffer while there is a [`FaultPlan`].
pub struct FaultDevice {
    // Goes before the device, to whose pool its frames return.
    injection: Option<Box<Injection>>,
    inner: Box<dyn Device>,
    info: DeviceInfo,
    counters: &'static WorkerCounters,
}

/// A plan at work.
struct Injection {
    rx: Line,
    tx: Line,
    port: Option<u16>,
    /// When the plan is over.
    until: Option<Instant>,
    /// Its faults have ended; what was held back goes on.
    over: bool,
}

impl Injection {
    fn new(plan: &FaultPlan, counters: &'static WorkerCounters, now: Instant) -> Self {
        Self {
            rx: Line::new(plan.rx, plan.seed, counters, now),
            tx: Line::new(plan.tx, plan.seed ^ TX_SEED, counters, now),
            port: plan.port,
            until: plan.lasts.and_then(|time| now.checked_add(time)),
            over: plan.is_idle(),
        }
    }

    fn end(&mut self, now: Instant) {
        self.rx.calm(now);
        self.tx.calm(now);
        self.over = true;
    }

    fn expire(&mut self, now: Instant) {
        if !self.over && self.until.is_some_and(|until| until <= now) {
            self.end(now);
        }
    }

    /// Whether nothing is left to do.
    fn is_spent(&self) -> bool {
        self.over && self.rx.is_idle() && self.tx.is_idle()
    }

    fn receive(&mut self, device: &mut dyn Device, batch: &mut Batch) {
        let now = Instant::now();
        self.expire(now);
        self.flush(device, now);
        if self.rx.is_idle() {
            return device.rx_burst(batch);
        }
        if self.rx.ready().len() < batch.remaining_capacity() {
            let mut fresh = Batch::new();
            device.rx_burst(&mut fresh);
            for packet in fresh {
                match self.port {
                    Some(port) if !has_port(packet.bytes(), port) => self.rx.deliver(packet),
                    _ => self.rx.feed(packet, now, || device.alloc()),
                }
            }
        }
        self.rx.advance(now);
        let count = batch.remaining_capacity().min(self.rx.ready().len());
        batch.extend(self.rx.ready().drain(..count));
    }

    fn send(&mut self, device: &mut dyn Device, batch: &mut Batch) {
        let now = Instant::now();
        self.expire(now);
        if self.tx.is_idle() {
            return device.tx_burst(batch);
        }
        self.flush(device, now);
        if self.tx.ready().is_empty() {
            for packet in batch.drain(..) {
                match self.port {
                    Some(port) if !has_port(packet.bytes(), port) => self.tx.deliver(packet),
                    _ => self.tx.feed(packet, now, || device.alloc()),
                }
            }
            self.flush(device, now);
        }
    }

    /// Sends what is due, as far as the device takes it.
    fn flush(&mut self, device: &mut dyn Device, now: Instant) {
        self.tx.advance(now);
        let mut batch = Batch::new();
        while !self.tx.ready().is_empty() {
            let room = batch.remaining_capacity().min(self.tx.ready().len());
            batch.extend(self.tx.ready().drain(..room));
            device.tx_burst(&mut batch);
            if !batch.is_empty() {
                batch.drain(..).rev().for_each(|packet| self.tx.ready().push_front(packet));
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.rx.next_due().into_iter().chain(self.tx.next_due()).min()
    }
}

impl FaultDevice {
    /// A device without faults yet. What is injected later is counted in
    /// `counters`.
    pub fn new(inner: Box<dyn Device>, counters: &'static WorkerCounters) -> Self {
        Self { injection: None, info: inner.info().clone(), inner, counters }
    }

    /// Begins a plan, in place of the one before. Frames that this one holds
    /// back are let go. A plan that does nothing ends all faults.
    pub fn inject(&mut self, plan: &FaultPlan) {
        let now = Instant::now();
        let mut next = Injection::new(plan, self.counters, now);
        if let Some(mut last) = self.injection.take() {
            last.end(now);
            next.rx.ready().append(last.rx.ready());
            next.tx.ready().append(last.tx.ready());
        }
        self.believe_checksums(plan.rx.garbles(), plan.tx.garbles());
        self.injection = Some(Box::new(next)).filter(|next| !next.is_spent());
    }

    /// Damage must show: while frames are garbled nobody may take checksums
    /// for granted, nor add good ones to bad frames afterwards.
    fn believe_checksums(&mut self, rx_garbles: bool, tx_garbles: bool) {
        let info = self.inner.info();
        self.info.lossless_memory = info.lossless_memory && !rx_garbles;
        self.info.tx_checksum = info.tx_checksum && !tx_garbles;
    }

    /// Whether a plan is at work, and for how long still, where it ends by
    /// itself.
    pub fn faults(&self) -> Option<Option<Duration>> {
        let now = Instant::now();
        let running = self.injection.as_ref().filter(|injection| !injection.over)?;
        let left = running.until.map(|until| until.saturating_duration_since(now));
        (left != Some(Duration::ZERO)).then_some(left)
    }

    /// Time until a frame that is held back goes on by itself.
    pub fn next_due(&self) -> Option<Duration> {
        let due = self.injection.as_ref()?.next_due()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Forgets a plan that is over when the last frame that it held is gone.
    fn tidy(&mut self) {
        if self.injection.as_ref().is_some_and(|injection| injection.is_spent()) {
            self.injection = None;
            self.believe_checksums(false, false);
        }
    }
}

impl Device for FaultDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    #[inline]
    fn rx_burst(&mut self, batch: &mut Batch) {
        match &mut self.injection {
            None => self.inner.rx_burst(batch),
            Some(injection) => {
                injection.receive(&mut *self.inner, batch);
                self.tidy();
            }
        }
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        self.inner.alloc()
    }

    #[inline]
    fn tx_burst(&mut self, batch: &mut Batch) {
        match &mut self.injection {
            None => self.inner.tx_burst(batch),
            Some(injection) => injection.send(&mut *self.inner, batch),
        }
    }

    #[inline]
    fn free_buffers(&self) -> u32 {
        self.inner.free_buffers()
    }

    fn wait_fds(&self) -> &[RawFd] {
        self.inner.wait_fds()
    }

    fn arm(&mut self) -> Arm {
        let waits = |injection: &mut Box<Injection>| {
            !injection.rx.ready().is_empty() || !injection.tx.ready().is_empty()
        };
        if self.injection.as_mut().is_some_and(waits) { Arm::Pending } else { self.inner.arm() }
    }

    fn disarm(&mut self) {
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

/// Whether a frame is a TCP segment over IPv4 from or to a port.
fn has_port(frame: &[u8], port: u16) -> bool {
    const ETHERTYPE_IPV4: &[u8] = &[0x08, 0x00];
    const PROTOCOL_TCP: u8 = 6;
    let Some((ethernet, packet)) = frame.split_at_checked(ETHERNET_HEADER_LEN) else { return false };
    let Some(&[version_len, _, _, _, _, _, _, _, _, protocol]) = packet.first_chunk() else { return false };
    let header_len = usize::from(version_len & 0x0f) * 4;
    if !ethernet.ends_with(ETHERTYPE_IPV4) || protocol != PROTOCOL_TCP || header_len < IPV4_HEADER_LEN {
        return false;
    }
    let ports = packet.get(header_len..).and_then(|segment| segment.first_chunk());
    ports.is_some_and(|&[s0, s1, d0, d1]| [[s0, s1], [d0, d1]].contains(&port.to_be_bytes()))
}
