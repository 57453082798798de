//! One connection, one byte there and one byte back.

use std::time::Duration;

use super::{Measure, load};
use crate::check::Look;
use crate::ground::Ground;
use crate::report::Row;
use crate::summary::Better;

/// Round trips of one byte.
pub struct PingPong;

impl Measure for PingPong {
    fn name(&self) -> String {
        "ping-pong".to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        ["p50", "p99", "p99.9"].map(|part| Row::new(format!("ping-pong-{part}"), "µs", Better::Lower)).into()
    }

    fn port(&self) -> u16 {
        load::PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        let server = load::start_echo(ground);
        let look = Look::at(ground, server.pid());
        let mut values = load::run_client(ground, "ping-pong", load::PORT, time, &[]);
        let rounds = values.pop().expect("the number of rounds comes last");
        look.must_show(2 * rounds as u64, ground, server.pid());
        values
    }
}
