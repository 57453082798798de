//! What a server costs that has nothing to do, with 100 connections open.

use std::thread::sleep;
use std::time::Duration;

use tpa_harness::{Running, wait_until};

use super::{GRACE, Measure, load};
use crate::ground::Ground;
use crate::process::cpu_nanoseconds;
use crate::report::Row;
use crate::summary::Better;

/// Until what the connections' opening has left behind is over.
const SETTLE: Duration = Duration::from_millis(300);

/// Percent of a core.
pub struct Idle;

impl Measure for Idle {
    fn name(&self) -> String {
        "idle-cpu".to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "% of a core", Better::Lower)]
    }

    fn port(&self) -> u16 {
        load::PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        let server = load::start_echo(ground);
        let _client = hold(ground, 100);
        sleep(SETTLE);
        let before = cpu_nanoseconds(server.pid());
        sleep(time);
        let spent = cpu_nanoseconds(server.pid()) - before;
        // The clock of the scheduler does not see less than some microseconds.
        vec![(100.0 * spent as f64 / time.as_nanos() as f64).max(0.001)]
    }
}

/// A client that holds that many connections to the echo server, each used once.
pub fn hold(ground: &Ground, connections: u32) -> Running {
    let port = load::PORT.to_string();
    let client = load::program(&["hold", ground.host(), &port, "0", &connections.to_string()]);
    let running = ground.as_client(client).spawn(&ground.client, &ground.work);
    let mut running = Some(running);
    wait_until(GRACE, "the connections to be open", || {
        let client = running.as_mut().expect("it runs");
        assert!(client.status().is_none(), "the client ended: {}", client.printed());
        client.stdout().contains("open")
    });
    running.expect("it runs")
}
