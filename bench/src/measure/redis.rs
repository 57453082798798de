//! redis-server under redis-benchmark: values of three bytes.

use std::time::Duration;

use tpa_harness::{Program, Running};

use super::{GRACE, Measure};
use crate::check::Look;
use crate::ground::Ground;
use crate::process::cpu_nanoseconds;
use crate::report::Row;
use crate::summary::Better;

/// The server's port.
pub const PORT: u16 = 6379;

/// Bytes of the shortest request, `GET` of redis-benchmark's key, in the
/// protocol of redis.
const REQUEST: u64 = 36;

/// Requests, over all connections, from which on the rate means something.
const WARM_UP: u64 = 20_000;

/// The load whose server CPU a request the table shows.
const TYPICAL: Redis = Redis { command: "get", connections: 50, pipeline: 1 };

/// One load.
#[derive(Debug, PartialEq, Eq)]
pub struct Redis {
    pub command: &'static str,
    pub connections: u32,
    pub pipeline: u32,
}

impl Measure for Redis {
    fn name(&self) -> String {
        format!("redis-{}-c{}-p{}", self.command, self.connections, self.pipeline)
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            Row::new(self.name(), "requests/s", Better::Higher),
            Row::new(format!("{}-p99", self.name()), "ms", Better::Lower),
        ];
        if *self == TYPICAL {
            rows.push(Row::new("cpu-per-request", "µs", Better::Lower));
        }
        rows
    }

    fn port(&self) -> u16 {
        PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        let server = start(ground);
        let (rate, _) = self.load(ground, WARM_UP);
        // Whole rounds of all connections.
        let requests = ((rate * time.as_secs_f64()) as u64).max(u64::from(self.connections * self.pipeline));
        let look = Look::at(ground, server.pid());
        let before = cpu_nanoseconds(server.pid());
        let (rate, p99) = self.load(ground, requests);
        let spent = cpu_nanoseconds(server.pid()) - before;
        look.must_show(requests * REQUEST, ground, server.pid());
        let mut values = vec![rate, p99];
        if *self == TYPICAL {
            values.push(spent as f64 / requests as f64 / 1000.0);
        }
        values
    }
}

impl Redis {
    /// Requests a second, and the 99th percentile of their time in milliseconds.
    fn load(&self, ground: &Ground, requests: u64) -> (f64, f64) {
        let program = Program::new("redis-benchmark")
            .args(&["-h", ground.host(), "-p", &PORT.to_string(), "--csv", "-t", self.command])
            .args(&["-c", &self.connections.to_string(), "-P", &self.pipeline.to_string()])
            .args(&["-n", &requests.to_string()]);
        let printed = ground.run(program, GRACE);
        // "test","rps","avg_latency_ms","min_…","p50_…","p95_…","p99_…","max_…"
        let line =
            printed.lines().find(|line| line.starts_with(&format!("\"{}\"", self.command.to_uppercase())));
        let fields: Vec<f64> = line
            .unwrap_or_else(|| panic!("redis-benchmark printed no result: {printed}"))
            .split(',')
            .filter_map(|field| field.trim_matches('"').parse().ok())
            .collect();
        match fields[..] {
            [rate, _, _, _, _, p99, ..] => (rate, p99),
            _ => panic!("redis-benchmark printed {printed}"),
        }
    }
}

/// The server, as it is to be run.
pub fn server(ground: &Ground) -> Program {
    Program::new("redis-server")
        .args(&["--bind", "0.0.0.0", "--port", &PORT.to_string(), "--protected-mode", "no"])
        .args(&["--save", "", "--dir"])
        .arg(ground.work.path())
}

/// A server whose stack is up.
pub fn start(ground: &Ground) -> Running {
    let running = ground.start(server(ground), |_| ground.listens(PORT));
    ground.wait_for_stack(running.pid());
    running
}
