//! Rust's std and tokio: a thread a connection, and an event loop of two threads.

use super::sides::Payload;
use super::{Sides, Who};
use crate::harness::{built, Program, PORT};

const CONNECTIONS: u64 = 20;
const BYTES: u64 = 500_000;

fn program(name: &str) -> Program {
    Program::new(built(name).to_str().expect("UTF-8"))
}

fn echoes(name: &str) {
    for who in Who::ALL {
        let sides = Sides::new(who);
        let server = sides.serve(program(name).args(&["serve", &PORT.to_string()]));
        let address = sides.at_server().join(":");
        let numbers = [CONNECTIONS, BYTES].map(|number| number.to_string());
        let payload = sides.through_stack(&server, || {
            sides.run_client(program(name).args(&["ask", &address, &numbers[0], &numbers[1]]));
        });
        if who != Who::Client {
            let all = CONNECTIONS * BYTES;
            assert_eq!(payload, Payload { read: all, written: all }, "{who:?}");
        }
    }
}

#[test]
fn threads_of_std_echo_every_byte() {
    echoes("std-echo");
}

#[test]
fn tasks_of_tokio_echo_every_byte() {
    echoes("tokio-echo");
}
