//! How good recovery and congestion control are: what bulk transfers get out of
//! simulated paths, held against what the models say, and against the table of
//! `goodput.txt`. `TPA_GOODPUT_UPDATE=1` writes that table anew.

use std::{env, fs};

use tpa_sim::goodput::{Path, Row, jain_index, rows, share, table};
use tpa_tcp::{CongestionAlgorithm, Duration};

/// Share of the bound that each path must give.
const LEAST_SHARE: f64 = 0.85;

/// Share of segments that may be sent again for nothing where the path reorders.
const MOST_SPURIOUS: f64 = 0.001;

/// What was measured last, and kept. All of it is a matter of seeds, so that only
/// a change of the engine or of the simulator moves it (or another `cbrt` of the
/// system's library).
const KEPT: &str = include_str!("goodput.txt");

/// Where it is kept.
const KEPT_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goodput.txt");

/// Lines that are not the kept ones, each above what it was.
fn differences(found: &str) -> Vec<String> {
    let mut differences = Vec::new();
    let (mut found, mut kept) = (found.lines(), KEPT.lines());
    loop {
        let pair = (found.next(), kept.next());
        if pair == (None, None) {
            break;
        }
        if pair.0 != pair.1 {
            let [now, before] = [pair.0, pair.1].map(|line| line.unwrap_or("(no such line)"));
            differences.push(format!("is   {now}\nwas  {before}"));
        }
    }
    if !differences.is_empty() {
        differences.push(format!(
            "{KEPT_PATH} is no longer what is measured. When that is meant, and no worse, run this test with \
             TPA_GOODPUT_UPDATE=1 in the environment: it writes the table anew."
        ));
    }
    differences
}

fn failures(row: &Row) -> Vec<String> {
    let mut failures = Vec::new();
    if row.share() < LEAST_SHARE {
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
    let found = table(&rows);
    println!("{found}");
    let mut failures: Vec<_> = rows.iter().flat_map(failures).collect();
    if env::var_os("TPA_GOODPUT_UPDATE").is_some() {
        fs::write(KEPT_PATH, found).expect("the table can be written");
    } else {
        failures.extend(differences(&found));
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
