//! What a network card does for the stack: it cuts large segments (TSO) and
//! joins small ones (LRO).

use std::ops::Range;

use tpa_tcp::Transmit;
use tpa_tcp::wire::{TcpFlags, TcpRepr};

/// Bytes of payload that the card joins at most: an IP packet's.
const LARGEST: usize = 65_535 - 40;

/// Cuts a segment into such of `size` bytes of payload. What ends the data,
/// FIN and PSH, is on the last one alone.
pub(crate) fn cut<'a>(segment: &Transmit<'a>, size: usize) -> Vec<Transmit<'a>> {
    let len = segment.payload_len();
    let count = len.div_ceil(size).max(1);
    (0..count)
        .map(|index| {
            let at = index * size..((index + 1) * size).min(len);
            let mut piece = Transmit {
                seq: segment.seq + at.start as u32,
                payload: pick(segment.payload, at),
                ..segment.clone()
            };
            if index + 1 < count {
                piece.flags.remove(TcpFlags::FIN | TcpFlags::PSH);
            }
            piece
        })
        .collect()
}

fn pick<'a>((first, second): (&'a [u8], &'a [u8]), at: Range<usize>) -> (&'a [u8], &'a [u8]) {
    let split = first.len();
    let in_second = at.start.max(split) - split..at.end.max(split) - split;
    (&first[at.start.min(split)..at.end.min(split)], &second[in_second])
}

/// A segment as it comes from the card.
#[derive(Debug)]
pub(crate) struct Received {
    pub tcp: TcpRepr,
    pub buf: Vec<u8>,
    pub payload: Range<usize>,
}

impl Received {
    /// Joins `next` to this one where a card may: the payload that follows,
    /// with the very same header (Linux's GRO has the same rules). Returns
    /// `next` otherwise.
    pub(crate) fn join(&mut self, next: Received) -> Option<Received> {
        let plain = |tcp: &TcpRepr| tcp.flags.difference(TcpFlags::PSH) == TcpFlags::ACK;
        let len = self.payload.len();
        let joins = plain(&self.tcp)
            && plain(&next.tcp)
            && !self.tcp.flags.contains(TcpFlags::PSH)
            && len > 0
            && !next.payload.is_empty()
            && len + next.payload.len() <= LARGEST
            && next.tcp.seq == self.tcp.seq + len as u32
            && next.tcp.ack == self.tcp.ack
            && next.tcp.window == self.tcp.window
            && next.tcp.options == self.tcp.options
            && next.tcp.ecn == self.tcp.ecn;
        if !joins {
            return Some(next);
        }
        self.buf.truncate(self.payload.end);
        self.buf.extend_from_slice(&next.buf[next.payload]);
        self.payload.end = self.buf.len();
        self.tcp.payload_len = self.payload.len();
        self.tcp.flags |= next.tcp.flags;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tpa_tcp::SeqNum;
    use tpa_tcp::wire::{Ecn, TcpOptions};

    fn received(seq: u32, bytes: &[u8], flags: TcpFlags) -> Received {
        let tcp = TcpRepr {
            src_port: 1,
            dst_port: 2,
            seq: SeqNum(seq),
            ack: SeqNum(9),
            flags,
            window: 100,
            urgent: 0,
            options: TcpOptions::default(),
            payload_len: bytes.len(),
            ecn: Ecn::NotEct,
        };
        // Frames have something behind the payload, too.
        let buf = [b"head", bytes, b"tail"].concat();
        Received { tcp, buf, payload: 4..4 + bytes.len() }
    }

    #[test]
    fn a_large_segment_is_cut_across_the_halves_of_its_payload() {
        let ack = received(5, b"", TcpFlags::ACK).tcp;
        let large = Transmit {
            seq: SeqNum(100),
            flags: TcpFlags::ACK | TcpFlags::FIN | TcpFlags::PSH,
            payload: (b"abcde", b"fgh"),
            ..tpa_tcp::reset_for(&ack).expect("an ACK is answered")
        };
        let pieces = cut(&large, 3);
        let shown: Vec<_> = pieces
            .iter()
            .map(|piece| (piece.seq.0, [piece.payload.0, piece.payload.1].concat(), piece.flags.bits()))
            .collect();
        assert_eq!(
            shown,
            [(100, b"abc".to_vec(), 0x10), (103, b"def".to_vec(), 0x10), (106, b"gh".to_vec(), 0x19)]
        );
    }

    #[test]
    fn what_follows_is_joined() {
        let mut first = received(10, b"abc", TcpFlags::ACK);
        assert!(first.join(received(13, b"de", TcpFlags::ACK | TcpFlags::PSH)).is_none());
        assert_eq!(&first.buf[first.payload.clone()], b"abcde");
        assert_eq!((first.tcp.payload_len, first.tcp.flags), (5, TcpFlags::ACK | TcpFlags::PSH));
        assert!(first.join(received(15, b"f", TcpFlags::ACK)).is_some(), "PSH ends it");
    }

    #[test]
    fn gaps_and_other_headers_are_not_joined() {
        let mut first = received(10, b"abc", TcpFlags::ACK);
        assert!(first.join(received(14, b"de", TcpFlags::ACK)).is_some());
        assert!(first.join(received(13, b"", TcpFlags::ACK)).is_some());
        assert!(first.join(received(13, b"de", TcpFlags::ACK | TcpFlags::FIN)).is_some());
        let mut other = received(13, b"de", TcpFlags::ACK);
        other.tcp.ack = SeqNum(10);
        assert!(first.join(other).is_some());
    }
}
