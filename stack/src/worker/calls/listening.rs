//! listen(2) and accept(2).

use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};

use nix::errno::Errno;

use crate::handle::Handle;
use crate::options::SocketOptions;
use crate::worker::WorkerGuard;
use crate::worker::core::Core;
use crate::worker::interest::Watches;
use crate::worker::socket::{Listener, Owner, Socket};

/// Linux's `net.core.somaxconn`, the upper bound of a backlog.
const SOMAXCONN: u32 = 4096;

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
    pub(super) fn unsteer_listener(&self, listener: &Listener) {
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
