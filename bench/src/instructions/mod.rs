//! Instructions of a small request and its reply, floor by floor.
//!
//! One thread is both ends of a connection to itself, through the hooks, with no
//! device: so the count is the same each time, and a change of it is a change
//! of the code. Counted under callgrind, as the difference of two runs.

mod callgrind;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use tpa_harness::{Work, shim};

/// Request-response pairs of the shorter and of the longer run.
const SHORT: u64 = 2_000;
const LONG: u64 = 12_000;

/// What the last kept counts stand in, one floor a line.
const KEPT: &str = include_str!("../../instructions.txt");

/// More than this is reported as a change, in percent.
const CHANGE: f64 = 2.0;

/// Who has written the code, by the path of its file.
const FLOORS: [(&str, &str); 4] =
    [("engine", "stack/tcp/src/"), ("stack", "stack/src/"), ("hooks", "shim/"), ("program", "tpa-load/")];

/// The floor of what none of them has written: std, libraries, libc.
const LIBRARIES: &str = "libraries";

/// Instructions of one end by floor, of a request-response pair.
type Counts = BTreeMap<&'static str, f64>;

/// Counts, compares with what was kept, and prints a table; `keep` writes the
/// new counts down. Returns whether no floor has grown by more than 2 %.
///
/// # Errors
///
/// When valgrind or the program fails.
pub fn run(keep: bool) -> Result<bool, Box<dyn Error>> {
    let (short, long) = (count(SHORT)?, count(LONG)?);
    let mut counts = Counts::new();
    for (path, cost) in &long {
        let before = short.get(path).copied().unwrap_or(0);
        // Both ends are in the run.
        *counts.entry(floor_of(path)).or_default() +=
            (*cost as f64 - before as f64) / (LONG - SHORT) as f64 / 2.0;
    }
    counts.insert(
        "all but the program",
        counts.iter().filter(|(floor, _)| **floor != "program").map(|(_, n)| n).sum(),
    );
    let kept = parse(KEPT);
    println!("instructions of one end for a request of 64 bytes and its reply\n");
    println!("{:<22}{:>10}{:>10}{:>10}", "", "now", "kept", "change");
    let mut is_good = true;
    for (floor, now) in &counts {
        let before = kept.get(*floor).copied();
        let change = before.map(|before| 100.0 * (now - before) / before);
        is_good &= *floor == "program" || change.is_none_or(|change| change <= CHANGE);
        let kept = before.map_or("-".to_owned(), |before| format!("{before:.0}"));
        let change = change.map_or("-".to_owned(), |change| format!("{change:+.1} %"));
        println!("{floor:<22}{now:>10.0}{kept:>10}{change:>10}");
    }
    if keep {
        let text: String = counts.iter().map(|(floor, count)| format!("{floor}: {count:.0}\n")).collect();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt"), text)?;
    }
    Ok(is_good || keep)
}

fn floor_of(path: &str) -> &'static str {
    let own = FLOORS.iter().find(|(_, part)| path.contains(part) && !path.contains("/registry/"));
    own.map_or(LIBRARIES, |(floor, _)| floor)
}

fn parse(kept: &str) -> BTreeMap<&str, f64> {
    kept.lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(floor, count)| Some((floor, count.trim().parse().ok()?)))
        .collect()
}

/// Instructions by file of a run with that many pairs.
fn count(pairs: u64) -> Result<HashMap<String, u64>, Box<dyn Error>> {
    let work = Work::new();
    let config = work.write(
        "tpa.conf",
        "strict = true\nloopback = true\ndevice = 'none'\nlisten = [7007]\nconnect = [7007]\n",
    );
    let profile = work.path().join("profile");
    let load: PathBuf = std::env::current_exe()?.with_file_name("tpa-load");
    let output = Command::new("valgrind")
        // The control thread looks by the clock, and would make the counts differ.
        .args(["--tool=callgrind", "--trace-children=yes", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .args(["env", &format!("LD_PRELOAD={}", shim().display()), &format!("TPA_CONF={}", config.display())])
        .arg(load)
        .args(["pair", &pairs.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!("valgrind: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(callgrind::by_file(&std::fs::read_to_string(work.path().join("profile-01"))?))
}
