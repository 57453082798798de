//! A memif peer that dies under load, at either end and in any role, crashes
//! nobody, and the other end takes it back when it returns.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{wait_until, Device, Redis, Role, Running, Stage};

const LIMIT: Duration = Duration::from_secs(20);
const ENDLESS: [&str; 6] = ["-t", "set,get", "-c", "50", "-n", "1000000000"];

fn wait_for_load(redis: &Redis) {
    let before = redis.stack();
    wait_until(LIMIT, "the load to begin", || redis.stack().since(&before, "bytes_received") > 1_000_000);
}

fn clients_die(role: Role) {
    let stage = Stage::new(Device::Memif(role));
    let mut redis = stage.redis(&[]);
    for _ in 0..5 {
        let load = stage.start_benchmark(&ENDLESS);
        wait_for_load(&redis);
        load.signal(Signal::SIGKILL);
        drop(load);
        assert!(redis.process.status().is_none(), "redis lives\n{}", redis.process.printed());
    }
    redis.through_stack(|| {
        stage.benchmark(&["-t", "set,get", "-n", "20000", "--csv"], LIMIT);
    });
}

fn servers_die(role: Role) {
    let stage = Stage::new(Device::Memif(role));
    let redis = stage.redis(&[]);
    let mut load = stage.start_benchmark(&ENDLESS);
    wait_for_load(&redis);
    redis.process.signal(Signal::SIGKILL);
    drop(redis);
    std::thread::sleep(Duration::from_millis(500));
    assert_alive_or_ended_by_itself(&mut load);
    // The next server resets the former one's connections, on which the
    // benchmark gives up by itself.
    let redis = stage.redis(&[]);
    wait_until(LIMIT, "the benchmark to notice", || load.status().is_some());
    assert_alive_or_ended_by_itself(&mut load);
    drop(load);
    redis.through_stack(|| {
        stage.benchmark(&["-t", "set,get", "-n", "20000", "--csv"], LIMIT);
    });
}

fn assert_alive_or_ended_by_itself(load: &mut Running) {
    if let Some(status) = load.status() {
        assert_eq!(status.signal(), None, "the client crashed\n{}", load.printed());
    }
}

#[test]
fn a_server_outlives_clients_that_die_under_load() {
    clients_die(Role::Server);
}

#[test]
fn a_server_in_the_clients_role_outlives_clients_that_die_under_load() {
    clients_die(Role::Client);
}

#[test]
fn a_client_outlives_a_server_that_dies_under_load() {
    servers_die(Role::Server);
}

#[test]
fn a_client_in_the_servers_role_outlives_a_server_that_dies_under_load() {
    servers_die(Role::Client);
}
