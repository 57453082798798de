//! Two ends with nothing between them: no frames, no link, no time.

use tpa_tcp::wire::TcpRepr;
use tpa_tcp::{Chunk, Connection, Instant, Payload, Transmit};

/// A segment as its receiver parses it, between ports that nobody looks at.
pub fn received(segment: &Transmit<'_>) -> TcpRepr {
    TcpRepr {
        src_port: 1,
        dst_port: 2,
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        urgent: segment.urgent,
        options: segment.options.clone(),
        payload_len: segment.payload_len(),
        ecn: segment.ecn,
    }
}

/// Hands all that `from` wants to send to `to`, in segments of at most `mss` bytes;
/// the payload is whatever `buffer` holds. Returns the number of segments.
pub fn pass<B: Payload>(
    from: &mut Connection<B>,
    to: &mut Connection<B>,
    mss: u16,
    now: Instant,
    buffer: impl Fn() -> B,
) -> u32 {
    let mut count = 0;
    while from.wants_transmit()
        && let Some(segment) = from.poll_transmit(now, usize::from(mss))
    {
        let segment = received(&segment);
        let range = 0..segment.payload_len;
        let payload = (!range.is_empty()).then(|| Chunk { buf: buffer(), range });
        to.on_segment(&segment, payload, now);
        count += 1;
    }
    count
}
