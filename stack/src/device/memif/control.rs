//! The control side of a device: who listens, who connects, who is connected.
//!
//! One [`Control`] stands behind all faces of a device. It runs where the
//! first face's `on_control` is called, and hands the link to the faces by a
//! counter that they look at with every burst.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, accept4, connect, socket};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::channel::{Channel, ChannelError, Received};
use super::fds::Listed;
use super::handshake::{Handshake, HandshakeError, Terms, say_goodbye};
use super::link::Link;
use super::listener::Listener;
use super::message::Message;
use super::queue::Violation;

/// Clients that may be greeting us at once; the oldest makes way.
const MAX_GREETING: usize = 16;
/// Distance of a client's attempts to connect.
const RETRY: Duration = Duration::from_millis(100);
/// Distance after an attempt that came to a server and failed there.
const RETRY_REFUSED: Duration = Duration::from_secs(1);

/// What all faces of a device share.
#[derive(Debug)]
pub struct Shared {
    /// Name for logs.
    name: String,
    terms: Terms,
    control: Mutex<Control>,
    link: Mutex<Option<Arc<Link>>>,
    /// Counts changes of `link`.
    generation: AtomicU32,
    violation: Mutex<Option<Violation>>,
    /// Links that came up.
    pub connects: AtomicU64,
    /// Links that went down.
    pub disconnects: AtomicU64,
    /// A descriptor a face that is readable when one of its rings signals. It
    /// stays the same over all connections.
    wakers: Vec<Listed<EpollFd>>,
}

/// An epoll instance, as a descriptor.
#[derive(Debug)]
struct EpollFd(Epoll);

/// The control side's own state.
#[derive(Debug)]
struct Control {
    end: End,
    up: Option<(Channel, Arc<Link>)>,
    /// What was last said of a failed attempt, to say it once.
    last_failure: String,
}

#[derive(Debug)]
enum End {
    Server { listener: Listener, greeting: Vec<Handshake> },
    Client { path: PathBuf, timer: Timer, greeting: Option<Handshake> },
}

/// Paces a client's attempts, and wakes the control thread for them.
#[derive(Debug)]
struct Timer {
    timer: Listed<TimerFd>,
    next: Instant,
}

impl Shared {
    /// A server's control side.
    pub fn serve(name: String, terms: Terms, listener: Listener, faces: usize) -> io::Result<Self> {
        Self::new(name, terms, End::Server { listener, greeting: Vec::new() }, faces)
    }

    /// A client's control side.
    pub fn join(name: String, terms: Terms, path: PathBuf, faces: usize) -> io::Result<Self> {
        let end = End::Client { path, timer: Timer::new()?, greeting: None };
        Self::new(name, terms, end, faces)
    }

    fn new(name: String, terms: Terms, end: End, faces: usize) -> io::Result<Self> {
        let wakers = (0..faces).map(|_| EpollFd::new()).collect::<io::Result<_>>()?;
        let control = Mutex::new(Control { end, up: None, last_failure: String::new() });
        Ok(Self {
            name,
            terms,
            control,
            link: Mutex::new(None),
            generation: AtomicU32::new(0),
            violation: Mutex::new(None),
            connects: AtomicU64::new(0),
            disconnects: AtomicU64::new(0),
            wakers,
        })
    }

    /// Descriptor that a face sleeps on.
    pub fn waker(&self, face: usize) -> RawFd {
        self.wakers[face].as_raw_fd()
    }

    /// Number of faces.
    pub fn faces(&self) -> usize {
        self.wakers.len()
    }

    /// Changes when [`Shared::link`] does.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// The link that stands now.
    pub fn link(&self) -> Option<Arc<Link>> {
        lock(&self.link).clone()
    }

    /// Reports that the peer broke the rules of the rings; the next run of the
    /// control side ends the link.
    pub fn report(&self, violation: Violation) {
        *lock(&self.violation) = Some(violation);
    }

    /// Descriptors to wait for, with their poll(2) events.
    pub fn fds(&self, fds: &mut Vec<(RawFd, i16)>) {
        let control = lock(&self.control);
        let mut add = |fd: RawFd| fds.push((fd, nix::libc::POLLIN));
        if let Some((channel, _)) = &control.up {
            add(channel.as_raw_fd());
        }
        match &control.end {
            End::Server { listener, greeting } => {
                add(listener.as_raw_fd());
                greeting.iter().for_each(|handshake| add(handshake.as_raw_fd()));
            }
            End::Client { timer, greeting, .. } => match greeting {
                Some(handshake) => add(handshake.as_raw_fd()),
                None if control.up.is_none() => add(timer.timer.as_raw_fd()),
                None => {}
            },
        }
    }

    /// Does whatever is due on the control side.
    pub fn run(&self, now: Instant) {
        let control = &mut *lock(&self.control);
        self.check_up(control);
        let taken = control.up.is_some().then_some("already connected");
        let came = match &mut control.end {
            End::Server { listener, greeting } => {
                self.welcome(listener, greeting, now);
                self.hear_all(greeting, taken, now)
            }
            End::Client { .. } if control.up.is_some() => None,
            End::Client { path, timer, greeting } => {
                self.attempt(path, timer, greeting, &mut control.last_failure, now)
            }
        };
        if let Some((channel, link)) = came {
            self.bring_up(control, channel, link);
        }
    }

    /// Ends the link when the peer has left or broken the rules.
    fn check_up(&self, control: &mut Control) {
        let violation = lock(&self.violation).take();
        let Some((channel, _)) = &control.up else {
            return;
        };
        let ended = match violation {
            Some(violation) => Some(violation.to_string()),
            None => parted(channel),
        };
        if let Some(reason) = ended {
            self.take_down(control, &reason);
        }
    }

    fn take_down(&self, control: &mut Control, reason: &str) {
        let Some((channel, link)) = control.up.take() else {
            return;
        };
        say_goodbye(&channel, reason);
        for (number, end) in link.rx.iter().enumerate() {
            // The peer's copy of the eventfd would keep it in the set.
            let _ = self.wakers[number % self.wakers.len()].0.delete(&end.event);
        }
        self.publish(None);
        self.disconnects.fetch_add(1, Ordering::Relaxed);
        log::info!("{}: peer {:?} disconnected: {reason}", self.name, link.peer);
    }

    fn bring_up(&self, control: &mut Control, channel: Channel, link: Link) {
        for (number, end) in link.rx.iter().enumerate() {
            let waker = &self.wakers[number % self.wakers.len()].0;
            if let Err(error) = waker.add(&end.event, EpollEvent::new(EpollFlags::EPOLLIN, 0)) {
                say_goodbye(&channel, "unusable eventfd");
                log::warn!("{}: eventfd of peer {:?}: {error}", self.name, link.peer);
                return;
            }
        }
        let (pairs, size) = (link.rx.len().min(link.tx.len()), link.rx[0].ring.size());
        log::info!("{}: peer {:?} connected, {pairs} ring pair(s) of {size} slots", self.name, link.peer);
        if link.tx.len() < self.faces() {
            log::warn!("{}: the peer has rings for {} of {} workers", self.name, link.tx.len(), self.faces());
        }
        let room = link.tx[0].ring.read(0).length;
        if room < self.terms.slot_size {
            log::info!("{}: the peer's slots hold {room} bytes, larger frames are dropped", self.name);
        }
        let link = Arc::new(link);
        self.publish(Some(link.clone()));
        control.up = Some((channel, link));
        control.last_failure.clear();
        self.connects.fetch_add(1, Ordering::Relaxed);
    }

    fn publish(&self, link: Option<Arc<Link>>) {
        *lock(&self.link) = link;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Greets clients that have come.
    fn welcome(&self, listener: &Listener, greeting: &mut Vec<Handshake>, now: Instant) {
        for socket in std::iter::from_fn(|| accept(listener)).take(MAX_GREETING) {
            match Handshake::serve(socket, &self.terms, now) {
                Ok(handshake) => greeting.push(handshake),
                Err(error) => log::warn!("{}: greeting a client: {error}", self.name),
            }
            if greeting.len() > MAX_GREETING {
                greeting.remove(0);
                log::warn!("{}: more than {MAX_GREETING} clients at once, one is dropped", self.name);
            }
        }
    }

    /// Goes on with every client that is greeting; the first to come through
    /// has the link.
    fn hear_all(
        &self,
        greeting: &mut Vec<Handshake>,
        taken: Option<&'static str>,
        now: Instant,
    ) -> Option<(Channel, Link)> {
        let mut index = 0;
        while index < greeting.len() {
            match greeting[index].advance(&self.terms, taken, now) {
                Ok(None) => index += 1,
                Ok(Some(link)) => return Some((greeting.remove(index).into_channel(), link)),
                Err(error) => {
                    greeting.remove(index);
                    // A look at the socket, as a starting server takes, is no event.
                    if !matches!(error, HandshakeError::Channel(ChannelError::Closed)) {
                        log::warn!("{}: client dropped: {error}", self.name);
                    }
                }
            }
        }
        None
    }

    /// Connects, or goes on with the server that we have connected to.
    fn attempt(
        &self,
        path: &Path,
        timer: &mut Timer,
        greeting: &mut Option<Handshake>,
        last_failure: &mut String,
        now: Instant,
    ) -> Option<(Channel, Link)> {
        timer.consume();
        if greeting.is_none() && now >= timer.next {
            timer.set(now, RETRY);
            match connect_to(path) {
                Ok(socket) => *greeting = Some(Handshake::join(socket, now)),
                Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::EAGAIN) => {}
                Err(errno) => self.say_once(last_failure, errno.to_string()),
            }
        }
        match greeting.as_mut()?.advance(&self.terms, None, now) {
            Ok(None) => None,
            Ok(Some(link)) => greeting.take().map(|handshake| (handshake.into_channel(), link)),
            Err(error) => {
                *greeting = None;
                timer.set(now, RETRY_REFUSED);
                self.say_once(last_failure, error.to_string());
                None
            }
        }
    }

    fn say_once(&self, last: &mut String, failure: String) {
        if *last != failure {
            log::warn!("{}: connecting: {failure}", self.name);
            *last = failure;
        }
    }

    /// Parts from the peer in good order.
    pub fn close(&self) {
        self.take_down(&mut lock(&self.control), "closed");
    }
}

impl Timer {
    fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self { timer: timer.into(), next: Instant::now() })
    }

    fn set(&mut self, now: Instant, wait: Duration) {
        self.next = now + wait;
        let after = Expiration::OneShot(TimeSpec::from_duration(wait));
        // Failing, it leaves us the call once a second.
        let _ = self.timer.set(after, TimerSetTimeFlags::empty());
    }

    fn consume(&self) {
        let mut count = [0; 8];
        let _ = nix::unistd::read(&self.timer, &mut count);
    }
}

impl EpollFd {
    fn new() -> io::Result<Listed<Self>> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?).into())
    }
}

impl AsFd for EpollFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

/// Locks, also after a panic elsewhere: all that is kept here is whole
/// between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why an established connection has ended, if it has. Other messages are of
/// no use now and are passed over, a burst of them at a time.
fn parted(channel: &Channel) -> Option<String> {
    for _ in 0..64 {
        match channel.receive() {
            Ok(Received::Nothing) => return None,
            Ok(Received::Message(Message::Disconnect { reason, .. }, _)) => {
                return Some(format!("{reason:?}"));
            }
            Ok(Received::Message(..)) => {}
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

/// Takes a connection that waits.
pub fn accept(listener: &Listener) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK).ok()?;
    // SAFETY: accept4 has just made this descriptor for us.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Connects to a server's socket without waiting.
pub fn connect_to(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}
