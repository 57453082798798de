//! What one acknowledgement has newly shown to have arrived (RFC 8985 6.2
//! steps 2 and 3, RFC 9937 DeliveredData).

use super::{Marks, SendOrder, Sent};
use crate::connection::rtt::RttEstimator;
use crate::connection::timers::micros32;
use crate::connection::timestamps::TimestampClock;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::Timestamps;

/// When an acknowledgement came, and what tells whether it is for an original
/// or for a retransmission.
pub(in crate::connection) struct AckTime<'a> {
    pub now: Instant,
    /// Bytes of a full segment.
    pub mss: u32,
    pub rtt: &'a RttEstimator,
    /// The timestamps of the acknowledgement.
    pub stamps: Option<Timestamps>,
    pub clock: &'a TimestampClock,
}

impl AckTime<'_> {
    /// Whether the acknowledgement can be for a retransmission sent at
    /// `sent_at`: it does not echo an older timestamp, and did not come faster
    /// than anything before (RFC 8985 6.2 step 2).
    #[cold]
    fn may_be_for_resend(&self, sent_at: u32) -> bool {
        let elapsed = Duration::from_micros(u64::from(micros32(self.now).wrapping_sub(sent_at)));
        !self.clock.echo_precedes(self.stamps, self.now - elapsed)
            && self.rtt.smallest().is_none_or(|least| elapsed >= least)
    }
}

/// What arrived, as far as one acknowledgement tells for the first time.
#[derive(Debug, Default)]
pub(in crate::connection) struct Delivery {
    /// Bytes.
    pub bytes: u32,
    /// Segments, as full ones.
    pub segments: u32,
    /// Lowest sequence number among what was sent once.
    pub lowest_original: Option<SeqNum>,
    /// The latest sent that it can be for.
    latest: Option<SendOrder>,
    /// Send time of the oldest cumulatively acknowledged segment.
    oldest: Option<u32>,
    /// Something cumulatively acknowledged was sent more than once.
    resent: bool,
}

impl Delivery {
    /// Send time, low 32 bits of microseconds, of the oldest segment whose RTT
    /// may be taken (Karn: RFC 6298 3).
    #[inline]
    pub(in crate::connection) fn rtt_from(&self) -> Option<u32> {
        self.oldest.filter(|_| !self.resent)
    }

    /// The latest sent of what has arrived.
    #[inline]
    pub(in crate::connection) fn latest(&self) -> Option<SendOrder> {
        self.latest
    }

    /// Takes an entry that the cumulative acknowledgement covers.
    #[inline]
    pub(super) fn acknowledged(&mut self, sent: &Sent, time: &AckTime) {
        self.resent |= sent.marks.contains(Marks::EVER_RESENT);
        if !sent.marks.contains(Marks::SACKED) {
            self.oldest = self.oldest.or(Some(sent.sent_at));
            self.sacked(sent, time);
        }
    }

    /// Takes an entry that was not known to have arrived.
    #[inline]
    pub(super) fn sacked(&mut self, sent: &Sent, time: &AckTime) {
        self.bytes += sent.len;
        self.segments += if sent.len <= time.mss { 1 } else { sent.len.div_ceil(time.mss.max(1)) };
        if sent.marks.contains(Marks::EVER_RESENT) {
            if !time.may_be_for_resend(sent.sent_at) {
                return;
            }
        } else if self.lowest_original.is_none_or(|low| sent.seq.lt(low)) {
            self.lowest_original = Some(sent.seq);
        }
        if self.latest.is_none_or(|latest| sent.order().is_after(latest)) {
            self.latest = Some(sent.order());
        }
    }
}
