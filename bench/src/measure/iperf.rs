//! iperf3: bulk transfer.

use std::time::Duration;

use serde_json::Value;
use tpa_harness::Program;

use super::{GRACE, Measure};
use crate::check::Look;
use crate::ground::Ground;
use crate::report::Row;
use crate::summary::Better;

const PORT: u16 = 5201;

/// Gbit/s of payload, as received.
pub struct Iperf {
    pub streams: u32,
    /// From the server to the client.
    pub reverse: bool,
}

impl Measure for Iperf {
    fn name(&self) -> String {
        format!("iperf3-{}{}", self.streams, if self.reverse { "-reverse" } else { "" })
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "Gbit/s", Better::Higher)]
    }

    fn port(&self) -> u16 {
        PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        let program = Program::new("iperf3").args(&["-s", "--forceflush"]);
        let server = ground.start(program, |server| server.stdout().contains("Server listening"));
        ground.wait_for_stack(server.pid());
        let look = Look::at(ground, server.pid());
        let seconds = time.as_secs().to_string();
        let mut client = Program::new("iperf3").args(&[
            "-c",
            ground.host(),
            "-J",
            "-t",
            &seconds,
            "-P",
            &self.streams.to_string(),
        ]);
        if self.reverse {
            client = client.arg("-R");
        }
        let printed = ground.run(client, time + GRACE);
        let report: Value = serde_json::from_str(&printed).expect("iperf3 prints JSON");
        let received = &report["end"]["sum_received"];
        let (Some(rate), Some(bytes)) = (received["bits_per_second"].as_f64(), received["bytes"].as_u64())
        else {
            panic!("iperf3 printed {printed}");
        };
        look.must_show(bytes, ground, server.pid());
        vec![rate / 1e9]
    }
}
