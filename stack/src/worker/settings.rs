//! Settings of a worker that are no connection's own.

/// What the configuration says of listeners and of what connections leave
/// behind.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// SYN cookies are sent when a SYN queue is full.
    pub syn_cookies: bool,
    /// Connections in TIME-WAIT that no program holds, at most.
    pub time_wait_max: usize,
    /// Times of keepalive probes, where such are sent and the program has set none.
    pub keepalive: tpa_tcp::Keepalive,
}

impl Default for Settings {
    /// Linux's `tcp_syncookies`, and `tcp_max_tw_buckets` of a machine with
    /// some GiB of memory.
    fn default() -> Self {
        Self { syn_cookies: true, time_wait_max: 65_536, keepalive: tpa_tcp::Keepalive::default() }
    }
}
