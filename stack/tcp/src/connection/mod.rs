//! One TCP connection.
//!
//! [`Connection`] holds all of its state in one struct, what every segment
//! touches first. The files beside this one each add the methods of one idea:
//! `handshake`, `request`, `input` (checks of RFC 9293 3.10.7.4), `ack`,
//! `receive`, `window`, `output`, `recovery`, `timers`, `close`, `app`, `urgent`,
//! `network`, `path_mtu`.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod ack;
mod app;
mod audit;
mod autotune;
mod chrono;
mod close;
mod ecn;
mod flight;
mod growth;
mod handshake;
mod info;
mod input;
mod memory;
mod network;
mod output;
mod pacing;
mod path_mtu;
mod payload;
mod rate;
mod readiness;
mod reassembly;
mod receive;
mod receive_queue;
mod recovery;
mod request;
mod reset;
mod rtt;
mod send_buffer;
mod time_wait;
mod timers;
mod timestamps;
mod urgent;
mod validation;
mod window;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use chrono::{Chrono, Occupation};
pub use info::{Info, LossState};
pub use output::Transmit;
pub use payload::{Chunk, Payload};
pub use readiness::{Events, Readiness};
pub use request::{Progress, Request};
pub use reset::{Listening, listening, reset_for};
pub use time_wait::TimeWait;
pub use timers::CORK_CEILING;

use crate::config::{Config, Keepalive};
use crate::congestion::{Controller, Window};
use crate::error::Error;
use crate::memory::Share;
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use autotune::Autotune;
use ecn::EcnState;
use flight::Flight;
use pacing::Pacer;
use path_mtu::PathMtu;
use rate::DeliveryRate;
use reassembly::Reassembly;
use receive_queue::ReceiveQueue;
use recovery::Recovery;
use rtt::RttEstimator;
use send_buffer::SendBuffer;
use timers::Timers;
use timestamps::TimestampClock;
use urgent::Urgent;
use validation::Validation;
use window::{ReceiveSpace, SendSpace};

/// States of RFC 9293 3.3.2; LISTEN belongs to whoever owns the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// No connection.
    #[default]
    Closed,
    /// SYN sent, waiting for its answer.
    SynSent,
    /// SYN received and answered, waiting for the handshake's last ACK.
    SynReceived,
    /// Data flows.
    Established,
    /// We have finished sending; the FIN is not acknowledged yet.
    FinWait1,
    /// Our FIN is acknowledged; the peer still sends.
    FinWait2,
    /// The peer has finished; we still send.
    CloseWait,
    /// Both have finished; our FIN is not acknowledged yet.
    Closing,
    /// The peer finished first and now so have we; our FIN is not acknowledged yet.
    LastAck,
    /// Over; stays to answer what is still under way.
    TimeWait,
}

impl State {
    /// Whether data can still arrive.
    #[inline]
    fn can_receive(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether data or a FIN may still have to be sent.
    #[inline]
    fn can_transmit(self) -> bool {
        matches!(
            self,
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        )
    }
}

/// What a new connection needs from its owner.
#[derive(Debug, Clone, Copy)]
pub struct Params {
    /// Initial sequence number (see [`crate::initial_sequence`]).
    pub isn: SeqNum,
    /// Random offset of the timestamps that we send.
    pub ts_offset: u32,
    /// Largest TCP payload that fits our MTU without options: MTU - 40.
    pub mss: u16,
}

bitflags::bitflags! {
    /// Facts and wishes that hold until they are changed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Flags: u32 {
        /// Send small segments at once (`TCP_NODELAY`).
        const NODELAY = 1;
        /// Send no partial segments (`TCP_CORK`).
        const CORK = 1 << 1;
        /// No program holds the connection any more.
        const ORPHAN = 1 << 2;
        /// The program wants to read no more.
        const READ_SHUT = 1 << 3;
        /// The program has written its last: a FIN is due or sent.
        const WRITE_SHUT = 1 << 4;
        /// Our FIN has taken its sequence number.
        const FIN_SENT = 1 << 5;
        /// The peer's FIN was reached.
        const FIN_RECEIVED = 1 << 6;
        /// The send buffer was too full; tell when that ends.
        const NO_SPACE = 1 << 7;
        /// Data goes both ways: ACKs can wait for it.
        const INTERACTIVE = 1 << 8;
        /// SACK was negotiated.
        const SACK = 1 << 9;
        /// We opened the connection.
        const ACTIVE = 1 << 10;
        /// The program has set the size of the send buffer.
        const SNDBUF_LOCKED = 1 << 11;
        /// Window scaling was negotiated.
        const SCALING = 1 << 12;
        /// The program has set the size of the receive buffer.
        const RCVBUF_LOCKED = 1 << 13;
        /// The program has said that more follows what it wrote last (`MSG_MORE`).
        const MORE = 1 << 14;
        /// What was written before is to go, corked or not.
        const FLUSH = 1 << 15;
    }
}

bitflags::bitflags! {
    /// What has to be sent beside data.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Pending: u8 {
        /// A SYN or SYN-ACK.
        const SYN = 1;
        /// A RST that ends the connection.
        const RST = 2;
        /// An acknowledgement, now.
        const ACK = 4;
        /// A segment that makes the peer answer.
        const PROBE = 8;
        /// What the window allows, however small (RFC 9293 3.8.6.2.1).
        const OVERRIDE = 16;
        /// A tail loss probe: new data, or the last segment again (RFC 8985 7.3).
        const TAIL_PROBE = 32;
        /// An acknowledgement of the past (RFC 8257 3.2).
        const OLD_ACK = 64;
    }
}

/// Counts since the connection began.
#[derive(Debug, Default)]
struct Stats {
    retransmits: u32,
    timeouts: u32,
    recoveries: u32,
    /// Segments that have arrived, as full ones.
    delivered: u32,
    /// Of these, those whose acknowledgement echoed a mark.
    delivered_ce: u32,
    /// D-SACKs received.
    dsacks: u32,
    /// Segments sent again that had arrived before, as far as D-SACKs told.
    spurious_retransmits: u32,
    /// Reductions of the window that were taken back.
    undos: u32,
    tail_probes: u32,
    /// Times that reordering was seen, and its largest distance in segments.
    reorderings: u32,
    reordering: u32,
    segments_in: u32,
    segments_out: u32,
    data_segments_in: u32,
    data_segments_out: u32,
    out_of_order: u32,
    bytes_retransmitted: u64,
    bytes_sent: u64,
    bytes_acked: u64,
    bytes_received: u64,
}

/// Options that few programs set.
#[derive(Debug)]
struct Preferences {
    /// SYN retransmissions before an active open fails (`TCP_SYNCNT`).
    syn_retries: u32,
    /// How long an orphan stays in FIN-WAIT-2 (`TCP_LINGER2`); zero: not at all.
    fin_wait2: Duration,
    /// Bytes that make the connection readable (`SO_RCVLOWAT`).
    rcvlowat: u32,
    /// Unsent bytes from which on writing blocks (`TCP_NOTSENT_LOWAT`).
    notsent_lowat: u32,
}

/// One TCP connection. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Connection<B: Payload> {
    state: State,
    pending: Pending,
    events: Events,
    /// ACKs that will not be delayed (Linux's quick ACKs).
    quick_acks: u8,
    flags: Flags,
    snd: SendSpace,
    rcv: ReceiveSpace,
    autotune: Autotune,
    timestamps: TimestampClock,
    timers: Timers,
    flight: Flight,
    tx: SendBuffer,
    rx: ReceiveQueue<B>,
    reassembly: Option<Box<Reassembly<B>>>,
    window: Window,
    recovery: Recovery,
    rtt: RttEstimator,
    controller: Controller,
    ecn: EcnState,
    validation: Validation,
    pacer: Option<Box<Pacer>>,
    config: Arc<Config>,
    /// A RST that answers one segment, with this sequence number, and does
    /// not end the connection.
    reset_reply: Option<SeqNum>,
    urgent: Option<Box<Urgent>>,
    error: Option<Error>,
    /// What the network has reported since the peer was last heard of.
    soft_error: Option<Error>,
    path: Option<Box<PathMtu>>,
    keepalive: Option<Keepalive>,
    user_timeout: Duration,
    sndbuf: usize,
    /// Part of the memory that connections share.
    share: Share,
    /// What the program has set of the seldom used; `None`: the configuration
    /// holds.
    preferences: Option<Box<Preferences>>,
    stats: Stats,
    chrono: Chrono,
    rate: DeliveryRate,
}

impl<B: Payload> Connection<B> {
    /// A connection in which nothing has happened yet.
    fn new(config: &Arc<Config>, params: Params, now: Instant) -> Self {
        let config = Arc::clone(config);
        let start = params.isn + 1;
        let mss = u32::from(params.mss);
        let rcv = ReceiveSpace::new(&config, params.mss);
        Self {
            state: State::Closed,
            pending: Pending::empty(),
            events: Events::empty(),
            quick_acks: receive::QUICK_ACKS,
            flags: Flags::empty(),
            snd: SendSpace::new(params.isn, params.mss),
            autotune: Autotune::new(params.mss, rcv.buffer, now),
            rcv,
            timestamps: TimestampClock::new(params.ts_offset),
            timers: Timers::new(now),
            flight: Flight::new(start),
            tx: SendBuffer::new(start),
            rx: ReceiveQueue::new(),
            reassembly: None,
            window: Window { cwnd: config.initial_window * mss, ssthresh: u32::MAX },
            recovery: Recovery::new(params.isn),
            rtt: RttEstimator::new(&config),
            controller: Controller::new(config.congestion),
            ecn: EcnState::new(params.isn),
            validation: Validation::new(params.isn, now),
            pacer: config.pacing.then(Box::default),
            reset_reply: None,
            urgent: None,
            error: None,
            soft_error: None,
            path: None,
            keepalive: config.keepalive,
            user_timeout: config.user_timeout,
            sndbuf: config.sndbuf,
            share: Share::new(&config.memory),
            preferences: None,
            stats: Stats::default(),
            chrono: Chrono::default(),
            rate: DeliveryRate::new(params.isn),
            config,
        }
    }

    /// State of RFC 9293.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the connection is over and its last segment has been handed
    /// out: the owner may forget it.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed && !self.pending.contains(Pending::RST) && self.reset_reply.is_none()
    }
}
