//! A connection's inner state, for `TCP_INFO` and tools.

use super::flight::DUP_THRESH;
use super::payload::Payload;
use super::recovery::Phase;
use super::{Chrono, Connection, Flags, State};
use crate::time::{Duration, Instant};

/// Where loss recovery stands, by Linux's names (`tcpi_ca_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossState {
    /// Nothing is suspected.
    #[default]
    Open,
    /// Something is out of order, and may be lost.
    Disorder,
    /// The window was reduced for a mark of the network's (RFC 3168).
    Reduced,
    /// Fast recovery.
    Recovery,
    /// Recovery from a timeout.
    Loss,
}

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
    /// Where loss recovery stands.
    pub loss_state: LossState,
    /// The backed-off retransmission timeout (`tcpi_rto`).
    pub rto_backed_off: Duration,
    /// Longest delay of an acknowledgement (`tcpi_ato`).
    pub delayed_ack: Duration,
    /// Probes of a shut window or a silent peer without an answer.
    pub probes: u32,
    /// When payload was last sent, and when it and anything was last received;
    /// the beginning of the connection before that.
    pub last_data_sent: Instant,
    /// When payload was last received.
    pub last_data_received: Instant,
    /// When anything was last received.
    pub last_received: Instant,
    /// Payload bytes of a full segment that the peer may send to us.
    pub advmss: u32,
    /// Segments received, and sent (`tcpi_segs_in`, `tcpi_segs_out`).
    pub segments_in: u32,
    /// Segments sent.
    pub segments_out: u32,
    /// Segments with payload received (`tcpi_data_segs_in`).
    pub data_segments_in: u32,
    /// Segments with payload sent (`tcpi_data_segs_out`).
    pub data_segments_out: u32,
    /// Segments that arrived ahead of a gap (`tcpi_rcv_ooopack`).
    pub out_of_order: u32,
    /// Payload bytes written and not sent yet (`tcpi_notsent_bytes`).
    pub unsent: u32,
    /// Bytes a second that arrived at the peer in a round trip; zero before the
    /// first sample (`tcpi_delivery_rate`).
    pub delivery_rate: u64,
    /// That rate was the program's rather than the path's.
    pub delivery_rate_app_limited: bool,
    /// What the sender's time went to.
    pub chrono: Chrono,
    /// Payload bytes of a full segment that we send.
    pub snd_mss: u32,
    /// Largest payload, without options, that the path is known to take: its
    /// MTU less the headers.
    pub path_mss: u32,
    /// Largest payload that the peer has sent.
    pub rcv_mss: u32,
    /// The peer's window in bytes.
    pub snd_wnd: u32,
    /// Round-trip time as the receiving side sees it; zero before the first sample.
    pub rcv_rtt: Duration,
    /// The most that the program took out in a round trip, in bytes: what the
    /// receive buffer grows by.
    pub rcv_space: u32,
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
    /// ECN is in use.
    pub ecn: bool,
    /// The peer has sent packets that could have been marked.
    pub ecn_seen: bool,
    /// Segments that have arrived so far while the peer echoed a mark
    /// (`tcpi_delivered_ce`).
    pub delivered_ce: u32,
    /// The rate of pacing in bytes a second; `None` while nothing is paced.
    pub pacing_rate: Option<u64>,
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
    /// Size of the receive buffer in bytes.
    pub rcvbuf: u32,
    /// Size of the send buffer in bytes.
    pub sndbuf: u32,
    /// SYN retransmissions before an active open fails (`TCP_SYNCNT`).
    pub syn_retries: u32,
    /// How long an orphan stays in FIN-WAIT-2 (`TCP_LINGER2`).
    pub fin_wait2: Duration,
    /// Bytes that make the connection readable (`SO_RCVLOWAT`).
    pub rcvlowat: u32,
    /// The widest window that may be offered, in bytes (`TCP_WINDOW_CLAMP`).
    pub window_clamp: u32,
    /// Bytes that wait for the program.
    pub recv_queued: u32,
    /// Bytes in the send buffer.
    pub send_queued: u32,
}

impl<B: Payload> Connection<B> {
    fn loss_state(&self) -> LossState {
        match self.recovery.phase {
            Phase::Loss => LossState::Loss,
            Phase::Recovery => LossState::Recovery,
            Phase::Open if self.ecn.has_reduced() => LossState::Reduced,
            Phase::Open if self.recovery.is_quiet() && self.flight.sacked() == 0 => LossState::Open,
            Phase::Open => LossState::Disorder,
        }
    }

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
            loss_state: self.loss_state(),
            rto_backed_off: self.rtt.rto().backed_off(self.timers.backoff, self.config.rto_max),
            delayed_ack: self.config.delayed_ack,
            probes: self.timers.probes,
            last_data_sent: self.timers.last_sent,
            last_data_received: self.timers.last_data_received,
            last_received: self.timers.last_received,
            advmss: u32::from(self.rcv.mss) - if self.timestamps.enabled { 12 } else { 0 },
            segments_in: self.stats.segments_in,
            segments_out: self.stats.segments_out,
            data_segments_in: self.stats.data_segments_in,
            data_segments_out: self.stats.data_segments_out,
            out_of_order: self.stats.out_of_order,
            unsent: self.unsent(),
            delivery_rate: self.rate.bytes_per_second(self.smss()),
            delivery_rate_app_limited: self.rate.is_app_limited(),
            chrono: self.chrono,
            snd_mss: self.smss(),
            path_mss: u32::from(self.path_size()),
            rcv_mss: u32::from(self.rcv.seen_mss),
            snd_wnd: self.snd.wnd,
            rcv_rtt: self.autotune.rtt().unwrap_or_default(),
            rcv_space: self.autotune.space(),
            rcv_wnd: self.rcv.window(),
            snd_wscale: self.snd.shift,
            rcv_wscale: self.rcv.shift,
            timestamps: self.timestamps.enabled,
            sack: self.flags.contains(Flags::SACK),
            ecn: self.ecn.is_capable(),
            ecn_seen: self.ecn.has_seen_capable(),
            delivered_ce: self.stats.delivered_ce,
            pacing_rate: self.pacing_rate(),
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
            rcvbuf: self.rcv.buffer,
            sndbuf: self.sndbuf as u32,
            syn_retries: self.syn_retries(),
            fin_wait2: self.fin_wait2(),
            rcvlowat: self.rcvlowat(),
            window_clamp: self.rcv.limit(),
            recv_queued: self.rx.len() as u32,
            send_queued: self.tx.len() as u32,
        }
    }
}
