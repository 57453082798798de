//! The [`Device`] that one worker sees.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::control::Shared;
use super::queue::{Pools, RxQueue, TxQueue, Violation};
use crate::device::{Arm, Batch, Device, DeviceInfo, DeviceStats};
use crate::packet::Packet;

/// One worker's face of a memif device.
#[derive(Debug)]
pub struct Face {
    info: DeviceInfo,
    shared: Arc<Shared>,
    /// Our number among the faces.
    number: usize,
    /// What `rx` and `tx` belong to; see [`Shared::generation`].
    generation: u32,
    rx: Vec<RxQueue>,
    tx: Option<TxQueue>,
    armed: bool,
    wait_fds: [RawFd; 1],
    pools: Pools,
    stats: DeviceStats,
}

impl Face {
    /// Face `number` of a device, with buffers of its own.
    pub fn new(info: DeviceInfo, shared: Arc<Shared>, number: usize, pools: Pools) -> Self {
        let wait_fds = [shared.waker(number)];
        Self {
            info,
            shared,
            number,
            generation: 0,
            rx: Vec::new(),
            tx: None,
            armed: false,
            wait_fds,
            pools,
            stats: DeviceStats::default(),
        }
    }

    /// Takes up the link that stands now, if it is another than before.
    #[inline]
    fn follow(&mut self) {
        if self.generation != self.shared.generation() {
            self.adopt();
        }
    }

    #[cold]
    fn adopt(&mut self) {
        self.generation = self.shared.generation();
        // Releases the old link's memory, if no other face still holds it.
        self.rx.clear();
        self.tx = None;
        let Some(link) = self.shared.link() else {
            return;
        };
        let ours = (self.number..link.rx.len()).step_by(self.shared.faces());
        self.rx = ours.map(|ring| RxQueue::new(&link, ring, self.armed)).collect();
        self.tx = (self.number < link.tx.len()).then(|| TxQueue::new(&link, self.number));
    }

    /// Stops using a link whose peer broke the rules, and has it ended.
    #[cold]
    fn abandon(&mut self, violation: Violation) {
        self.rx.clear();
        self.tx = None;
        self.shared.report(violation);
    }
}

impl Device for Face {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    #[inline]
    fn rx_burst(&mut self, batch: &mut Batch) {
        self.follow();
        let (pools, stats) = (&mut self.pools, &mut self.stats);
        let outcome = self.rx.iter_mut().try_for_each(|queue| queue.burst(batch, pools, stats));
        // Rings that a full batch left out go first the next time.
        if self.rx.len() > 1 {
            self.rx.rotate_left(1);
        }
        if let Err(violation) = outcome {
            self.abandon(violation);
        }
    }

    #[inline]
    fn alloc(&mut self) -> Option<Packet> {
        self.pools.alloc()
    }

    #[inline]
    fn tx_burst(&mut self, batch: &mut Batch) {
        self.follow();
        let Some(queue) = &mut self.tx else {
            // No carrier.
            self.stats.tx_dropped += batch.len() as u64;
            batch.clear();
            return;
        };
        if let Err(violation) = queue.burst(batch, &mut self.stats) {
            self.abandon(violation);
        }
    }

    fn free_buffers(&self) -> u32 {
        self.pools.free_share()
    }

    fn wait_fds(&self) -> &[RawFd] {
        &self.wait_fds
    }

    fn arm(&mut self) -> Arm {
        self.follow();
        self.armed = true;
        if self.rx.iter().all(RxQueue::arm) {
            return Arm::Armed;
        }
        self.disarm();
        Arm::Pending
    }

    fn disarm(&mut self) {
        if !std::mem::take(&mut self.armed) {
            return;
        }
        for queue in &self.rx {
            queue.disarm();
            queue.consume_signal();
        }
    }

    fn control_fds(&self, fds: &mut Vec<(RawFd, i16)>) {
        if self.number == 0 {
            self.shared.fds(fds);
        }
    }

    fn on_control(&mut self) {
        if self.number == 0 {
            self.shared.run(Instant::now());
        }
        self.follow();
    }

    fn link_up(&self) -> bool {
        self.tx.is_some()
    }

    fn stats(&self) -> DeviceStats {
        let mut stats = self.stats;
        if self.number == 0 {
            stats.connects = self.shared.connects.load(Ordering::Relaxed);
            stats.disconnects = self.shared.disconnects.load(Ordering::Relaxed);
        }
        stats
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        if self.number == 0 {
            self.shared.close();
        }
    }
}
