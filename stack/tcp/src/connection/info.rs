//! A connection's inner state, for `TCP_INFO` and tools.

use super::State;
use crate::time::Duration;

/// A snapshot of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// State of RFC 9293.
    pub state: State,
    /// Smoothed round-trip time; zero before the first sample.
    pub rtt: Duration,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// Retransmission timeout without back-off.
    pub rto: Duration,
    /// Congestion window in bytes.
    pub cwnd: u32,
    /// Slow-start threshold in bytes.
    pub ssthresh: u32,
    /// Payload bytes of a full segment that we send.
    pub snd_mss: u32,
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
    /// Bytes sent and not acknowledged.
    pub unacked: u32,
    /// Of these, bytes that the peer has reported as received.
    pub sacked: u32,
    /// Of these, bytes taken for lost.
    pub lost: u32,
    /// Segments retransmitted so far.
    pub retransmits: u64,
    /// Retransmission timeouts so far.
    pub timeouts: u64,
    /// Fast-recovery episodes so far.
    pub recoveries: u64,
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

impl Default for Info {
    fn default() -> Self {
        todo!()
    }
}
