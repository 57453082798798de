//! Python's socket, selectors, asyncio, socketserver with threads, and
//! subprocess, as servers and as clients.

use super::sides::Payload;
use super::{Sides, Who};
use crate::harness::Program;

pub const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/programs/echo.py");

const CONNECTIONS: u64 = 20;
const BYTES: u64 = 200_000;

/// Every connection of every client sends its bytes to the server and gets them back.
fn echoes(who: Who, server: &str, clients: &[&str]) {
    let sides = Sides::new(who);
    let serving = sides.serve(Program::new("python3").args(&[ECHO, "serve", server]));
    let [host, _] = sides.at_server();
    for client in clients {
        println!("{who:?}: {client} to {server}");
        let payload = sides.through_stack(&serving, || {
            let numbers = [CONNECTIONS.to_string(), BYTES.to_string()];
            let ask = Program::new("python3").args(&[ECHO, "ask", client, &host, &numbers[0], &numbers[1]]);
            sides.run_client(ask);
        });
        if who != Who::Client {
            let all = CONNECTIONS * BYTES;
            assert_eq!(payload, Payload { read: all, written: all }, "{client} to {server}");
        }
    }
}

#[test]
fn threads_echo_every_byte() {
    echoes(Who::Server, "threads", &["socket"]);
    echoes(Who::Both, "threads", &["socket"]);
}

#[test]
fn selectors_echo_every_byte() {
    echoes(Who::Server, "selectors", &["socket"]);
    echoes(Who::Both, "selectors", &["selectors"]);
}

#[test]
fn asyncio_echoes_every_byte() {
    echoes(Who::Server, "asyncio", &["socket"]);
    echoes(Who::Both, "asyncio", &["asyncio"]);
}

#[test]
fn every_kind_of_client_gets_its_bytes_back() {
    echoes(Who::Client, "threads", &["socket", "selectors", "asyncio"]);
}

/// The server starts a child process for each request while its connections stand.
#[test]
fn children_of_an_accelerated_server_compute_its_answers() {
    for who in [Who::Server, Who::Both] {
        let sides = Sides::new(who);
        let serving = sides.serve(Program::new("python3").args(&[ECHO, "serve", "children"]));
        let [host, _] = sides.at_server();
        let payload = sides.through_stack(&serving, || {
            sides.run_client(Program::new("python3").args(&[ECHO, "ask", "digests", &host, "5", "100000"]));
        });
        assert_eq!(payload, Payload { read: 15 * 100_008, written: 15 * 32 });
    }
}

/// Every connection is served by a child of its own.
const FORKING: &str = "
import os, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b'served ' + self.rfile.readline())
class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
Server(('', 6379), Handler).serve_forever()
";

/// Tries until it is served, then ten times more.
const ASKER: &str = "
import socket, sys
def ask():
    with socket.create_connection((sys.argv[1], 6379)) as connection:
        connection.sendall(b'hello\\n')
        return connection.makefile('rb').read() == b'served hello\\n'
def served():
    try:
        return ask()
    except ConnectionError:
        return False
tries = next(tries for tries in range(10) if served())
assert all(ask() for _ in range(10))
print(tries)
";

/// Its first child shows what the program is; later connections are the kernel's.
#[test]
fn a_server_that_forks_for_each_connection_goes_back_to_the_kernel() {
    let sides = Sides::new(Who::Server);
    let server = sides.serve(Program::new("python3").args(&["-c", FORKING]));
    let [host, _] = sides.at_server();
    let tries = sides.run_client(Program::new("python3").args(&["-c", ASKER, &host]));
    let tries: u32 = tries.trim().parse().expect("a number of tries");
    assert!(tries < 6, "{tries} tries");
    let log = server.stderr();
    assert!(log.contains("it forks for each connection"), "{log}");
}
