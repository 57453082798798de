//! How good recovery and congestion control are: what bulk transfers get out of
//! simulated paths, held against what the models say, and against the table of
//! `goodput.txt`. `TPA_GOODPUT_UPDATE=1` writes that table anew.

use std::{env, fs};

use tpa_sim::goodput::{Path, Row, jain_index, rows, share, table};
use tpa_tcp::{CongestionAlgorithm, Duration};

/// Share of the bound that each path must give.
const LEAST_SHARE: f64 = 0.85;

/// The same where the line is hardly faster than what losses allow: the window
/// moves about its mean, and what it is above the line's own only fills the
/// queue.
const LEAST_SHARE_OF_BOTH: f64 = 0.8;

/// Share of segments that may be sent again for nothing where the path reorders.
const MOST_SPURIOUS: f64 = 0.001;

/// Whether a row has no target: late by a quarter of a long round trip. Whoever
/// retransmits on such a path makes TS.Recent overtake the originals that are
/// still late, and PAWS (RFC 7323 5.3) throws these away: each loss brings
/// further ones, by the specification. Their number is a matter of chance.
fn is_beyond_the_model(row: &Row) -> bool {
    row.path.late_us > 1000
}

fn least_share(row: &Row) -> f64 {
    let line = row.path.mbits as f64;
    if (0.7 * line..0.9 * line).contains(&row.bound) { LEAST_SHARE_OF_BOTH } else { LEAST_SHARE }
}

/// By how much a path may differ from the table that is kept.
const DRIFT: f64 = 0.1;

/// What was measured last, and kept.
const KEPT: &str = include_str!("goodput.txt");

/// Where it is kept.
const KEPT_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goodput.txt");

/// The path of a line of the table, and its goodput in Mbit/s.
fn parse(line: &str) -> Option<(&str, f64)> {
    let (path, rest) = line.split_once('|')?;
    // The bound, its kind, the goodput.
    Some((path, rest.split_whitespace().nth(2)?.parse().ok()?))
}

/// Rows that are no longer what they were.
fn drifted(rows: &[Row]) -> Vec<String> {
    let found = table(rows);
    let (found, kept): (Vec<_>, Vec<_>) =
        (found.lines().filter_map(parse).collect(), KEPT.lines().filter_map(parse).collect());
    assert_eq!(found.len(), rows.len(), "each row can be read back");
    let same = |(path, mbits): &&(&str, f64)| {
        kept.iter().any(|(other, before)| other == path && (mbits - before).abs() <= DRIFT * before)
    };
    let drifted = found.iter().zip(rows).filter(|(line, row)| !same(line) && !is_beyond_the_model(row));
    drifted.map(|(_, row)| format!("not what the kept table says: {row}")).collect()
}

fn failures(row: &Row) -> Vec<String> {
    let mut failures = Vec::new();
    if row.share() < least_share(row) {
        failures.push(format!("too little of the bound: {row}"));
    }
    if row.path.reordering > 0.0 && row.goodput.spurious > MOST_SPURIOUS {
        failures.push(format!("too much sent for nothing: {row}"));
    }
    failures
}

#[test]
fn cubic_gets_out_of_each_path_what_the_model_says() {
    let rows = rows(CongestionAlgorithm::Cubic).expect("all transfers run");
    println!("{}", table(&rows));
    let mut failures: Vec<_> =
        rows.iter().filter(|row| !is_beyond_the_model(row)).flat_map(failures).collect();
    if env::var_os("TPA_GOODPUT_UPDATE").is_some() {
        fs::write(KEPT_PATH, table(&rows)).expect("the table can be written");
    } else {
        failures.extend(drifted(&rows));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn two_flows_share_a_line() {
    let seconds = Duration::from_secs;
    for (mbits, rtt_ms) in [(10, 20), (100, 1), (100, 20)] {
        let path = Path { mbits, rtt_ms, loss: 0.0, reordering: 0.0, late_us: 0 };
        let rates = share(&path, &[CongestionAlgorithm::Cubic; 2], 1, seconds(25), seconds(20))
            .expect("both transfers run");
        let index = jain_index(&rates);
        assert!(index > 0.95, "{mbits} Mbit/s, {rtt_ms} ms: {rates:?}, index {index}");
        let sum: f64 = rates.iter().sum();
        assert!(sum > 0.95 * mbits as f64 * 0.956, "the line is not full: {rates:?}");
    }
}
