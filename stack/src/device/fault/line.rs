//! One direction of a faulty device: frames go in, and come out or not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::checksum;
use super::loss::Loss;
use super::plan::Faults;
use super::random::Random;
use crate::counters::WorkerCounters;
use crate::packet::{Packet, PacketFlags};

/// Bytes of an Ethernet header, which corruption spares: a wrong address would
/// be nothing but a drop.
const ETHERNET_HEADER_LEN: usize = 14;
/// Frames that at most overtake one that is held back.
const OVERTAKERS: u64 = 8;
/// Time that a frame is held back when no other comes.
const HOLD: Duration = Duration::from_millis(2);

/// A frame that others may overtake.
#[derive(Debug)]
struct Held {
    packet: Packet,
    /// Frames that still go first.
    overtakers: u64,
    /// When it goes on without them.
    until: Instant,
}

/// One direction.
#[derive(Debug)]
pub struct Line {
    faults: Faults,
    loss: Loss,
    random: Random,
    held: Vec<Held>,
    /// Delayed frames; one delay for all keeps them in order.
    delayed: VecDeque<(Instant, Packet)>,
    ready: VecDeque<Packet>,
    counters: &'static WorkerCounters,
}

impl Line {
    /// A direction with its faults, which begin `now`.
    pub fn new(faults: Faults, seed: u64, counters: &'static WorkerCounters, now: Instant) -> Self {
        Self {
            faults,
            loss: Loss::new(&faults, now),
            random: Random::new(seed),
            held: Vec::new(),
            delayed: VecDeque::new(),
            ready: VecDeque::new(),
            counters,
        }
    }

    /// Ends the faults: what is held back goes on.
    pub fn calm(&mut self, now: Instant) {
        self.faults = Faults::default();
        self.loss = Loss::new(&self.faults, now);
        self.ready.extend(self.held.drain(..).map(|held| held.packet));
        self.ready.extend(self.delayed.drain(..).map(|(_, packet)| packet));
    }

    /// Whether frames may pass by: none suffers, and none would be overtaken.
    pub fn is_idle(&self) -> bool {
        self.faults.is_idle() && self.ready.is_empty() && self.held.is_empty() && self.delayed.is_empty()
    }

    /// Puts a frame in. `alloc` gives buffers for duplicates.
    pub fn feed(&mut self, mut packet: Packet, now: Instant, alloc: impl FnOnce() -> Option<Packet>) {
        if self.loss.takes(&mut self.random, now) {
            self.counters.faults_dropped.add(1);
            return;
        }
        if self.random.hits(self.faults.duplicate)
            && let Some(twin) = alloc().and_then(|twin| copy(&packet, twin))
        {
            self.counters.faults_duplicated.add(1);
            self.pass(twin, now);
        }
        if self.random.hits(self.faults.corrupt) {
            self.corrupt(&mut packet);
        }
        if self.random.hits(self.faults.truncate) {
            self.truncate(&mut packet);
        }
        self.pass(packet, now);
    }

    /// Sends a frame on its way, straight or not.
    fn pass(&mut self, packet: Packet, now: Instant) {
        if self.random.hits(self.faults.delay) {
            self.counters.faults_delayed.add(1);
            self.delayed.push_back((now + self.faults.delay_by, packet));
        } else if self.random.hits(self.faults.reorder) {
            self.counters.faults_reordered.add(1);
            let overtakers = 1 + self.random.below(OVERTAKERS);
            self.held.push(Held { packet, overtakers, until: now + HOLD });
        } else {
            self.deliver(packet);
        }
    }

    /// Sends a frame straight on its way.
    pub fn deliver(&mut self, packet: Packet) {
        self.ready.push_back(packet);
        for held in &mut self.held {
            held.overtakers = held.overtakers.saturating_sub(1);
        }
        self.let_go(|held| held.overtakers == 0);
    }

    fn let_go(&mut self, goes: impl Fn(&Held) -> bool) {
        while let Some(index) = self.held.iter().position(&goes) {
            self.ready.push_back(self.held.remove(index).packet);
        }
    }

    /// Makes ready what is due.
    pub fn advance(&mut self, now: Instant) {
        while self.delayed.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, packet)) = self.delayed.pop_front() {
                self.deliver(packet);
            }
        }
        self.let_go(|held| held.until <= now);
    }

    /// Frames that are to go on now, in order; take them from the front.
    pub fn ready(&mut self) -> &mut VecDeque<Packet> {
        &mut self.ready
    }

    /// When the next frame becomes ready by itself.
    pub fn next_due(&self) -> Option<Instant> {
        let delayed = self.delayed.front().map(|(due, _)| *due);
        self.held.iter().map(|held| held.until).chain(delayed).min()
    }

    fn corrupt(&mut self, packet: &mut Packet) {
        let len = packet.len();
        let first = if len > ETHERNET_HEADER_LEN { ETHERNET_HEADER_LEN } else { 0 };
        // Damage that the device then covers with a good checksum would pass
        // for what the program wrote.
        if len == 0 || packet.flags.contains(PacketFlags::CHECKSUM_OFFLOAD) {
            return;
        }
        if let Some(frame) = packet.buffer_mut().get_mut(..len) {
            checksum::complete(frame);
        }
        let at = first + self.random.below((len - first) as u64) as usize;
        packet.buffer_mut()[at] ^= 1 << self.random.below(8);
        packet.flags.remove(PacketFlags::CHECKSUM_GOOD);
        self.counters.faults_corrupted.add(1);
    }

    fn truncate(&mut self, packet: &mut Packet) {
        if packet.len() > 1 {
            packet.set_len(1 + self.random.below(packet.len() as u64 - 1) as usize);
            packet.flags.remove(PacketFlags::CHECKSUM_GOOD);
            self.counters.faults_truncated.add(1);
        }
    }
}

/// Copies a frame into an empty buffer, if it fits.
fn copy(packet: &Packet, mut twin: Packet) -> Option<Packet> {
    let len = packet.len();
    twin.buffer_mut().get_mut(..len)?.copy_from_slice(packet.bytes());
    twin.set_len(len);
    twin.flags = packet.flags;
    Some(twin)
}
