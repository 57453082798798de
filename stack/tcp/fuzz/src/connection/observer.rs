//! What a careful observer of the connection's segments knows, and what each
//! of them must keep to.

use std::sync::LazyLock;

use tpa_tcp::wire::TcpFlags;
use tpa_tcp::{SeqNum, Transmit};

/// Both initial sequence numbers lie shortly before the wrap.
pub const ISN: SeqNum = SeqNum(u32::MAX - 5000);
pub const PEER: SeqNum = SeqNum(u32::MAX - 9000);

/// A stream of bytes in which each offset shows. It repeats itself so rarely that
/// a wrong place shows, and is laid out in memory, so that whole segments are
/// written and compared at once: byte by byte the instrumentation would take most
/// of the time.
pub struct Stream {
    bytes: Vec<u8>,
}

/// Length of the pattern.
const PERIOD: usize = 1 << 17;
/// Largest range that is asked for at once.
const LARGEST: usize = 1 << 17;

impl Stream {
    fn new(byte: fn(u32) -> u8) -> Self {
        Self { bytes: (0..(PERIOD + LARGEST) as u32).map(|offset| byte(offset % PERIOD as u32)).collect() }
    }

    /// The bytes at `offset` and behind it.
    pub fn at(&self, offset: u32, len: usize) -> &[u8] {
        &self.bytes[offset as usize % PERIOD..][..len]
    }

    /// Compares the bytes at `offset` and behind it.
    pub fn check(&self, offset: u32, bytes: &[u8]) {
        if bytes != self.at(offset, bytes.len()) {
            let right = self.at(offset, bytes.len());
            let wrong = bytes.iter().zip(right).take_while(|(found, right)| found == right).count();
            panic!("wrong byte at {offset} + {wrong}");
        }
    }
}

/// The stream that the peer sends.
pub static THEIRS: LazyLock<Stream> = LazyLock::new(|| Stream::new(|offset| (offset ^ (offset >> 8)) as u8));

/// The stream that the program writes.
pub static OURS: LazyLock<Stream> =
    LazyLock::new(|| Stream::new(|offset| (offset.wrapping_mul(7) ^ (offset >> 9)) as u8));

/// What the segments so far have told.
#[derive(Debug)]
pub struct Observer {
    /// What the peer's latest SYN says to be the number of its first byte.
    pub start: SeqNum,
    /// Sequence number of the peer's first byte, once an ACK of ours has taken
    /// its SYN.
    pub base: Option<SeqNum>,
    /// Behind the highest number that we have sent.
    pub sent: SeqNum,
    /// Our latest acknowledgement.
    pub acked: SeqNum,
    /// Where the window that we have offered ends.
    pub promised: Option<SeqNum>,
    /// Where the window that the peer has offered ends.
    pub allowed: SeqNum,
    /// The peer's timestamp that we echo.
    pub echo: u32,
}

impl Observer {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self {
            start: PEER + 1,
            base: None,
            sent: ISN,
            acked: PEER + 1,
            promised: None,
            allowed: ISN + 1,
            echo: 0,
        }
    }

    /// Takes a segment that the connection sends; `shift` is that of its window.
    pub fn check_segment(&mut self, segment: &Transmit<'_>, shift: u8) {
        assert!(segment.options.wire_len() <= 40);
        if segment.flags.contains(TcpFlags::RST) {
            return;
        }
        self.check_payload(segment);
        if segment.flags.contains(TcpFlags::ACK) {
            self.check_acknowledgement(segment, shift);
        }
    }

    fn check_payload(&mut self, segment: &Transmit<'_>) {
        let len = segment.payload_len() as u32;
        let syn = segment.flags.contains(TcpFlags::SYN);
        let end = segment.seq + len + u32::from(syn) + u32::from(segment.flags.contains(TcpFlags::FIN));
        if end == segment.seq {
            return;
        }
        assert!(syn || end.le(self.allowed), "{end} is beyond the peer's window, {}", self.allowed);
        assert!(segment.seq.le(self.sent), "a gap before {}", segment.seq);
        let (first, second) = segment.payload;
        let offset = segment.seq - (ISN + 1);
        OURS.check(offset, first);
        OURS.check(offset.wrapping_add(first.len() as u32), second);
        self.sent = self.sent.max(end);
    }

    fn check_acknowledgement(&mut self, segment: &Transmit<'_>, shift: u8) {
        if self.base.is_none() {
            self.base = Some(self.start);
            self.acked = self.start;
        }
        assert!(segment.ack.ge(self.acked), "the acknowledgement goes back from {}", self.acked);
        self.acked = segment.ack;
        if let Some(stamp) = segment.options.timestamps {
            self.echo = stamp.tsecr;
        }
        for (left, right) in &segment.options.sack {
            assert!(left.lt(*right), "an empty block");
        }
        if segment.flags.contains(TcpFlags::SYN) {
            return;
        }
        let edge = segment.ack + (u32::from(segment.window) << shift);
        // Rounding may hide less than one unit of the field (RFC 7323 2.4).
        let visible = edge + ((1 << shift) - 1);
        let promised = self.promised.unwrap_or(edge);
        assert!(visible.ge(promised), "the window was withdrawn to {edge} from {promised}");
        self.promised = Some(promised.max(edge));
    }
}
