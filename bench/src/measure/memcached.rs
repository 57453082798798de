//! memcached with one thread: 50 connections that get a value of three bytes.

use std::time::Duration;

use tpa_harness::Program;

use super::{Measure, load};
use crate::check::Look;
use crate::ground::Ground;
use crate::report::Row;
use crate::summary::Better;

const PORT: u16 = 11211;

/// Bytes of a request, `get key\r\n`.
const REQUEST: f64 = 9.0;

/// Gets a second.
pub struct Memcached;

impl Measure for Memcached {
    fn name(&self) -> String {
        "memcached".to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "requests/s", Better::Higher)]
    }

    fn port(&self) -> u16 {
        PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        let program =
            Program::new("memcached").args(&["-u", "memcache", "-t", "1", "-l", "0.0.0.0", "-c", "4096"]);
        let server = ground.start(program, |_| ground.listens(PORT));
        ground.wait_for_stack(server.pid());
        let look = Look::at(ground, server.pid());
        let values = load::run_client(ground, "memcached", PORT, time, &["50"]);
        let [rate] = values[..] else { panic!("tpa-load printed {values:?}") };
        look.must_show((rate * time.as_secs_f64() * REQUEST) as u64, ground, server.pid());
        values
    }
}
