//! The table of paths, measured and modelled.

use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use tpa_tcp::{CongestionAlgorithm, Duration};

use super::{Bound, Goodput, Path, bound, measure};

/// Shares of lost segments in the table.
const LOSSES: [f64; 4] = [0.0, 0.001, 0.01, 0.03];

/// Share of late segments in the table.
const REORDERED: f64 = 0.02;

/// How late a segment is at most, in microseconds, where it was overtaken on
/// parallel links or in the queues of a router: a millisecond, but not more
/// than a quarter of the round trip. Where that is more, it has a row as
/// well, and on one line half a round trip, which RACK has to learn of (RFC 8985
/// 6.2 step 4).
const LATE_US: u64 = 1000;

/// Segments that a measurement sees at least, for a mean that chance moves
/// little: that many without losses, and that many with them.
const SEGMENTS_SEEN: f64 = 60_000.0;
const SEGMENTS_SEEN_WITH_LOSSES: f64 = 200_000.0;

/// The paths of the table.
pub fn paths() -> Vec<Path> {
    let mut paths = Vec::new();
    for mbits in [10, 100, 1000] {
        for rtt_ms in [1, 20, 100] {
            let clean = Path { mbits, rtt_ms, loss: 0.0, reordering: 0.0, late_us: 0 };
            paths.extend(LOSSES.map(|loss| Path { loss, ..clean }));
            paths.push(Path { reordering: REORDERED, late_us: LATE_US.min(rtt_ms * 250), ..clean });
            if rtt_ms > 1 {
                paths.push(Path { reordering: REORDERED, late_us: rtt_ms * 250, ..clean });
            }
            if rtt_ms > 1 && mbits == 100 {
                paths.push(Path { reordering: REORDERED, late_us: rtt_ms * 500, ..clean });
            }
        }
    }
    paths
}

/// How long to let a path settle, and how long to measure it. With losses:
/// until there were many. Without: until CUBIC has come back from slow start; K
/// of RFC 9438 4.2 is what it takes to twice of what the path holds.
fn spans(path: &Path, congestion: CongestionAlgorithm) -> (Duration, Duration) {
    let (mbits, _) = bound(path, congestion);
    let segments_per_second = mbits * 1e6 / 8.0 / f64::from(super::PAYLOAD);
    let seconds = |seconds: f64| Duration::from_micros((seconds * 1e6) as u64);
    if path.loss > 0.0 {
        let span = SEGMENTS_SEEN_WITH_LOSSES / segments_per_second;
        return (seconds(span / 10.0), seconds(span));
    }
    let full = 2.0 * path.bandwidth_delay_product() as f64 / f64::from(super::FRAME);
    let k = (0.3 * full / 0.4).cbrt();
    (seconds((0.5 * k).max(3.0)), seconds((SEGMENTS_SEEN / segments_per_second).max(2.0)))
}

/// Each path has chances of its own, whatever other paths there are.
fn seed(path: &Path) -> u64 {
    let per_mille = |share: f64| (share * 1000.0).round() as u64;
    let Path { mbits, rtt_ms, loss, reordering, late_us } = *path;
    [rtt_ms, per_mille(loss), per_mille(reordering), late_us]
        .iter()
        .fold(mbits, |seed, part| seed * 1009 + part)
}

/// Measures all `paths` on all processors, in their order.
fn measure_all(paths: &[Path], congestion: CongestionAlgorithm) -> Result<Vec<Goodput>, String> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    // The last ones take longest: they go first.
    let left = Mutex::new((0..paths.len()).collect::<Vec<_>>());
    let take = || left.lock().ok().and_then(|mut left| left.pop());
    let work = || {
        let mut done = Vec::new();
        while let Some(index) = take() {
            let path = &paths[index];
            let (warm_up, span) = spans(path, congestion);
            done.push((index, measure(path, congestion, seed(path), warm_up, span)));
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

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Where it was measured.
    pub path: Path,
    /// What the model says, in Mbit/s.
    pub bound: f64,
    /// What that is.
    pub kind: Bound,
    /// What was measured.
    pub goodput: Goodput,
}

impl Row {
    /// Share of the bound that was reached.
    pub fn share(&self) -> f64 {
        self.goodput.mbits / self.bound
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Path { mbits, rtt_ms, loss, reordering, late_us } = self.path;
        let kind = match self.kind {
            Bound::Line => "line",
            Bound::Reno => "Reno",
            Bound::Cubic => "CUBIC",
        };
        let Goodput { mbits: goodput, retransmitted, spurious, timeouts } = self.goodput;
        let late = if reordering > 0.0 {
            format!("{:.0}% <= {} ms", reordering * 100.0, late_us as f64 / 1000.0)
        } else {
            "-".into()
        };
        write!(
            f,
            "{mbits:>6} {rtt_ms:>7} {:>6.1}  {late:<14} | {:>7.2} {kind:<5} {goodput:>8.2} {:>8.1}% | {:>8.3} \
             {:>10.3} {timeouts:>5}",
            loss * 100.0,
            self.bound,
            self.share() * 100.0,
            retransmitted * 100.0,
            spurious * 100.0
        )
    }
}

/// The heads of the columns.
const HEAD: &str =
    "Mbit/s  RTT ms loss %  late           |   bound        goodput of bound | resent % spurious %  RTOs";

/// All rows of the table.
///
/// # Errors
///
/// What went wrong in a world.
pub fn rows(congestion: CongestionAlgorithm) -> Result<Vec<Row>, String> {
    let paths = paths();
    let results = measure_all(&paths, congestion)?;
    let row = |(path, goodput): (Path, Goodput)| {
        let (bound, kind) = bound(&path, congestion);
        Row { path, bound, kind, goodput }
    };
    Ok(paths.into_iter().zip(results).map(row).collect())
}

/// The table as text.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("{HEAD}\n");
    rows.iter().for_each(|row| text += &format!("{row}\n"));
    text
}
