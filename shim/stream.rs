//! A connection of the stack behind a descriptor number: connect, shutdown,
//! addresses, close.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tpa_stack::config::Reason;
use tpa_stack::{ConnectState, Handle, Purpose, Queued, Stack, Worker};

use crate::address::{self, Given};
use crate::boundary::check;
use crate::start::{self, Settings};
use crate::table::{self, Flag, Slot};
use crate::wait::{self, Patience};
use crate::{cold, descriptor, event_set, options, pending, real};

/// A connection and the number by which the program names it.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// The number.
    pub fd: RawFd,
    /// The stack's name for the connection.
    pub handle: Handle,
}

impl Stream {
    /// The worker that owns the connection. `EBADF` when the stack is gone:
    /// the process ends.
    #[inline]
    pub fn worker(&self) -> Result<&'static Worker, Errno> {
        Stack::get().map(|stack| stack.worker(self.handle)).ok_or(Errno::EBADF)
    }

    /// Whether calls on it must not wait.
    #[inline]
    pub fn is_nonblocking(&self) -> bool {
        table::flag(self.fd, Flag::NONBLOCK)
    }

    /// connect(2) on a socket that has been connected, or tries.
    ///
    /// # Errors
    ///
    /// `EALREADY`, `EISCONN`, or why the attempt failed; the socket can then be
    /// connected anew, as on Linux.
    pub fn connect_again(&self, given: Given) -> Result<usize, Errno> {
        if given == Given::Unspecified {
            self.disconnect();
            return Ok(0);
        }
        // Until it is disconnected it stays a connected one, whatever became of it
        // (`SS_CONNECTED`).
        if !table::flag(self.fd, Flag::CONNECTING) {
            return Err(Errno::EISCONN);
        }
        let state = self.worker()?.lock().connect_state(self.handle);
        match state {
            ConnectState::Connecting if self.is_nonblocking() => Err(Errno::EALREADY),
            ConnectState::Connecting | ConnectState::Failed => self.await_connection(Errno::EALREADY),
            ConnectState::Connected => {
                table::set_flag_shared(self.fd, Flag::CONNECTING, false);
                Ok(0)
            }
            ConnectState::Closed => {
                self.disconnect();
                Err(Errno::ECONNABORTED)
            }
        }
    }

    /// Waits until the connection stands or has failed; `late` is what the call
    /// fails with when `SO_SNDTIMEO` ends the wait.
    fn await_connection(&self, late: Errno) -> Result<usize, Errno> {
        let patience = Patience::for_socket(cold::of(*self).send_timeout);
        let connected =
            wait::until(self.worker()?, &patience, |guard| match guard.connect_state(self.handle) {
                ConnectState::Connecting => Err(Errno::EAGAIN),
                ConnectState::Connected => Ok(()),
                ConnectState::Failed => Err(Errno::from_raw(guard.take_error(self.handle))),
                ConnectState::Closed => Err(Errno::ECONNABORTED),
            });
        match connected {
            Ok(()) => {
                table::set_flag_shared(self.fd, Flag::CONNECTING, false);
                Ok(0)
            }
            // The attempt goes on (connect(2): EINTR; socket(7): SO_SNDTIMEO).
            Err(Errno::EAGAIN) => Err(late),
            Err(errno @ (Errno::EINTR | Errno::ECANCELED)) => Err(errno),
            Err(errno) => {
                self.disconnect();
                Err(errno)
            }
        }
    }

    /// The socket is the kernel's unconnected one again. What of the connection
    /// still stands is reset (`tcp_disconnect`).
    fn disconnect(&self) {
        let slot = Slot::stream(self.handle);
        let fresh = Slot::kernel_with(Slot::FRESH | Slot::OPTIONED).marked();
        for fd in table::numbers_like(self.fd, slot) {
            table::set_flag(fd, Flag::CONNECTING, false);
            table::replace(fd, slot, fresh);
        }
        if let Ok(worker) = self.worker() {
            // A handle without a socket has nothing to reset.
            let _ = worker.lock().set_options(self.handle, |options| options.linger = Some(0));
        }
        self.release();
    }

    /// close(2) of the program's last number. With `SO_LINGER` it waits until the
    /// peer has everything, for so long at most (socket(7)), on a non-blocking socket
    /// too.
    pub fn close(&self) {
        if let Some(time) = self.linger_time() {
            self.linger(time);
        }
        self.release();
    }

    /// How long a close is to wait; `None`: not at all, as when bytes were never
    /// read and the connection is reset.
    fn linger_time(&self) -> Option<Duration> {
        let guard = self.worker().ok()?.lock();
        let seconds = guard.options(self.handle).ok()?.linger.filter(|&seconds| seconds > 0)?;
        (guard.queued(self.handle).receive == 0).then(|| Duration::from_secs(seconds.into()))
    }

    fn linger(&self, time: Duration) {
        /// The moment at which the peer has everything wakes no sleeper.
        const PART: Duration = Duration::from_millis(5);
        let Ok(worker) = self.worker() else { return };
        if worker.lock().shutdown(self.handle, false, true).is_err() {
            return;
        }
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let patience = Patience::for_events(Some(left.min(PART)), std::ptr::null());
            let ended = wait::until(worker, &patience, |guard| match guard.has_unacknowledged(self.handle) {
                true => Err(Errno::EAGAIN),
                false => Ok(()),
            });
            if ended != Err(Errno::EAGAIN) || left.is_zero() {
                return;
            }
        }
    }

    /// The program's last number of the connection is gone: TCP ends it.
    pub fn release(&self) {
        cold::forget(self.handle);
        if let Ok(worker) = self.worker() {
            worker.lock().close(self.handle);
        }
    }

    /// The same for a caller that may hold the worker's lock: at its next round.
    pub fn release_later(&self) {
        cold::forget(self.handle);
        if let Ok(worker) = self.worker() {
            worker.close_later(self.handle);
        }
    }

    /// shutdown(2).
    ///
    /// # Errors
    ///
    /// `EINVAL` for an unknown `how`, and the stack's.
    pub fn shutdown(&self, how: i32) -> Result<usize, Errno> {
        let (read, write) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        if self.worker()?.lock().connect_state(self.handle) == ConnectState::Connecting {
            // `inet_shutdown`: an attempt ends as if it had never begun.
            self.disconnect();
            return Ok(0);
        }
        self.worker()?.lock().shutdown(self.handle, read, write).map(|()| 0)
    }

    /// getsockname(2).
    ///
    /// # Errors
    ///
    /// The stack's.
    pub fn local_address(&self) -> Result<SocketAddr, Errno> {
        self.worker()?.lock().local_addr(self.handle)
    }

    /// getpeername(2).
    ///
    /// # Errors
    ///
    /// `ENOTCONN`.
    pub fn peer_address(&self) -> Result<SocketAddr, Errno> {
        self.worker()?.lock().peer_addr(self.handle)
    }

    /// Bytes in the queues.
    ///
    /// # Errors
    ///
    /// `EBADF` when the stack is gone.
    pub fn queued(&self) -> Result<Queued, Errno> {
        Ok(self.worker()?.lock().queued(self.handle))
    }

    /// Whether it is an `AF_INET6` socket, whatever the connection goes over.
    pub fn is_ipv6(&self) -> bool {
        table::flag(self.fd, Flag::IPV6)
    }
}

/// connect(2) on a kernel socket. `None`: it is, and stays, the kernel's to
/// connect.
pub fn connect(fd: RawFd, given: Given) -> Option<Result<usize, Errno>> {
    let settings = start::settings();
    let result = settings.and_then(|settings| attempt(fd, settings, given));
    // With loopback a socket that the kernel refuses may find a listener of ours
    // the next time.
    if result.is_none() && !settings.is_some_and(Settings::has_loopback) {
        descriptor::forget_facts(fd);
    }
    result
}

fn attempt(fd: RawFd, settings: &Settings, given: Given) -> Option<Result<usize, Errno>> {
    let Given::Ip(remote) = given else { return None };
    // A socket is decided about once: not while the kernel connects it, or after.
    if !table::covers(fd) || !takes(fd, remote) {
        return None;
    }
    let may_be_connected = settings.has_loopback() || !table::slot(fd).has(Slot::FRESH);
    if may_be_connected && !options::is_unconnected(fd) {
        return None;
    }
    let canonical = destination(fd, settings, remote);
    if !settings.wants_connection(canonical) {
        return None;
    }
    match open(fd, settings, canonical, remote.is_ipv6()) {
        Ok(Some(stream)) if stream.is_nonblocking() => Some(Err(Errno::EINPROGRESS)),
        Ok(Some(stream)) => Some(stream.await_connection(Errno::EINPROGRESS)),
        Ok(None) => None,
        Err(errno) => Some(Err(errno)),
    }
}

/// Where a connection to an address goes: to the unspecified one means to
/// oneself, at the address that the socket is bound to (`ip_route_connect`).
fn destination(fd: RawFd, settings: &Settings, remote: SocketAddr) -> SocketAddr {
    let canonical = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    if !settings.has_loopback() || !canonical.ip().is_unspecified() {
        return canonical;
    }
    let bound = address::of_kernel_socket(fd).map(|local| local.ip().to_canonical());
    let ip = bound.filter(|ip| !ip.is_unspecified()).unwrap_or(match canonical.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    });
    SocketAddr::new(ip, remote.port())
}

/// The stack that a connection runs on. `None`: the kernel serves, as it does
/// where a connection to ourselves finds no listener of ours: another process
/// may listen there.
fn stack_for(settings: &Settings, remote: SocketAddr) -> Result<Option<&'static Stack>, Errno> {
    let finds_nobody =
        |stack: &Stack| stack.loops(remote.ip()) && !stack.home().lock().is_listened_on(remote);
    if settings.has_loopback() && Stack::get().is_none_or(finds_nobody) {
        let is_meant = |local: SocketAddr| local.port() == remote.port();
        pending::promote_all(|fd| address::of_listener(fd).is_some_and(is_meant))?;
    }
    if Stack::get().is_none() && remote.ip().is_loopback() {
        settings.settle(Purpose::Connect(remote), Reason::NotToItself);
        return Ok(None);
    }
    let without = || settings.settle(Purpose::Connect(remote), start::why_none());
    let Some(stack) = start::stack(Purpose::Connect(remote)).inspect_err(|_| without())? else {
        without();
        return Ok(None);
    };
    let kernels = match stack.owns(remote.ip()) && !settings.has_loopback() {
        true => Some(Reason::Loopback),
        false => finds_nobody(stack).then_some(Reason::NotToItself),
    };
    if let Some(reason) = kernels {
        settings.settle(Purpose::Connect(remote), reason);
        return Ok(None);
    }
    Ok(Some(stack))
}

/// Whether it is a TCP socket that may connect to such an address; if not, the
/// kernel knows the error.
fn takes(fd: RawFd, remote: SocketAddr) -> bool {
    let domain = if remote.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let is_mapped = remote.is_ipv6() && remote.ip().to_canonical().is_ipv4();
    options::is_tcp(fd)
        && options::kernel_int(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) == Some(domain)
        && !(is_mapped && address::is_v6_only(fd))
}

/// Moves a kernel socket to the stack, which sends the SYN.
fn open(fd: RawFd, settings: &Settings, remote: SocketAddr, ipv6: bool) -> Result<Option<Stream>, Errno> {
    let decline = |reason, errno| settings.decline(Purpose::Connect(remote), reason, errno).map(|()| None);
    let Some(stack) = stack_for(settings, remote)? else { return Ok(None) };
    if !stack.reaches(remote.ip()) {
        return decline(Reason::NoPath, Errno::ENETUNREACH);
    }
    if !stack.loops(remote.ip()) && !stack.has_all_queues() {
        return settings.decline_connections(remote);
    }
    let before = table::slot(fd);
    let socket_options = options::of_kernel_socket(fd, before);
    let local = address::of_kernel_socket(fd).filter(|local| local.port() != 0);
    let numbers = table::numbers_like(fd, before);
    numbers.iter().try_for_each(|&number| adopt_flags(number, ipv6))?;
    let opened = stack.home().lock().connect(local, remote, socket_options);
    let handle = match opened {
        Ok(handle) => handle,
        Err(errno) => return decline(Reason::Refused, errno),
    };
    let stream = Stream { fd, handle };
    for number in numbers {
        table::set_flag(number, Flag::CONNECTING, true);
        table::set_flag(number, Flag::SHARED, before.is_marked());
        table::set(number, Slot::stream(handle));
        event_set::move_stream(Stream { fd: number, handle }, before);
    }
    if !options::is_untouched(before) {
        adopt_read_backs(stream, false);
    }
    settings.settle(Purpose::Connect(remote), Reason::Accelerated);
    Ok(Some(stream))
}

/// Takes over what the number's kernel socket is set to.
pub fn adopt_flags(fd: RawFd, ipv6: bool) -> Result<(), Errno> {
    // SAFETY: F_GETFL only asks.
    let status = check(unsafe { real::fcntl(fd, libc::F_GETFL, 0) })?;
    table::clear_flags(fd);
    table::set_flag(fd, Flag::NONBLOCK, status & libc::O_NONBLOCK != 0);
    table::set_flag(fd, Flag::IPV6, ipv6);
    Ok(())
}

/// Takes over the options that only have to be read back or kept by the shim,
/// of a connection or of what `listens`.
pub fn adopt_read_backs(stream: Stream, listens: bool) {
    for (option, flag) in [(libc::SO_REUSEADDR, Flag::REUSE_ADDRESS), (libc::SO_REUSEPORT, Flag::REUSE_PORT)]
    {
        let on = options::kernel_int(stream.fd, libc::SOL_SOCKET, option) == Some(1);
        table::set_flag_shared(stream.fd, flag, on);
    }
    cold::adopt(stream, listens);
}
