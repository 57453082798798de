//! Congestion control: how many bytes may be in the network.
//!
//! A controller decides how the window grows with acknowledgements and how far
//! it falls at a sign of congestion; what counts as such a sign, and when, is
//! the business of the connection. One file each.

mod cubic;
mod dctcp;
mod hystart;
mod new_reno;

pub use cubic::Cubic;
pub use dctcp::{Dctcp, DctcpInfo};
pub use hystart::HyStart;
pub use new_reno::NewReno;

use crate::config::CongestionAlgorithm;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Largest congestion window: what a 30-bit window can use (RFC 7323 2.3).
const LARGEST: u32 = 1 << 30;

/// The threshold before congestion was ever met: arbitrarily high (RFC 5681 3.1).
pub const UNLIMITED: u32 = u32::MAX;

/// The window that a controller moves; in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Congestion window.
    pub cwnd: u32,
    /// Slow-start threshold.
    pub ssthresh: u32,
}

impl Window {
    /// Whether the window is below the threshold, growing with each
    /// acknowledged byte (RFC 5681 3.1).
    #[inline]
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Grows by what was acknowledged (RFC 3465), up to the threshold;
    /// returns the acknowledged bytes that are left over.
    #[inline]
    pub fn slow_start(&mut self, acked: u32) -> u32 {
        let grown = acked.min(self.ssthresh.saturating_sub(self.cwnd));
        self.grow(grown);
        acked - grown
    }

    /// Grows by `bytes`, up to the largest window there is.
    #[inline]
    pub fn grow(&mut self, bytes: u32) {
        self.cwnd = self.cwnd.saturating_add(bytes).min(LARGEST);
    }
}

/// Whether a round that ends at `end` is over once everything before `una` has
/// arrived, however long ago that may have been.
#[inline]
pub(crate) fn is_over(end: SeqNum, una: SeqNum) -> bool {
    end - una > LARGEST
}

/// An acknowledgement that may let the window grow.
#[derive(Debug, Clone, Copy)]
pub struct AckSample {
    /// When it came.
    pub now: Instant,
    /// Bytes that it newly acknowledged.
    pub acked: u32,
    /// Bytes of a full segment.
    pub mss: u32,
    /// Smoothed round-trip time, zero when there is none yet.
    pub srtt: Duration,
    /// The last round-trip time that was measured, zero when there is none yet.
    pub rtt: Duration,
    /// What is acknowledged now: SND.UNA.
    pub una: SeqNum,
    /// What has been sent so far: SND.NXT.
    pub nxt: SeqNum,
    /// Bursts are spread over time by pacing.
    pub paced: bool,
}

/// What an acknowledgement says of marks (RFC 3168), on a connection that has
/// negotiated them.
#[derive(Debug, Clone, Copy)]
pub struct Echo {
    /// Bytes that it newly acknowledged.
    pub acked: u32,
    /// It carries ECE.
    pub marked: bool,
    /// What it acknowledges: the new SND.UNA.
    pub una: SeqNum,
    /// What has been sent so far: SND.NXT.
    pub nxt: SeqNum,
}

/// How congestion showed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Acknowledgements tell of a lost segment.
    Loss,
    /// The retransmission timer has expired.
    Timeout,
    /// A router has marked a segment (RFC 3168).
    Mark,
}

/// A congestion control algorithm.
pub trait CongestionControl: Clone {
    /// New data was acknowledged while the window was in full use and nothing
    /// is wrong: grow it.
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample);

    /// The program, not the window, limits what is sent: time that passes so
    /// says nothing about the path.
    fn on_app_limited(&mut self, _now: Instant) {}

    /// An acknowledgement of a connection with ECN, before anything else is
    /// made of it.
    fn on_echo(&mut self, _echo: &Echo) {}

    /// Congestion was met: the slow-start threshold to fall to. `in_flight` is
    /// what was in the network, in bytes.
    fn on_congestion(&mut self, window: &Window, signal: Signal, in_flight: u32, mss: u32) -> u32;

    /// The connection was idle for longer than a timeout: what was learned
    /// about the growth over time no longer holds.
    fn on_restart(&mut self);

    /// The last reduction answered a loss that was none. The window has been
    /// restored by the caller; `before` is a copy of the controller from just
    /// before [`CongestionControl::on_congestion`] (RFC 4015 3.3, RFC 9438 4.9).
    fn on_undo(&mut self, before: &Self) {
        self.clone_from(before);
    }
}

/// The controllers that there are, without a heap or a virtual call.
#[derive(Debug, Clone)]
pub enum Controller {
    /// CUBIC.
    Cubic(Cubic),
    /// NewReno.
    NewReno(NewReno),
    /// DCTCP.
    Dctcp(Dctcp),
}

impl Controller {
    /// A fresh controller.
    pub fn new(algorithm: CongestionAlgorithm) -> Self {
        match algorithm {
            CongestionAlgorithm::Cubic => Self::Cubic(Cubic::default()),
            CongestionAlgorithm::NewReno => Self::NewReno(NewReno::default()),
            CongestionAlgorithm::Dctcp => Self::Dctcp(Dctcp::default()),
        }
    }

    /// Which one it is.
    pub fn algorithm(&self) -> CongestionAlgorithm {
        match self {
            Self::Cubic(_) => CongestionAlgorithm::Cubic,
            Self::NewReno(_) => CongestionAlgorithm::NewReno,
            Self::Dctcp(_) => CongestionAlgorithm::Dctcp,
        }
    }

    /// Whether it needs to know how much was marked, not only that something
    /// was: both ends then speak RFC 8257 instead of RFC 3168.
    #[inline]
    pub fn counts_marks(&self) -> bool {
        matches!(self, Self::Dctcp(_))
    }
}

/// Calls a method of whichever controller there is.
macro_rules! each {
    ($controller:expr, $inner:ident => $call:expr) => {
        match $controller {
            Controller::Cubic($inner) => $call,
            Controller::NewReno($inner) => $call,
            Controller::Dctcp($inner) => $call,
        }
    };
}

impl CongestionControl for Controller {
    #[inline]
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        each!(self, inner => inner.on_ack(window, sample));
    }

    #[inline]
    fn on_app_limited(&mut self, now: Instant) {
        each!(self, inner => inner.on_app_limited(now));
    }

    #[inline]
    fn on_echo(&mut self, echo: &Echo) {
        each!(self, inner => inner.on_echo(echo));
    }

    fn on_congestion(&mut self, window: &Window, signal: Signal, in_flight: u32, mss: u32) -> u32 {
        each!(self, inner => inner.on_congestion(window, signal, in_flight, mss))
    }

    fn on_restart(&mut self) {
        each!(self, inner => inner.on_restart());
    }

    fn on_undo(&mut self, before: &Self) {
        match (self, before) {
            (Self::Cubic(cubic), Self::Cubic(before)) => cubic.on_undo(before),
            (Self::NewReno(reno), Self::NewReno(before)) => reno.on_undo(before),
            (Self::Dctcp(dctcp), Self::Dctcp(before)) => dctcp.on_undo(before),
            // The program has chosen another since: it knows of no reduction.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
