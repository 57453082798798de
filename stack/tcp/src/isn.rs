//! Initial sequence numbers and timestamp offsets that an observer of other
//! connections cannot guess.

use crate::seq::SeqNum;
use crate::time::Instant;

/// The initial sequence number of RFC 6528 section 3: a 4 µs clock plus a keyed
/// hash. `keyed_hash` is F(local address and port, remote address and port,
/// secret), a hash such as SipHash with a secret of this process.
#[inline]
pub fn initial_sequence(keyed_hash: u32, now: Instant) -> SeqNum {
    SeqNum((now.as_micros() / 4) as u32) + keyed_hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_incarnation_starts_later() {
        let first = initial_sequence(0xdead_beef, Instant::from_micros(1_000));
        let second = initial_sequence(0xdead_beef, Instant::from_micros(61_000_000));
        assert!(second.gt(first));
        assert_eq!(second - first, (61_000_000 - 1_000) / 4);
    }

    #[test]
    fn connections_differ_by_their_hash() {
        let now = Instant::from_micros(7);
        assert_ne!(initial_sequence(1, now), initial_sequence(2, now));
    }
}
