//! SYN cookies (RFC 4987 3.6): half-open connections that cost no memory,
//! because what has to be remembered of the SYN travels in the SYN-ACK and
//! comes back with the handshake's last ACK.
//!
//! The initial sequence number holds a keyed hash of the flow, a counter
//! of 64 s and an index into a table of segment sizes; it grows with the counter, as
//! RFC 6528 asks of initial numbers. Window scale, SACK and ECN go into the low
//! bits of the timestamp, as Linux does it; a peer without timestamps loses
//! them.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use crate::config::Config;
use crate::connection::{Params, Request, Transmit};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::{Ecn, TcpFlags, TcpRepr};

/// How often the counter in the cookies moves.
const PERIOD: Duration = Duration::from_secs(64);

/// Counter values for which a cookie is good: the present one and the last
/// (Linux `MAX_SYNCOOKIE_AGE`).
const GOOD_PERIODS: u32 = 2;

/// How long after it was issued a cookie can be good at most.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(128);

/// Segment sizes that a cookie can name: Linux's, and that of jumbo frames.
const MSS_TABLE: [u16; 5] = [536, 1300, 1440, 1460, 8960];

/// Bits of a cookie below the counter.
const HASH_MASK: u32 = (1 << 24) - 1;

/// Bits of a timestamp that carry options.
const OPTION_MASK: u32 = (1 << 6) - 1;
/// The window shift among them; this very value stands for no scaling.
const SHIFT_MASK: u32 = 0xf;
const SACK_BIT: u32 = 1 << 4;
const ECN_BIT: u32 = 1 << 5;

/// Control bits of a SYN that asks for ECN (RFC 3168 6.1.1).
const ECN_SETUP: TcpFlags = TcpFlags::ECE.union(TcpFlags::CWR);

/// Issues cookies and knows them again. `S` makes keyed hashes: SipHash.
#[derive(Debug, Default)]
pub struct SynCookies<S = RandomState> {
    /// Hides the cookies of a flow from other flows.
    base: S,
    /// Proves that a cookie is ours, and of which period.
    proof: S,
}

impl<S: BuildHasher> SynCookies<S> {
    /// The SYN-ACK that answers `syn` and keeps no state. `params` has
    /// everything but the initial sequence number, `flow` names the two ends.
    pub fn answer(
        &self,
        config: &Arc<Config>,
        params: Params,
        rcvbuf: Option<u32>,
        flow: &impl Hash,
        syn: &TcpRepr,
        now: Instant,
    ) -> Option<Transmit<'static>> {
        let mut syn = syn.clone();
        if syn.options.timestamps.is_none() || !config.timestamps {
            syn.options.window_scale = None;
            syn.options.sack_permitted = false;
            syn.flags.remove(ECN_SETUP);
        }
        if syn.ecn != Ecn::NotEct {
            syn.flags.remove(ECN_SETUP);
        }
        let isn = self.issue(flow, syn.seq, syn.options.mss.unwrap_or(0), now);
        let mut syn_ack = Request::new(Params { isn, ..params }, rcvbuf, &syn).syn_ack(config, now)?;
        if let Some(stamp) = &mut syn_ack.options.timestamps {
            let clock = stamp.tsval.wrapping_sub(params.ts_offset);
            stamp.tsval = with_options(clock, options_of(&syn)).wrapping_add(params.ts_offset);
        }
        Some(syn_ack)
    }

    /// The request whose SYN-ACK `segment` acknowledges, when that SYN-ACK was
    /// a cookie of the last two periods. `params` is as for
    /// [`SynCookies::answer`].
    pub fn redeem(
        &self,
        params: Params,
        rcvbuf: Option<u32>,
        flow: &impl Hash,
        segment: &TcpRepr,
        now: Instant,
    ) -> Option<Request> {
        let controls = TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK;
        if segment.flags & controls != TcpFlags::ACK {
            return None;
        }
        let (irs, isn) = (segment.seq + u32::MAX, segment.ack + u32::MAX);
        let mss = self.check(flow, irs, isn, now)?;
        let mut syn =
            TcpRepr { seq: irs, flags: TcpFlags::SYN, payload_len: 0, ecn: Ecn::NotEct, ..segment.clone() };
        syn.options.mss = Some(mss);
        if let Some(stamp) = segment.options.timestamps {
            take_options(&mut syn, stamp.tsecr.wrapping_sub(params.ts_offset));
        }
        let mut request = Request::new(Params { isn, ..params }, rcvbuf, &syn);
        request.forget_sending(now);
        Some(request)
    }

    fn issue(&self, flow: &impl Hash, irs: SeqNum, mss: u16, now: Instant) -> SeqNum {
        let fits = MSS_TABLE.iter().filter(|&&size| size <= mss).count();
        let index = fits.saturating_sub(1) as u32;
        let count = period(now);
        let proof = self.proof(flow, irs, count).wrapping_add(index) & HASH_MASK;
        irs + self.base(flow) + (count << 24) + proof
    }

    fn check(&self, flow: &impl Hash, irs: SeqNum, isn: SeqNum, now: Instant) -> Option<u16> {
        let cookie = isn - (irs + self.base(flow));
        let age = period(now).wrapping_sub(cookie >> 24) & 0xff;
        if age >= GOOD_PERIODS {
            return None;
        }
        let index = cookie.wrapping_sub(self.proof(flow, irs, period(now).wrapping_sub(age))) & HASH_MASK;
        MSS_TABLE.get(index as usize).copied()
    }

    fn base(&self, flow: &impl Hash) -> u32 {
        self.base.hash_one(flow) as u32
    }

    /// The peer's number is part of it: were it only added, as the base is, a peer
    /// a few bytes further on would hold a good cookie for another segment size.
    fn proof(&self, flow: &impl Hash, irs: SeqNum, count: u32) -> u32 {
        self.proof.hash_one((flow, irs.0, count)) as u32
    }
}

fn period(now: Instant) -> u32 {
    (now.as_micros() / PERIOD.as_micros()) as u32
}

/// What a SYN offers, as the low bits of a timestamp.
fn options_of(syn: &TcpRepr) -> u32 {
    let shift = syn.options.window_scale.map_or(SHIFT_MASK, |shift| u32::from(shift.min(14)));
    let sack = if syn.options.sack_permitted { SACK_BIT } else { 0 };
    let ecn = if syn.flags.contains(ECN_SETUP) && syn.ecn == Ecn::NotEct { ECN_BIT } else { 0 };
    shift | sack | ecn
}

/// Puts what [`options_of`] said back into a SYN.
fn take_options(syn: &mut TcpRepr, clock: u32) {
    let shift = clock & SHIFT_MASK;
    syn.options.window_scale = (shift != SHIFT_MASK).then_some(shift as u8);
    syn.options.sack_permitted = clock & SACK_BIT != 0;
    syn.flags.set(ECN_SETUP, clock & ECN_BIT != 0);
}

/// The latest time up to `clock` whose low bits are `options`: not in the
/// future, or the next timestamp would seem old to the peer (PAWS).
fn with_options(clock: u32, options: u32) -> u32 {
    let stamp = clock & !OPTION_MASK | options;
    if stamp > clock { stamp.wrapping_sub(OPTION_MASK + 1) } else { stamp }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Progress, State};
    use crate::wire::{TcpOptions, Timestamps};
    use proptest::prelude::*;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    const FLOW: u64 = 0x0a00_0001_0a00_0002;
    const NOW: Instant = Instant::from_millis(1_000_000);
    const PARAMS: Params = Params { isn: SeqNum(0), ts_offset: 0xdead_beef, mss: 8960 };

    /// Always the same keys, so that a failure can be had again.
    fn cookies() -> SynCookies<BuildHasherDefault<DefaultHasher>> {
        SynCookies::default()
    }

    fn syn(options: TcpOptions) -> TcpRepr {
        TcpRepr {
            src_port: 2,
            dst_port: 1,
            seq: SeqNum(u32::MAX),
            ack: SeqNum(0),
            flags: TcpFlags::SYN,
            window: 1000,
            urgent: 0,
            options,
            payload_len: 0,
            ecn: Ecn::NotEct,
        }
    }

    fn all_options(mss: u16) -> TcpOptions {
        TcpOptions {
            mss: Some(mss),
            window_scale: Some(9),
            sack_permitted: true,
            timestamps: Some(Timestamps { tsval: 5, tsecr: 0 }),
            ..TcpOptions::default()
        }
    }

    fn answer(syn: &TcpRepr) -> Transmit<'static> {
        cookies().answer(&Arc::default(), PARAMS, None, &FLOW, syn, NOW).expect("a SYN-ACK")
    }

    /// The ACK of a peer that got `syn_ack`.
    fn last_ack(syn: &TcpRepr, syn_ack: &Transmit<'_>) -> TcpRepr {
        let stamp = syn_ack.options.timestamps.map(|ours| Timestamps { tsval: 6, tsecr: ours.tsval });
        TcpRepr {
            seq: syn.seq + 1,
            ack: syn_ack.seq + 1,
            flags: TcpFlags::ACK,
            options: TcpOptions { timestamps: stamp, ..TcpOptions::default() },
            ..syn.clone()
        }
    }

    fn redeem_at(ack: &TcpRepr, now: Instant) -> Option<Request> {
        cookies().redeem(PARAMS, None, &FLOW, ack, now)
    }

    fn opened(syn: &TcpRepr) -> crate::Info {
        let ack = last_ack(syn, &answer(syn));
        let mut request = redeem_at(&ack, NOW).expect("our own cookie");
        match request.on_segment::<Vec<u8>>(&Arc::default(), &ack, None, NOW) {
            Progress::Open(connection) => connection.info(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_ack_brings_the_connection_back_with_its_options() {
        let info = opened(&syn(all_options(1460)));
        assert_eq!(info.state, State::Established);
        assert_eq!((info.snd_wscale, info.sack, info.timestamps), (9, true, true));
        assert_eq!(info.snd_mss, 1460 - 12);
        assert_eq!(info.snd_wnd, 1000 << 9);
    }

    #[test]
    fn the_segment_size_is_the_next_smaller_one_of_the_table() {
        for (offered, taken) in [(100, 536), (536, 536), (1459, 1440), (1460, 1460), (9000, 8960)] {
            assert_eq!(opened(&syn(all_options(offered))).snd_mss, taken - 12);
        }
    }

    #[test]
    fn without_timestamps_only_the_segment_size_survives() {
        let syn = syn(TcpOptions { timestamps: None, ..all_options(1460) });
        let offered = answer(&syn).options;
        assert_eq!((offered.window_scale, offered.sack_permitted, offered.timestamps), (None, false, None));
        let info = opened(&syn);
        assert_eq!((info.snd_wscale, info.sack, info.timestamps, info.snd_mss), (0, false, false, 1460));
    }

    #[test]
    fn a_peer_that_did_not_offer_an_option_does_not_get_it() {
        let options = TcpOptions { window_scale: None, sack_permitted: false, ..all_options(1460) };
        let info = opened(&syn(options));
        assert_eq!((info.snd_wscale, info.rcv_wscale, info.sack, info.timestamps), (0, 0, false, true));
    }

    #[test]
    fn a_cookie_is_good_for_two_periods() {
        let syn = syn(all_options(1460));
        let ack = last_ack(&syn, &answer(&syn));
        assert!(redeem_at(&ack, NOW + PERIOD).is_some());
        assert!(redeem_at(&ack, NOW + PERIOD * 2).is_none());
        assert!(redeem_at(&ack, NOW + PERIOD * 256).is_none(), "the same eight bits, another proof");
    }

    #[test]
    fn the_second_byte_of_the_peer_does_not_redeem() {
        // The first one would be lost without a word.
        let syn = syn(all_options(1460));
        let ack = last_ack(&syn, &answer(&syn));
        for ahead in 1..1000 {
            assert!(redeem_at(&TcpRepr { seq: ack.seq + ahead, ..ack.clone() }, NOW).is_none(), "{ahead}");
        }
    }

    #[test]
    fn only_an_ack_of_this_very_flow_redeems() {
        let syn = syn(all_options(1460));
        let ack = last_ack(&syn, &answer(&syn));
        assert!(cookies().redeem(PARAMS, None, &(FLOW + 1), &ack, NOW).is_none());
        for flags in [TcpFlags::SYN, TcpFlags::RST] {
            assert!(redeem_at(&TcpRepr { flags: TcpFlags::ACK | flags, ..ack.clone() }, NOW).is_none());
        }
        assert!(redeem_at(&TcpRepr { flags: TcpFlags::FIN, ..ack }, NOW).is_none());
    }

    #[test]
    fn the_timestamp_is_never_from_the_future() {
        for clock in [0, 5, 63, 64, 1000, 1 << 31, u32::MAX] {
            for options in 0..=OPTION_MASK {
                let stamp = with_options(clock, options);
                assert_eq!(stamp & OPTION_MASK, options);
                assert!(clock.wrapping_sub(stamp) <= OPTION_MASK, "{clock} {options}");
            }
        }
    }

    #[test]
    fn a_syn_ack_is_no_larger_than_a_syn_with_the_same_options() {
        let syn = syn(all_options(1460));
        assert!(answer(&syn).options.wire_len() <= syn.options.wire_len());
    }

    proptest! {
        #[test]
        fn a_forged_ack_is_refused(seq: u32, ack: u32, tsval: u32, tsecr: u32, age in 0u64..600) {
            let stamp = Some(Timestamps { tsval, tsecr });
            let forged = TcpRepr {
                seq: SeqNum(seq),
                ack: SeqNum(ack),
                flags: TcpFlags::ACK,
                options: TcpOptions { timestamps: stamp, ..TcpOptions::default() },
                ..syn(TcpOptions::default())
            };
            prop_assert!(redeem_at(&forged, NOW + Duration::from_secs(age)).is_none());
        }

        #[test]
        fn any_syn_comes_back(seq: u32, mss: Option<u16>, shift: Option<u8>, sack: bool, stamp: Option<u32>, later in 0u64..64) {
            let options = TcpOptions {
                mss,
                window_scale: shift,
                sack_permitted: sack,
                timestamps: stamp.map(|tsval| Timestamps { tsval, tsecr: 0 }),
                ..TcpOptions::default()
            };
            let syn = TcpRepr { seq: SeqNum(seq), ..syn(options) };
            let ack = last_ack(&syn, &answer(&syn));
            let request = redeem_at(&ack, NOW + Duration::from_secs(later));
            prop_assert!(request.is_some());
        }
    }
}
