//! recv(2) and send(2).

use nix::errno::Errno;
use tpa_tcp::{Connection, RecvError, SendError};

use crate::errno::errno_of;
use crate::handle::Handle;
use crate::packet::Packet;
use crate::worker::WorkerGuard;
use crate::worker::socket::Socket;

impl WorkerGuard<'_> {
    /// recv(2) into `buf`: `Ok(0)` is the end of the stream (or an empty
    /// `buf`). With `peek` the bytes stay.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when nothing waits, `ENOTCONN` for a listener, a pending error once.
    #[inline]
    pub fn recv(&mut self, handle: Handle, buf: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let stream = self.core.stream_mut(handle)?;
        let result = if peek {
            match stream.connection.peek(0, buf) {
                0 => stream.connection.recv(&mut []),
                count => Ok(count),
            }
        } else {
            stream.connection.recv(buf)
        };
        match result {
            Ok(count) => {
                if !peek {
                    self.after_read(handle, count);
                }
                Ok(count)
            }
            Err(RecvError::WouldBlock) => Err(Errno::EAGAIN),
            Err(RecvError::Connection(error)) => Err(errno_of(error)),
        }
    }

    #[inline]
    fn after_read(&mut self, handle: Handle, count: usize) {
        self.counters.bytes_received.add(count as u64);
        let index = handle.index() as u32;
        if let Some(Socket::Stream(stream)) = self.sockets.at(index)
            && stream.connection.wants_transmit()
        {
            self.mark_dirty(index);
        }
    }

    /// Throws away up to `len` bytes that wait (`MSG_TRUNC`, tcp(7)).
    ///
    /// # Errors
    ///
    /// As [`WorkerGuard::recv`].
    pub fn discard(&mut self, handle: Handle, len: usize) -> Result<usize, Errno> {
        let mut scratch = [0; 2048];
        let mut done = 0;
        while done < len {
            let room = scratch.len().min(len - done);
            match self.recv(handle, &mut scratch[..room], false) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// send(2): takes as much of `data` as the send buffer holds. It leaves with
    /// the next round or before the next sleep, so that several calls in a row
    /// fill segments together.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the buffer is full, `EPIPE` after the end was sent,
    /// `ENOTCONN`, a pending error once.
    #[inline]
    pub fn send(&mut self, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        self.send_by(handle, data, Connection::send)
    }

    /// send(2) with `MSG_MORE`: a last segment that is not full waits for the
    /// next call, for 200 ms at most.
    ///
    /// # Errors
    ///
    /// As [`WorkerGuard::send`].
    pub fn send_more(&mut self, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        self.send_by(handle, data, Connection::send_more)
    }

    /// send(2) of urgent data (`MSG_OOB`): the peer is told where it ends.
    ///
    /// # Errors
    ///
    /// As [`WorkerGuard::send`].
    pub fn send_urgent(&mut self, handle: Handle, data: &[u8]) -> Result<usize, Errno> {
        self.send_by(handle, data, Connection::send_urgent)
    }

    #[inline]
    fn send_by(
        &mut self,
        handle: Handle,
        data: &[u8],
        send: impl FnOnce(&mut Connection<Packet>, &[u8]) -> Result<usize, SendError>,
    ) -> Result<usize, Errno> {
        let stream = self.core.stream_mut(handle)?;
        match send(&mut stream.connection, data) {
            Ok(0) if !data.is_empty() => Err(Errno::EAGAIN),
            Ok(count) => {
                self.counters.bytes_sent.add(count as u64);
                self.mark_dirty(handle.index() as u32);
                Ok(count)
            }
            Err(SendError::Closed) => Err(Errno::EPIPE),
            Err(SendError::Connection(error)) => Err(errno_of(error)),
        }
    }
}
