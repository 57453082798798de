//! Proportional rate reduction (RFC 9937): how much may be sent during fast
//! recovery, so that what is in flight comes down to the threshold by its end
//! without a pause and without a burst.

/// The variables of RFC 9937 6, in bytes.
#[derive(Debug, Default)]
pub(super) struct Prr {
    /// `prr_delivered`: arrived since recovery began.
    delivered: u32,
    /// `prr_out`: sent since recovery began.
    out: u32,
    /// `RecoverFS`: outstanding when it began.
    recover_fs: u32,
}

/// What one acknowledgement tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// `DeliveredData`: bytes that have newly arrived.
    pub delivered: u32,
    /// `inflight`: bytes still thought to be in the network.
    pub in_flight: u32,
    /// The slow-start threshold that recovery ends with.
    pub ssthresh: u32,
    /// Bytes of a full segment.
    pub mss: u32,
    /// `SafeACK`: SND.UNA advanced, and no further loss was found.
    pub safe: bool,
}

impl Prr {
    /// Recovery begins with `recover_fs` bytes outstanding.
    pub(super) fn new(recover_fs: u32) -> Self {
        Self { delivered: 0, out: 0, recover_fs: recover_fs.max(1) }
    }

    /// Notes what was sent.
    #[inline]
    pub(super) fn sent(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    /// `sndcnt`: what may be sent in answer to an acknowledgement, beside what
    /// is in flight.
    pub(super) fn allowance(&mut self, progress: Progress) -> u32 {
        let Progress { delivered, in_flight, ssthresh, mss, safe } = progress;
        self.delivered = self.delivered.saturating_add(delivered);
        let allowance = if in_flight > ssthresh {
            self.proportional(ssthresh, mss).saturating_sub(self.out)
        } else {
            // Packet conservation, and slow start while all goes well.
            let conserved = self.delivered.saturating_sub(self.out).max(delivered);
            let bound = conserved + if safe { mss } else { 0 };
            bound.min(ssthresh - in_flight)
        };
        // The fast retransmission that begins recovery is always sent.
        if self.out == 0 { allowance.max(mss) } else { allowance }
    }

    /// The share of what has arrived that may be sent, rounded up to whole
    /// segments, as where they are counted.
    fn proportional(&self, ssthresh: u32, mss: u32) -> u32 {
        let share = u64::from(self.delivered) * u64::from(ssthresh);
        let segments = share.div_ceil(u64::from(self.recover_fs)).div_ceil(u64::from(mss.max(1)));
        (segments * u64::from(mss)).min(u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: u32 = 1000;

    fn progress(delivered: u32, in_flight: u32, ssthresh: u32) -> Progress {
        Progress { delivered, in_flight, ssthresh, mss: MSS, safe: false }
    }

    #[test]
    fn one_loss_of_a_window_of_twenty_sends_seven_for_ten() {
        // RFC 9937 figure 1, CUBIC's 0.7: each ACK SACKs one of 20 segments.
        let (mut prr, mut sent, mut pipe) = (Prr::new(20 * MSS), 0, 19 * MSS);
        for _ in 0..19 {
            pipe -= MSS;
            let room = prr.allowance(progress(MSS, pipe, 14 * MSS)) / MSS * MSS;
            prr.sent(room);
            (sent, pipe) = (sent + room, pipe + room);
        }
        assert!((13 * MSS..=14 * MSS).contains(&sent), "{sent}");
        assert!((13 * MSS..=14 * MSS).contains(&pipe), "{pipe}");
    }

    #[test]
    fn the_first_retransmission_goes_whatever_the_share() {
        let mut prr = Prr::new(10 * MSS);
        assert_eq!(prr.allowance(progress(0, 9 * MSS, 5 * MSS)), MSS);
        prr.sent(MSS);
        assert_eq!(prr.allowance(progress(MSS, 8 * MSS, 5 * MSS)), 0);
        assert_eq!(prr.allowance(progress(MSS, 8 * MSS, 5 * MSS)), 0);
        assert_eq!(prr.allowance(progress(MSS, 8 * MSS, 5 * MSS)), MSS);
    }

    #[test]
    fn below_the_threshold_as_much_goes_as_arrives() {
        let mut prr = Prr::new(20 * MSS);
        assert_eq!(prr.allowance(progress(MSS, 3 * MSS, 10 * MSS)), MSS);
        prr.sent(MSS);
        assert_eq!(prr.allowance(progress(2 * MSS, 3 * MSS, 10 * MSS)), 2 * MSS);
    }

    #[test]
    fn good_progress_adds_one_segment_an_acknowledgement() {
        let mut prr = Prr::new(20 * MSS);
        prr.sent(MSS);
        let safe = Progress { safe: true, ..progress(MSS, 3 * MSS, 10 * MSS) };
        assert_eq!(prr.allowance(safe), 2 * MSS);
    }

    #[test]
    fn the_threshold_is_not_exceeded() {
        let mut prr = Prr::new(20 * MSS);
        prr.sent(MSS);
        let safe = Progress { safe: true, ..progress(5 * MSS, 9 * MSS, 10 * MSS) };
        assert_eq!(prr.allowance(safe), MSS);
    }

    proptest! {
        /// RFC 9937 7: no more goes out than has arrived, one segment an
        /// acknowledgement aside, and the flight does not fall below the
        /// threshold for want of permission.
        #[test]
        fn what_goes_out_follows_what_arrives(
            flight in 4u32..200, lost in 1u32..20, beta in 50u32..80,
        ) {
            let lost = lost.min(flight - 3);
            let ssthresh = (flight * MSS / 100 * beta).max(2 * MSS);
            let mut prr = Prr::new(flight * MSS);
            let mut pipe = (flight - lost) * MSS;
            let (mut arrived, mut sent) = (0, 0);
            for _ in 0..flight - lost {
                pipe -= MSS;
                arrived += MSS;
                let room = prr.allowance(progress(MSS, pipe, ssthresh)) / MSS * MSS;
                prr.sent(room);
                (sent, pipe) = (sent + room, pipe + room);
                prop_assert!(sent <= arrived + MSS);
            }
            prop_assert!(pipe <= ssthresh.max((flight - lost) * MSS) + MSS);
            prop_assert!(pipe + 2 * MSS >= ssthresh.min((flight - lost) * MSS) / MSS * MSS, "{pipe}");
        }
    }
}
