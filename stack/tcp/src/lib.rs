//! Sans-IO TCP engine and wire formats.
//!
//! This crate is the protocol and nothing else: no sockets, no descriptors, no
//! threads, no clock, no device, no `unsafe`. Bytes and times go in, segments
//! and deadlines come out, so that the same code runs in production and under
//! a deterministic simulator (package `tpa-sim`, in `sim/`).
//!
//! # Driving a connection
//!
//! A [`Connection`] is opened with [`Connection::connect`], or from a peer's
//! SYN: with [`Connection::accept`], or, where there may be many of them, with
//! a [`Request`] that becomes a connection when the handshake is complete.
//! LISTEN, ports, accept queues and the table of connections belong to the
//! caller. Then four verbs carry
//! everything:
//!
//! - [`Connection::on_segment`] takes a segment that arrived; its payload stays
//!   in the buffer that it arrived in ([`Payload`], [`Chunk`]) until it is read;
//! - [`Connection::on_timer`] is called when [`Connection::next_timer`] has come;
//! - [`Connection::poll_transmit`] hands out what has to be sent, segment by
//!   segment, until it returns `None`. It must be called after everything for
//!   which [`Connection::wants_transmit`] says so: some timers only start there;
//! - [`Connection::take_events`] tells what has changed for the program
//!   (edges), [`Connection::readiness`] what is so (levels), as Linux's
//!   `tcp_poll` sees it.
//!
//! The program's calls ([`Connection::send`], [`Connection::recv`],
//! [`Connection::close`], …) change state at once and emit nothing either. A
//! connection whose [`Connection::is_closed`] is true can be dropped; a
//! segment for one that is gone, or closed, is answered with [`reset_for`].
//!
//! ```
//! use std::sync::Arc;
//! use tpa_tcp::{Config, Connection, Instant, Params, initial_sequence};
//!
//! let now = Instant::from_micros(0);
//! let params = Params { isn: initial_sequence(0x1234_5678, now), ts_offset: 42, mss: 1460 };
//! let mut connection = Connection::<Vec<u8>>::connect(&Arc::new(Config::default()), params, now);
//! let syn = connection.poll_transmit(now, 1460).expect("the SYN is due");
//! assert_eq!(syn.options.mss, Some(1460));
//! assert!(connection.poll_transmit(now, 1460).is_none());
//! ```
//!
//! Many connections' timers live in a [`TimerWheel`]: one entry a connection,
//! which is asked for its true deadline when the entry fires. Frames are
//! parsed by [`wire::parse_frame`] and written by [`wire::emit_tcp_frame`].
//!
//! # Memory
//!
//! An idle connection is its struct, below 1 KiB; the send ring, the receive
//! queue and the scoreboard grow on demand and are given back after
//! [`Config::idle_release`] of silence. In between nothing is allocated a
//! segment. Received payload is charged by the true size of its buffers; when
//! that exceeds the receive buffer, payload is copied together, so that a
//! window that was offered never has to be taken back.
//! [`Connection::copy_out`] does the same for a device that runs out of buffers.
//!
//! What a connection holds it takes from a budget that it shares with others,
//! [`Config::memory`]. When that runs short, buffers no longer grow and windows open
//! by a few segments; when it is used up, what arrived out of order is thrown
//! away, the highest first, and no longer reported by SACK (RFC 2018 8).
//!
//! # What is implemented
//!
//! | specification | what of it |
//! | --- | --- |
//! | RFC 9293 | all states, simultaneous open and close, half close, the acceptability test, PUSH, Nagle (Minshall's variant), `TCP_CORK` and `MSG_MORE`, silly-window avoidance on both sides, persist, user timeout, TIME-WAIT, keepalive, RST for what matches nothing; urgent data in line, with its mark (RFC 6093) |
//! | RFC 5681, 3465 | slow start, congestion avoidance, fast retransmit, idle restart |
//! | RFC 2018, 2883, 6675 | SACK and D-SACK as receiver, a byte-exact scoreboard and the pipe as sender, reneging |
//! | RFC 8985 | RACK-TLP for peers with SACK, in place of RFC 6675's `IsLost` |
//! | RFC 6582 | NewReno recovery for peers without SACK |
//! | RFC 9937 | proportional rate reduction, for both |
//! | RFC 3522, 3708, 4015, 5682 | spurious retransmissions told by timestamps, D-SACK and F-RTO, and taken back |
//! | RFC 3042 | limited transmit, as a consequence of the pipe |
//! | RFC 6298 | retransmission timeout, Karn, with Linux's floor of 200 ms |
//! | RFC 6928 | initial window of ten segments |
//! | RFC 7323 | window scaling, timestamps, TSecr by Last.ACK.sent, PAWS |
//! | RFC 7661 | window validation: pipeACK, the non-validated period, congestion answered from what was in use; idle restart stays RFC 5681's |
//! | RFC 9438, 9406 | CUBIC, with HyStart++ for its first slow start |
//! | RFC 8257 | DCTCP at both ends |
//! | RFC 3168 | ECN: negotiation with fallback, echo, reaction; what is sent again, and all without new data, is not ECN-capable |
//! | Linux's `tcp_moderate_rcvbuf`, `tcp_mem` | the receive buffer follows its reader; all buffers share a budget |
//! | RFC 5961 | challenge ACKs for RST, SYN and ACK, rate-limited |
//! | RFC 1337, 6191 | TIME-WAIT that is neither assassinated nor in the way |
//! | RFC 6528 | initial sequence numbers, with the caller's keyed hash |
//! | RFC 1122 4.2.3.9, 5927 | ICMP errors: they end an attempt to connect, and are noted otherwise |
//! | RFC 1191, 4821, 2923 | path MTU from reports and by probing |
//! | RFC 4987 | small half-open connections ([`Request`]), SYN cookies ([`SynCookies`]) |
//! | RFC 2525 2.17 | RST when unread or late data is thrown away |
//! | RFC 1071, 791, 792, 826 | checksums, IPv4, ICMP echo, ARP |
//!
//! The page [`rfc`] has it clause by clause, with the code and the test that meet
//! each. Defaults are Linux's, see [`Config`].
#![forbid(unsafe_code)]

pub mod config;
pub mod congestion;
pub mod connection;
pub mod cookie;
mod error;
mod isn;
mod memory;
pub mod rfc;
mod seq;
mod time;
mod timer_wheel;
pub mod wire;

pub use config::{Config, CongestionAlgorithm, EcnMode, Keepalive, MtuProbing};
pub use congestion::DctcpInfo;
pub use connection::{
    CORK_CEILING, Chrono, Chunk, Connection, Events, Info, Listening, LossState, Occupation, Params, Payload,
    Progress, Readiness, Request, State, TimeWait, Transmit, listening, reset_for,
};
pub use cookie::SynCookies;
pub use error::{Error, RecvError, SendError};
pub use isn::initial_sequence;
pub use memory::Memory;
pub use seq::SeqNum;
pub use time::{Duration, Instant};
pub use timer_wheel::TimerWheel;
