//! connect(2), and the local port that it takes.

use std::net::SocketAddr;

use nix::errno::Errno;
use tpa_tcp::Connection;
use tpa_tcp::wire::IpAddress;

use crate::handle::Handle;
use crate::options::SocketOptions;
use crate::worker::WorkerGuard;
use crate::worker::interest::Watches;
use crate::worker::socket::{FlowKey, Owner, Stream};

impl WorkerGuard<'_> {
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
}
