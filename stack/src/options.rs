//! Socket options that the stack acts upon, with Linux's defaults.

use tpa_tcp::CongestionAlgorithm;

/// Options of one socket; see socket(7) and tcp(7) for their meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOptions {
    /// `TCP_NODELAY`: send small segments at once (no Nagle).
    pub nodelay: bool,
    /// `TCP_CORK`: hold back partial segments.
    pub cork: bool,
    /// `TCP_QUICKACK`: acknowledge at once.
    pub quickack: bool,
    /// `SO_KEEPALIVE`.
    pub keepalive: bool,
    /// `TCP_KEEPIDLE`, seconds.
    pub keep_idle: u32,
    /// `TCP_KEEPINTVL`, seconds.
    pub keep_intvl: u32,
    /// `TCP_KEEPCNT`, probes.
    pub keep_cnt: u32,
    /// `TCP_USER_TIMEOUT`, milliseconds; 0 is the system's default.
    pub user_timeout_ms: u32,
    /// `SO_SNDBUF` in bytes as the kernel would report it (doubled).
    pub sndbuf: Option<u32>,
    /// `SO_RCVBUF` in bytes as the kernel would report it (doubled).
    pub rcvbuf: Option<u32>,
    /// `SO_LINGER`: seconds, when on.
    pub linger: Option<u16>,
    /// `TCP_CONGESTION`; `None` is the configuration's.
    pub congestion: Option<CongestionAlgorithm>,
    /// `SO_MAX_PACING_RATE` in bytes a second; `None` is no limit.
    pub max_pacing_rate: Option<u64>,
    /// `IP_TOS`: differentiated services, without the ECN bits.
    pub tos: u8,
    /// `IP_TTL`.
    pub ttl: u8,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: false,
            cork: false,
            quickack: true,
            keepalive: false,
            keep_idle: 7200,
            keep_intvl: 75,
            keep_cnt: 9,
            user_timeout_ms: 0,
            sndbuf: None,
            rcvbuf: None,
            linger: None,
            congestion: None,
            max_pacing_rate: None,
            tos: 0,
            ttl: 64,
        }
    }
}
