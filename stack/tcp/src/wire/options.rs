//! TCP options (RFC 9293 3.2, RFC 7323, RFC 2018), in Linux's layout.

use arrayvec::ArrayVec;

use crate::seq::SeqNum;

/// Room for options in a TCP header.
pub const MAX_OPTIONS_LEN: usize = 40;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;
const KIND_TIMESTAMPS: u8 = 8;

/// Timestamps aligned as RFC 7323 appendix A recommends, as one word.
const TIMESTAMPS_ONLY: [u8; 4] = [KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10];

/// The timestamps option (RFC 7323 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamps {
    /// The sender's clock.
    pub tsval: u32,
    /// The clock of the other side that is echoed.
    pub tsecr: u32,
}

/// Received ranges above the acknowledgement: first byte, and the one after
/// the last (RFC 2018 3).
pub type SackBlocks = ArrayVec<(SeqNum, SeqNum), 4>;

/// The options of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// Largest segment that the sender wants to receive.
    pub mss: Option<u16>,
    /// Shift of the sender's window field.
    pub window_scale: Option<u8>,
    /// The sender understands SACK blocks.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Selective acknowledgements.
    pub sack: SackBlocks,
}

impl TcpOptions {
    /// Reads what follows the fixed header. Unknown options are skipped, and
    /// so are known ones of the wrong length; a length that makes no sense ends
    /// the list (RFC 9293 MUST-7), as Linux has it.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Self {
        if let Some((head, values)) = bytes.split_first_chunk::<4>()
            && *head == TIMESTAMPS_ONLY
            && let Ok(values) = <&[u8; 8]>::try_from(values)
        {
            return Self { timestamps: Some(timestamps(values)), ..Self::default() };
        }
        Self::parse_each(bytes)
    }

    fn parse_each(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let Some((&kind, rest)) = bytes.split_first() {
            match kind {
                KIND_END => break,
                KIND_NOP => bytes = rest,
                _ => {
                    let Some((&len, rest)) = rest.split_first() else { break };
                    let Some(body_len) = usize::from(len).checked_sub(2) else { break };
                    let Some((body, rest)) = rest.split_at_checked(body_len) else { break };
                    options.take(kind, body);
                    bytes = rest;
                }
            }
        }
        options
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match (kind, body) {
            (KIND_MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (KIND_WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (KIND_SACK_PERMITTED, []) => self.sack_permitted = true,
            (KIND_TIMESTAMPS, body) => {
                if let Ok(values) = <&[u8; 8]>::try_from(body) {
                    self.timestamps = Some(timestamps(values));
                }
            }
            (KIND_SACK, body) => self.take_sack(body),
            _ => {}
        }
    }

    fn take_sack(&mut self, body: &[u8]) {
        let (edges, rest) = body.as_chunks::<4>();
        if !rest.is_empty() || edges.len() % 2 != 0 {
            return;
        }
        let (blocks, _) = edges.as_chunks::<2>();
        self.sack = blocks
            .iter()
            .map(|[left, right]| (SeqNum(u32::from_be_bytes(*left)), SeqNum(u32::from_be_bytes(*right))))
            .take(4)
            .collect();
    }

    /// Length of the options on the wire, a multiple of four.
    #[inline]
    pub fn wire_len(&self) -> usize {
        let mut len = 0;
        if self.mss.is_some() {
            len += 4;
        }
        if self.timestamps.is_some() {
            len += 12;
        } else if self.sack_permitted {
            len += 4;
        }
        if self.window_scale.is_some() {
            len += 4;
        }
        if !self.sack.is_empty() {
            len += 4 + 8 * self.sack_that_fits(len).len();
        }
        len
    }

    /// The SACK blocks that fit behind `used` bytes of other options.
    fn sack_that_fits(&self, used: usize) -> &[(SeqNum, SeqNum)] {
        let room = (MAX_OPTIONS_LEN.saturating_sub(used + 4)) / 8;
        self.sack.get(..room.min(self.sack.len())).unwrap_or_default()
    }

    /// Lays the options out as Linux does: MSS; SACK-permitted with the
    /// timestamps, or NOPs before either; NOP and window scale; SACK blocks.
    #[inline]
    pub(super) fn emit(&self) -> ArrayVec<u8, MAX_OPTIONS_LEN> {
        let mut out = Writer(ArrayVec::new());
        if let Some(mss) = self.mss {
            out.put(&[KIND_MSS, 4]);
            out.put(&mss.to_be_bytes());
        }
        match (self.sack_permitted, self.timestamps) {
            (true, _) => out.put(&[KIND_SACK_PERMITTED, 2]),
            (false, Some(_)) => out.put(&[KIND_NOP, KIND_NOP]),
            (false, None) => {}
        }
        match self.timestamps {
            Some(Timestamps { tsval, tsecr }) => {
                out.put(&[KIND_TIMESTAMPS, 10]);
                out.put(&tsval.to_be_bytes());
                out.put(&tsecr.to_be_bytes());
            }
            None if self.sack_permitted => out.put(&[KIND_NOP, KIND_NOP]),
            None => {}
        }
        if let Some(shift) = self.window_scale {
            out.put(&[KIND_NOP, KIND_WINDOW_SCALE, 3, shift]);
        }
        if !self.sack.is_empty() {
            let blocks = self.sack_that_fits(out.0.len());
            out.put(&[KIND_NOP, KIND_NOP, KIND_SACK, 2 + 8 * blocks.len() as u8]);
            for (left, right) in blocks {
                out.put(&left.0.to_be_bytes());
                out.put(&right.0.to_be_bytes());
            }
        }
        out.0
    }
}

/// Appends to the options; there is always room for what Linux's layout asks.
struct Writer(ArrayVec<u8, MAX_OPTIONS_LEN>);

impl Writer {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let fits = self.0.try_extend_from_slice(bytes);
        debug_assert!(fits.is_ok(), "the layout exceeds 40 bytes");
    }
}

#[inline]
fn timestamps(values: &[u8; 8]) -> Timestamps {
    let [a, b, c, d, e, f, g, h] = *values;
    Timestamps { tsval: u32::from_be_bytes([a, b, c, d]), tsecr: u32::from_be_bytes([e, f, g, h]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMP: Timestamps = Timestamps { tsval: 0x0102_0304, tsecr: 0x0506_0708 };

    fn syn() -> TcpOptions {
        TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(STAMP),
            ..TcpOptions::default()
        }
    }

    #[test]
    fn a_syn_is_laid_out_like_linuxs() {
        let wire = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7];
        assert_eq!(syn().emit().as_slice(), wire);
        assert_eq!(TcpOptions::parse(&wire), syn());
    }

    #[test]
    fn data_has_two_nops_and_the_timestamps() {
        let options = TcpOptions { timestamps: Some(STAMP), ..TcpOptions::default() };
        let wire = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(options.emit().as_slice(), wire);
        assert_eq!(TcpOptions::parse(&wire), options);
    }

    #[test]
    fn sack_permitted_without_timestamps_is_padded() {
        let options = TcpOptions { timestamps: None, window_scale: None, ..syn() };
        assert_eq!(options.emit().as_slice(), [2, 4, 5, 0xb4, 4, 2, 1, 1]);
    }

    #[test]
    fn unknown_options_and_wrong_lengths_are_skipped() {
        let wire = [254, 4, 9, 9, 2, 3, 0, 3, 3, 5, 0, 2, 4, 5, 0xb4];
        let options = TcpOptions::parse(&wire);
        assert_eq!((options.mss, options.window_scale), (None, Some(5)));
    }

    #[test]
    fn a_length_that_makes_no_sense_ends_the_list() {
        for bad in [[2, 0, 5, 0xb4], [2, 1, 5, 0xb4], [2, 200, 5, 0xb4]] {
            let wire = [&[3, 3, 9][..], &bad].concat();
            let expected = TcpOptions { window_scale: Some(9), ..TcpOptions::default() };
            assert_eq!(TcpOptions::parse(&wire), expected);
        }
    }

    #[test]
    fn four_blocks_fit_alone_and_three_beside_timestamps() {
        let block = |n: u32| (SeqNum(n), SeqNum(n + 1));
        let sack: SackBlocks = (1..5).map(block).collect();
        let alone = TcpOptions { sack: sack.clone(), ..TcpOptions::default() };
        assert_eq!(TcpOptions::parse(&alone.emit()), alone);
        let beside = TcpOptions { timestamps: Some(STAMP), sack, ..TcpOptions::default() };
        assert_eq!(beside.wire_len(), 40);
        assert_eq!(TcpOptions::parse(&beside.emit()).sack.as_slice(), &beside.sack[..3]);
    }

    fn any_options() -> impl Strategy<Value = TcpOptions> {
        let blocks = proptest::collection::vec(any::<(u32, u32)>(), 0..3);
        let stamps = any::<Option<(u32, u32)>>();
        (any::<Option<u16>>(), any::<Option<u8>>(), any::<bool>(), stamps, blocks, any::<bool>()).prop_map(
            |(mss, window_scale, sack_permitted, stamps, blocks, is_syn)| TcpOptions {
                mss: mss.filter(|_| is_syn),
                window_scale: window_scale.filter(|_| is_syn),
                sack_permitted: sack_permitted && is_syn,
                timestamps: stamps.map(|(tsval, tsecr)| Timestamps { tsval, tsecr }),
                sack: if is_syn {
                    SackBlocks::new()
                } else {
                    blocks.into_iter().map(|(left, right)| (SeqNum(left), SeqNum(right))).collect()
                },
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_what_is_parsed(options in any_options()) {
            let wire = options.emit();
            prop_assert_eq!(wire.len(), options.wire_len());
            prop_assert_eq!(wire.len() % 4, 0);
            prop_assert_eq!(TcpOptions::parse(&wire), options);
        }

        #[test]
        fn whatever_was_understood_is_understood_again(
            bytes in proptest::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..41),
        ) {
            let options = TcpOptions::parse(&bytes);
            let wire = options.emit();
            prop_assert!(wire.len() <= MAX_OPTIONS_LEN && wire.len() == options.wire_len());
            let again = TcpOptions::parse(&wire);
            prop_assert!(options.sack.starts_with(&again.sack));
            prop_assert_eq!(TcpOptions { sack: options.sack.clone(), ..again }, options);
        }

        /// RFC 7323 appendix A, and Linux: what has four bytes lies on a multiple of
        /// four, and nothing but no-operations pads.
        #[test]
        fn every_option_is_aligned(options in any_options()) {
            let wire = options.emit();
            let mut at = 0;
            while at < wire.len() {
                let (kind, len) = (wire[at], wire.get(at + 1).copied().unwrap_or(0));
                match kind {
                    KIND_NOP => at += 1,
                    KIND_TIMESTAMPS | KIND_SACK => {
                        prop_assert_eq!((at + 2) % 4, 0);
                        at += usize::from(len);
                    }
                    KIND_MSS | KIND_WINDOW_SCALE | KIND_SACK_PERMITTED => at += usize::from(len),
                    other => prop_assert!(false, "option {}", other),
                }
            }
            prop_assert_eq!(at, wire.len());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            TcpOptions::parse(&bytes);
        }
    }
}
