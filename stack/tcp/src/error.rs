//! What can go wrong, as the caller sees it.

use thiserror::Error;

/// Why a connection died. Maps to one `errno` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// The peer answered our SYN with RST: `ECONNREFUSED`.
    #[error("connection refused")]
    Refused,
    /// The peer sent RST: `ECONNRESET`.
    #[error("connection reset by peer")]
    Reset,
    /// The peer sent RST after its FIN: `EPIPE`, as Linux says it.
    #[error("connection reset after the peer had finished")]
    BrokenPipe,
    /// Retransmissions, probes or the user timeout ran out: `ETIMEDOUT`.
    #[error("connection timed out")]
    TimedOut,
    /// The network reports that it has no way to the peer's network:
    /// `ENETUNREACH`.
    #[error("network unreachable")]
    NetworkUnreachable,
    /// The network reports that it has no way to the peer: `EHOSTUNREACH`.
    #[error("no route to host")]
    HostUnreachable,
    /// The network reports that there is no such peer: `EHOSTDOWN`.
    #[error("host is down")]
    HostDown,
    /// The network reports that the peer, or we, are cut off: `ENONET`.
    #[error("host is isolated")]
    HostIsolated,
    /// The peer reports that it has no TCP: `ENOPROTOOPT`.
    #[error("protocol unreachable")]
    ProtocolUnreachable,
    /// The network reports that a source route failed: `EOPNOTSUPP`.
    #[error("source route failed")]
    SourceRouteFailed,
    /// The network did not understand an IP header: `EPROTO`.
    #[error("protocol error")]
    ParameterProblem,
    /// The network reports that it does not let packets pass: `EACCES`.
    #[error("administratively prohibited")]
    Prohibited,
    /// The program itself aborted the connection: `ECONNABORTED`.
    #[error("connection aborted")]
    Aborted,
}

/// Why nothing could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The sending side was shut down, or the connection is over: `EPIPE`.
    #[error("the sending side is closed")]
    Closed,
    /// The connection died; the error is taken by this call, as `SO_ERROR`
    /// would take it.
    #[error(transparent)]
    Connection(#[from] Error),
}

/// Why nothing could be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecvError {
    /// Nothing has arrived yet: `EAGAIN`.
    #[error("no data yet")]
    WouldBlock,
    /// The connection died; the error is taken by this call, as `SO_ERROR`
    /// would take it.
    #[error(transparent)]
    Connection(#[from] Error),
}
