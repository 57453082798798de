//! No device: for programs whose accelerated connections are all their own
//! (`device = "none"` with `loopback = true`).

use std::io;
use std::os::fd::RawFd;

use crate::device::{Arm, Batch, Device, DeviceInfo, DeviceStats, Opened};
use crate::host;
use crate::packet::Packet;

/// A face that never receives and takes nothing.
struct NoDevice(DeviceInfo);

/// Opens nothing. The interface behind it is the host's loopback, whose
/// addresses are those of the whole host.
///
/// # Errors
///
/// What netlink answers, or `NotFound` without a loopback interface.
pub fn open() -> io::Result<Opened> {
    let interfaces = host::interfaces().map_err(io::Error::other)?;
    let loopback =
        interfaces.iter().find(|interface| interface.is_loopback).ok_or(io::ErrorKind::NotFound)?;
    let info = DeviceInfo {
        name: "none".to_owned(),
        mac: [0; 6],
        mtu: loopback.mtu as usize,
        partial_checksums: false,
        own_neighbours: false,
        tx_checksum: false,
        lossless_memory: true,
    };
    Ok(Opened { workers: vec![Box::new(NoDevice(info))], steering: None, ifindex: Some(loopback.index) })
}

impl Device for NoDevice {
    fn info(&self) -> &DeviceInfo {
        &self.0
    }

    fn rx_burst(&mut self, _: &mut Batch) {}

    fn alloc(&mut self) -> Option<Packet> {
        None
    }

    fn tx_burst(&mut self, batch: &mut Batch) {
        batch.clear();
    }

    fn wait_fds(&self) -> &[RawFd] {
        &[]
    }

    fn arm(&mut self) -> Arm {
        Arm::Armed
    }

    fn disarm(&mut self) {}

    fn stats(&self) -> DeviceStats {
        DeviceStats::default()
    }
}
