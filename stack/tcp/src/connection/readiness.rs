//! What a program that polls the connection gets to see.

bitflags::bitflags! {
    /// Level-triggered readiness, as Linux's `tcp_poll` computes it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Readiness: u8 {
        /// Data, end of data or an error can be read: `EPOLLIN`.
        const READABLE = 1;
        /// At least a third of the send buffer is free, or writing fails at
        /// once: `EPOLLOUT`.
        const WRITABLE = 2;
        /// The peer, or `shutdown`, has ended what can be read: `EPOLLRDHUP`.
        const RDHUP = 4;
        /// Both directions are over: `EPOLLHUP`.
        const HUP = 8;
        /// An error waits: `EPOLLERR`.
        const ERR = 16;
    }
}

bitflags::bitflags! {
    /// What has happened since the events were last taken: the edges of
    /// `EPOLLET`, and the moment to wake sleepers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Events: u8 {
        /// New data can be read.
        const READABLE = 1;
        /// Send space has become free after there was too little.
        const WRITABLE = 2;
        /// The handshake is complete.
        const CONNECTED = 4;
        /// The peer's FIN was reached.
        const RDHUP = 8;
        /// The connection died.
        const ERROR = 16;
        /// The connection reached CLOSED or TIME-WAIT: both directions are over.
        const HUP = 32;
    }
}
