//! What is measured, a file each.

mod connections;
mod first_reply;
mod idle;
mod iperf;
mod load;
mod memcached;
mod memory;
mod nginx;
mod ping_pong;
mod redis;

use std::time::Duration;

use crate::ground::Ground;
use crate::report::Row;

/// How long a program may take beyond the time that it measures for.
const GRACE: Duration = Duration::from_secs(60);

/// Something that gives a value for each of its rows.
pub trait Measure {
    /// What it is called while it runs.
    fn name(&self) -> String;

    /// Rows of the table that it fills.
    fn rows(&self) -> Vec<Row>;

    /// The server's port.
    fn port(&self) -> u16;

    /// Measures for about that long: one value a row, in the order of the rows.
    /// Panics when that cannot be, or when the bytes took another way than the
    /// column says.
    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64>;
}

/// All measurements, in the order of the table.
pub fn all() -> Vec<Box<dyn Measure>> {
    let mut all: Vec<Box<dyn Measure>> = Vec::new();
    for command in ["get", "set"] {
        for connections in [1, 50, 500] {
            for pipeline in [1, 16] {
                all.push(Box::new(redis::Redis { command, connections, pipeline }));
            }
        }
    }
    all.push(Box::new(ping_pong::PingPong));
    all.push(Box::new(memcached::Memcached));
    all.push(Box::new(nginx::Nginx { close: false }));
    all.push(Box::new(nginx::Nginx { close: true }));
    for (streams, reverse) in [(1, false), (8, false), (1, true), (8, true)] {
        all.push(Box::new(iperf::Iperf { streams, reverse }));
    }
    all.push(Box::new(connections::Connections));
    all.push(Box::new(idle::Idle));
    all.push(Box::new(memory::Memory));
    all.push(Box::new(first_reply::FirstReply));
    all
}
