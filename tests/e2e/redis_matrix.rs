//! redis-benchmark's commands, with and without a pipeline, from one to 500
//! connections, with values from three bytes to 64 KiB.
//!
//! Three cells a device by default; all eighteen with `TPA_FULL=1`.

use std::time::Duration;

use crate::harness::{Device, Role, Stage};

/// One cell: pipeline depth, connections, bytes per value.
type Cell = (u32, u32, u32);

const SOME: [Cell; 3] = [(1, 50, 3), (16, 500, 1024), (1, 1, 65536)];

fn cells() -> Vec<Cell> {
    if std::env::var_os("TPA_FULL").is_none() {
        return SOME.to_vec();
    }
    let mut all = Vec::new();
    for pipeline in [1, 16] {
        for connections in [1, 50, 500] {
            all.extend([3, 1024, 65536].map(|bytes| (pipeline, connections, bytes)));
        }
    }
    all
}

fn run(device: Device) {
    let stage = Stage::new(device);
    for cell in cells() {
        println!("{device:?}: pipeline {}, {} connections, {} bytes", cell.0, cell.1, cell.2);
        let redis = stage.redis(&[]);
        let transfer = redis.through_stack(|| {
            benchmark(&stage, cell, "ping,set,get,incr,lpush,mset", requests(cell));
            stage.cli(&["flushall"]);
            benchmark(&stage, cell, "lrange", lrange_requests(cell));
        });
        // Each of the GETs alone must have brought its value back.
        assert!(transfer.sent > u64::from(cell.2) * u64::from(requests(cell)) / 2);
    }
}

fn benchmark(stage: &Stage, (pipeline, connections, bytes): Cell, commands: &str, requests: u32) {
    let numbers = [pipeline, connections, bytes, requests].map(|number| number.to_string());
    let [pipeline, connections, bytes, requests] = &numbers;
    let arguments = ["-t", commands, "-P", pipeline, "-c", connections, "-d", bytes, "-n", requests, "--csv"];
    let table = stage.benchmark(&arguments, Duration::from_secs(120));
    // A line a command (PING is two, LRANGE five with the LPUSH before it), and the heading.
    let expected = if commands == "lrange" { 6 } else { 8 };
    assert_eq!(table.lines().count(), expected, "{table}");
}

fn requests((_, connections, bytes): Cell) -> u32 {
    let requests = if bytes > 10_000 { 500 } else { 10_000 };
    requests.max(connections * 2)
}

/// LRANGE replies with up to 600 values: few of them are much.
fn lrange_requests((_, _, bytes): Cell) -> u32 {
    if bytes > 10_000 {
        50
    } else {
        1000
    }
}

#[test]
fn every_command_works_over_af_xdp() {
    run(Device::AfXdp);
}

#[test]
fn every_command_works_over_memif() {
    run(Device::Memif(Role::Server));
}

#[test]
fn every_command_works_over_memif_with_the_server_as_its_client() {
    run(Device::Memif(Role::Client));
}
