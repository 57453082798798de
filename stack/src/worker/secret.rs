//! Initial sequence numbers and timestamp offsets that an outsider cannot
//! guess (RFC 6528, RFC 7323 5.4).

use std::hash::{BuildHasher, Hasher, RandomState};

use tpa_tcp::{Instant, SeqNum};

use crate::worker::socket::FlowKey;

/// Keys of a keyed hash (SipHash-1-3), drawn once a worker.
pub struct Secret {
    sequence: RandomState,
    timestamp: RandomState,
}

impl Secret {
    /// Fresh keys from the system's randomness.
    pub fn random() -> Self {
        Self { sequence: RandomState::new(), timestamp: RandomState::new() }
    }

    /// RFC 6528 section 3: a clock of 4 µs plus a keyed hash of the flow.
    pub fn isn(&self, key: FlowKey, now: Instant) -> SeqNum {
        tpa_tcp::initial_sequence(hash(&self.sequence, key), now)
    }

    /// Offset of the timestamp clock of a flow.
    pub fn timestamp_offset(&self, key: FlowKey) -> u32 {
        hash(&self.timestamp, key)
    }
}

fn hash(keys: &RandomState, key: FlowKey) -> u32 {
    let mut hasher = keys.build_hasher();
    std::hash::Hash::hash(&key, &mut hasher);
    hasher.finish() as u32
}
