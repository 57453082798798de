//! Thousands of seeded connections over bad links, each byte-exact both ways
//! to a clean end, with everything checked after each step.
//!
//! `TPA_SIM_SEED=n` replays one run, and with `TPA_SIM_TRACE=1` prints each of
//! its segments; `TPA_SIM_RUNS=n` changes how many runs there are,
//! `TPA_SIM_START=n` with which seed they begin.

mod scenario;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, thread};

use tpa_sim::LinkStats;
use tpa_tcp::{Duration, Instant};

/// Connections of the test command.
const RUNS: u64 = 12_000;

/// Failures that are shown in full.
const SHOWN: usize = 5;

/// Time that the worst connection may take: dozens of losses in a row, each
/// with its timeout.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What happened in runs, so that nobody takes for tested what never did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    frames: u64,
    /// Connections that began with a SYN cookie.
    cookies: u64,
    /// That learned of a smaller MTU from a router.
    reports: u64,
    /// Whose segments a router dropped for their size without a word.
    black_holes: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            cookies: self.cookies + other.cookies,
            reports: self.reports + other.reports,
            black_holes: self.black_holes + other.black_holes,
        }
    }
}

/// Content and end of a run.
fn run(seed: u64) -> Result<(Tally, Instant), String> {
    let (mut world, flow, links) = scenario::world(seed);
    world.run(LIMIT)?;
    let any = |has: fn(LinkStats) -> bool| u64::from(links.iter().any(|&link| has(world.link_stats(link))));
    let tally = Tally {
        frames: world.frames(),
        cookies: u64::from(world.began_with_cookie(flow.server)),
        reports: any(|stats| stats.reported > 0),
        black_holes: any(|stats| stats.too_large > 0 && stats.reported == 0),
    };
    Ok((tally, world.now()))
}

/// The same, with panics as errors, and the line that repeats a failure.
fn try_run(seed: u64) -> Result<Tally, String> {
    let result = catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|_| Err("panic".into()));
    result.map(|(tally, _)| tally).map_err(|error| {
        format!("TPA_SIM_SEED={seed} cargo test -p tpa-tcp --test simulation every -- --nocapture\n{error}")
    })
}

/// Runs seeds on all processors; returns what happened, and the failures by
/// rising seed.
fn run_all(start: u64, runs: u64) -> (Tally, Vec<String>) {
    let next = AtomicU64::new(start);
    let work = || {
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= start + runs {
                return (tally, failures);
            }
            match try_run(seed) {
                Ok(run) => tally = tally.plus(run),
                Err(error) => failures.push((seed, error)),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().expect("panics are caught")).collect()
    });
    let tally = results.iter().map(|(tally, _)| *tally).fold(Tally::default(), Tally::plus);
    let mut failures: Vec<_> = results.into_iter().flat_map(|(_, failures)| failures).collect();
    failures.sort();
    (tally, failures.into_iter().map(|(_, error)| error).collect())
}

#[test]
fn every_connection_is_byte_exact_to_a_clean_end() {
    if let Some(seed) = number("TPA_SIM_SEED") {
        try_run(seed).unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    let start = number("TPA_SIM_START").unwrap_or(1);
    let runs = number("TPA_SIM_RUNS").unwrap_or(RUNS);
    let (tally, failures) = run_all(start, runs);
    println!("{runs} connections from seed {start}: {tally:?}");
    let shown = failures[..failures.len().min(SHOWN)].join("\n");
    assert!(failures.is_empty(), "{} of {runs} failed:\n{shown}", failures.len());
    let least = runs / 100;
    assert!(tally.cookies >= least && tally.reports >= least && tally.black_holes >= least, "{tally:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [7, 8, 9] {
        assert_eq!(run(seed), run(seed));
    }
}
