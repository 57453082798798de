//! Sequence space and windows of both directions (RFC 9293 3.3.1, 3.8.6).

use super::payload::Payload;
use super::{Connection, Pending};
use crate::config::Config;
use crate::seq::SeqNum;
use crate::time::Instant;
use crate::wire::TcpRepr;

/// Segment size of a peer that names none (RFC 9293 MUST-15).
pub(super) const DEFAULT_MSS: u16 = 536;

/// Least segment size that is believed: below, options would leave no room
/// for data (Linux `TCP_MIN_MSS`).
const SMALLEST_MSS: u16 = 88;

/// How far rounding the window field up may lead beyond the buffer before it
/// is rounded down instead.
const ROUNDING_SLACK: u32 = 16 * 1024;

/// Segments that a window shrinks to, as it is used up, while memory is short
/// (Linux's `tcp_rcv_ssthresh`: "4U * tp->advmss").
const PRESSED_SEGMENTS: u32 = 4;

/// Largest buffer: what a window can say (RFC 7323 2.3).
pub(super) const LARGEST_BUFFER: u32 = 1 << 30;

/// Full segments that the first buffer holds at least: the peer's initial
/// window (RFC 6928), where segments are larger than an Ethernet's.
const FIRST_SEGMENTS: usize = 10;

/// Size of the receive buffer to begin with.
fn initial_buffer(config: &Config, mss: u16) -> u32 {
    let wanted = config.rcvbuf.max((FIRST_SEGMENTS * usize::from(mss)).min(config.rcvbuf_max));
    wanted.min(LARGEST_BUFFER as usize) as u32
}

/// Send sequence variables.
#[derive(Debug)]
pub(super) struct SendSpace {
    /// Oldest unacknowledged number.
    pub una: SeqNum,
    /// Next number to send.
    pub nxt: SeqNum,
    /// The peer's window in bytes.
    pub wnd: u32,
    /// Segment that last moved the window.
    pub wl1: SeqNum,
    /// Largest window that the peer has offered.
    pub max_wnd: u32,
    /// End of the last segment that was not full (Minshall's Nagle).
    pub small_end: SeqNum,
    /// Initial sequence number.
    pub iss: SeqNum,
    /// Largest payload without options that both ends take.
    pub agreed_mss: u16,
    /// The same, as far as the path takes it too.
    pub mss: u16,
    /// Shift of the peer's window field.
    pub shift: u8,
}

impl SendSpace {
    pub(super) fn new(iss: SeqNum, mss: u16) -> Self {
        let mss = mss.max(SMALLEST_MSS);
        Self {
            una: iss,
            nxt: iss,
            wnd: 0,
            wl1: SeqNum(0),
            max_wnd: 0,
            small_end: iss,
            iss,
            agreed_mss: mss,
            mss,
            shift: 0,
        }
    }

    /// Learns the peer's segment size from its SYN.
    pub(super) fn limit_mss(&mut self, offered: Option<u16>) {
        self.agreed_mss = self.agreed_mss.min(offered.unwrap_or(DEFAULT_MSS).max(SMALLEST_MSS));
        self.mss = self.mss.min(self.agreed_mss);
    }

    /// First number beyond the peer's window.
    #[inline]
    pub(super) fn edge(&self) -> SeqNum {
        self.una + self.wnd
    }

    /// The window that a segment offers, in bytes. A SYN's is not scaled (RFC
    /// 7323 2.2).
    #[inline]
    pub(super) fn scaled(&self, field: u16) -> u32 {
        u32::from(field) << self.shift
    }

    /// Takes the window of a segment.
    #[inline]
    pub(super) fn set_window(&mut self, wnd: u32, seq: SeqNum) {
        self.wnd = wnd;
        self.wl1 = seq;
        self.max_wnd = self.max_wnd.max(wnd);
    }
}

/// Receive sequence variables.
#[derive(Debug)]
pub(super) struct ReceiveSpace {
    /// Next number expected.
    pub nxt: SeqNum,
    /// First number beyond what was offered; it only ever moves forward.
    pub edge: SeqNum,
    /// Acknowledgement in the last segment sent (RFC 7323's Last.ACK.sent).
    pub ack_sent: SeqNum,
    /// Size of the receive buffer in bytes.
    pub buffer: u32,
    /// Bound of the offered window (`TCP_WINDOW_CLAMP`), in bytes.
    pub clamp: u32,
    /// Where the peer's FIN is, once known.
    pub fin: Option<SeqNum>,
    /// A duplicate to report (RFC 2883).
    pub duplicate: Option<(SeqNum, SeqNum)>,
    /// Initial sequence number.
    pub irs: SeqNum,
    /// Segment size that we announce.
    pub mss: u16,
    /// Largest payload seen, a guess at the peer's full segment.
    pub seen_mss: u16,
    /// Shift of our window field.
    pub shift: u8,
}

impl ReceiveSpace {
    pub(super) fn new(config: &Config, mss: u16) -> Self {
        Self {
            nxt: SeqNum(0),
            edge: SeqNum(0),
            ack_sent: SeqNum(0),
            buffer: initial_buffer(config, mss),
            clamp: LARGEST_BUFFER,
            fin: None,
            duplicate: None,
            irs: SeqNum(0),
            mss,
            seen_mss: mss.min(DEFAULT_MSS),
            shift: 0,
        }
    }

    /// Begins behind the peer's SYN, with the window that our unscaled field
    /// has said or will say.
    pub(super) fn start(&mut self, irs: SeqNum) {
        self.irs = irs;
        self.nxt = irs + 1;
        self.ack_sent = self.nxt;
        self.edge = self.nxt + u32::from(self.syn_field());
    }

    /// The window field of a SYN.
    pub(super) fn syn_field(&self) -> u16 {
        self.limit().min(0xffff) as u16
    }

    /// The widest window to offer, in bytes.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        self.buffer.min(self.clamp)
    }

    /// Bytes of the offered window that are left.
    #[inline]
    pub(super) fn window(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    /// The window field beside an acknowledgement of the past: what is offered
    /// stays so.
    pub(super) fn field_behind(&self, ack: SeqNum) -> u16 {
        (self.edge.since(ack) >> self.shift).min(0xffff) as u16
    }

    /// The edge that a buffer with `queued` bytes in it could offer.
    #[inline]
    fn possible_edge(&self, queued: usize) -> SeqNum {
        let free = self.buffer.saturating_sub(queued.min(u32::MAX as usize) as u32);
        self.nxt + free.min(self.clamp).min(0xffff << self.shift)
    }

    /// Least step by which the window opens (RFC 9293 3.8.6.2.2).
    #[inline]
    fn least_opening(&self) -> u32 {
        u32::from(self.mss).min(self.limit() / 2)
    }

    /// Moves the edge as far as the buffer allows and returns the window
    /// field. What was offered is never taken back: the field is rounded up
    /// where it repeats an older offer. Each rounding offers a little more,
    /// which adds up over many tiny segments; beyond a slack it is rounded down,
    /// which hides less than a unit of what is still accepted (RFC 7323 2.4).
    #[inline]
    pub(super) fn advertise(&mut self, queued: usize, is_pressed: impl FnOnce() -> bool) -> u16 {
        let mut possible = self.possible_edge(queued);
        let unit = (1u32 << self.shift) - 1;
        if possible.since(self.edge) >= self.least_opening() && is_pressed() {
            possible = possible.min(self.nxt + PRESSED_SEGMENTS * u32::from(self.mss));
        }
        if possible.since(self.edge) >= self.least_opening() {
            let field = (possible - self.nxt) >> self.shift;
            let edge = self.nxt + (field << self.shift);
            if edge.ge(self.edge) {
                self.edge = edge;
                return field as u16;
            }
        }
        let promised = self.window() as usize + queued;
        let slack = promised < (self.buffer + ROUNDING_SLACK) as usize;
        let rounded = self.window() + if slack { unit } else { 0 };
        let field = (rounded >> self.shift).min(0xffff);
        self.edge = self.edge.max(self.nxt + (field << self.shift));
        field as u16
    }
}

impl<B: Payload> Connection<B> {
    /// Bytes of payload in a full segment with `options` bytes of options.
    #[inline]
    pub(super) fn segment_payload(&self, options: usize) -> u32 {
        u32::from(self.snd.mss).saturating_sub(options as u32).max(1)
    }

    /// Bytes of payload in an ordinary segment of a size, which counts options.
    #[inline]
    pub(super) fn payload_of(&self, size: u16) -> u32 {
        u32::from(size).saturating_sub(if self.timestamps.enabled { 12 } else { 0 }).max(1)
    }

    /// Bytes of payload in an ordinary full segment: the SMSS of RFC 5681.
    #[inline]
    pub(super) fn smss(&self) -> u32 {
        self.payload_of(self.snd.mss)
    }

    /// Takes the window of an acceptable segment, when it is news (RFC 9293
    /// 3.10.7.4; like Linux, an ACK that advances or a wider window counts even
    /// when segments were reordered).
    #[inline]
    pub(super) fn update_send_window(&mut self, segment: &TcpRepr, advances: bool) {
        let wnd = self.snd.scaled(segment.window);
        let newer = advances
            || segment.seq.gt(self.snd.wl1)
            || (segment.seq == self.snd.wl1 && (wnd > self.snd.wnd || wnd == 0));
        if !newer {
            return;
        }
        let opened = self.snd.wnd == 0 && wnd > 0;
        self.snd.set_window(wnd, segment.seq);
        if opened {
            self.timers.persist_backoff = 0;
            if self.flight.is_empty() {
                self.timers.stalled_since = Instant::FAR;
                self.timers.stop_retransmit();
            }
        }
    }

    /// The program has read: tells the peer when that opens a window that had
    /// become narrow by two segments or half the buffer.
    #[inline]
    pub(super) fn offer_window_after_read(&mut self) {
        if !self.state.can_receive() || self.rcv.window() > self.rcv.limit() / 2 {
            return;
        }
        let opening = self.rcv.possible_edge(self.rx.len()).since(self.rcv.edge);
        if opening >= (2 * u32::from(self.rcv.mss)).min(self.rcv.limit() / 2) {
            self.pending.insert(Pending::ACK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn space(buffer: u32, shift: u8) -> ReceiveSpace {
        let mut space = ReceiveSpace::new(&Config::default(), 1460);
        (space.buffer, space.shift) = (buffer, shift);
        space.start(SeqNum(999));
        space
    }

    #[test]
    fn the_window_stays_shut_until_a_segment_fits() {
        let mut space = space(10_000, 0);
        space.nxt += 10_000;
        assert_eq!(space.advertise(10_000, || false), 0);
        assert_eq!(space.advertise(9_000, || false), 0, "1000 bytes would be silly");
        assert_eq!(space.advertise(8_540, || false), 1460);
    }

    #[test]
    fn a_small_buffer_opens_by_its_half() {
        let mut space = space(1000, 0);
        space.nxt += 1000;
        assert_eq!(space.advertise(501, || false), 0);
        assert_eq!(space.advertise(500, || false), 500);
    }

    #[test]
    fn without_scaling_the_field_is_the_limit() {
        let mut space = space(1 << 20, 0);
        assert_eq!(space.advertise(0, || false), 0xffff);
    }

    #[test]
    fn a_peer_cannot_push_the_edge_by_rounding_for_ever() {
        let mut space = space(1 << 20, 7);
        space.advertise(0, || false);
        let mut queued = 0;
        for _ in 0..10_000_000 {
            if space.window() == 0 {
                break;
            }
            space.nxt += 1;
            queued += 1;
            space.advertise(queued, || false);
        }
        assert!(queued <= (1 << 20) + ROUNDING_SLACK as usize + 128, "{queued}");
    }

    proptest! {
        #[test]
        fn what_was_offered_is_never_taken_back(
            buffer in 1000u32..200_000, shift in 0u8..10,
            steps in proptest::collection::vec((1u32..5000, 0usize..8000), 1..200),
        ) {
            let mut space = space(buffer, shift);
            let mut queued = 0usize;
            let mut promised = space.edge;
            for (arrives, read) in steps {
                let arrives = arrives.min(space.window());
                space.nxt += arrives;
                queued += arrives as usize;
                queued -= read.min(queued);
                let field = space.advertise(queued, || false);
                let seen = space.nxt + (u32::from(field) << shift);
                prop_assert!(seen.ge(promised), "{seen} < {promised}");
                prop_assert!(seen.le(space.edge));
                promised = seen;
                prop_assert!(queued as u32 <= buffer + ROUNDING_SLACK + (1 << shift));
            }
        }
    }
}
