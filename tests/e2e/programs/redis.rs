//! redis beyond commands and answers: transactions, blocking, subscriptions, its
//! ways to end connections, threads for I/O, and replication.

use super::sides::payload_of;
use super::{Sides, Who, LIMIT};
use crate::harness::{wait_until, Device, Namespace, Program, Role, Running, Stage};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/programs/redis.py");

#[test]
fn redis_with_io_threads_blocks_publishes_and_ends_connections() {
    for device in [Device::AfXdp, Device::Memif(Role::Server)] {
        let stage = Stage::new(device);
        let redis = stage.redis(&["--io-threads", "2", "--io-threads-do-reads", "yes"]);
        redis.through_stack(|| {
            stage.run(Program::new("python3").args(&[CLIENT, stage.host(), "talk"]), LIMIT).good();
        });
        // redis does not count what it tells those whom it turns away.
        let before = redis.stack();
        stage.run(Program::new("python3").args(&[CLIENT, stage.host(), "crowd"]), LIMIT).good();
        assert_eq!(redis.stack().since(&before, "connections_accepted"), 11);
    }
}

const REPLICA_PORT: u16 = 6380;
/// Keys of the primary before the replica comes, and bytes of each value.
const KEYS: u64 = 3000;
const BYTES: u64 = 1000;

fn redis_server(sides: &Sides, port: u16, further: &[&str]) -> Program {
    let folder = sides.stage.work.path().join(port.to_string());
    std::fs::create_dir(&folder).expect("a folder for redis");
    Program::new("redis-server")
        .args(&[
            "--bind",
            "0.0.0.0",
            "--port",
            &port.to_string(),
            "--protected-mode",
            "no",
            "--save",
            "",
            "--rdbcompression",
            "no",
        ])
        .args(&["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0", "--dir"])
        .arg(folder)
        .args(further)
}

/// Asks a server over the loopback of its namespace.
fn ask(sides: &Sides, namespace: &Namespace, port: u16, words: &[&str]) -> String {
    let cli = Program::new("redis-cli").args(&["-p", &port.to_string()]).args(words);
    cli.run(namespace, &sides.stage.work, LIMIT).good().trim().to_owned()
}

fn replicates(who: Who) {
    let sides = Sides::new(who);
    let (of_primary, of_replica) = match who {
        Who::Client => (&sides.stage.client, &sides.stage.server),
        Who::Server | Who::Both => (&sides.stage.server, &sides.stage.client),
    };
    let primary: Running = sides.serve(redis_server(&sides, 6379, &[]));
    let primary_says = |words: &[&str]| ask(&sides, of_primary, 6379, words);
    primary_says(&["debug", "populate", &KEYS.to_string(), "key", &BYTES.to_string()]);
    let [host, port] = sides.at_server();
    let replica = sides.start_client(redis_server(&sides, REPLICA_PORT, &["--replicaof", &host, &port]));
    let says = |words: &[&str]| ask(&sides, of_replica, REPLICA_PORT, words);
    let is_up = || replica.stdout().contains("Finished with success");
    wait_until(LIMIT, "the replica's copy", is_up);
    assert_eq!(primary_says(&["set", "later", "value"]), "OK");
    wait_until(LIMIT, "the later write", || says(&["get", "later"]) == "value");
    assert_eq!(primary_says(&["debug", "digest"]), says(&["debug", "digest"]));
    for (process, bytes) in [(&primary, payload_of(&primary).written), (&replica, payload_of(&replica).read)]
    {
        let accelerated = who == Who::Both || (process.pid() == primary.pid()) == (who == Who::Server);
        assert_eq!(bytes > KEYS * BYTES, accelerated, "{who:?}: {bytes} bytes");
    }
}

#[test]
fn a_primary_feeds_a_kernels_replica() {
    replicates(Who::Server);
}

#[test]
fn a_replica_follows_a_kernels_primary() {
    replicates(Who::Client);
}

#[test]
fn a_primary_feeds_a_replica_over_memif() {
    replicates(Who::Both);
}
