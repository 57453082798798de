//! shutdown(2) and close(2).

use nix::errno::Errno;
use tpa_tcp::State;

use crate::handle::Handle;
use crate::worker::WorkerGuard;
use crate::worker::socket::{Owner, Socket};

impl WorkerGuard<'_> {
    /// shutdown(2).
    ///
    /// # Errors
    ///
    /// `ENOTCONN` when there is no connection, `EBADF`.
    pub fn shutdown(&mut self, handle: Handle, read: bool, write: bool) -> Result<(), Errno> {
        let now = self.now();
        let stream = self.core.stream_mut(handle)?;
        // In TIME-WAIT the socket is disconnected already, as in Linux.
        if matches!(stream.connection.state(), State::Closed | State::SynSent | State::TimeWait) {
            return Err(Errno::ENOTCONN);
        }
        if read {
            stream.connection.shutdown_read();
        }
        if write {
            stream.connection.shutdown_write(now);
        }
        let index = handle.index() as u32;
        self.settle(index);
        self.transmit();
        Ok(())
    }

    /// Whether the peer has not acknowledged all that was written and the end
    /// (`sk_stream_closing`).
    pub fn has_unacknowledged(&self, handle: Handle) -> bool {
        self.core.stream(handle).is_ok_and(|stream| {
            matches!(stream.connection.state(), State::FinWait1 | State::Closing | State::LastAck)
        })
    }

    /// close(2): the program lets go of the socket. TCP finishes on its own.
    pub fn close(&mut self, handle: Handle) {
        match self.sockets.get_mut(handle) {
            Some(Socket::Listener(_)) => self.close_listener(handle),
            Some(Socket::Stream(stream)) if stream.owner == Owner::Program => self.close_stream(handle),
            _ => {}
        }
    }

    fn close_stream(&mut self, handle: Handle) {
        let now = self.now();
        let core = &mut *self.core;
        let Some(Socket::Stream(stream)) = core.sockets.get_mut(handle) else { return };
        core.interest.forget(&mut stream.watches);
        stream.owner = Owner::Nobody;
        // SO_LINGER with zero seconds: a reset instead of a FIN (socket(7)).
        if stream.options.linger == Some(0) {
            stream.connection.abort(now);
        } else {
            stream.connection.close(now);
        }
        core.settle(handle.index() as u32);
        core.transmit();
    }

    fn close_listener(&mut self, handle: Handle) {
        let index = handle.index() as u32;
        self.now();
        let core = &mut *self.core;
        let Some(Socket::Listener(mut listener)) = core.sockets.remove(index) else { return };
        core.interest.forget(&mut listener.watches);
        if let Some(others) = core.listeners.get_mut(&listener.local.port()) {
            others.retain(|(_, other)| *other != index);
        }
        core.unsteer_listener(&listener);
        core.abandon_queue(&mut listener);
        // As in Linux half-open connections go without a word.
        core.half_open.retain(|half_open| half_open.listener != handle);
        core.counters.half_open_now.set(core.half_open.len() as u64);
        core.transmit();
    }
}
