//! What waits behind gaps, and what all connections hold together, is bounded;
//! SACK tells the truth when something was thrown away.

use std::sync::Arc;

use super::autotune::{Receiver, scaled};
use super::script::{MSS, bare, established_with};
use crate::{Config, Duration, Memory, SeqNum};
use proptest::prelude::*;

const KIB: usize = 1024;

fn with_sack(config: Config, text: &str) {
    established_with(Config { sack: true, ..config }, "sackok", text);
}

#[test]
fn a_segment_too_many_behind_gaps_is_not_reported() {
    with_sack(
        Config { reassembly_segments: 2, ..bare() },
        "0 < A 1001+1000 ack 1
         . > A 1+0 ack 1 sack 1001-2001
         . < A 3001+1000 ack 1
         . > A 1+0 ack 1 sack 3001-4001,1001-2001
         . < A 5001+1000 ack 1
         . > A 1+0 ack 1 sack 3001-4001,1001-2001",
    );
}

#[test]
fn lower_data_drives_out_higher_and_that_is_no_longer_reported() {
    with_sack(
        Config { reassembly_segments: 2, ..bare() },
        "0 < A 3001+1000 ack 1
         . > A 1+0 ack 1 sack 3001-4001
         . < A 5001+1000 ack 1
         . > A 1+0 ack 1 sack 5001-6001,3001-4001
         . < A 1001+1000 ack 1
         . > A 1+0 ack 1 sack 1001-2001,3001-4001
         . < A 2001+1000 ack 1
         . > A 1+0 ack 1 sack 1001-3001
         . < A 1+1000 ack 1
         . > A 1+0 ack 3001
         . < A 3001+1000 ack 1                # sent again after all
         . > A 1+0 ack 4001
         . < A 4001+2000 ack 1
         . > A 1+0 ack 6001
         . read 6000",
    );
}

#[test]
fn a_gap_that_is_filled_takes_what_is_left() {
    with_sack(
        Config { reassembly_segments: 1, ..bare() },
        "0 < A 1001+1000 ack 1
         . > A 1+0 ack 1 sack 1001-2001
         . < A 2001+1000 ack 1
         . > A 1+0 ack 1 sack 1001-2001
         . < A 1+1000 ack 1
         . > A 1+0 ack 2001
         . read 2000
         . read-blocks",
    );
}

/// A receiver with its part of `memory`.
fn sharing(memory: &Arc<Memory>) -> Receiver {
    let mut receiver = Receiver::new(Config { memory: Arc::clone(memory), sack: true, ..scaled() });
    receiver.arrive(0);
    receiver
}

fn waiting(receiver: &Receiver) -> usize {
    receiver.connection.info().reassembly as usize
}

#[test]
fn a_budget_that_is_used_up_lets_no_more_wait_behind_a_gap() {
    let memory = Arc::new(Memory::new(32 * KIB));
    let mut receiver = sharing(&memory);
    for at in 1..60 {
        receiver.arrive_at(SeqNum(1 + at * 1000), 1000);
    }
    assert_eq!(waiting(&receiver), 32_000);
    assert_eq!(memory.used(), 32 * KIB);
    // What fills the gap comes in all the same: the highest makes room for it.
    receiver.arrive(1000);
    assert_eq!((waiting(&receiver), receiver.connection.recv_queued()), (0, 32_000));
    receiver.connection.audit().expect("in order");
}

#[test]
fn lower_data_drives_out_higher_when_the_budget_is_used_up() {
    let memory = Arc::new(Memory::new(16 * KIB));
    let mut receiver = sharing(&memory);
    for at in (1..40).rev() {
        receiver.arrive_at(SeqNum(1 + at * 1000), 1000);
        receiver.connection.audit().expect("in order");
    }
    assert_eq!(waiting(&receiver), 16_000);
    receiver.arrive(1000);
    assert_eq!(receiver.connection.recv_queued(), 16_000, "the lowest were kept");
}

#[test]
fn who_has_nothing_to_read_always_gets_the_next_segment() {
    let memory = Arc::new(Memory::new(64 * KIB));
    let (mut hog, mut other) = (sharing(&memory), sharing(&memory));
    (0..65).for_each(|_| hog.arrive(1000));
    assert_eq!(memory.used(), 64 * KIB);
    other.arrive(1000);
    assert_eq!(other.connection.recv_queued(), 1000);
    for _ in 0..20 {
        other.arrive(1000);
    }
    let held = other.connection.recv_queued();
    assert!(held < 17 * KIB, "{held}: what was forced is a quantum, and then no more comes in");
    let end = 1 + held as u32;
    other.read(100_000);
    hog.read(100_000);
    other.arrive_at(SeqNum(end), 1000);
    assert_eq!(other.connection.recv_queued(), 1000, "with memory the same segment is taken");
}

#[test]
fn payload_that_is_thrown_away_is_asked_for_again() {
    let memory = Arc::new(Memory::new(16 * KIB));
    let mut receiver = sharing(&memory);
    (0..16).for_each(|_| receiver.arrive(1000));
    let before = receiver.connection.info().segments_out;
    receiver.arrive(1000);
    assert_eq!(receiver.connection.info().segments_out, before + 1, "an ACK that repeats the last");
    assert_eq!(receiver.connection.info().bytes_received, 16_000);
}

#[test]
fn short_memory_keeps_buffers_small_and_windows_narrow() {
    let memory = Arc::new(Memory::new(4096 * KIB));
    let (mut hog, mut other) = (sharing(&memory), sharing(&memory));
    hog.connection.set_rcvbuf(4 << 20);
    (0..3200).for_each(|_| hog.arrive(1000));
    assert!(memory.is_pressed());
    let rtt = Duration::from_millis(20);
    (0..12).for_each(|round| other.round(rtt, 10_000 << round, 100));
    assert_eq!(other.connection.rcvbuf(), 128 * KIB);
    assert!(other.edge.since(other.next) <= 4 * u32::from(MSS) + 128, "{:?}", other.edge.since(other.next));
    // It goes on, and is wide again afterwards.
    hog.read(4 << 20);
    (0..8).for_each(|round| other.round(rtt, 10_000 << round, 100));
    assert!(other.edge.since(other.next) > 128 * KIB as u32);
}

#[test]
fn memory_is_given_back_by_reading_by_silence_and_at_the_end() {
    let memory = Arc::new(Memory::default());
    let mut receiver = sharing(&memory);
    (0..100).for_each(|_| receiver.arrive(1000));
    assert!(memory.used() >= 100_000);
    receiver.read(100_000);
    assert!(memory.used() <= 48 * KIB, "{}", memory.used());
    let mut now = crate::Instant::default();
    while let Some(at) = receiver.connection.next_timer() {
        now = now.max(at);
        receiver.connection.on_timer(now);
        while receiver.connection.poll_transmit(now, MSS.into()).is_some() {}
    }
    assert_eq!(memory.used(), 0);
    receiver.arrive(1000);
    receiver.connection.send(&[0; 100_000]).expect("open");
    assert!(memory.used() >= 100_000);
    drop(receiver);
    assert_eq!(memory.used(), 0);
}

proptest! {
    #[test]
    fn connections_that_share_a_budget_stay_in_it_and_go_on(
        limit in 0usize..200_000,
        steps in proptest::collection::vec((0usize..3, 0u8..6, 0u32..40, 1u32..1000), 1..200),
    ) {
        let memory = Arc::new(Memory::new(limit));
        let mut receivers: Vec<Receiver> = (0..3).map(|_| sharing(&memory)).collect();
        for (index, kind, distance, len) in steps {
            let receiver = &mut receivers[index];
            let next = SeqNum(1) + receiver.connection.info().bytes_received as u32;
            match kind {
                0 | 1 => receiver.arrive_at(next, len),
                2 => { receiver.read(len as usize * 50); }
                _ => receiver.arrive_at(next + distance * 1000, len),
            }
            let audit = receiver.connection.audit();
            prop_assert!(audit.is_ok(), "{audit:?}");
            // What a connection with nothing to read must get is a quantum.
            prop_assert!(memory.used() <= limit + 3 * 32 * KIB, "{} of {limit}", memory.used());
        }
        for receiver in &mut receivers {
            // Whatever was thrown away: the next segment and a reader go on.
            let before = receiver.connection.info().bytes_received;
            while receiver.read(1 << 20) > 0 {}
            receiver.arrive_at(SeqNum(1) + before as u32, 1000);
            prop_assert!(receiver.connection.info().bytes_received > before);
        }
        drop(receivers);
        prop_assert_eq!(memory.used(), 0);
    }
}
