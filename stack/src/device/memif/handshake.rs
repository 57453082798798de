//! How a connection comes up: one small state machine an end.
//!
//! Server: HELLO out, INIT in, regions and rings in, CONNECT in, CONNECTED
//! out; an ACK follows each message but the last. Client: the other half. No
//! step waits; a peer that errs is told why, once, and let go.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::{SFlag, fstat};
use thiserror::Error;

use super::Role;
use super::channel::{Channel, ChannelError, Received};
use super::fds::ListedFd;
use super::link::{ClientMemory, Link, RingEnd, RingError, locate_ring, open_receive_rings};
use super::message::{AddRing, Direction, Hello, Init, MODE_ETHERNET, Message, SECRET_LEN, VERSION};
use super::region::{Region, RegionError};
use super::ring::MAX_LOG2_SIZE;

/// Time that a connection may take to come up.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// Regions that a client may bring.
const MAX_REGIONS: usize = 16;
/// What we call ourselves.
pub const PROGRAM: &str = "libtpa_shim";

/// What both ends must agree on, from our side.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Interface id.
    pub id: u32,
    /// Secret, zero-padded; all zero for none.
    pub secret: [u8; SECRET_LEN],
    /// Ring pairs at most.
    pub pairs: u16,
    /// Logarithm of the slots of our rings (client).
    pub log2_ring_size: u8,
    /// Bytes of our slots (client).
    pub slot_size: u32,
}

/// Why a handshake failed.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The connection broke.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The peer said DISCONNECT; its words.
    #[error("the peer refused: {0:?}")]
    Refused(String),
    /// The peer did not come to the end in time.
    #[error("the peer stalls")]
    Stalled,
    /// The peer broke the protocol or asks for what we do not have.
    #[error("{0}")]
    Protocol(&'static str),
    /// A region is not acceptable, or ours could not be made.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// A ring is not acceptable.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The system refused.
    #[error("{0}")]
    System(#[from] nix::Error),
}

type Outcome<T> = Result<T, HandshakeError>;

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    channel: Channel,
    side: Side,
    deadline: Instant,
}

#[derive(Debug)]
enum Side {
    Server(ServerSide),
    Client(ClientSide),
}

/// What a server has heard so far.
#[derive(Debug, Default)]
struct ServerSide {
    peer: Option<String>,
    regions: Vec<Region>,
    rx: Vec<(AddRing, ListedFd)>,
    tx: Vec<(AddRing, ListedFd)>,
}

/// What a client has still to say, and what it will have then.
#[derive(Debug, Default)]
struct ClientSide {
    /// Messages for which an ACK has to come first, with their descriptors.
    unsent: VecDeque<(Message, Option<OwnedFd>)>,
    link: Option<Link>,
}

impl Handshake {
    /// Greets a client that has connected.
    pub fn serve(socket: OwnedFd, terms: &Terms, now: Instant) -> Outcome<Self> {
        let channel = Channel::new(socket);
        let highest_ring = terms.pairs.saturating_sub(1);
        let hello = Hello {
            name: PROGRAM.into(),
            min_version: VERSION,
            max_version: VERSION,
            max_region: MAX_REGIONS as u16 - 1,
            max_s2c_ring: highest_ring,
            max_c2s_ring: highest_ring,
            max_log2_ring_size: MAX_LOG2_SIZE,
        };
        channel.send(&Message::Hello(hello), None)?;
        Ok(Self { channel, side: Side::Server(ServerSide::default()), deadline: now + DEADLINE })
    }

    /// Waits for the greeting of a server that we have connected to.
    pub fn join(socket: OwnedFd, now: Instant) -> Self {
        let side = Side::Client(ClientSide::default());
        Self { channel: Channel::new(socket), side, deadline: now + DEADLINE }
    }

    /// Goes on as far as the peer's messages reach. `Ok(Some)`: the link is up
    /// (and the handshake over). An error ends the connection; the peer has
    /// been told. `taken` says why a further link is out of place, if it is.
    pub fn advance(
        &mut self,
        terms: &Terms,
        taken: Option<&'static str>,
        now: Instant,
    ) -> Outcome<Option<Link>> {
        let outcome = self.advance_quietly(terms, taken, now);
        if let Err(error) = &outcome {
            let gone = matches!(error, HandshakeError::Channel(_) | HandshakeError::Refused(_));
            if !gone {
                say_goodbye(&self.channel, &error.to_string());
            }
        }
        outcome
    }

    fn advance_quietly(
        &mut self,
        terms: &Terms,
        taken: Option<&'static str>,
        now: Instant,
    ) -> Outcome<Option<Link>> {
        // A sound peer has at most a few messages under way; one that floods
        // us is heard again at the next call.
        for _ in 0..64 {
            let (message, fd) = match self.channel.receive()? {
                Received::Message(Message::Disconnect { reason, .. }, _) => {
                    return Err(HandshakeError::Refused(reason));
                }
                Received::Message(message, fd) => (message, fd),
                Received::Nothing if now >= self.deadline => return Err(HandshakeError::Stalled),
                Received::Nothing => return Ok(None),
            };
            let link = match &mut self.side {
                Side::Server(side) => side.hear(&self.channel, message, fd, terms, taken)?,
                Side::Client(side) => side.hear(&self.channel, message, terms)?,
            };
            if link.is_some() {
                return Ok(link);
            }
        }
        Ok(None)
    }

    /// The connection, when the link is up.
    pub fn into_channel(self) -> Channel {
        self.channel
    }
}

impl AsRawFd for Handshake {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

/// Tells a peer that this is the end, if it still listens.
pub fn say_goodbye(channel: &Channel, reason: &str) {
    let _ = channel.send(&Message::Disconnect { code: 0, reason: reason.into() }, None);
}

impl ServerSide {
    fn hear(
        &mut self,
        channel: &Channel,
        message: Message,
        fd: Option<OwnedFd>,
        terms: &Terms,
        taken: Option<&'static str>,
    ) -> Outcome<Option<Link>> {
        match message {
            Message::Init(init) if self.peer.is_none() => self.init(init, terms, taken)?,
            _ if self.peer.is_none() => return Err(HandshakeError::Protocol("a message before INIT")),
            Message::AddRegion { index, size } => self.add_region(index, size, fd)?,
            Message::AddRing(ring) => self.add_ring(ring, fd, terms)?,
            Message::Connect { .. } => {
                if let Some(reason) = taken {
                    return Err(HandshakeError::Protocol(reason));
                }
                let link = self.connect()?;
                channel.send(&Message::Connected { name: PROGRAM.into() }, None)?;
                return Ok(Some(link));
            }
            _ => return Err(HandshakeError::Protocol("an unexpected message")),
        }
        channel.send(&Message::Ack, None)?;
        Ok(None)
    }

    fn init(&mut self, init: Init, terms: &Terms, taken: Option<&'static str>) -> Outcome<()> {
        let refusal = if init.version != VERSION {
            Some("incompatible memif version")
        } else if init.id != terms.id {
            Some("no interface of that id")
        } else if init.mode != MODE_ETHERNET {
            Some("only Ethernet mode is supported")
        } else if terms.secret != [0; SECRET_LEN] && init.secret != terms.secret {
            Some("wrong secret")
        } else {
            taken
        };
        match refusal {
            Some(reason) => Err(HandshakeError::Protocol(reason)),
            None => {
                self.peer = Some(init.name);
                Ok(())
            }
        }
    }

    fn add_region(&mut self, index: u16, size: u64, fd: Option<OwnedFd>) -> Outcome<()> {
        if usize::from(index) != self.regions.len() || self.regions.len() >= MAX_REGIONS {
            return Err(HandshakeError::Protocol("an unexpected region index"));
        }
        let fd = fd.ok_or(HandshakeError::Protocol("a region without descriptor"))?;
        self.regions.push(Region::from_peer(fd, size)?);
        Ok(())
    }

    fn add_ring(&mut self, told: AddRing, fd: Option<OwnedFd>, terms: &Terms) -> Outcome<()> {
        let rings = match told.direction {
            Direction::ClientToServer => &mut self.rx,
            Direction::ServerToClient => &mut self.tx,
        };
        if usize::from(told.index) != rings.len() || told.index >= terms.pairs {
            return Err(HandshakeError::Protocol("an unexpected ring index"));
        }
        let fd = fd.ok_or(HandshakeError::Protocol("a ring without descriptor"))?;
        rings.push((told, accept_event(fd)?));
        Ok(())
    }

    fn connect(&mut self) -> Outcome<Link> {
        if self.rx.is_empty() || self.tx.is_empty() {
            return Err(HandshakeError::Protocol("a connection without rings in both directions"));
        }
        let regions = std::mem::take(&mut self.regions);
        let place = |rings: Vec<(AddRing, ListedFd)>| -> Result<Vec<RingEnd>, RingError> {
            let end = |(told, event)| Ok(RingEnd { ring: locate_ring(&regions, &told)?, event });
            rings.into_iter().map(end).collect()
        };
        let rx = place(std::mem::take(&mut self.rx))?;
        let tx = place(std::mem::take(&mut self.tx))?;
        open_receive_rings(Role::Server, &rx);
        let peer = self.peer.take().unwrap_or_default();
        Ok(Link { role: Role::Server, peer, regions, rx, tx, layout: None })
    }
}

/// Checks that a peer's descriptor can be an eventfd, and that writing to it
/// does not block us.
fn accept_event(fd: OwnedFd) -> Outcome<ListedFd> {
    // Files without a type are the kernel's own, such as eventfds; pipes,
    // sockets and terminals, which could hold us up, have one.
    if fstat(&fd)?.st_mode & SFlag::S_IFMT.bits() != 0 {
        return Err(HandshakeError::Protocol("a ring whose descriptor is no eventfd"));
    }
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(fd.into())
}

impl ClientSide {
    fn hear(&mut self, channel: &Channel, message: Message, terms: &Terms) -> Outcome<Option<Link>> {
        match message {
            Message::Hello(hello) if self.link.is_none() => self.prepare(hello, terms)?,
            Message::Ack if self.link.is_some() => {}
            Message::Connected { .. } if self.unsent.is_empty() && self.link.is_some() => {
                return Ok(self.link.take().inspect(|link| open_receive_rings(Role::Client, &link.rx)));
            }
            _ => return Err(HandshakeError::Protocol("an unexpected message")),
        }
        if let Some((message, fd)) = self.unsent.pop_front() {
            channel.send(&message, fd.as_ref().map(|fd| fd.as_fd()))?;
        }
        Ok(None)
    }

    /// Makes the shared memory and lines up the messages that describe it.
    fn prepare(&mut self, hello: Hello, terms: &Terms) -> Outcome<()> {
        if !(hello.min_version..=hello.max_version).contains(&VERSION) {
            return Err(HandshakeError::Protocol("incompatible memif version"));
        }
        let most = hello.max_c2s_ring.min(hello.max_s2c_ring).saturating_add(1);
        let pairs = terms.pairs.min(most);
        let log2_size = terms.log2_ring_size.min(hello.max_log2_ring_size);
        let memory = ClientMemory::create(pairs, log2_size, terms.slot_size)?;
        let (id, secret) = (terms.id, terms.secret);
        let init = Init { version: VERSION, id, mode: MODE_ETHERNET, secret, name: PROGRAM.into() };
        self.unsent.push_back((Message::Init(init), None));
        let add_region = Message::AddRegion { index: 0, size: memory.region.len() as u64 };
        self.unsent.push_back((add_region, Some(memory.fd)));
        let mut link = Link {
            role: Role::Client,
            peer: hello.name,
            regions: vec![memory.region],
            rx: Vec::new(),
            tx: Vec::new(),
            layout: Some(memory.layout),
        };
        for (told, ring) in memory.rings {
            let event: OwnedFd = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?.into();
            self.unsent
                .push_back((Message::AddRing(told), Some(event.try_clone().map_err(RegionError::from)?)));
            let ends = match told.direction {
                Direction::ClientToServer => &mut link.tx,
                Direction::ServerToClient => &mut link.rx,
            };
            ends.push(RingEnd { ring, event: event.into() });
        }
        self.unsent.push_back((Message::Connect { name: PROGRAM.into() }, None));
        self.link = Some(link);
        Ok(())
    }
}
