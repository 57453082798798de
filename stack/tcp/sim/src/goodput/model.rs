//! What a transfer can get: the rate of the line, or the response function of
//! its congestion controller.
//!
//! A response function is the mean window under losses of probability p, over
//! the round trip of one segment and its acknowledgement. The functions of the
//! RFCs are derived for losses at even distances, windows of fractions of a
//! segment, and recoveries that take no time. Losses here are independent: the
//! mean is then higher, 1.31 instead of 1.22 / sqrt(p) for Reno (Ott, Kemperman,
//! Mathis: "The Stationary Behavior of Ideal TCP Congestion Avoidance", 1996).
//! CUBIC gains more, because beyond its former maximum it grows as fast as Reno
//! (RFC 9438 4.3). Against that stand whole segments, half of one less on
//! average, and one round trip of each recovery in which the window does not
//! grow: much in windows of seven segments, little in large ones. An ideal
//! sender simulated round by round with both gets 112 % of the function at
//! p = 0.1 %, 103 % at 1 % and 92 % at 3 %.
//!
//! Timeouts have no part in the functions (they do in that of Padhye et al.,
//! 1998): with RACK-TLP almost none happens, and each costs what it costs.
//! Buffers never limit.

use tpa_tcp::CongestionAlgorithm;

use super::{FRAME, PAYLOAD, Path};

/// An acknowledgement as a frame.
const ACK: u32 = FRAME - PAYLOAD;

/// What limits a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The rate of the line.
    Line,
    /// The response to losses, in the region where CUBIC is as fast as Reno
    /// would be, and Reno itself.
    Reno,
    /// The response to losses where CUBIC is faster.
    Cubic,
}

/// The most that `congestion` can get out of `path`, in Mbit/s of payload, and
/// what limits it.
pub fn bound(path: &Path, congestion: CongestionAlgorithm) -> (f64, Bound) {
    let line = path.mbits as f64 * f64::from(PAYLOAD) / f64::from(FRAME);
    if path.loss == 0.0 {
        return (line, Bound::Line);
    }
    let rtt = path.rtt_ms as f64 / 1000.0 + (FRAME + ACK) as f64 / path.bytes_per_second() as f64;
    let (window, kind) = response(congestion, path.loss, rtt);
    let response = window * f64::from(PAYLOAD) * 8e-6 / rtt;
    if response < line { (response, kind) } else { (line, Bound::Line) }
}

/// Mean window in segments under losses of probability `p`.
fn response(congestion: CongestionAlgorithm, p: f64, rtt: f64) -> (f64, Bound) {
    // Reno: sqrt(3/2) / sqrt(p) (Mathis et al. 1997; RFC 3649 section 1), and
    // by design the mean window of CUBIC in its Reno-friendly region (RFC 9438
    // 4.3: alpha = 3 (1 - beta) / (1 + beta)).
    let reno = (1.5 / p).sqrt();
    // RFC 9438 5.1, figure 6, with C = 0.4 and beta = 0.7: 1.054 (RTT / p)^3/4.
    let cubic = (0.4 * 3.7 / (4.0 * 0.3f64)).powf(0.25) * (rtt / p).powf(0.75);
    match congestion {
        CongestionAlgorithm::Cubic if cubic > reno => (cubic, Bound::Cubic),
        _ => (reno, Bound::Reno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_those_of_the_rfcs_tables() {
        // RFC 9438 5.2, table 1 (RTT = 0.1 s) and table 2 (RTT = 0.01 s).
        let cubic = |p, rtt| response(CongestionAlgorithm::Cubic, p, rtt).0;
        assert!((cubic(1e-2, 0.1) - 12.0).abs() < 0.5);
        assert!((cubic(1e-4, 0.1) - 187.0).abs() < 1.0);
        assert!((cubic(1e-6, 0.1) - 5926.0).abs() < 5.0);
        assert!((cubic(1e-5, 0.01) - 387.0).abs() < 1.0);
        assert!((cubic(1e-6, 0.01) - 1225.0).abs() < 2.0);
    }

    #[test]
    fn a_clean_line_carries_its_rate_less_the_headers() {
        let path = Path { mbits: 100, rtt_ms: 20, loss: 0.0, reordering: 0.0, late_us: 0 };
        let (mbits, kind) = bound(&path, CongestionAlgorithm::Cubic);
        assert!((mbits - 95.64).abs() < 0.01);
        assert_eq!(kind, Bound::Line);
    }
}
