//! One TCP connection.

mod info;
mod output;
mod payload;
mod readiness;
mod reset;

use std::marker::PhantomData;
use std::sync::Arc;

pub use info::Info;
pub use output::Transmit;
pub use payload::{Chunk, Payload};
pub use readiness::{Events, Readiness};
pub use reset::reset_for;

use crate::config::{Config, Keepalive};
use crate::error::{Error, RecvError, SendError};
use crate::seq::SeqNum;
use crate::time::{Duration, Instant};
use crate::wire::TcpRepr;

/// States of RFC 9293 3.3.2; LISTEN belongs to whoever owns the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection.
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

/// One TCP connection.
#[derive(Debug)]
pub struct Connection<B: Payload> {
    config: Arc<Config>,
    _b: PhantomData<B>,
}

#[allow(unused_variables, missing_docs)]
impl<B: Payload> Connection<B> {
    pub fn connect(config: &Arc<Config>, params: Params, now: Instant) -> Self {
        Self { config: config.clone(), _b: PhantomData }
    }
    pub fn accept(config: &Arc<Config>, params: Params, syn: &TcpRepr, now: Instant) -> Self {
        Self { config: config.clone(), _b: PhantomData }
    }
    pub fn on_segment(&mut self, segment: &TcpRepr, payload: Option<Chunk<B>>, now: Instant) {}
    pub fn on_timer(&mut self, now: Instant) {}
    pub fn next_timer(&self) -> Option<Instant> {
        None
    }
    pub fn wants_transmit(&self) -> bool {
        false
    }
    pub fn poll_transmit(&mut self, now: Instant, max_payload: usize) -> Option<Transmit<'_>> {
        None
    }
    pub fn send(&mut self, data: &[u8]) -> Result<usize, SendError> {
        Ok(0)
    }
    pub fn send_space(&self) -> usize {
        0
    }
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        Err(RecvError::WouldBlock)
    }
    pub fn peek(&self, offset: usize, buf: &mut [u8]) -> usize {
        0
    }
    pub fn recv_queued(&self) -> usize {
        0
    }
    pub fn send_queued(&self) -> usize {
        0
    }
    pub fn shutdown_write(&mut self, now: Instant) {}
    pub fn shutdown_read(&mut self) {}
    pub fn close(&mut self, now: Instant) {}
    pub fn abort(&mut self, now: Instant) {}
    pub fn set_nodelay(&mut self, on: bool) {}
    pub fn set_cork(&mut self, on: bool) {}
    pub fn set_quickack(&mut self, on: bool) {}
    pub fn set_keepalive(&mut self, keepalive: Option<Keepalive>, now: Instant) {}
    pub fn set_user_timeout(&mut self, timeout: Duration) {}
    pub fn set_sndbuf(&mut self, bytes: usize) {}
    pub fn set_rcvbuf(&mut self, bytes: usize) {}
    pub fn state(&self) -> State {
        State::Closed
    }
    pub fn is_closed(&self) -> bool {
        true
    }
    pub fn error(&self) -> Option<Error> {
        None
    }
    pub fn take_error(&mut self) -> Option<Error> {
        None
    }
    pub fn readiness(&self) -> Readiness {
        Readiness::empty()
    }
    pub fn take_events(&mut self) -> Events {
        Events::empty()
    }
    pub fn info(&self) -> Info {
        Info::default()
    }
    pub fn copy_out(&mut self) {}
    pub fn may_reuse(&self, syn: &TcpRepr) -> bool {
        false
    }
}
