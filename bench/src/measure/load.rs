//! The small programs of `tpa-load`: servers and clients that use sockets as
//! anyone would.

use std::time::Duration;

use tpa_harness::{Program, Running};

use super::GRACE;
use crate::ground::Ground;

/// Port of the echo server.
pub const PORT: u16 = 7007;

/// One of its programs.
pub fn program(arguments: &[&str]) -> Program {
    let own = std::env::current_exe().expect("the path of this program");
    let path = own.with_file_name("tpa-load");
    Program::new(&path.to_string_lossy()).args(arguments)
}

/// An echo server that listens.
pub fn start_echo(ground: &Ground) -> Running {
    let listens = |server: &Running| server.stdout().contains("listening");
    let running = ground.start(program(&["echo", &PORT.to_string()]), listens);
    ground.wait_for_stack(running.pid());
    running
}

/// Runs a client for a time against a server's port; the numbers that it prints.
pub fn run_client(ground: &Ground, what: &str, port: u16, time: Duration, further: &[&str]) -> Vec<f64> {
    let client = program(&[what, ground.host(), &port.to_string(), &time.as_millis().to_string()]);
    let printed = ground.run(client.args(further), time + GRACE);
    printed.split_whitespace().map(|word| word.parse().expect("tpa-load prints numbers")).collect()
}
