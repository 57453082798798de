//! Two devices joined by a wire in this process's memory, for tests.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex};

use crate::device::{Arm, Batch, Device, DeviceInfo, DeviceStats};
use crate::packet::Packet;

type Queue = Arc<Mutex<VecDeque<Packet>>>;

/// One end of the wire.
pub struct WireDevice {
    info: DeviceInfo,
    incoming: Queue,
    outgoing: Queue,
    stats: DeviceStats,
}

/// Both ends of a wire.
pub fn wire(mtu: usize) -> (WireDevice, WireDevice) {
    let (ab, ba) = (Queue::default(), Queue::default());
    let end = |name: &str, last: u8, incoming: &Queue, outgoing: &Queue| WireDevice {
        info: DeviceInfo {
            name: name.into(),
            mac: [2, 0, 0, 0, 0, last],
            mtu,
            partial_checksums: false,
            own_neighbours: true,
            tx_checksum: false,
            lossless_memory: false,
        },
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        stats: DeviceStats::default(),
    };
    (end("wire:a", 1, &ba, &ab), end("wire:b", 2, &ab, &ba))
}

impl Device for WireDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn rx_burst(&mut self, batch: &mut Batch) {
        let mut incoming = self.incoming.lock().unwrap();
        while !batch.is_full() && !incoming.is_empty() {
            batch.extend(incoming.pop_front());
        }
    }

    fn alloc(&mut self) -> Option<Packet> {
        let mut packet = Packet::copy_of(&vec![0; self.info.mtu + 14]);
        packet.set_len(0);
        Some(packet)
    }

    fn tx_burst(&mut self, batch: &mut Batch) {
        self.stats.tx_frames += batch.len() as u64;
        self.outgoing.lock().unwrap().extend(batch.drain(..));
    }

    fn wait_fds(&self) -> &[RawFd] {
        &[]
    }

    fn arm(&mut self) -> Arm {
        if self.incoming.lock().unwrap().is_empty() { Arm::Unsupported } else { Arm::Pending }
    }

    fn disarm(&mut self) {}

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}
