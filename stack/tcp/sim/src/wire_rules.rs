//! What must hold for every segment that a connection sends.

use tpa_tcp::wire::{TcpFlags, TcpRepr};
use tpa_tcp::{SeqNum, Transmit};

/// Watches the segments of one connection, both ways, as its host sees them.
#[derive(Debug)]
pub(crate) struct WireRules {
    /// First number behind our SYN.
    start: SeqNum,
    /// We offer window scaling.
    scales: bool,
    /// End of what we have sent.
    sent: SeqNum,
    /// Last acknowledgement sent.
    acked: Option<SeqNum>,
    /// Last timestamp sent.
    tsval: Option<u32>,
    /// Right edge of our window in the segments sent so far.
    promised: Option<SeqNum>,
    our_shift: u8,
    /// Right edge of the peer's window as far as it reached us.
    allowed: Option<SeqNum>,
    peer_shift: u8,
    /// Both sides offered window scaling.
    scaling: bool,
    /// What the peer's SYN said.
    peer_mss: Option<u16>,
    /// End of what has reached us, gaps included.
    reached: Option<SeqNum>,
}

impl WireRules {
    pub(crate) fn new(isn: SeqNum, scales: bool) -> Self {
        Self {
            start: isn + 1,
            scales,
            sent: isn + 1,
            acked: None,
            tsval: None,
            promised: None,
            our_shift: 0,
            allowed: None,
            peer_shift: 0,
            scaling: false,
            peer_mss: None,
            reached: None,
        }
    }

    /// The connection begins, with this initial number of ours: it may be another
    /// one than was thought, when it was a cookie.
    pub(crate) fn begin(&mut self, isn: SeqNum) {
        (self.start, self.sent, self.allowed) = (isn + 1, isn + 1, None);
    }

    /// Learns from what has reached us.
    pub(crate) fn on_received(&mut self, tcp: &TcpRepr) {
        if tcp.flags.contains(TcpFlags::RST) {
            return;
        }
        let syn = tcp.flags.contains(TcpFlags::SYN);
        if syn {
            self.scaling = self.scales && tcp.options.window_scale.is_some();
            self.peer_shift = if self.scaling { tcp.options.window_scale.unwrap_or(0).min(14) } else { 0 };
            self.peer_mss = tcp.options.mss;
        }
        let end = tcp.seq + tcp.sequence_len();
        self.reached = Some(self.reached.map_or(end, |reached| reached.max(end)));
        let base = if tcp.flags.contains(TcpFlags::ACK) { tcp.ack } else { self.start };
        let edge = base + (u32::from(tcp.window) << if syn { 0 } else { self.peer_shift });
        self.allowed = Some(self.allowed.map_or(edge, |allowed| allowed.max(edge)));
    }

    /// Checks a segment that is about to leave.
    pub(crate) fn on_sent(&mut self, segment: &Transmit<'_>) -> Result<(), String> {
        if segment.flags.contains(TcpFlags::RST) {
            return Ok(());
        }
        self.check_timestamp(segment)?;
        if segment.flags.contains(TcpFlags::SYN) {
            self.our_shift = segment.options.window_scale.unwrap_or(0);
            if segment.flags.contains(TcpFlags::ACK) && segment.options.window_scale.is_none() {
                (self.scaling, self.peer_shift) = (false, 0);
            }
            return Ok(());
        }
        self.check_size(segment)?;
        self.check_sequence(segment)?;
        self.check_ack(segment)?;
        self.check_window(segment)
    }

    fn check_timestamp(&mut self, segment: &Transmit<'_>) -> Result<(), String> {
        let Some(stamp) = segment.options.timestamps else { return Ok(()) };
        if self.tsval.is_some_and(|last| (stamp.tsval.wrapping_sub(last) as i32) < 0) {
            return Err(format!("timestamp {} follows {:?}", stamp.tsval, self.tsval));
        }
        self.tsval = Some(stamp.tsval);
        Ok(())
    }

    fn check_size(&self, segment: &Transmit<'_>) -> Result<(), String> {
        let size = segment.payload_len() + segment.options.wire_len();
        if self.peer_mss.is_some_and(|mss| size > usize::from(mss)) {
            return Err(format!("{size} bytes exceed the peer's MSS {:?}", self.peer_mss));
        }
        Ok(())
    }

    /// Numbers are used in order, none twice without being marked as sent
    /// again, and none beyond the peer's window.
    fn check_sequence(&mut self, segment: &Transmit<'_>) -> Result<(), String> {
        let fin = u32::from(segment.flags.contains(TcpFlags::FIN));
        let end = segment.seq + segment.payload_len() as u32 + fin;
        if end == segment.seq {
            return Ok(());
        }
        let in_order = if segment.is_retransmit { end.le(self.sent) } else { segment.seq == self.sent };
        if !in_order {
            let again = segment.is_retransmit;
            return Err(format!("{} to {end} (again: {again}) after {} were sent", segment.seq, self.sent));
        }
        self.sent = self.sent.max(end);
        if !self.allowed.is_some_and(|allowed| end.le(allowed)) {
            return Err(format!("{end} is beyond the peer's window {:?}", self.allowed));
        }
        Ok(())
    }

    /// Acknowledgements never go back, nor beyond what has arrived; SACK blocks
    /// are ranges of what has arrived.
    fn check_ack(&mut self, segment: &Transmit<'_>) -> Result<(), String> {
        let ack = segment.ack;
        let reached = self.reached.unwrap_or(ack);
        if self.acked.is_some_and(|acked| ack.lt(acked)) || ack.gt(reached) {
            return Err(format!("ack {ack} after {:?}; {reached} was reached", self.acked));
        }
        self.acked = Some(ack);
        for (index, &(left, right)) in segment.options.sack.iter().enumerate() {
            // The first may report a duplicate (RFC 2883).
            let place = index == 0 || left.gt(ack);
            if !left.lt(right) || right.gt(reached) || !place {
                return Err(format!("SACK {left} to {right} with ack {ack}; {reached} was reached"));
            }
        }
        Ok(())
    }

    /// The right edge of our window is never taken back. Rounding may hide less
    /// than one unit of the field (RFC 7323 2.4).
    fn check_window(&mut self, segment: &Transmit<'_>) -> Result<(), String> {
        let shift = if self.scaling { self.our_shift } else { 0 };
        let edge = segment.ack + (u32::from(segment.window) << shift);
        let visible = edge + ((1 << shift) - 1);
        if self.promised.is_some_and(|promised| visible.lt(promised)) {
            return Err(format!("the window was withdrawn to {edge} from {:?}", self.promised));
        }
        self.promised = Some(self.promised.map_or(edge, |promised| promised.max(edge)));
        Ok(())
    }
}
