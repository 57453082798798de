//! Connections opened, used once and closed, one after the other.

use std::time::Duration;

use super::{Measure, load};
use crate::check::Look;
use crate::ground::Ground;
use crate::report::Row;
use crate::summary::Better;

/// Connections a second.
pub struct Connections;

impl Measure for Connections {
    fn name(&self) -> String {
        "connections".to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "connections/s", Better::Higher)]
    }

    fn port(&self) -> u16 {
        load::PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        let server = load::start_echo(ground);
        let look = Look::at(ground, server.pid());
        let values = load::run_client(ground, "connections", load::PORT, time, &[]);
        let [rate] = values[..] else { panic!("tpa-load printed {values:?}") };
        look.must_show((2.0 * rate * time.as_secs_f64() * 0.9) as u64, ground, server.pid());
        values
    }
}
