//! What the worker's table holds: listeners and streams.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use tpa_tcp::wire::{EthernetAddress, IpAddress};
use tpa_tcp::{Connection, Instant};

use crate::handle::Handle;
use crate::options::SocketOptions;
use crate::packet::Packet;
use crate::worker::interest::Watches;

/// The two ends of a connection, as its packets name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    local: IpAddress,
    remote: IpAddress,
    ports: u32,
}

impl FlowKey {
    /// The key of the flow between these ends.
    #[inline]
    pub fn new(local: IpAddress, local_port: u16, remote: IpAddress, remote_port: u16) -> Self {
        Self { local, remote, ports: u32::from(local_port) << 16 | u32::from(remote_port) }
    }

    /// Our address.
    #[inline]
    pub fn local_address(self) -> IpAddress {
        self.local
    }

    /// Our port.
    #[inline]
    pub fn local_port(self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// The peer's address.
    #[inline]
    pub fn remote_address(self) -> IpAddress {
        self.remote
    }

    /// The peer's port.
    #[inline]
    pub fn remote_port(self) -> u16 {
        self.ports as u16
    }

    /// Our end.
    pub fn local(self) -> SocketAddr {
        SocketAddr::new(self.local.into(), self.local_port())
    }

    /// The peer's end.
    pub fn remote(self) -> SocketAddr {
        SocketAddr::new(self.remote.into(), self.remote_port())
    }
}

impl Hash for FlowKey {
    /// The network half of our own address is left out: our addresses are few.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [high, low] = self.remote.words();
        let [_, own] = self.local.words();
        state.write_u64(high);
        state.write_u64(low);
        state.write_u64(own);
        state.write_u32(self.ports);
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
    pub local: SocketAddr,
    /// On all addresses of both families: `local` is ::.
    pub is_dual: bool,
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

impl Listener {
    /// What it is bound to: the addresses that stand for all of a family, or one.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddress> + use<> {
        let v4 = self.is_dual.then_some(IpAddress::V4_UNSPECIFIED);
        [Some(self.local.ip().into()), v4].into_iter().flatten()
    }
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
    /// Its two ends.
    pub flow: FlowKey,
    /// Neighbour that our segments go to: the peer or a gateway.
    pub next_hop: IpAddress,
    /// Its hardware address, once known.
    pub peer_mac: Option<EthernetAddress>,
    pub owner: Owner,
    /// In the worker's list of sockets with something to send.
    pub dirty: bool,
    /// When the timing wheel will call; the connection's true deadline may be later.
    pub timer_at: Option<Instant>,
    /// Opened by us.
    pub active: bool,
    /// The local port was taken from the worker's blocks.
    pub holds_port: bool,
    /// Both ends are ours: segments go by [`Loopback`](super::loopback::Loopback).
    pub loops: bool,
    /// Opened by us, and the handshake is complete.
    pub established: bool,
    /// IP identification of the next segment.
    pub ident: u16,
    pub options: SocketOptions,
    pub watches: Watches,
}
