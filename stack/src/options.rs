//! Socket options that the stack acts upon, with Linux's defaults.

use tpa_tcp::wire::IpAddress;
use tpa_tcp::{CongestionAlgorithm, Duration, Keepalive};

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
    /// `TCP_KEEPIDLE`, seconds; 0 is the configuration's.
    pub keep_idle: u32,
    /// `TCP_KEEPINTVL`, seconds; 0 is the configuration's.
    pub keep_intvl: u32,
    /// `TCP_KEEPCNT`, probes; 0 is the configuration's.
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
    /// `IPV6_TCLASS`: the same for connections over IPv6.
    pub traffic_class: u8,
    /// `IPV6_UNICAST_HOPS`.
    pub hop_limit: u8,
    /// `SO_REUSEPORT`: other listeners that have it too may share the address.
    pub reuse_port: bool,
    /// `SO_RCVLOWAT` in bytes; `None`: 1.
    pub rcvlowat: Option<u32>,
    /// `TCP_NOTSENT_LOWAT` in bytes; 0 is the configuration's.
    pub notsent_lowat: u32,
    /// `TCP_WINDOW_CLAMP` in bytes; 0 is none.
    pub window_clamp: u32,
    /// `TCP_MAXSEG` in bytes; 0 is what the path takes. Counts before the
    /// connection is opened.
    pub maxseg: u16,
    /// `TCP_SYNCNT`; 0 is the configuration's.
    pub syn_retries: u8,
    /// `TCP_LINGER2` in seconds: 0 is the configuration's, below 0 a reset
    /// instead of FIN-WAIT-2.
    pub linger2: i32,
}

impl SocketOptions {
    /// The largest segment of a connection over a path that takes `mss` bytes.
    pub fn limit_mss(&self, mss: u16) -> u16 {
        if self.maxseg == 0 { mss } else { mss.min(self.maxseg) }
    }

    /// Differentiated services and the number of hops of packets to `peer`.
    pub fn services(&self, peer: IpAddress) -> (u8, u8) {
        if peer.is_v4() { (self.tos, self.ttl) } else { (self.traffic_class, self.hop_limit) }
    }

    /// When and how often a silent peer is probed, with `default` for what the
    /// program has not set.
    pub fn keepalive_times(&self, default: Keepalive) -> Keepalive {
        let seconds = |set: u32, default| if set == 0 { default } else { Duration::from_secs(set.into()) };
        Keepalive {
            idle: seconds(self.keep_idle, default.idle),
            interval: seconds(self.keep_intvl, default.interval),
            count: if self.keep_cnt == 0 { default.count } else { self.keep_cnt },
        }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: false,
            cork: false,
            quickack: true,
            keepalive: false,
            keep_idle: 0,
            keep_intvl: 0,
            keep_cnt: 0,
            user_timeout_ms: 0,
            sndbuf: None,
            rcvbuf: None,
            linger: None,
            congestion: None,
            max_pacing_rate: None,
            tos: 0,
            ttl: 64,
            traffic_class: 0,
            hop_limit: 64,
            reuse_port: false,
            rcvlowat: None,
            notsent_lowat: 0,
            window_clamp: 0,
            maxseg: 0,
            syn_retries: 0,
            linger2: 0,
        }
    }
}
