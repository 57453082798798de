//! Peers that are killed, in either role, under load.
//!
//! The test program starts itself again as the peer: the "test" below that is
//! ignored otherwise.

use std::process::{Child, Command, Stdio};

use super::*;

const SOCKET: &str = "MEMIF_TEST_SOCKET";
const ROLE: &str = "MEMIF_TEST_ROLE";

/// A peer process; killed at the latest when it is dropped.
struct Peer(Child);

impl Peer {
    fn start(folder: &TempFolder, role: Role) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program)
            .args(["--exact", "device::memif::tests::death::peer", "--ignored", "--nocapture"])
            .env(SOCKET, folder.path())
            .env(ROLE, if role == Role::Server { "server" } else { "client" })
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the peer process runs: it sends back all that it gets, and more.
#[test]
#[ignore = "run by the tests that kill it"]
fn peer() {
    let (Ok(folder), Ok(role)) = (std::env::var(SOCKET), std::env::var(ROLE)) else {
        return;
    };
    let role = if role == "server" { Role::Server } else { Role::Client };
    let mut face = open_one(&options(Path::new(&folder), role));
    let end = Instant::now() + Duration::from_secs(60);
    let mut turn = 0u32;
    while Instant::now() < end {
        exchange(&mut face, turn);
        turn += 1;
        if turn.is_multiple_of(256) {
            face.on_control();
        }
    }
}

/// Takes what comes, checks it, and sends a burst of frames that tell their
/// own contents. Returns the frames taken.
fn exchange(face: &mut Face, turn: u32) -> usize {
    let mut batch = Batch::new();
    face.rx_burst(&mut batch);
    for packet in &batch {
        let bytes = packet.bytes();
        let number = u32::from_ne_bytes(bytes[..4].try_into().unwrap());
        assert_eq!(bytes[4..], pattern(number, bytes.len() - 4), "a garbled frame");
    }
    let count = batch.len();
    batch.clear();
    for index in 0..8u32 {
        let number = turn.wrapping_mul(8).wrapping_add(index);
        let len = 4 + (number as usize * 37) % 3000;
        let Some(mut packet) = face.alloc() else { break };
        packet.buffer_mut()[..4].copy_from_slice(&number.to_ne_bytes());
        packet.buffer_mut()[4..len].copy_from_slice(&pattern(number, len - 4));
        packet.set_len(len);
        batch.push(packet);
    }
    face.tx_burst(&mut batch);
    count
}

/// Keeps the load up until `done`, with the control side run as its thread
/// would.
fn run_until(face: &mut Face, what: &str, mut done: impl FnMut(&mut Face, usize) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut turn, mut taken) = (0, 0);
    while !done(face, taken) {
        assert!(Instant::now() < deadline, "never {what}");
        taken += exchange(face, turn);
        turn += 1;
        if turn % 64 == 0 {
            face.on_control();
        }
    }
}

fn survives_kills(peer_role: Role) {
    let folder = TempFolder::new();
    let role = if peer_role == Role::Server { Role::Client } else { Role::Server };
    let mut face = open_one(&options(folder.path(), role));
    for round in 1..=8 {
        let mut peer = Peer::start(&folder, peer_role);
        run_until(&mut face, "connected", |face, _| face.link_up());
        // A different place under load every time.
        run_until(&mut face, "busy", |_, taken| taken > 500 * round);
        peer.kill();
        run_until(&mut face, "disconnected", |face, _| !face.link_up());
        assert_eq!(face.stats().disconnects, round as u64);
    }
    assert_eq!(face.stats().rx_errors, 0);
    assert_eq!(face.free_buffers(), 256);
}

#[test]
fn a_server_outlives_clients_that_are_killed_under_load() {
    survives_kills(Role::Client);
}

#[test]
fn a_client_outlives_servers_that_are_killed_under_load() {
    // Each new server also finds the socket file of the one before.
    survives_kills(Role::Server);
}

#[test]
fn clients_killed_at_any_moment_of_the_handshake_keep_nobody_out() {
    let folder = TempFolder::new();
    let mut server = open_one(&options(folder.path(), Role::Server));
    for delay in 0..10 {
        let mut peer = Peer::start(&folder, Role::Client);
        let end = Instant::now() + Duration::from_micros(5000 + 1500 * delay);
        while Instant::now() < end {
            server.on_control();
        }
        peer.kill();
    }
    let mut client = open_one(&options(folder.path(), Role::Client));
    connect_all(&mut [&mut server, &mut client]);
}
