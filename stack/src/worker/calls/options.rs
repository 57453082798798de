//! Options, and what a change of them does to the connection.

use std::sync::Arc;

use nix::errno::Errno;
use tpa_tcp::{Duration, Instant};

use crate::handle::Handle;
use crate::options::SocketOptions;
use crate::worker::WorkerGuard;
use crate::worker::socket::{Socket, Stream};

impl WorkerGuard<'_> {
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
