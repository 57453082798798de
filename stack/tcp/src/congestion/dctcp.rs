//! DCTCP (RFC 8257): the window falls by the share of the data that was marked.
//!
//! For networks of one hand only, whose switches mark early (RFC 8257 5). Without
//! ECN at the other end it is NewReno.

use super::{AckSample, CongestionControl, Echo, NewReno, Signal, Window, is_over};
use crate::seq::SeqNum;

/// Weight of the newest share in the estimate (RFC 8257 4.2: g).
const GAIN: f32 = 1.0 / 16.0;

/// Linux's scale of the estimate in `tcp_dctcp_info`.
const ALPHA_SCALE: f32 = 1024.0;

/// The sender's side of DCTCP; the receiver's is in the connection.
#[derive(Debug, Clone)]
pub struct Dctcp {
    /// Growth is as in conventional TCP (RFC 8257 3.4).
    reno: NewReno,
    /// Estimated share of marked bytes, from 0 to 1: DCTCP.Alpha.
    alpha: f32,
    /// Bytes acknowledged in this observation window.
    acked: u32,
    /// Bytes among them whose acknowledgement carried ECE.
    marked: u32,
    /// Where the observation window ends, once one has begun.
    window_end: Option<SeqNum>,
}

impl Default for Dctcp {
    fn default() -> Self {
        // RFC 8257 3.3: DCTCP.Alpha begins at 1, and so cautiously.
        Self { reno: NewReno::default(), alpha: 1.0, acked: 0, marked: 0, window_end: None }
    }
}

/// What Linux's `struct tcp_dctcp_info` tells (`TCP_CC_INFO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DctcpInfo {
    /// Both ends use ECN; without it DCTCP is NewReno.
    pub enabled: bool,
    /// The last data that arrived was marked: DCTCP.CE.
    pub ce: bool,
    /// The estimate in 1024ths.
    pub alpha: u32,
    /// Bytes acknowledged in the current observation window.
    pub acked: u32,
    /// Bytes among them that met congestion.
    pub marked: u32,
}

impl Dctcp {
    /// The state of the estimate; what concerns the connection is left out.
    pub fn info(&self) -> DctcpInfo {
        let alpha = (self.alpha * ALPHA_SCALE) as u32;
        DctcpInfo { alpha, acked: self.acked, marked: self.marked, ..DctcpInfo::default() }
    }

    /// RFC 8257 3.3, steps 5 to 8.
    fn end_observation(&mut self, next_end: SeqNum) {
        let share = self.marked as f32 / self.acked.max(1) as f32;
        self.alpha = (self.alpha * (1.0 - GAIN) + GAIN * share).clamp(0.0, 1.0);
        self.window_end = Some(next_end);
        (self.acked, self.marked) = (0, 0);
    }
}

impl CongestionControl for Dctcp {
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        self.reno.on_ack(window, sample);
    }

    /// RFC 8257 3.3, steps 1 to 4. SACK blocks are left out, as it says.
    fn on_echo(&mut self, echo: &Echo) {
        self.acked = self.acked.saturating_add(echo.acked);
        if echo.marked {
            self.marked = self.marked.saturating_add(echo.acked);
        }
        if self.window_end.is_none_or(|end| is_over(end, echo.una)) {
            self.end_observation(echo.nxt);
        }
    }

    fn on_congestion(&mut self, window: &Window, signal: Signal, in_flight: u32, mss: u32) -> u32 {
        if signal != Signal::Mark {
            // RFC 8257 3.5: losses count as in conventional TCP.
            return self.reno.on_congestion(window, signal, in_flight, mss);
        }
        self.reno.on_restart();
        // RFC 8257 3.3, step 9.
        let cut = (f64::from(window.cwnd) * f64::from(self.alpha) / 2.0) as u32;
        window.cwnd.saturating_sub(cut).max(2 * mss)
    }

    fn on_restart(&mut self) {
        self.reno.on_restart();
    }

    /// The estimate is of marks; that a loss was none does not change it.
    fn on_undo(&mut self, before: &Self) {
        self.reno.on_undo(&before.reno);
    }
}
