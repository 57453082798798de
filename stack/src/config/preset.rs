//! Defaults of `[tcp]` for one kind of network. What a file sets itself stands
//! above them.

use serde::{Deserialize, Serialize};

use super::Tcp;

/// The kind of network that `[tcp]`'s defaults are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Linux's defaults, for any network.
    #[default]
    Linux,
    /// One data centre: round trips below a millisecond, peers under the same
    /// administration.
    Lan,
    /// The Internet at large: long, fast paths, and middleboxes that forget idle
    /// connections.
    Wan,
}

/// One option's name, and the value that a preset gives it.
type Setting = (&'static str, fn(&mut Tcp));

/// A retransmission a few round trips after the loss instead of 200 ms: a
/// smallest timeout of 5 ms is above the queueing of such a network, and
/// acknowledgements that wait 2 ms at most stay below the timeout of a peer with
/// the same preset. A lost SYN costs 100 ms instead of a second, and after an
/// outage the next try is never more than 10 s away; 20 of them take two
/// minutes. Segments live for milliseconds, so that a TIME-WAIT of 2 s is many
/// of their lives, and a peer that lost its state is found out after two minutes.
const LAN: [Setting; 10] = [
    ("rto_initial_ms", |tcp| tcp.rto_initial_ms = 100),
    ("rto_min_ms", |tcp| tcp.rto_min_ms = 5),
    ("rto_max_ms", |tcp| tcp.rto_max_ms = 10_000),
    ("delayed_ack_ms", |tcp| tcp.delayed_ack_ms = 2),
    ("retries", |tcp| tcp.retries = 20),
    ("keepalive_s", |tcp| tcp.keepalive_s = 60),
    ("keepalive_interval_s", |tcp| tcp.keepalive_interval_s = 10),
    ("keepalive_probes", |tcp| tcp.keepalive_probes = 6),
    ("time_wait_s", |tcp| tcp.time_wait_s = 2),
    ("fin_wait2_s", |tcp| tcp.fin_wait2_s = 10),
];

/// Buffers for 2.5 Gbit/s at 100 ms (32 MiB, the limit of newer Linux kernels as
/// well), and probes before the five to six minutes after which common firewalls
/// and load balancers drop an idle connection without a word.
const WAN: [Setting; 5] = [
    ("sndbuf_max", |tcp| tcp.sndbuf_max = 32 << 20),
    ("rcvbuf_max", |tcp| tcp.rcvbuf_max = 32 << 20),
    ("keepalive_s", |tcp| tcp.keepalive_s = 240),
    ("keepalive_interval_s", |tcp| tcp.keepalive_interval_s = 30),
    ("keepalive_probes", |tcp| tcp.keepalive_probes = 8),
];

impl Preset {
    fn settings(self) -> &'static [Setting] {
        match self {
            Self::Linux => &[],
            Self::Lan => &LAN,
            Self::Wan => &WAN,
        }
    }

    /// Gives `tcp` the preset's values, but for the options that `is_set` names.
    pub(super) fn apply(self, tcp: &mut Tcp, is_set: impl Fn(&str) -> bool) {
        self.settings().iter().filter(|(name, _)| !is_set(name)).for_each(|(_, apply)| apply(tcp));
    }
}
