//! Initial sequence numbers, timestamp offsets and flow labels that an outsider
//! cannot guess (RFC 6528, RFC 7323 5.4, RFC 6437 3).

use std::hash::{BuildHasher, Hasher, RandomState};

use tpa_tcp::{Instant, SeqNum};

use crate::worker::socket::FlowKey;

/// Keys of a keyed hash (SipHash-1-3), drawn once a worker.
pub struct Secret {
    sequence: RandomState,
    timestamp: RandomState,
    label: foldhash::fast::RandomState,
}

impl Secret {
    /// Fresh keys from the system's randomness.
    pub fn random() -> Self {
        Self { sequence: RandomState::new(), timestamp: RandomState::new(), label: Default::default() }
    }

    /// RFC 6528 section 3: a clock of 4 µs plus a keyed hash of the flow.
    pub fn isn(&self, key: FlowKey, now: Instant) -> SeqNum {
        tpa_tcp::initial_sequence(hash(&self.sequence, key), now)
    }

    /// Offset of the timestamp clock of a flow.
    pub fn timestamp_offset(&self, key: FlowKey) -> u32 {
        hash(&self.timestamp, key)
    }

    /// The flow label of a flow's packets: 20 bits, never zero, as Linux has it by
    /// `net.ipv6.auto_flowlabels`; zero for IPv4.
    #[inline]
    pub fn flow_label(&self, key: FlowKey) -> u32 {
        if key.remote_address().is_v4() { 0 } else { (self.label.hash_one(key) as u32 >> 12).max(1) }
    }
}

fn hash(keys: &RandomState, key: FlowKey) -> u32 {
    let mut hasher = keys.build_hasher();
    std::hash::Hash::hash(&key, &mut hasher);
    hasher.finish() as u32
}
