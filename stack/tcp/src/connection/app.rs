//! The program's side: writing, reading, options.

use super::payload::Payload;
use super::receive::QUICK_ACKS;
use super::window::LARGEST_BUFFER;
use super::{Connection, Events, Flags, Pending, Preferences, State};
use crate::config::{Config, Keepalive};
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
        self.write(data, Flags::empty())
    }

    /// The same for data that more will follow at once (`MSG_MORE`): a last
    /// segment that is not full is held back, until the next call or for
    /// [`CORK_CEILING`](super::CORK_CEILING) at most.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub fn send_more(&mut self, data: &[u8]) -> Result<usize, SendError> {
        self.write(data, Flags::MORE)
    }

    #[inline]
    fn write(&mut self, data: &[u8], more: Flags) -> Result<usize, SendError> {
        if let Some(error) = self.error.take() {
            return Err(SendError::Connection(error));
        }
        match self.state {
            _ if self.flags.contains(Flags::WRITE_SHUT) => return Err(SendError::Closed),
            State::Established | State::CloseWait => {}
            State::SynSent | State::SynReceived => return Ok(0),
            _ => return Err(SendError::Closed),
        }
        if data.is_empty() {
            return Ok(0);
        }
        let taken = self.tx.push(data, self.send_limit());
        self.cover_sent();
        self.flags.remove(Flags::MORE | Flags::FLUSH);
        // Who has to wait for space must not wait for the cork as well.
        let held = if taken < data.len() { Flags::FLUSH } else { more };
        self.flags.insert(held);
        if taken < data.len() || !self.is_writable() {
            self.flags.insert(Flags::NO_SPACE);
        }
        Ok(taken)
    }

    /// Bytes that [`Connection::send`] would take now.
    #[inline]
    pub fn send_space(&self) -> usize {
        match self.state {
            State::Established | State::CloseWait => self.send_limit().saturating_sub(self.tx.len()),
            _ => 0,
        }
    }

    /// Bytes that may lie in the send buffer: its size, and no more unsent ones
    /// than the program wants. One full segment is always taken at once.
    #[inline]
    fn send_limit(&self) -> usize {
        let most = self.notsent_lowat();
        if most == u32::MAX {
            return self.sndbuf;
        }
        let unsent = self.unsent();
        let room = if unsent < most { self.smss().max(most - unsent) } else { 0 };
        self.sndbuf.min(self.tx.len() + room as usize)
    }

    /// Bytes written and not sent yet (`SIOCOUTQNSD`).
    #[inline]
    pub fn send_unsent(&self) -> usize {
        self.unsent() as usize
    }

    /// Bytes written and not acknowledged (`SIOCOUTQ`).
    #[inline]
    pub fn send_queued(&self) -> usize {
        self.tx.len()
    }

    /// Whether a third of the send buffer is free, and less is unsent than half
    /// of what the program wants at most: Linux's `__sk_stream_is_writeable`.
    #[inline]
    pub(super) fn is_writable(&self) -> bool {
        let (used, most) = (self.tx.len(), self.notsent_lowat());
        used + used / 2 <= self.sndbuf && (most == u32::MAX || self.unsent() < most.div_ceil(2))
    }

    /// Tells a program that waits for send space when there is some.
    #[inline]
    pub(super) fn note_writable(&mut self) {
        if self.flags.contains(Flags::NO_SPACE) && self.is_writable() {
            self.flags.remove(Flags::NO_SPACE);
            self.events.insert(Events::WRITABLE);
        }
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
            self.autotune.note_read(count);
            self.share.trim(self.held());
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
    /// Switched on, it sends what is held back, even by a cork (tcp(7)).
    pub fn set_nodelay(&mut self, on: bool) {
        self.flags.set(Flags::NODELAY, on);
        self.flags.set(Flags::FLUSH, on);
    }

    /// Holds partial segments back, for [`CORK_CEILING`](super::CORK_CEILING) at
    /// most (`TCP_CORK`); switched off, lets them go.
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

    /// Bytes that must wait before the connection counts as readable
    /// (`SO_RCVLOWAT`); 0 counts as 1. As in Linux at most half of what the
    /// receive buffer can become, and the buffer grows to hold them.
    pub fn set_rcvlowat(&mut self, bytes: u32) {
        let locked = self.flags.contains(Flags::RCVBUF_LOCKED);
        let largest = if locked { self.rcvbuf() } else { self.config.rcvbuf_max };
        let bytes = bytes.min((largest / 2) as u32).max(1);
        self.preferences_mut().rcvlowat = bytes;
        if !locked {
            self.rcv.buffer = self.rcv.buffer.max(bytes);
            self.offer_window_after_read();
        }
        self.note_readable();
    }

    /// SYN retransmissions before an active open fails (`TCP_SYNCNT`).
    pub fn set_syn_retries(&mut self, retries: u32) {
        self.preferences_mut().syn_retries = retries;
    }

    /// How long the connection stays in FIN-WAIT-2 once the program has closed
    /// it (`TCP_LINGER2`); with zero the peer gets a RST instead.
    pub fn set_fin_wait2(&mut self, timeout: Duration) {
        self.preferences_mut().fin_wait2 = timeout;
    }

    fn preferences_mut(&mut self) -> &mut Preferences {
        let Config { syn_retries, fin_wait2, notsent_lowat, .. } = *self.config;
        self.preferences.get_or_insert_with(|| {
            Box::new(Preferences { syn_retries, fin_wait2, rcvlowat: 1, notsent_lowat })
        })
    }

    #[inline]
    pub(super) fn rcvlowat(&self) -> u32 {
        self.preferences.as_ref().map_or(1, |preferences| preferences.rcvlowat)
    }

    #[inline]
    fn notsent_lowat(&self) -> u32 {
        self.preferences.as_ref().map_or(self.config.notsent_lowat, |preferences| preferences.notsent_lowat)
    }

    pub(super) fn syn_retries(&self) -> u32 {
        self.preferences.as_ref().map_or(self.config.syn_retries, |preferences| preferences.syn_retries)
    }

    pub(super) fn fin_wait2(&self) -> Duration {
        self.preferences.as_ref().map_or(self.config.fin_wait2, |preferences| preferences.fin_wait2)
    }

    /// Blocks writing while this many bytes were never sent
    /// (`TCP_NOTSENT_LOWAT`); `u32::MAX` for no such limit.
    pub fn set_notsent_lowat(&mut self, bytes: u32) {
        self.preferences_mut().notsent_lowat = bytes;
        self.note_writable();
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

    /// Fixes the size of the receive buffer in bytes (`SO_RCVBUF`): it no longer
    /// follows the reader. What was offered to the peer stays offered.
    pub fn set_rcvbuf(&mut self, bytes: usize) {
        self.rcv.buffer = bytes.clamp(SMALLEST_RCVBUF, LARGEST_BUFFER as usize) as u32;
        self.flags.insert(Flags::RCVBUF_LOCKED);
        self.offer_window_after_read();
    }

    /// Bounds the window that is offered, in bytes (`TCP_WINDOW_CLAMP`), at
    /// half the smallest receive buffer at least, as in Linux. What was offered
    /// to the peer stays offered.
    pub fn set_window_clamp(&mut self, bytes: usize) {
        self.rcv.clamp = bytes.clamp(SMALLEST_RCVBUF / 2, LARGEST_BUFFER as usize) as u32;
        self.offer_window_after_read();
    }

    /// The widest window that may be offered now, in bytes.
    pub fn window_clamp(&self) -> usize {
        self.rcv.limit() as usize
    }

    /// Size of the receive buffer in bytes.
    pub fn rcvbuf(&self) -> usize {
        self.rcv.buffer as usize
    }
}
