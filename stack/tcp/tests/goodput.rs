//! How good recovery and congestion control are: what bulk transfers get out of
//! simulated paths, held against what the models say.

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
    let failures: Vec<_> = rows.iter().filter(|row| !is_beyond_the_model(row)).flat_map(failures).collect();
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
