//! The tables of `tpa.conf` below its top level.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::within::within;
use super::{ConnectPattern, ListenPattern, Preset, ProgramPattern, Queues};

/// A `[[rule]]`: what it names and what becomes of that.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Programs that the rule holds for; empty: any.
    pub programs: Vec<ProgramPattern>,
    /// Local addresses and ports of listeners.
    pub listen: Vec<ListenPattern>,
    /// Remote addresses and ports of connections.
    pub connect: Vec<ConnectPattern>,
    /// What becomes of the sockets that the rule names.
    pub action: RuleAction,
}

/// What becomes of the sockets that a rule names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// They run on the stack.
    #[default]
    Accelerate,
    /// They stay with the kernel.
    Kernel,
}

/// `[memif]`: shared memory with one other process of this host. Used with
/// `device = "memif"`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memif {
    /// Path of the Unix socket through which the two processes meet.
    pub socket: PathBuf,
    /// Which of the two this process is.
    pub role: MemifRole,
    /// Number of the interface; both ends name the same.
    pub id: u32,
    /// Secret that both ends must name, at most 24 bytes.
    pub secret: Option<String>,
    /// Bytes per packet buffer: the largest frame.
    #[serde(deserialize_with = "within::<_, _, 2048, 65535>")]
    pub buffer_size: u32,
    /// Descriptors per ring; a power of two.
    #[serde(deserialize_with = "within::<_, _, 64, 16384>")]
    pub ring_size: u32,
    /// How long the first accelerated socket waits for the other end before it
    /// counts as not there, in milliseconds.
    #[serde(deserialize_with = "within::<_, _, 0, 600_000>")]
    pub connect_wait_ms: u32,
}

impl Default for Memif {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/run/tpa/memif.sock"),
            role: MemifRole::Server,
            id: 0,
            secret: None,
            buffer_size: 65535,
            ring_size: 256,
            connect_wait_ms: 3000,
        }
    }
}

/// Which end of a memif a process is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemifRole {
    /// Listens on the socket.
    #[default]
    Server,
    /// Connects to the socket, and makes the shared memory.
    Client,
}

/// `[af_xdp]`: AF_XDP sockets on a kernel interface.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AfXdp {
    /// Receive queues of the interface that this process takes.
    pub queues: Queues,
    /// Descriptors per ring; a power of two.
    #[serde(deserialize_with = "within::<_, _, 64, 32768>")]
    pub ring_size: u32,
    /// Whether the driver's zero-copy mode is used.
    pub zero_copy: ZeroCopy,
}

impl Default for AfXdp {
    fn default() -> Self {
        Self { queues: Queues::Auto, ring_size: 2048, zero_copy: ZeroCopy::Auto }
    }
}

/// Whether the driver's zero-copy mode is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroCopy {
    /// Where the driver has it.
    #[default]
    Auto,
    /// Frames are always copied.
    Never,
}

/// `[dpdk]`: DPDK itself.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dpdk {
    /// Memory for packet buffers and rings, in MiB.
    #[serde(deserialize_with = "within::<_, _, 16, 1_048_576>")]
    pub memory_mb: u32,
    /// Whether that memory is made of huge pages.
    pub hugepages: Hugepages,
    /// Further arguments of DPDK's environment layer (EAL).
    pub extra_args: Vec<String>,
}

impl Default for Dpdk {
    fn default() -> Self {
        Self { memory_mb: 64, hugepages: Hugepages::Auto, extra_args: Vec::new() }
    }
}

/// Whether DPDK's memory is made of huge pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// When enough are free.
    #[default]
    Auto,
    /// Ordinary pages.
    Never,
    /// Only huge pages will do.
    Only,
}

/// `[tcp]`: defaults are Linux's, or those of another [`Preset`].
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tcp {
    /// Where the defaults of the others come from.
    pub preset: Preset,
    /// Congestion control.
    pub congestion: Congestion,
    /// Explicit congestion notification.
    pub ecn: Ecn,
    /// Whether what is sent is spread over the round trip.
    pub pacing: bool,
    /// Search for the path's MTU.
    pub mtu_probing: MtuProbing,
    /// Initial congestion window, in segments (RFC 6928).
    #[serde(deserialize_with = "within::<_, _, 1, 1000>")]
    pub initial_window: u32,
    /// First retransmission timeout, in milliseconds (RFC 6298).
    #[serde(deserialize_with = "within::<_, _, 1, 120_000>")]
    pub rto_initial_ms: u32,
    /// Smallest retransmission timeout, in milliseconds.
    #[serde(deserialize_with = "within::<_, _, 1, 120_000>")]
    pub rto_min_ms: u32,
    /// Largest retransmission timeout, in milliseconds.
    #[serde(deserialize_with = "within::<_, _, 1000, 120_000>")]
    pub rto_max_ms: u32,
    /// Longest delay of an ACK, in milliseconds; 0: never delayed.
    #[serde(deserialize_with = "within::<_, _, 0, 500>")]
    pub delayed_ack_ms: u32,
    /// A lost tail is probed for (RFC 8985).
    pub tail_loss_probe: bool,
    /// Delay that a peer may add to the ACK of a lone segment, in milliseconds.
    #[serde(deserialize_with = "within::<_, _, 0, 1000>")]
    pub peer_ack_delay_ms: u32,
    /// Retransmissions of a SYN before the connection fails.
    #[serde(deserialize_with = "within::<_, _, 0, 127>")]
    pub syn_retries: u8,
    /// Retransmissions of a SYN-ACK before the half-open connection is dropped.
    #[serde(deserialize_with = "within::<_, _, 0, 127>")]
    pub synack_retries: u8,
    /// Retransmissions of data before the connection fails.
    #[serde(deserialize_with = "within::<_, _, 1, 127>")]
    pub retries: u8,
    /// Send buffer of a connection, in bytes, until `SO_SNDBUF` sets it.
    #[serde(deserialize_with = "within::<_, _, 4096, 1_073_741_824>")]
    pub sndbuf: u32,
    /// Largest send buffer, in bytes.
    #[serde(deserialize_with = "within::<_, _, 4096, 1_073_741_824>")]
    pub sndbuf_max: u32,
    /// Unsent bytes from which on a connection takes no more, until
    /// `TCP_NOTSENT_LOWAT` sets it; 0: no limit.
    #[serde(deserialize_with = "within::<_, _, 0, 1_073_741_824>")]
    pub notsent_lowat: u32,
    /// Receive buffer of a new connection, in bytes. It follows what the program
    /// reads in a round trip until `SO_RCVBUF` sets it.
    #[serde(deserialize_with = "within::<_, _, 4096, 1_073_741_824>")]
    pub rcvbuf: u32,
    /// Largest receive buffer that it grows to, in bytes.
    #[serde(deserialize_with = "within::<_, _, 4096, 1_073_741_824>")]
    pub rcvbuf_max: u32,
    /// Memory that the buffers of all connections share, in MiB; 0: 3/32 of this
    /// host's.
    #[serde(deserialize_with = "within::<_, _, 0, 1_048_576>")]
    pub memory_mb: u32,
    /// Silent peers are probed whether or not a program asks for it.
    pub keepalive: bool,
    /// Idle time before the first keepalive probe, in seconds, until
    /// `TCP_KEEPIDLE` sets it.
    #[serde(deserialize_with = "within::<_, _, 1, 32_767>")]
    pub keepalive_s: u32,
    /// Time between keepalive probes, in seconds.
    #[serde(deserialize_with = "within::<_, _, 1, 32_767>")]
    pub keepalive_interval_s: u32,
    /// Unanswered keepalive probes before the connection fails.
    #[serde(deserialize_with = "within::<_, _, 1, 127>")]
    pub keepalive_probes: u8,
    /// SYN cookies (RFC 4987) are sent when a listener's SYN queue is full.
    pub syn_cookies: bool,
    /// Length of TIME-WAIT, in seconds.
    #[serde(deserialize_with = "within::<_, _, 1, 240>")]
    pub time_wait_s: u32,
    /// Connections in TIME-WAIT that no program holds, at most.
    #[serde(deserialize_with = "within::<_, _, 1, 16_777_216>")]
    pub time_wait_max: u32,
    /// How long a closed connection waits for the peer's FIN, in seconds.
    #[serde(deserialize_with = "within::<_, _, 1, 3600>")]
    pub fin_wait2_s: u32,
    /// Timestamps (RFC 7323) are offered.
    pub timestamps: bool,
    /// Selective acknowledgements (RFC 2018) are offered.
    pub sack: bool,
    /// Window scaling (RFC 7323) is offered.
    pub window_scaling: bool,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            preset: Preset::Linux,
            congestion: Congestion::Cubic,
            ecn: Ecn::Accept,
            pacing: false,
            mtu_probing: MtuProbing::BlackHole,
            initial_window: 10,
            rto_initial_ms: 1000,
            rto_min_ms: 200,
            rto_max_ms: 120_000,
            delayed_ack_ms: 40,
            tail_loss_probe: true,
            peer_ack_delay_ms: 200,
            syn_retries: 6,
            synack_retries: 5,
            retries: 15,
            sndbuf: 262_144,
            sndbuf_max: 4_194_304,
            notsent_lowat: 0,
            rcvbuf: 131_072,
            rcvbuf_max: 6_291_456,
            memory_mb: 0,
            keepalive: true,
            keepalive_s: 7200,
            keepalive_interval_s: 75,
            keepalive_probes: 9,
            syn_cookies: true,
            time_wait_s: 60,
            time_wait_max: 65_536,
            fin_wait2_s: 60,
            timestamps: true,
            sack: true,
            window_scaling: true,
        }
    }
}

/// Congestion control algorithms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Congestion {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// NewReno (RFC 5681, 6582); Linux calls it "reno".
    #[serde(alias = "reno")]
    NewReno,
    /// DCTCP (RFC 8257).
    Dctcp,
}

impl From<Congestion> for tpa_tcp::CongestionAlgorithm {
    fn from(congestion: Congestion) -> Self {
        match congestion {
            Congestion::Cubic => Self::Cubic,
            Congestion::NewReno => Self::NewReno,
            Congestion::Dctcp => Self::Dctcp,
        }
    }
}

/// What is done about explicit congestion notification (RFC 3168).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecn {
    /// Nothing.
    Off,
    /// It is used when the peer asks for it.
    #[default]
    Accept,
    /// Connections of ours ask for it, too.
    On,
}

impl From<Ecn> for tpa_tcp::EcnMode {
    fn from(ecn: Ecn) -> Self {
        match ecn {
            Ecn::Off => Self::Off,
            Ecn::Accept => Self::Accept,
            Ecn::On => Self::On,
        }
    }
}

/// Whether connections find out by probing what their path takes (RFC 4821).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MtuProbing {
    /// Never.
    Off,
    /// When full segments vanish without a report.
    #[default]
    BlackHole,
    /// From the start.
    Always,
}

impl From<MtuProbing> for tpa_tcp::MtuProbing {
    fn from(probing: MtuProbing) -> Self {
        match probing {
            MtuProbing::Off => Self::Off,
            MtuProbing::BlackHole => Self::BlackHole,
            MtuProbing::Always => Self::Always,
        }
    }
}

/// `[fault]`: faults that the device injects, for tests.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// What to inject, as [`FaultPlan`](crate::device::fault::FaultPlan) reads
    /// it; empty: nothing.
    pub spec: String,
}
