//! A half-open connection, put away: what SYN-RECEIVED of a passive open has
//! to remember, and no more, so that a flood of SYNs costs little (RFC 4987
//! 3.4; Linux's `request_sock`).
//!
//! There is no second state machine. A [`Request`] is woken up as a whole
//! [`Connection`] for each segment and each timeout, and put away again while
//! the handshake is not complete.

use std::sync::Arc;

use super::payload::{Chunk, Payload};
use super::{Connection, Params, Pending, State, Transmit};
use crate::config::{Config, CongestionAlgorithm};
use crate::seq::SeqNum;
use crate::time::Instant;
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr, Timestamps};

/// A passive open that waits for the handshake's last ACK.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) params: Params,
    /// The peer's SYN: its number, window field, control bits, ECN field and
    /// options.
    irs: SeqNum,
    window: u16,
    flags: TcpFlags,
    ecn: Ecn,
    mss: Option<u16>,
    window_scale: Option<u8>,
    sack_permitted: bool,
    tsval: Option<u32>,
    /// Size of the receive buffer, when it is not the configuration's.
    rcvbuf: Option<u32>,
    /// Congestion control algorithm, when it is not the configuration's.
    congestion: Option<CongestionAlgorithm>,
    /// Timeouts of the SYN-ACK so far.
    retries: u32,
    sent_at: Instant,
    deadline: Instant,
    next_challenge: Instant,
}

/// What became of a half-open connection.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack, and its owner takes it apart at once")]
pub enum Progress<B: Payload> {
    /// It is half-open still; the segment, if any, has to be sent.
    HalfOpen(Option<Transmit<'static>>),
    /// The handshake is complete. The [`Request`] is as it was, so that its
    /// owner can also pretend not to have seen the segment.
    Open(Connection<B>),
    /// The peer has ended it: back to LISTEN.
    Over,
}

impl Request {
    /// Takes what a SYN says. `rcvbuf` is the receive buffer in bytes, when
    /// the program has set one (`SO_RCVBUF`).
    pub fn new(params: Params, rcvbuf: Option<u32>, syn: &TcpRepr) -> Self {
        let options = &syn.options;
        Self {
            params,
            irs: syn.seq,
            window: syn.window,
            flags: syn.flags,
            ecn: syn.ecn,
            mss: options.mss,
            window_scale: options.window_scale,
            sack_permitted: options.sack_permitted,
            tsval: options.timestamps.map(|stamp| stamp.tsval),
            rcvbuf,
            congestion: None,
            retries: 0,
            sent_at: Instant::FAR,
            deadline: Instant::FAR,
            next_challenge: Instant::default(),
        }
    }

    /// Uses another congestion control algorithm than the configuration's; to be
    /// called before the SYN-ACK, because DCTCP takes ECN up in another way.
    pub fn set_congestion(&mut self, algorithm: CongestionAlgorithm) {
        self.congestion = Some(algorithm);
    }

    /// The SYN again, as far as it counts.
    fn syn(&self) -> TcpRepr {
        TcpRepr {
            src_port: 0,
            dst_port: 0,
            seq: self.irs,
            ack: SeqNum(0),
            flags: self.flags,
            window: self.window,
            urgent: 0,
            options: TcpOptions {
                mss: self.mss,
                window_scale: self.window_scale,
                sack_permitted: self.sack_permitted,
                timestamps: self.tsval.map(|tsval| Timestamps { tsval, tsecr: 0 }),
                ..TcpOptions::default()
            },
            payload_len: 0,
            ecn: self.ecn,
        }
    }

    /// The connection in SYN-RECEIVED; nothing is due to be sent.
    pub(super) fn wake<B: Payload>(&self, config: &Arc<Config>, now: Instant) -> Connection<B> {
        let mut connection = Connection::new(config, self.params, now);
        if let Some(bytes) = self.rcvbuf {
            connection.set_rcvbuf(bytes as usize);
        }
        if let Some(algorithm) = self.congestion {
            connection.set_congestion(algorithm);
        }
        connection.negotiate(&self.syn(), now);
        connection.begin(State::SynReceived);
        connection.pending.remove(Pending::SYN);
        connection.timers.resume_handshake(self.retries, self.sent_at, self.deadline, self.next_challenge);
        connection
    }

    fn put_away<B: Payload>(&mut self, connection: &Connection<B>) {
        let timers = &connection.timers;
        self.retries = timers.backoff;
        self.sent_at = timers.syn_sent_at;
        self.deadline = connection.next_timer().unwrap_or(Instant::FAR);
        self.next_challenge = timers.next_challenge;
        if connection.timestamps.enabled {
            self.tsval = Some(connection.timestamps.recent());
        }
    }

    /// The SYN-ACK. The first one starts the timer.
    pub fn syn_ack(&mut self, config: &Arc<Config>, now: Instant) -> Option<Transmit<'static>> {
        let mut connection = self.wake::<Vec<u8>>(config, now);
        connection.pending.insert(Pending::SYN);
        let syn_ack = connection.next_bare(now);
        self.put_away(&connection);
        syn_ack
    }

    /// Takes a segment of this connection (RFC 9293 3.10.7.4, SYN-RECEIVED).
    pub fn on_segment<B: Payload>(
        &mut self,
        config: &Arc<Config>,
        segment: &TcpRepr,
        payload: Option<Chunk<B>>,
        now: Instant,
    ) -> Progress<B> {
        let mut connection = self.wake(config, now);
        connection.on_segment(segment, payload, now);
        match connection.state() {
            State::SynReceived => {
                let reply = connection.next_bare(now);
                self.put_away(&connection);
                Progress::HalfOpen(reply)
            }
            State::Closed => Progress::Over,
            _ => Progress::Open(connection),
        }
    }

    /// When the SYN-ACK has to be sent again.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The deadline has passed: the SYN-ACK to send again, or `None` when that
    /// has been done `limit` times ([`Config::synack_retries`] or less): the
    /// request is over.
    pub fn on_timer(&mut self, config: &Arc<Config>, limit: u32, now: Instant) -> Option<Transmit<'static>> {
        if self.retries >= limit {
            return None;
        }
        let mut connection = self.wake::<Vec<u8>>(config, now);
        connection.on_timer(now);
        let syn_ack = connection.next_bare(now);
        self.put_away(&connection);
        syn_ack
    }

    /// Nobody knows when the SYN-ACK was sent: the round trip can only be told
    /// by a timestamp, as after a retransmission.
    pub(crate) fn forget_sending(&mut self, now: Instant) {
        (self.retries, self.sent_at) = (1, now);
    }

    /// Timeouts of the SYN-ACK so far.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Our initial sequence number.
    pub fn isn(&self) -> SeqNum {
        self.params.isn
    }
}
