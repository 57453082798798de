//! What the worker's table holds: listeners and streams.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use tpa_tcp::wire::EthernetAddress;
use tpa_tcp::{Connection, Instant};

use crate::handle::Handle;
use crate::options::SocketOptions;
use crate::packet::Packet;
use crate::worker::interest::Watches;

/// The two ends of a connection, as its packets name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    addresses: u64,
    ports: u32,
}

impl FlowKey {
    /// The key of the flow between these ends.
    #[inline]
    pub fn new(local: Ipv4Addr, local_port: u16, remote: Ipv4Addr, remote_port: u16) -> Self {
        Self {
            addresses: u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits()),
            ports: u32::from(local_port) << 16 | u32::from(remote_port),
        }
    }

    /// Our end.
    pub fn local(self) -> SocketAddrV4 {
        SocketAddrV4::new(((self.addresses >> 32) as u32).into(), (self.ports >> 16) as u16)
    }

    /// The peer's end.
    pub fn remote(self) -> SocketAddrV4 {
        SocketAddrV4::new((self.addresses as u32).into(), self.ports as u16)
    }
}

/// A socket of the stack.
#[expect(clippy::large_enum_variant, reason = "nearly all are streams, and the table never moves them")]
pub enum Socket {
    Listener(Listener),
    Stream(Stream),
}

impl Socket {
    /// The event sets that watch the socket.
    pub fn watches_mut(&mut self) -> &mut Watches {
        match self {
            Socket::Listener(listener) => &mut listener.watches,
            Socket::Stream(stream) => &mut stream.watches,
        }
    }
}

/// A listening socket.
pub struct Listener {
    pub local: SocketAddrV4,
    /// As given to listen(2): one more connection than this may wait.
    pub backlog: u32,
    /// Connections in SYN-RECEIVED: the length of the SYN queue.
    pub half_open: u32,
    /// Those of them whose SYN-ACK was sent only once.
    pub young: u32,
    /// When the last SYN cookie was sent.
    pub cookie_sent_at: Option<Instant>,
    /// Established connections that wait for accept(2).
    pub queue: VecDeque<Handle>,
    /// What accepted sockets inherit.
    pub options: SocketOptions,
    pub watches: Watches,
}

/// Who is responsible for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// In a listener's accept queue.
    Queue,
    /// The program has a descriptor of it.
    Program,
    /// Closed by the program; TCP still has things to finish.
    Nobody,
}

/// One connection.
pub struct Stream {
    pub connection: Connection<Packet>,
    pub local: SocketAddrV4,
    pub remote: SocketAddrV4,
    /// Neighbour that our segments go to: the peer or a gateway.
    pub next_hop: Ipv4Addr,
    /// Its hardware address, once known.
    pub peer_mac: Option<EthernetAddress>,
    pub owner: Owner,
    /// In the worker's list of sockets with something to send.
    pub dirty: bool,
    /// When the timing wheel will call; the connection's true deadline may be later.
    pub timer_at: Option<Instant>,
    /// Opened by us: the local port was taken from the worker's blocks.
    pub holds_port: bool,
    /// Opened by us, and the handshake is complete.
    pub established: bool,
    /// IP identification of the next segment.
    pub ident: u16,
    pub options: SocketOptions,
    pub watches: Watches,
}

impl Stream {
    /// The key of the stream's flow.
    pub fn key(&self) -> FlowKey {
        FlowKey::new(*self.local.ip(), self.local.port(), *self.remote.ip(), self.remote.port())
    }
}
