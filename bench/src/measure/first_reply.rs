//! From the start of redis-server to its first reply.

use std::thread::sleep;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tpa_harness::wait_until;

use super::{GRACE, Measure, load, redis};
use crate::ground::Ground;
use crate::report::Row;
use crate::summary::Better;

/// Milliseconds.
pub struct FirstReply;

impl Measure for FirstReply {
    fn name(&self) -> String {
        "first-reply".to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "ms", Better::Lower)]
    }

    fn port(&self) -> u16 {
        redis::PORT
    }

    fn measure(&self, ground: &Ground, _time: Duration) -> Vec<f64> {
        let client = load::program(&["first-reply", ground.host(), &redis::PORT.to_string(), "0"]);
        let client = ground.as_client(client).spawn(&ground.client, &ground.work);
        wait_until(GRACE, "the client to start", || client.stdout().contains("trying"));
        // Its own stack starts at the first attempt.
        sleep(Duration::from_secs(1));
        let started = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the time"));
        let _server = ground.start(redis::server(ground), |_| true);
        let printed = client.finish(GRACE).good();
        let seconds: f64 = printed
            .split_whitespace()
            .last()
            .and_then(|word| word.parse().ok())
            .expect("the time of the first reply");
        vec![(seconds - started.as_secs_f64()) * 1000.0]
    }
}
