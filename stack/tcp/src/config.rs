//! Every knob of a connection, with Linux's default where a program or a peer
//! could notice.

use std::sync::Arc;

use crate::memory::Memory;
use crate::time::Duration;

/// Which congestion controller a connection starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CongestionAlgorithm {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// NewReno: slow start and congestion avoidance of RFC 5681.
    NewReno,
    /// DCTCP (RFC 8257), for networks of one hand whose switches mark.
    Dctcp,
}

impl CongestionAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cubic, Self::NewReno, Self::Dctcp];

    /// Linux's name (`TCP_CONGESTION`, tcp(7)).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
            Self::Dctcp => "dctcp",
        }
    }

    /// The one that Linux calls `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// What a connection does about explicit congestion notification (RFC 3168).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EcnMode {
    /// Nothing.
    Off,
    /// Takes it up when the peer asks (Linux's `tcp_ecn` 2, its default).
    #[default]
    Accept,
    /// Asks for it, too (Linux's `tcp_ecn` 1).
    On,
}

/// Whether a connection finds out by itself what its path takes (RFC 4821;
/// Linux `tcp_mtu_probing`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MtuProbing {
    /// Never: only what the network reports counts (0).
    Off,
    /// When full segments vanish without a report (1).
    #[default]
    BlackHole,
    /// From the start (2).
    Always,
}

/// Keepalive probing (RFC 9293 3.8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which the first probe goes out (`TCP_KEEPIDLE`).
    pub idle: Duration,
    /// Time between probes (`TCP_KEEPINTVL`).
    pub interval: Duration,
    /// Unanswered probes after which the connection is dead (`TCP_KEEPCNT`).
    pub count: u32,
}

impl Default for Keepalive {
    /// Linux's `tcp_keepalive_time`, `tcp_keepalive_intvl`, `tcp_keepalive_probes`.
    fn default() -> Self {
        Self { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), count: 9 }
    }
}

/// Settings that connections share.
#[derive(Debug, Clone)]
pub struct Config {
    /// Retransmission timeout before the first RTT sample (RFC 6298 2.1): 1 s.
    pub rto_initial: Duration,
    /// Smallest retransmission timeout (Linux `TCP_RTO_MIN`): 200 ms.
    pub rto_min: Duration,
    /// Largest retransmission timeout (Linux `TCP_RTO_MAX`): 120 s.
    pub rto_max: Duration,
    /// Longest delay of an acknowledgement (Linux `TCP_DELACK_MIN`): 40 ms.
    pub delayed_ack: Duration,
    /// Probe for lost tails instead of waiting for the timeout (RFC 8985 7).
    pub tail_loss_probe: bool,
    /// Longest delay of an acknowledgement that a peer is credited with (RFC
    /// 8985 TLP.max_ack_delay; Linux takes `TCP_RTO_MIN`): 200 ms.
    pub max_ack_delay: Duration,
    /// Initial congestion window in segments (RFC 6928): 10.
    pub initial_window: u32,
    /// Controller of new connections.
    pub congestion: CongestionAlgorithm,
    /// Spread what is sent over the round trip instead of sending bursts (off).
    pub pacing: bool,
    /// Explicit congestion notification; DCTCP asks for it whatever this says.
    pub ecn: EcnMode,
    /// SYN retransmissions before an active open fails (`tcp_syn_retries`): 6.
    pub syn_retries: u32,
    /// SYN-ACK retransmissions before a passive open fails
    /// (`tcp_synack_retries`): 5.
    pub synack_retries: u32,
    /// Retransmissions of data before the connection fails (`tcp_retries2`): 15.
    /// Like Linux, counted as the time that so many doublings of
    /// [`Config::rto_min`] take: about 924 s.
    pub data_retries: u32,
    /// The same once no program holds the connection any more
    /// (`tcp_orphan_retries`): 8.
    pub orphan_retries: u32,
    /// Send buffer of a new connection, in bytes: 256 KiB.
    pub sndbuf: usize,
    /// Size up to which the send buffer grows with the congestion window
    /// (`tcp_wmem[2]`), in bytes: 4 MiB.
    pub sndbuf_max: usize,
    /// Unsent bytes from which on a connection takes no more
    /// (`tcp_notsent_lowat`), in bytes; `u32::MAX`, Linux's default: no limit.
    pub notsent_lowat: u32,
    /// Receive buffer of a new connection (`tcp_rmem[1]`), in bytes: 128 KiB.
    pub rcvbuf: usize,
    /// Size up to which the receive buffer grows with what the program reads
    /// in a round trip; decides the window scale (`tcp_rmem[2]`), in bytes: 6 MiB.
    pub rcvbuf_max: usize,
    /// Memory that connections with this configuration, or clones of it, share
    /// for their buffers: no limit.
    pub memory: Arc<Memory>,
    /// Out-of-order segments that a connection holds at most: 1024. Their
    /// memory is bounded by the receive buffer.
    pub reassembly_segments: usize,
    /// Keepalive of new connections; `None`, Linux's default, sends no probes.
    pub keepalive: Option<Keepalive>,
    /// Time that unacknowledged data may stay so (`TCP_USER_TIMEOUT`, RFC
    /// 5482); zero leaves it to [`Config::data_retries`].
    pub user_timeout: Duration,
    /// How long TIME-WAIT lasts (Linux `TCP_TIMEWAIT_LEN`): 60 s.
    pub time_wait: Duration,
    /// How long an orphan stays in FIN-WAIT-2 (`tcp_fin_timeout`): 60 s.
    pub fin_wait2: Duration,
    /// Least time between two challenge ACKs of a connection (RFC 5961 7,
    /// Linux `tcp_invalid_ratelimit`): 500 ms.
    pub challenge_interval: Duration,
    /// Silence after which an idle connection gives its buffers back: 1 s.
    pub idle_release: Duration,
    /// Search for the path's MTU.
    pub mtu_probing: MtuProbing,
    /// Offer and accept timestamps (RFC 7323).
    pub timestamps: bool,
    /// Offer and accept selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and accept window scaling (RFC 7323).
    pub window_scaling: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(120),
            delayed_ack: Duration::from_millis(40),
            tail_loss_probe: true,
            max_ack_delay: Duration::from_millis(200),
            initial_window: 10,
            congestion: CongestionAlgorithm::Cubic,
            pacing: false,
            ecn: EcnMode::Accept,
            syn_retries: 6,
            synack_retries: 5,
            data_retries: 15,
            orphan_retries: 8,
            sndbuf: 256 * 1024,
            sndbuf_max: 4 * 1024 * 1024,
            notsent_lowat: u32::MAX,
            rcvbuf: 128 * 1024,
            rcvbuf_max: 6 * 1024 * 1024,
            memory: Arc::default(),
            reassembly_segments: 1024,
            keepalive: None,
            user_timeout: Duration::ZERO,
            time_wait: Duration::from_secs(60),
            fin_wait2: Duration::from_secs(60),
            challenge_interval: Duration::from_millis(500),
            idle_release: Duration::from_secs(1),
            mtu_probing: MtuProbing::BlackHole,
            timestamps: true,
            sack: true,
            window_scaling: true,
        }
    }
}

impl Config {
    /// The shift to offer: the smallest that expresses [`Config::rcvbuf_max`]
    /// in 16 bits, at most 14 (RFC 7323 2.3).
    pub fn window_shift(&self) -> u8 {
        let largest = self.rcvbuf_max.max(self.rcvbuf);
        (0..14).find(|&shift| largest <= 0xffff << shift).unwrap_or(14)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offered_shift_expresses_the_largest_buffer() {
        let mut config = Config::default();
        assert_eq!(config.window_shift(), 7);
        (config.rcvbuf, config.rcvbuf_max) = (65_535, 65_535);
        assert_eq!(config.window_shift(), 0);
        config.rcvbuf_max = usize::MAX;
        assert_eq!(config.window_shift(), 14);
    }
}
