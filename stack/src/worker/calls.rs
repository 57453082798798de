//! What the program's socket calls do, errno for errno.

use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;

use nix::errno::Errno;
use tpa_tcp::wire::IpAddress;
use tpa_tcp::{Connection, Duration, Instant, RecvError, SendError, State};

use crate::errno::errno_of;
use crate::handle::{Handle, SetId};
use crate::options::SocketOptions;
use crate::packet::Packet;
use crate::worker::WorkerGuard;
use crate::worker::core::Core;
use crate::worker::interest::Watches;
use crate::worker::readiness;
use crate::worker::socket::{FlowKey, Listener, Owner, Socket, Stream};

/// Linux's `net.core.somaxconn`, the upper bound of a backlog.
const SOMAXCONN: u32 = 4096;

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

impl Core {
    fn stream(&self, handle: Handle) -> Result<&Stream, Errno> {
        match self.sockets.get(handle) {
            Some(Socket::Stream(stream)) if stream.owner == Owner::Program => Ok(stream),
            Some(Socket::Listener(_)) => Err(Errno::ENOTCONN),
            _ => Err(Errno::EBADF),
        }
    }

    #[inline]
    fn stream_mut(&mut self, handle: Handle) -> Result<&mut Stream, Errno> {
        match self.sockets.get_mut(handle) {
            Some(Socket::Stream(stream)) if stream.owner == Owner::Program => Ok(stream),
            Some(Socket::Listener(_)) => Err(Errno::ENOTCONN),
            _ => Err(Errno::EBADF),
        }
    }
}

impl Core {
    /// Whether another listener has an address of this one's, and not both are
    /// willing to share it (`SO_REUSEPORT`).
    fn is_taken(&self, listener: &Listener) -> bool {
        let shares = |index: u32| {
            let other = self.sockets.handle_at(index).and_then(|handle| self.sockets.get(handle));
            matches!(other, Some(Socket::Listener(other)) if other.options.reuse_port && listener.options.reuse_port)
        };
        let others = self.listeners.get(&listener.local.port()).into_iter().flatten();
        let mut at_same = others.filter(|(bound, _)| listener.addresses().any(|address| address == *bound));
        at_same.any(|(_, index)| !shares(*index))
    }

    /// Has new connections to a listener steered to us, all or none.
    fn steer_listener(&self, listener: &Listener) -> Result<(), Errno> {
        let Some(steering) = &self.identity.steering else { return Ok(()) };
        let port = listener.local.port();
        let mut addresses = listener.addresses().filter(|address| !address.is_loopback());
        let steered = addresses.try_for_each(|address| steering.add_listener(address, port));
        steered.map_err(|error| {
            log::warn!("cannot steer port {port} to this process: {error}");
            self.unsteer_listener(listener);
            Errno::EIO
        })
    }

    /// Ends that, where no other listener shares the address.
    fn unsteer_listener(&self, listener: &Listener) {
        let Some(steering) = &self.identity.steering else { return };
        let port = listener.local.port();
        let is_shared =
            |address| self.listeners.get(&port).into_iter().flatten().any(|(bound, _)| *bound == address);
        for address in listener.addresses().filter(|&address| !address.is_loopback() && !is_shared(address)) {
            if let Err(error) = steering.remove_listener(address, port) {
                log::warn!("cannot end the steering of port {port}: {error}");
            }
        }
    }
}

impl Stream {
    /// Brings the connection in line with the options that differ from those
    /// before. (Setting one anew has effects: it restarts keepalive's clock.)
    pub fn apply_options(
        &mut self,
        before: &SocketOptions,
        defaults: (&tpa_tcp::Config, tpa_tcp::Keepalive),
        now: Instant,
    ) {
        let (tcp, keepalive_times) = defaults;
        let (connection, options) = (&mut self.connection, &self.options);
        if options.nodelay != before.nodelay {
            connection.set_nodelay(options.nodelay);
        }
        if options.cork != before.cork {
            connection.set_cork(options.cork);
        }
        if options.quickack != before.quickack {
            connection.set_quickack(options.quickack);
        }
        let keepalive = |options: &SocketOptions| {
            // Probes that the configuration wants do not end with the program's.
            (options.keepalive || tcp.keepalive.is_some()).then(|| options.keepalive_times(keepalive_times))
        };
        if keepalive(options) != keepalive(before) {
            connection.set_keepalive(keepalive(options), now);
        }
        if options.user_timeout_ms != before.user_timeout_ms {
            connection.set_user_timeout(Duration::from_millis(options.user_timeout_ms.into()));
        }
        if let Some(algorithm) = options.congestion.filter(|_| options.congestion != before.congestion) {
            connection.set_congestion(algorithm);
        }
        if options.max_pacing_rate != before.max_pacing_rate {
            connection.set_pacing(options.max_pacing_rate);
        }
        if let Some(bytes) = options.sndbuf.filter(|_| options.sndbuf != before.sndbuf) {
            connection.set_sndbuf(bytes as usize);
        }
        if let Some(bytes) = options.rcvbuf.filter(|_| options.rcvbuf != before.rcvbuf) {
            connection.set_rcvbuf(bytes as usize);
        }
        if let Some(bytes) = options.rcvlowat.filter(|_| options.rcvlowat != before.rcvlowat) {
            connection.set_rcvlowat(bytes);
        }
        if options.notsent_lowat != before.notsent_lowat {
            let bytes = if options.notsent_lowat == 0 { tcp.notsent_lowat } else { options.notsent_lowat };
            connection.set_notsent_lowat(bytes);
        }
        if options.window_clamp != before.window_clamp {
            connection.set_window_clamp(options.window_clamp as usize);
        }
        if options.syn_retries != before.syn_retries {
            connection.set_syn_retries(options.syn_retries.into());
        }
        if options.linger2 != before.linger2 {
            connection.set_fin_wait2(match options.linger2 {
                0 => tcp.fin_wait2,
                seconds => Duration::from_secs(seconds.max(0) as u64),
            });
        }
    }
}

impl WorkerGuard<'_> {
    /// listen(2) on an address of the device; the unspecified address stands
    /// for all of them.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL` for an address that is not ours, `EADDRINUSE`, `ENFILE`
    /// when the table is full, `EIO` when steering fails.
    pub fn listen(
        &mut self,
        local: SocketAddr,
        backlog: u32,
        options: SocketOptions,
    ) -> Result<Handle, Errno> {
        self.start_listening(local, false, backlog, options)
    }

    /// listen(2) on all addresses of both families: an IPv6 socket without
    /// `IPV6_V6ONLY` (ipv6(7)).
    ///
    /// # Errors
    ///
    /// As [`WorkerGuard::listen`].
    pub fn listen_dual(&mut self, port: u16, backlog: u32, options: SocketOptions) -> Result<Handle, Errno> {
        self.start_listening((Ipv6Addr::UNSPECIFIED, port).into(), true, backlog, options)
    }

    fn start_listening(
        &mut self,
        local: SocketAddr,
        is_dual: bool,
        backlog: u32,
        options: SocketOptions,
    ) -> Result<Handle, Errno> {
        if !self.identity.serves(local.ip().into()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let port = local.port();
        let listener = Listener {
            local,
            is_dual,
            backlog: backlog.min(SOMAXCONN),
            half_open: 0,
            young: 0,
            cookie_sent_at: None,
            queue: VecDeque::new(),
            options,
            watches: Watches::new(),
        };
        if self.is_taken(&listener) {
            return Err(Errno::EADDRINUSE);
        }
        let addresses = listener.addresses();
        let core = &mut *self.core;
        core.steer_listener(&listener)?;
        let handle = core.sockets.insert(Socket::Listener(listener)).ok_or(Errno::ENFILE)?;
        let bound = core.listeners.entry(port).or_default();
        bound.extend(addresses.map(|address| (address, handle.index() as u32)));
        Ok(handle)
    }

    /// A second listen(2): a new backlog.
    ///
    /// # Errors
    ///
    /// `EBADF` unless the handle names a listener.
    pub fn set_backlog(&mut self, handle: Handle, backlog: u32) -> Result<(), Errno> {
        match self.sockets.get_mut(handle) {
            Some(Socket::Listener(listener)) => {
                listener.backlog = backlog.min(SOMAXCONN);
                Ok(())
            }
            _ => Err(Errno::EBADF),
        }
    }

    /// Whether a connection to this address and port finds a listener of ours.
    pub fn is_listened_on(&self, address: SocketAddr) -> bool {
        self.listeners_at(address.ip().into(), address.port()).next().is_some()
    }

    /// accept(2): the next connection that waits.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when none waits, `EBADF`/`EINVAL` when the handle is no listener.
    pub fn accept(&mut self, listener: Handle) -> Result<Handle, Errno> {
        let handle = match self.sockets.get_mut(listener) {
            Some(Socket::Listener(listener)) => listener.queue.pop_front().ok_or(Errno::EAGAIN)?,
            Some(Socket::Stream(_)) => return Err(Errno::EINVAL),
            None => return Err(Errno::EBADF),
        };
        if let Some(Socket::Stream(stream)) = self.sockets.get_mut(handle) {
            stream.owner = Owner::Program;
        }
        self.counters.connections_accepted.add(1);
        Ok(handle)
    }

    /// Connections that wait in a listener for accept(2).
    ///
    /// # Errors
    ///
    /// `EBADF` unless the handle names a listener.
    pub fn waiting(&self, listener: Handle) -> Result<usize, Errno> {
        match self.sockets.get(listener) {
            Some(Socket::Listener(listener)) => Ok(listener.queue.len()),
            _ => Err(Errno::EBADF),
        }
    }

    /// connect(2) without waiting: sends the SYN.
    ///
    /// # Errors
    ///
    /// `ENETUNREACH` without a path over the device, `EADDRNOTAVAIL` without a
    /// local address or port, `EADDRINUSE`, `ENFILE`.
    pub fn connect(
        &mut self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<Handle, Errno> {
        let path = self
            .identity
            .path_to(remote.ip().into())
            .map_err(|error| error.raw_os_error().map_or(Errno::ENETUNREACH, Errno::from_raw))?;
        let bound = local.map_or(path.source.unspecified(), |local| local.ip().into());
        let source = if bound.is_unspecified() { path.source } else { bound };
        let is_ours = if path.loops { self.identity.loops(source) } else { self.identity.owns(source) };
        if !is_ours || !source.is_like(path.source) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let wanted = local.map_or(0, |local| local.port());
        let port = if path.loops {
            self.take_looped_port(source, wanted, remote)?
        } else {
            self.take_port(source, wanted, remote)?
        };
        let holds_port = wanted == 0 || !path.loops;
        let key = FlowKey::new(source, port, remote.ip().into(), remote.port());
        let now = self.now();
        let mut params = self.params(key);
        params.mss = options.limit_mss(params.mss);
        let stream = Stream {
            connection: Connection::connect(&self.tcp, params, now),
            flow: key,
            next_hop: path.next_hop,
            peer_mac: path.loops.then_some(self.identity.mac),
            owner: Owner::Program,
            dirty: false,
            timer_at: None,
            active: true,
            holds_port,
            loops: path.loops,
            established: false,
            ident: params.isn.0 as u16,
            options,
            watches: Watches::new(),
        };
        let Some(index) = self.insert_stream(stream, key) else {
            if holds_port {
                self.ports.release(port, now);
            }
            return Err(Errno::ENFILE);
        };
        self.settle(index);
        self.transmit();
        self.sockets.handle_at(index).ok_or(Errno::ENFILE)
    }

    /// The local port of a connection: the program's choice, or a free one of
    /// the worker's blocks.
    fn take_port(&mut self, source: IpAddress, wanted: u16, remote: SocketAddr) -> Result<u16, Errno> {
        let core = &mut *self.core;
        let (flows, half_open, time_wait) = (&core.flows, &core.half_open, &core.time_wait);
        let in_use = |port| {
            let key = FlowKey::new(source, port, remote.ip().into(), remote.port());
            flows.contains_key(&key) || half_open.contains(key) || time_wait.contains(key)
        };
        let steering = core.identity.steering.as_deref();
        if wanted == 0 {
            core.ports.allocate(steering, in_use).map_err(|_| Errno::EADDRNOTAVAIL)
        } else if in_use(wanted) {
            Err(Errno::EADDRNOTAVAIL)
        } else {
            core.ports.claim(wanted, steering).map_err(|_| Errno::EADDRINUSE)?;
            Ok(wanted)
        }
    }

    /// The same for a connection to ourselves. A port that the program has bound
    /// is its own already. TIME-WAIT at either end keeps nobody away: nothing of
    /// the old connection can still be on its way (RFC 9293 3.6.1).
    fn take_looped_port(&mut self, source: IpAddress, wanted: u16, remote: SocketAddr) -> Result<u16, Errno> {
        let core = &mut *self.core;
        let (flows, half_open) = (&core.flows, &core.half_open);
        let both_ends = |port| {
            let (remote_ip, remote_port) = (remote.ip().into(), remote.port());
            [
                FlowKey::new(source, port, remote_ip, remote_port),
                FlowKey::new(remote_ip, remote_port, source, port),
            ]
        };
        let in_use = |port| {
            let [near, far] = both_ends(port);
            near == far || [near, far].iter().any(|key| flows.contains_key(key) || half_open.contains(*key))
        };
        let port = if wanted == 0 {
            let steering = core.identity.steering.as_deref();
            core.ports.allocate(steering, in_use).map_err(|_| Errno::EADDRNOTAVAIL)?
        } else if in_use(wanted) {
            return Err(Errno::EADDRNOTAVAIL);
        } else {
            wanted
        };
        both_ends(port).into_iter().for_each(|key| core.forget_rest(key));
        Ok(port)
    }

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

    /// The socket's options.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn options(&self, handle: Handle) -> Result<&SocketOptions, Errno> {
        match self.sockets.get(handle) {
            Some(Socket::Listener(listener)) => Ok(&listener.options),
            Some(Socket::Stream(stream)) => Ok(&stream.options),
            None => Err(Errno::EBADF),
        }
    }

    /// When and how often a silent peer is probed.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn keepalive_times(&self, handle: Handle) -> Result<tpa_tcp::Keepalive, Errno> {
        self.options(handle).map(|options| options.keepalive_times(self.settings.keepalive))
    }

    /// Changes options and acts upon the change.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn set_options(
        &mut self,
        handle: Handle,
        change: impl FnOnce(&mut SocketOptions),
    ) -> Result<(), Errno> {
        let now = self.now();
        let (tcp, keepalive) = (Arc::clone(&self.tcp), self.settings.keepalive);
        match self.sockets.get_mut(handle) {
            Some(Socket::Listener(listener)) => change(&mut listener.options),
            Some(Socket::Stream(stream)) => {
                let before = stream.options.clone();
                change(&mut stream.options);
                stream.apply_options(&before, (&tcp, keepalive), now);
                self.settle(handle.index() as u32);
                self.transmit();
            }
            None => return Err(Errno::EBADF),
        }
        Ok(())
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

    /// `EPOLL_CTL_ADD` of a socket under the number `fd`.
    ///
    /// # Errors
    ///
    /// `EEXIST`, `EBADF`.
    pub fn watch(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let core = &mut *self.core;
        let socket = core.sockets.get_mut(handle).ok_or(Errno::EBADF)?;
        let ready = readiness::of_socket(socket);
        core.interest.add(set, fd, handle, (events, data), socket.watches_mut(), ready)?;
        core.stirred |= ready != 0;
        Ok(())
    }

    /// `EPOLL_CTL_MOD`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EBADF`.
    pub fn rewatch(
        &mut self,
        set: SetId,
        fd: RawFd,
        handle: Handle,
        events: u32,
        data: u64,
    ) -> Result<(), Errno> {
        let core = &mut *self.core;
        let ready = readiness::of_socket(core.sockets.get(handle).ok_or(Errno::EBADF)?);
        core.stirred |= ready != 0;
        core.interest.modify(set, fd, handle, (events, data), ready)
    }

    /// `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EBADF`.
    pub fn unwatch(&mut self, set: SetId, fd: RawFd, handle: Handle) -> Result<(), Errno> {
        let core = &mut *self.core;
        let socket = core.sockets.get_mut(handle).ok_or(Errno::EBADF)?;
        core.interest.remove(set, fd, handle, socket.watches_mut())
    }

    /// Takes ready events of a set into `out`; returns their number.
    #[inline]
    pub fn harvest(&mut self, set: SetId, out: &mut [libc::epoll_event]) -> usize {
        let core = &mut *self.core;
        if !core.interest.has_ready(set) {
            return 0;
        }
        let sockets = &core.sockets;
        core.interest.harvest(set, out, |handle| sockets.get(handle).map_or(0, readiness::of_socket))
    }

    /// Whether [`WorkerGuard::harvest`] would take anything, and how often something
    /// has become ready so far: a set inside of another set.
    pub fn peek_set(&mut self, set: SetId) -> Option<u64> {
        let core = &mut *self.core;
        let sockets = &core.sockets;
        core.interest.peek(set, |handle| sockets.get(handle).map_or(0, readiness::of_socket))
    }

    /// The event set is closed.
    pub fn drop_set(&mut self, set: SetId) {
        for (handle, index) in self.core.interest.drop_set(set) {
            if let Some(socket) = self.core.sockets.get_mut(handle) {
                socket.watches_mut().retain(|entry| *entry != (set, index));
            }
        }
    }
}
