//! What 10 000 idle connections cost their server.

use std::time::Duration;

use super::idle::hold;
use super::{Measure, load};
use crate::ground::Ground;
use crate::process::{kernel_slab, resident};
use crate::report::Row;
use crate::summary::Better;

const CONNECTIONS: u32 = 10_000;

/// Bytes a connection: what the server's process has grown by, and half of what the
/// kernel's objects have, since they stand for both ends.
pub struct Memory;

impl Measure for Memory {
    fn name(&self) -> String {
        "memory-per-connection".to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "bytes", Better::Lower)]
    }

    fn port(&self) -> u16 {
        load::PORT
    }

    fn measure(&self, ground: &Ground, _time: Duration) -> Vec<f64> {
        let server = load::start_echo(ground);
        let held = || resident(server.pid()) as f64 + kernel_slab() as f64 / 2.0;
        let before = held();
        let _client = hold(ground, CONNECTIONS);
        let grown = held() - before;
        vec![grown / f64::from(CONNECTIONS)]
    }
}
