//! The table of paths, measured and modelled.

use std::fmt::Write;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use tpa_tcp::{CongestionAlgorithm, Duration};

use super::{Bound, Goodput, Path, bound, measure};

/// Shares of lost segments in the table.
const LOSSES: [f64; 4] = [0.0, 0.001, 0.01, 0.03];

/// Losses that a measurement sees at least, for a mean that chance moves little.
const LOSSES_SEEN: f64 = 400.0;

/// The paths of the table.
pub fn paths() -> Vec<Path> {
    let mut paths = Vec::new();
    for mbits in [10, 100, 1000] {
        for rtt_ms in [1, 20, 100] {
            let clean = Path { mbits, rtt_ms, loss: 0.0, reordering: 0.0 };
            paths.extend(LOSSES.map(|loss| Path { loss, ..clean }));
            paths.push(Path { reordering: 0.02, ..clean });
        }
    }
    paths
}

/// How long to let a path settle, and how long to measure it: long enough for
/// many losses, and without losses for several rounds of CUBIC's growth.
fn spans(path: &Path, congestion: CongestionAlgorithm) -> (Duration, Duration) {
    let (mbits, _) = bound(path, congestion);
    let segments_per_second = mbits * 1e6 / 8.0 / f64::from(super::PAYLOAD);
    let span = if path.loss > 0.0 {
        LOSSES_SEEN / path.loss / segments_per_second
    } else {
        (100_000.0 / segments_per_second).clamp(5.0, 60.0)
    };
    let seconds = |seconds: f64| Duration::from_micros((seconds * 1e6) as u64);
    (seconds(if path.loss > 0.0 { span / 10.0 } else { span }), seconds(span))
}

/// Measures all `paths` on all processors, in their order.
///
/// # Errors
///
/// What went wrong in a world.
pub fn measure_all(paths: &[Path], congestion: CongestionAlgorithm) -> Result<Vec<Goodput>, String> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    // The last ones take longest: they go first.
    let left = Mutex::new((0..paths.len()).collect::<Vec<_>>());
    let take = || left.lock().ok().and_then(|mut left| left.pop());
    let work = || {
        let mut done = Vec::new();
        while let Some(index) = take() {
            let path = &paths[index];
            let (warm_up, span) = spans(path, congestion);
            done.push((index, measure(path, congestion, index as u64, warm_up, span)));
        }
        done
    };
    let mut results: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The table as text.
///
/// # Errors
///
/// What went wrong in a world.
pub fn table(congestion: CongestionAlgorithm) -> Result<String, String> {
    let paths = paths();
    let results = measure_all(&paths, congestion)?;
    let mut text = String::from(
        "Mbit/s  RTT ms  loss %  reordered % |   bound        goodput  of bound | resent %  spurious %  RTOs\n",
    );
    for (path, result) in paths.iter().zip(&results) {
        let (limit, kind) = bound(path, congestion);
        let kind = match kind {
            Bound::Line => "line",
            Bound::Reno => "Reno",
            Bound::Cubic => "CUBIC",
        };
        let Path { mbits, rtt_ms, loss, reordering } = path;
        let Goodput { mbits: goodput, retransmitted, spurious, timeouts } = result;
        let (loss, reordering) = (loss * 100.0, reordering * 100.0);
        let share = 100.0 * goodput / limit;
        let (again, spurious) = (retransmitted * 100.0, spurious * 100.0);
        let _ = writeln!(
            text,
            "{mbits:>6}  {rtt_ms:>6}  {loss:>6.1}  {reordering:>11.1} | {limit:>7.2} {kind:<5} {goodput:>7.2}  \
             {share:>7.1}% | {again:>8.3}  {spurious:>10.3}  {timeouts:>4}"
        );
    }
    Ok(text)
}
