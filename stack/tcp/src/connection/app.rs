//! The program's side: writing, reading, options.

use super::payload::Payload;
use super::receive::QUICK_ACKS;
use super::{Connection, Flags, Pending, State};
use crate::config::Keepalive;
use crate::error::{Error, RecvError, SendError};
use crate::time::{Duration, Instant};

/// Least sizes of the buffers, as Linux has them (`SOCK_MIN_SNDBUF`,
/// `SOCK_MIN_RCVBUF`).
const SMALLEST_SNDBUF: usize = 4608;
const SMALLEST_RCVBUF: usize = 2304;

impl<B: Payload> Connection<B> {
    /// Copies as much of `data` as the send buffer takes; `Ok(0)` for none:
    /// the program would block. Nothing is emitted: call
    /// [`Connection::poll_transmit`].
    ///
    /// # Errors
    ///
    /// The connection's error, which is taken thereby, or
    /// [`SendError::Closed`] after [`Connection::shutdown_write`] or the end.
    #[inline]
    pub fn send(&mut self, data: &[u8]) -> Result<usize, SendError> {
        if let Some(error) = self.error.take() {
            return Err(SendError::Connection(error));
        }
        match self.state {
            _ if self.flags.contains(Flags::WRITE_SHUT) => return Err(SendError::Closed),
            State::Established | State::CloseWait => {}
            State::SynSent | State::SynReceived => return Ok(0),
            _ => return Err(SendError::Closed),
        }
        let taken = self.tx.push(data, self.sndbuf);
        if taken < data.len() || !self.is_writable() {
            self.flags.insert(Flags::NO_SPACE);
        }
        Ok(taken)
    }

    /// Bytes that [`Connection::send`] would take now.
    #[inline]
    pub fn send_space(&self) -> usize {
        match self.state {
            State::Established | State::CloseWait => self.sndbuf.saturating_sub(self.tx.len()),
            _ => 0,
        }
    }

    /// Bytes written and not acknowledged (`SIOCOUTQ`).
    #[inline]
    pub fn send_queued(&self) -> usize {
        self.tx.len()
    }

    /// Whether a third of the send buffer is free: Linux's
    /// `sk_stream_is_writeable`.
    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        let used = self.tx.len();
        used + used / 2 <= self.sndbuf
    }

    /// Moves received bytes to `buf`; 0 means that there will be no more.
    /// A window update that this makes possible waits in
    /// [`Connection::poll_transmit`].
    ///
    /// # Errors
    ///
    /// [`RecvError::WouldBlock`] when nothing has arrived yet, or the
    /// connection's error, which is taken thereby.
    #[inline]
    pub fn recv(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        if !self.rx.is_empty() {
            let most = if self.urgent.is_some() { self.up_to_mark(buf.len()) } else { buf.len() };
            let count = self.rx.read(buf.get_mut(..most).unwrap_or_default());
            if self.urgent.is_some() {
                self.leave_urgent_mode();
            }
            self.offer_window_after_read();
            return Ok(count);
        }
        // The end of the stream stands before whatever came after it, as in Linux.
        if self.flags.contains(Flags::FIN_RECEIVED) {
            return Ok(0);
        }
        if let Some(error) = self.error.take() {
            return Err(RecvError::Connection(error));
        }
        let over = self.flags.contains(Flags::READ_SHUT) || self.state == State::Closed;
        if over { Ok(0) } else { Err(RecvError::WouldBlock) }
    }

    /// Copies received bytes from `offset` on without consuming them
    /// (`MSG_PEEK`); returns how many.
    pub fn peek(&self, offset: usize, buf: &mut [u8]) -> usize {
        self.rx.peek(offset, buf)
    }

    /// Bytes that can be read now (`FIONREAD`).
    #[inline]
    pub fn recv_queued(&self) -> usize {
        self.rx.len()
    }

    /// Moves held payload to memory of the connection's own and so gives its
    /// arrival buffers back: for a device that runs out of them.
    pub fn copy_out(&mut self) {
        self.rx.copy_out();
        if let Some(waiting) = &mut self.reassembly {
            waiting.copy_out();
        }
    }

    /// Bytes of memory that held payload occupies, arrival buffers included.
    #[inline]
    pub fn recv_charge(&self) -> usize {
        self.rx.charge() + self.reassembly.as_ref().map_or(0, |waiting| waiting.charge())
    }

    /// The error that ended the connection, left in place.
    #[inline]
    pub fn error(&self) -> Option<Error> {
        self.error
    }

    /// The error that ended the connection, or else what the network has
    /// reported of late, once (`SO_ERROR`).
    pub fn take_error(&mut self) -> Option<Error> {
        self.error.take().or_else(|| self.soft_error.take())
    }

    /// Sends small segments at once instead of gathering them (`TCP_NODELAY`).
    pub fn set_nodelay(&mut self, on: bool) {
        self.flags.set(Flags::NODELAY, on);
    }

    /// Holds partial segments back, for a timeout at most (`TCP_CORK`).
    pub fn set_cork(&mut self, on: bool) {
        self.flags.set(Flags::CORK, on);
    }

    /// Acknowledges at once for a while, or as seldom as allowed
    /// (`TCP_QUICKACK`).
    pub fn set_quickack(&mut self, on: bool) {
        self.flags.set(Flags::INTERACTIVE, !on);
        if on {
            self.quick_acks = QUICK_ACKS;
            if self.timers.ack_delayed() {
                self.pending.insert(Pending::ACK);
            }
        }
    }

    /// Probes a silent peer, or no longer (`SO_KEEPALIVE`, `TCP_KEEPIDLE`,
    /// `TCP_KEEPINTVL`, `TCP_KEEPCNT`).
    pub fn set_keepalive(&mut self, keepalive: Option<Keepalive>, now: Instant) {
        self.keepalive = keepalive;
        self.start_keepalive(now);
    }

    /// How long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`, RFC
    /// 5482); zero for the default.
    pub fn set_user_timeout(&mut self, timeout: Duration) {
        self.user_timeout = timeout;
    }

    /// Fixes the size of the send buffer in bytes (`SO_SNDBUF`).
    pub fn set_sndbuf(&mut self, bytes: usize) {
        self.sndbuf = bytes.max(SMALLEST_SNDBUF);
        self.flags.insert(Flags::SNDBUF_LOCKED);
    }

    /// Size of the send buffer in bytes.
    pub fn sndbuf(&self) -> usize {
        self.sndbuf
    }

    /// Sets the size of the receive buffer in bytes (`SO_RCVBUF`). What was
    /// offered to the peer stays offered.
    pub fn set_rcvbuf(&mut self, bytes: usize) {
        self.rcv.buffer = bytes.clamp(SMALLEST_RCVBUF, 1 << 30) as u32;
        self.offer_window_after_read();
    }

    /// Size of the receive buffer in bytes.
    pub fn rcvbuf(&self) -> usize {
        self.rcv.buffer as usize
    }
}
