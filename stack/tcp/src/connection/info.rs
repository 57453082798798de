//! A connection's inner state, for `TCP_INFO` and tools.

use super::flight::DUP_THRESH;
use super::payload::Payload;
use super::recovery::Phase;
use super::{Connection, Flags, State};
use crate::time::Duration;

/// A snapshot of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Info {
    /// State of RFC 9293.
    pub state: State,
    /// Smoothed round-trip time; zero before the first sample.
    pub rtt: Duration,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// Smallest round-trip time seen; zero before the first sample.
    pub min_rtt: Duration,
    /// Retransmission timeout without back-off.
    pub rto: Duration,
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Slow-start threshold in bytes.
    pub ssthresh: u32,
    /// Fast recovery or the recovery from a timeout is going on.
    pub recovering: bool,
    /// Payload bytes of a full segment that we send.
    pub snd_mss: u32,
    /// Largest payload, without options, that the path is known to take: its
    /// MTU less the headers.
    pub path_mss: u32,
    /// Largest payload that the peer has sent.
    pub rcv_mss: u32,
    /// The peer's window in bytes.
    pub snd_wnd: u32,
    /// The window that we offer, in bytes.
    pub rcv_wnd: u32,
    /// Shift of the peer's window field.
    pub snd_wscale: u8,
    /// Shift of our window field.
    pub rcv_wscale: u8,
    /// Timestamps are in use.
    pub timestamps: bool,
    /// SACK is in use.
    pub sack: bool,
    /// Sequence numbers sent and not acknowledged.
    pub unacked: u32,
    /// Of these, what the peer has reported as received.
    pub sacked: u32,
    /// Of these, what is taken for lost.
    pub lost: u32,
    /// Of these, what was lost and sent again.
    pub resent: u32,
    /// Segments that have arrived so far, as full ones (`tcpi_delivered`).
    pub delivered: u32,
    /// Largest distance in segments by which the path was seen to reorder, 3
    /// at least (`tcpi_reordering`).
    pub reordering: u32,
    /// Times that reordering was seen (`tcpi_reord_seen`).
    pub reord_seen: u32,
    /// D-SACKs received so far (`tcpi_dsack_dups`).
    pub dsack_dups: u32,
    /// Segments sent again so far that had arrived already, as D-SACKs tell.
    pub spurious_retransmits: u32,
    /// Reactions to losses that were taken back so far.
    pub undos: u32,
    /// Tail loss probes sent so far.
    pub tail_probes: u32,
    /// Payload bytes sent again so far (`tcpi_bytes_retrans`).
    pub bytes_retransmitted: u64,
    /// Segments retransmitted so far.
    pub retransmits: u32,
    /// Retransmission timeouts so far.
    pub timeouts: u32,
    /// Fast-recovery episodes so far.
    pub recoveries: u32,
    /// Timeouts in a row without an answer.
    pub backoff: u32,
    /// Payload bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Payload bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Payload bytes received in order.
    pub bytes_received: u64,
    /// Bytes that arrived out of order and wait.
    pub reassembly: u32,
    /// Bytes that wait for the program.
    pub recv_queued: u32,
    /// Bytes in the send buffer.
    pub send_queued: u32,
}

impl<B: Payload> Connection<B> {
    /// The connection's inner state.
    pub fn info(&self) -> Info {
        Info {
            state: self.state,
            rtt: self.rtt.smoothed().unwrap_or_default(),
            rttvar: self.rtt.deviation(),
            min_rtt: self.rtt.smallest().unwrap_or_default(),
            rto: self.rtt.rto(),
            cwnd: self.window.cwnd,
            ssthresh: self.window.ssthresh,
            recovering: self.recovery.phase != Phase::Open,
            snd_mss: self.smss(),
            path_mss: u32::from(self.path_size()),
            rcv_mss: u32::from(self.rcv.seen_mss),
            snd_wnd: self.snd.wnd,
            rcv_wnd: self.rcv.window(),
            snd_wscale: self.snd.shift,
            rcv_wscale: self.rcv.shift,
            timestamps: self.timestamps.enabled,
            sack: self.flags.contains(Flags::SACK),
            unacked: self.flight.bytes(),
            sacked: self.flight.sacked(),
            lost: self.flight.lost(),
            resent: self.flight.resent(),
            delivered: self.stats.delivered,
            reordering: self.stats.reordering.max(DUP_THRESH),
            reord_seen: self.stats.reorderings,
            dsack_dups: self.stats.dsacks,
            spurious_retransmits: self.stats.spurious_retransmits,
            undos: self.stats.undos,
            tail_probes: self.stats.tail_probes,
            bytes_retransmitted: self.stats.bytes_retransmitted,
            retransmits: self.stats.retransmits,
            timeouts: self.stats.timeouts,
            recoveries: self.stats.recoveries,
            backoff: self.timers.backoff,
            bytes_sent: self.stats.bytes_sent,
            bytes_acked: self.stats.bytes_acked,
            bytes_received: self.stats.bytes_received,
            reassembly: self.reassembly.as_ref().map_or(0, |waiting| waiting.bytes()),
            recv_queued: self.rx.len() as u32,
            send_queued: self.tx.len() as u32,
        }
    }
}
