//! The path's MTU: what the network reports (RFC 1191, RFC 8201), and what
//! probing finds out where it reports nothing (RFC 4821), by Linux's rules.
//!
//! All sizes here are largest payloads without options: the MTU less the IP
//! and TCP headers, whatever the address family. Most connections have none of
//! this state.

use super::Connection;
use super::payload::Payload;
use crate::config::MtuProbing;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};

/// Size that a search begins at (Linux `tcp_base_mss`).
const BASE: u16 = 1024;

/// Least size that black holes lead to (Linux has 48; below this, options
/// leave no room).
const FLOOR: u16 = 88;

/// Outstanding bytes below which no black hole is suspected: every host takes
/// packets of 576 bytes (RFC 791 3.2), and hardly any path less.
const HARMLESS: u32 = 512;

/// A search ends when the bounds are this close (Linux `tcp_probe_threshold`).
const CLOSE_ENOUGH: u16 = 8;

/// How long a search's result holds before larger sizes are tried again (Linux
/// `tcp_probe_interval`; RFC 8899 5.1.1 has the same).
const SEARCH_AGAIN: Duration = Duration::from_secs(600);

/// Congestion window in segments below which nothing is probed, and segments
/// that must follow a probe so that its loss shows (Linux `tcp_mtu_probe`).
const PROBE_WINDOW: u32 = 11;
const FOLLOWERS: u32 = 4;

/// A probe in flight.
#[derive(Debug, Clone, Copy)]
struct Probe {
    seq: SeqNum,
    len: u32,
    size: u16,
}

/// The search for the largest size that passes (RFC 4821 7.3).
#[derive(Debug)]
struct Search {
    /// Passes.
    low: u16,
    /// Does not, or has not been tried, beyond this.
    high: u16,
    probe: Option<Probe>,
    since: Instant,
}

/// What is known of the path.
#[derive(Debug)]
pub(super) struct PathMtu {
    /// As the network has reported it; `u16::MAX`: nothing.
    reported: u16,
    /// When the report is forgotten.
    reported_until: Instant,
    search: Option<Search>,
}

impl PathMtu {
    fn new() -> Self {
        Self { reported: u16::MAX, reported_until: Instant::FAR, search: None }
    }

    /// The size that may be sent.
    fn limit(&self) -> u16 {
        self.reported.min(self.search.as_ref().map_or(u16::MAX, |search| search.low))
    }
}

impl<B: Payload> Connection<B> {
    /// The path takes no larger payload than `size` (without options: MTU - 40
    /// for IPv4, MTU - 60 for IPv6), as the network or a cache says until
    /// `until`. What was sent in larger segments is sent again at once; that
    /// is no sign of congestion (RFC 1191 6.4, RFC 5681 3.1).
    pub fn on_path_mtu(&mut self, size: u16, until: Instant) {
        let path = self.path.get_or_insert_with(|| Box::new(PathMtu::new()));
        path.reported = size.max(FLOOR);
        path.reported_until = until;
        if let Some(search) = &mut path.search {
            search.high = search.high.min(path.reported);
            search.low = search.low.min(search.high);
        }
        self.follow_path();
    }

    /// Largest payload without options that the network is known to take.
    pub(super) fn path_size(&self) -> u16 {
        self.rcv.mss.min(self.path.as_ref().map_or(u16::MAX, |path| path.reported))
    }

    /// Brings the segment size in line with what is known of the path.
    fn follow_path(&mut self) {
        let limit = self.path.as_ref().map_or(u16::MAX, |path| path.limit());
        let before = self.snd.mss;
        self.snd.mss = self.snd.agreed_mss.min(limit);
        if self.snd.mss < before {
            self.resend_longer();
        }
    }

    /// Begins to search for the path's MTU, from a size that hardly any path
    /// refuses.
    pub(super) fn search_path(&mut self, now: Instant) {
        let high = self.snd.agreed_mss.min(self.path_size());
        let path = self.path.get_or_insert_with(|| Box::new(PathMtu::new()));
        path.search = Some(Search { low: BASE.min(high), high, probe: None, since: now });
        self.follow_path();
    }

    /// Whether what is outstanding may be too large for the path. What hardly any
    /// path refuses is missing for another reason, and would stay in crumbs for
    /// ever: a program that writes so little is not probed.
    pub(super) fn may_be_too_large(&self) -> bool {
        self.flight.bytes() >= self.smss().min(HARMLESS)
    }

    /// Segments time out again and again: routers may drop them without a word
    /// (RFC 2923 2.1). Each time the size halves further.
    pub(super) fn suspect_black_hole(&mut self, now: Instant) {
        if self.config.mtu_probing == MtuProbing::Off || self.snd.mss <= FLOOR {
            return;
        }
        match self.path.as_mut().and_then(|path| path.search.as_mut()) {
            Some(search) => {
                search.low = (search.low / 2).clamp(FLOOR, BASE);
                search.probe = None;
                self.follow_path();
            }
            None => self.search_path(now),
        }
    }

    /// Forgets what has become too old.
    #[cold]
    pub(super) fn review_path(&mut self, now: Instant) {
        let high = self.snd.agreed_mss;
        let Some(path) = &mut self.path else { return };
        let forgets = path.reported_until <= now;
        if forgets {
            (path.reported, path.reported_until) = (u16::MAX, Instant::FAR);
        }
        match &mut path.search {
            Some(search) if now - search.since >= SEARCH_AGAIN => {
                (search.high, search.probe, search.since) = (high.min(path.reported), None, now);
            }
            None if forgets => self.path = None,
            _ => {}
        }
        if forgets {
            self.follow_path();
        }
    }

    /// A probe that is due (RFC 4821 7.4), as a size and its payload: half-way
    /// between the bounds, while all is well and enough is written and allowed
    /// to go behind it that its loss will show.
    #[cold]
    pub(super) fn path_probe(&self, unsent: u32, room: u32) -> Option<(u16, u32)> {
        let search = self.path.as_ref()?.search.as_ref()?;
        if search.probe.is_some() || search.high - search.low < CLOSE_ENOUGH || !self.recovery.is_quiet() {
            return None;
        }
        let size = search.low.midpoint(search.high);
        let len = self.payload_of(size);
        let needed = len + FOLLOWERS * self.smss();
        let wide = self.window.cwnd >= needed.max(PROBE_WINDOW * self.smss());
        // SACK blocks come and go: they would make sizes uncertain.
        let plain = self.reassembly.is_none() && self.rcv.duplicate.is_none();
        (wide && plain && unsent.min(room) >= needed).then_some((size, len))
    }

    /// A probe goes out.
    pub(super) fn path_probe_sent(&mut self, seq: SeqNum, len: u32, size: u16) {
        if let Some(search) = self.path.as_mut().and_then(|path| path.search.as_mut()) {
            search.probe = Some(Probe { seq, len, size });
        }
    }

    /// Everything before SND.UNA has arrived, the probe perhaps among it
    /// (RFC 4821 7.6.1).
    #[cold]
    pub(super) fn judge_path_probe(&mut self) {
        let una = self.snd.una;
        let Some(search) = self.path.as_mut().and_then(|path| path.search.as_mut()) else { return };
        if let Some(probe) = search.probe.filter(|probe| una.ge(probe.seq + probe.len)) {
            // The network may have reported less since.
            (search.low, search.probe) = (probe.size.min(search.high), None);
            self.follow_path();
        }
    }

    /// Something is lost. When that is the probe alone, it was too large for
    /// the path: it is sent again in segments that fit, and that is all
    /// (RFC 4821 7.6.2). Otherwise the probe has shown nothing. Returns whether
    /// the loss is dealt with.
    pub(super) fn path_probe_lost(&mut self) -> bool {
        let (una, lost) = (self.snd.una, self.flight.lost());
        let Some(search) = self.path.as_mut().and_then(|path| path.search.as_mut()) else { return false };
        let Some(probe) = search.probe.take() else { return false };
        let alone = una == probe.seq && lost <= probe.len;
        if alone {
            search.high = probe.size - 1;
            self.resend_longer();
        }
        alone
    }

    /// A timeout: what it says of the probe is not certain.
    pub(super) fn forget_path_probe(&mut self) {
        if let Some(search) = self.path.as_mut().and_then(|path| path.search.as_mut()) {
            search.probe = None;
        }
    }
}
