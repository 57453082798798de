//! node's http module, as server and as client.

use super::{Sides, Who};
use crate::harness::Program;

const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/programs/echo.js");

const CONNECTIONS: u64 = 20;
const BYTES: u64 = 100_000;
/// Requests of each connection.
const ROUNDS: u64 = 3;

#[test]
fn node_echoes_every_byte() {
    for who in Who::ALL {
        let sides = Sides::new(who);
        let server = sides.serve(Program::new("node").args(&[ECHO, "serve"]));
        let [host, _] = sides.at_server();
        let numbers = [CONNECTIONS, BYTES].map(|number| number.to_string());
        let payload = sides.through_stack(&server, || {
            sides.run_client(Program::new("node").args(&[ECHO, "ask", &host, &numbers[0], &numbers[1]]));
        });
        if who != Who::Client {
            let bodies = CONNECTIONS * BYTES * ROUNDS;
            for bytes in [payload.read, payload.written] {
                assert!((bodies..bodies + 60_000).contains(&bytes), "{who:?}: {bodies}, {payload:?}");
            }
        }
    }
}
