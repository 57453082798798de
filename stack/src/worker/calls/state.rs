//! What a program can ask of a socket.

use std::net::SocketAddr;

use nix::errno::Errno;
use tpa_tcp::State;

use crate::errno::errno_of;
use crate::handle::Handle;
use crate::worker::WorkerGuard;
use crate::worker::readiness;
use crate::worker::socket::{Owner, Socket};

/// How far a connection is from the program's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectState {
    /// The handshake is under way.
    Connecting,
    /// Data can flow, or could until the peer or the program closed.
    Connected,
    /// The attempt, or the connection, ended with an error that waits to be read.
    Failed,
    /// No connection.
    Closed,
}

/// Bytes that wait in a socket's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// To be read: `FIONREAD`.
    pub receive: usize,
    /// Written, and not yet acknowledged by the peer: `SIOCOUTQ`.
    pub send: usize,
    /// Of these, not sent yet: `SIOCOUTQNSD`.
    pub unsent: usize,
    /// What can be written now.
    pub room: usize,
}

impl WorkerGuard<'_> {
    /// Readiness in epoll(7)'s bits; 0 for a stale handle.
    pub fn readiness(&self, handle: Handle) -> u32 {
        match self.sockets.get(handle) {
            Some(Socket::Stream(stream)) if stream.owner != Owner::Program => 0,
            Some(socket) => readiness::of_socket(socket),
            None => 0,
        }
    }

    /// `SO_ERROR`: the pending error as a number, and clears it.
    pub fn take_error(&mut self, handle: Handle) -> i32 {
        let error = self.core.stream_mut(handle).ok().and_then(|stream| stream.connection.take_error());
        error.map_or(0, |error| errno_of(error) as i32)
    }

    /// How far the connection is.
    pub fn connect_state(&self, handle: Handle) -> ConnectState {
        let Ok(stream) = self.core.stream(handle) else { return ConnectState::Closed };
        if stream.connection.error().is_some() {
            return ConnectState::Failed;
        }
        match stream.connection.state() {
            State::SynSent | State::SynReceived => ConnectState::Connecting,
            State::Closed => ConnectState::Closed,
            _ => ConnectState::Connected,
        }
    }

    /// getsockname(2).
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn local_addr(&self, handle: Handle) -> Result<SocketAddr, Errno> {
        match self.sockets.get(handle) {
            Some(Socket::Listener(listener)) => Ok(listener.local),
            Some(Socket::Stream(stream)) => Ok(stream.flow.local()),
            None => Err(Errno::EBADF),
        }
    }

    /// getpeername(2).
    ///
    /// # Errors
    ///
    /// `ENOTCONN` before the handshake and after the end, `EBADF`.
    pub fn peer_addr(&self, handle: Handle) -> Result<SocketAddr, Errno> {
        let stream = self.core.stream(handle)?;
        match stream.connection.state() {
            State::Closed | State::SynSent | State::TimeWait => Err(Errno::ENOTCONN),
            _ => Ok(stream.flow.remote()),
        }
    }

    /// Where a connection that was just accepted came from, even when it has
    /// been reset meanwhile.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn accepted_from(&self, handle: Handle) -> Result<SocketAddr, Errno> {
        self.core.stream(handle).map(|stream| stream.flow.remote())
    }

    /// Bytes in the queues; zero for a stale handle.
    pub fn queued(&self, handle: Handle) -> Queued {
        let Ok(stream) = self.core.stream(handle) else {
            return Queued { receive: 0, send: 0, unsent: 0, room: 0 };
        };
        let (connection, send) = (&stream.connection, stream.connection.send_queued());
        Queued {
            receive: connection.recv_queued(),
            send,
            unsent: connection.send_unsent(),
            room: connection.send_space(),
        }
    }

    /// Whether the next byte to be read is the last urgent one (`SIOCATMARK`).
    ///
    /// # Errors
    ///
    /// `EBADF` for a stale handle, `ENOTCONN` for a listener.
    pub fn at_mark(&self, handle: Handle) -> Result<bool, Errno> {
        self.core.stream(handle).map(|stream| stream.connection.at_mark())
    }

    /// What `TCP_INFO` is made of.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn info(&self, handle: Handle) -> Result<tpa_tcp::Info, Errno> {
        self.core.stream(handle).map(|stream| stream.connection.info())
    }

    /// The congestion control algorithm of a connection.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn congestion(&self, handle: Handle) -> Result<tpa_tcp::CongestionAlgorithm, Errno> {
        self.core.stream(handle).map(|stream| stream.connection.congestion())
    }

    /// The state of DCTCP, where that is the algorithm.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn dctcp_info(&self, handle: Handle) -> Result<Option<tpa_tcp::DctcpInfo>, Errno> {
        self.core.stream(handle).map(|stream| stream.connection.dctcp_info())
    }
}
