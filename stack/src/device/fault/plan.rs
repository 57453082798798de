//! Which faults to inject.

use std::time::Duration;

/// A share of frames, in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(pub u32);

/// Losses in runs: the model of Gilbert (1960), in which a line is good or bad
/// and loses every frame while it is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bursts {
    /// Frames lost in the long run.
    pub share: Share,
    /// Mean number of frames lost in a row; at least 1.
    pub length: u32,
}

/// Faults of one direction; all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// No frame comes through for so long after the plan was set.
    pub cut: Option<Duration>,
    /// Frames that vanish, each by itself.
    pub drop: Share,
    /// Frames that vanish in runs.
    pub bursts: Option<Bursts>,
    /// Each frame vanishes whose number this divides; zero for none.
    pub nth: u32,
    /// Frames that come twice.
    pub duplicate: Share,
    /// Frames that up to eight later ones overtake.
    pub reorder: Share,
    /// Frames with one bit inverted behind the Ethernet header.
    pub corrupt: Share,
    /// Frames that lose their end.
    pub truncate: Share,
    /// Frames that come later, by [`Faults::delay_by`].
    pub delay: Share,
    /// How much later.
    pub delay_by: Duration,
}

impl Faults {
    /// Whether no frame is touched.
    pub fn is_idle(&self) -> bool {
        let shares = [self.drop, self.duplicate, self.reorder, self.corrupt, self.truncate, self.delay];
        shares.iter().all(|&share| share == Share::default())
            && self.cut.is_none()
            && self.bursts.is_none()
            && self.nth == 0
    }

    /// Whether frames may change on the way.
    pub fn garbles(&self) -> bool {
        self.corrupt.0 > 0 || self.truncate.0 > 0
    }
}

/// What a [`FaultDevice`](super::FaultDevice) does to frames; made from text
/// by its `FromStr`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// On receive.
    pub rx: Faults,
    /// On transmit.
    pub tx: Faults,
    /// Only TCP segments from or to this port; `None`: every frame.
    pub port: Option<u16>,
    /// Where the random numbers start; the same seed, the same faults.
    pub seed: u64,
    /// Time after which the plan is over; `None`: it stays until another comes.
    pub lasts: Option<Duration>,
}

impl FaultPlan {
    /// Whether the plan does nothing.
    pub fn is_idle(&self) -> bool {
        self.rx.is_idle() && self.tx.is_idle()
    }
}
