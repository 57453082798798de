//! The controllers on a path of plain numbers: a whole window arrives in each
//! round trip.

mod cubic;
mod dctcp;
mod every;
mod hystart;
mod new_reno;

use super::{AckSample, CongestionControl, UNLIMITED, Window};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Bytes of a segment in these tests.
const MSS: u32 = 1000;

/// A sender that always has data, and a path.
struct Path<C> {
    controller: C,
    window: Window,
    now: Instant,
    una: SeqNum,
    /// Segments that an acknowledgement covers.
    stretch: u32,
    paced: bool,
}

impl<C: CongestionControl + Default> Path<C> {
    /// A window of `cwnd` segments; the threshold in segments, `None` for a
    /// connection that has met no congestion yet.
    fn new(cwnd: u32, ssthresh: Option<u32>) -> Self {
        Self {
            controller: C::default(),
            window: Window {
                cwnd: cwnd * MSS,
                ssthresh: ssthresh.map_or(UNLIMITED, |ssthresh| ssthresh * MSS),
            },
            now: Instant::from_millis(1000),
            una: SeqNum(u32::MAX - 50_000),
            stretch: 1,
            paced: false,
        }
    }

    fn segments(&self) -> u32 {
        self.window.cwnd / MSS
    }

    /// A window's acknowledgements, at the end of a round trip of `rtt`.
    fn round(&mut self, rtt: Duration) {
        let nxt = self.una + self.window.cwnd;
        self.now += rtt;
        while self.una.lt(nxt) {
            self.ack((nxt - self.una).min(self.stretch * MSS), rtt);
        }
    }

    fn ack(&mut self, acked: u32, rtt: Duration) {
        let nxt = self.una + self.window.cwnd;
        self.una += acked;
        let sample = AckSample {
            now: self.now,
            acked,
            mss: MSS,
            srtt: rtt,
            rtt,
            una: self.una,
            nxt,
            paced: self.paced,
        };
        self.controller.on_ack(&mut self.window, &sample);
    }

    /// Rounds for `time`.
    fn run(&mut self, time: Duration, rtt: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.round(rtt);
        }
    }

    fn congestion(&mut self, signal: super::Signal) {
        let ssthresh = self.controller.on_congestion(&self.window, signal, self.window.cwnd, MSS);
        self.window = Window { cwnd: ssthresh, ssthresh };
    }

    fn timeout(&mut self) {
        self.congestion(super::Signal::Timeout);
        self.window.cwnd = MSS;
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
