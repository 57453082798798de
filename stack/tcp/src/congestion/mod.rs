//! Congestion control: how many bytes may be in the network.
//!
//! A controller decides how the window grows on acknowledgements and how far
//! it falls at a loss; what counts as a loss, and when, is the business of the
//! connection's recovery. One file each.

mod cubic;
mod new_reno;

pub use cubic::Cubic;
pub use new_reno::NewReno;

use crate::config::CongestionAlgorithm;
use crate::time::{Duration, Instant};

/// Largest congestion window: what a 30-bit window can use (RFC 7323 2.3).
const LARGEST: u32 = 1 << 30;

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

/// What an acknowledgement told.
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
}

/// A congestion control algorithm.
pub trait CongestionControl: Clone {
    /// New data was acknowledged while the window was in full use and no loss
    /// is being recovered: grow it.
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample);

    /// Data was lost: the slow-start threshold to fall to. `in_flight` is what
    /// was in the network, in bytes.
    fn on_loss(&mut self, window: &Window, in_flight: u32, mss: u32) -> u32;

    /// The connection was idle, or a timeout has emptied the network: what was
    /// learned about the growth over time no longer holds.
    fn on_restart(&mut self);

    /// The last reduction answered a loss that was none. The window has been
    /// restored by the caller; `before` is a copy of the controller from just
    /// before [`CongestionControl::on_loss`] (RFC 4015 3.3, RFC 9438 4.9).
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
}

impl Controller {
    /// A fresh controller.
    pub fn new(algorithm: CongestionAlgorithm) -> Self {
        match algorithm {
            CongestionAlgorithm::Cubic => Self::Cubic(Cubic::default()),
            CongestionAlgorithm::NewReno => Self::NewReno(NewReno::default()),
        }
    }
}

impl CongestionControl for Controller {
    #[inline]
    fn on_ack(&mut self, window: &mut Window, sample: &AckSample) {
        match self {
            Self::Cubic(cubic) => cubic.on_ack(window, sample),
            Self::NewReno(reno) => reno.on_ack(window, sample),
        }
    }

    fn on_loss(&mut self, window: &Window, in_flight: u32, mss: u32) -> u32 {
        match self {
            Self::Cubic(cubic) => cubic.on_loss(window, in_flight, mss),
            Self::NewReno(reno) => reno.on_loss(window, in_flight, mss),
        }
    }

    fn on_restart(&mut self) {
        match self {
            Self::Cubic(cubic) => cubic.on_restart(),
            Self::NewReno(reno) => reno.on_restart(),
        }
    }

    fn on_undo(&mut self, before: &Self) {
        match (self, before) {
            (Self::Cubic(cubic), Self::Cubic(before)) => cubic.on_undo(before),
            (Self::NewReno(reno), Self::NewReno(before)) => reno.on_undo(before),
            // The program has chosen another since: it knows of no reduction.
            _ => {}
        }
    }
}
