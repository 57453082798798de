//! Segments larger than the MSS, for devices that cut them (TSO) or have
//! merged them (GRO), and the wish to send.

use std::sync::Arc;

use super::script::{bare, established};
use crate::wire::{TcpFlags, TcpOptions, TcpRepr};
use crate::{Chunk, Connection, Instant, Params, SeqNum};

const NOW: Instant = Instant::from_millis(1);

fn segment(seq: u32, ack: u32, flags: TcpFlags, payload_len: usize) -> TcpRepr {
    TcpRepr {
        src_port: 2,
        dst_port: 1,
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags,
        window: 60_000,
        urgent: 0,
        options: TcpOptions::default(),
        payload_len,
        ecn: crate::wire::Ecn::NotEct,
    }
}

/// An established connection whose numbers begin at 0 on both sides; the peer
/// takes segments of `peer_mss` bytes.
fn open(peer_mss: u16) -> Connection<Vec<u8>> {
    let params = Params { isn: SeqNum(0), ts_offset: 0, mss: 1000 };
    let mut connection = Connection::connect(&Arc::new(bare()), params, NOW);
    assert!(connection.poll_transmit(NOW, 1000).is_some());
    let mut answer = segment(0, 1, TcpFlags::SYN | TcpFlags::ACK, 0);
    answer.options.mss = Some(peer_mss);
    connection.on_segment(&answer, None, NOW);
    assert!(connection.poll_transmit(NOW, 1000).is_some());
    connection
}

fn lengths(connection: &mut Connection<Vec<u8>>, max_payload: usize) -> Vec<usize> {
    std::iter::from_fn(|| connection.poll_transmit(NOW, max_payload).map(|segment| segment.payload_len()))
        .collect()
}

#[test]
fn a_device_that_cuts_gets_whole_multiples_of_a_segment() {
    let mut connection = open(1000);
    connection.send(&[0; 9500]).expect("open");
    assert_eq!(lengths(&mut connection, 4500), [4000, 4000, 1500]);
}

#[test]
fn without_such_a_device_the_peers_segment_size_holds() {
    let mut connection = open(400);
    connection.send(&[0; 1500]).expect("open");
    assert_eq!(lengths(&mut connection, 1000), [400, 400, 400, 300]);
}

#[test]
fn a_smaller_path_cuts_further() {
    let mut connection = open(1000);
    connection.send(&[0; 1000]).expect("open");
    assert_eq!(lengths(&mut connection, 600), [600, 400]);
}

#[test]
fn a_window_in_between_is_rounded_down_to_segments() {
    let mut connection = open(1000);
    let mut update = segment(1, 1, TcpFlags::ACK, 0);
    update.window = 2500;
    connection.on_segment(&update, None, NOW);
    connection.send(&[0; 4000]).expect("open");
    assert_eq!(lengths(&mut connection, 4000), [2000]);
}

#[test]
fn what_was_sent_in_one_piece_is_sent_again_in_segments() {
    let mut connection = open(1000);
    connection.send(&[0; 4000]).expect("open");
    assert_eq!(lengths(&mut connection, 4000), [4000]);
    let due = connection.next_timer().expect("the retransmission timer runs");
    connection.on_timer(due);
    let again = connection.poll_transmit(due, 4000).expect("a retransmission");
    assert_eq!((again.payload_len(), again.is_retransmit), (1000, true));
}

#[test]
fn a_merged_segment_is_acknowledged_at_once() {
    let mut connection = open(1000);
    connection.set_quickack(false);
    let merged = Chunk { buf: vec![0; 5000], range: 0..5000 };
    connection.on_segment(&segment(1, 1, TcpFlags::ACK, 5000), Some(merged), NOW);
    let ack = connection.poll_transmit(NOW, 1000).expect("more than a segment");
    assert_eq!((ack.ack, ack.payload_len()), (SeqNum(5001), 0));
}

#[test]
fn the_wish_to_send_agrees_with_what_is_sent() {
    let mut connection = open(1000);
    assert!(!connection.wants_transmit());
    connection.send(b"x").expect("open");
    assert!(connection.wants_transmit());
    assert_eq!(lengths(&mut connection, 1000), [1]);
    assert!(!connection.wants_transmit());
    connection.send(b"y").expect("open");
    assert!(!connection.wants_transmit(), "Nagle holds it");
}

#[test]
fn data_that_the_window_stops_still_wants_a_timer() {
    let mut script = established("0 < A 1+0 ack 1 win 0");
    let connection = script.connection.as_mut().expect("open");
    connection.send(b"x").expect("open");
    assert!(connection.wants_transmit());
    let now = Instant::from_micros(5_000_000);
    assert!(connection.poll_transmit(now, 1000).is_none());
    assert!(!connection.wants_transmit() && connection.next_timer().is_some());
}

#[test]
fn an_established_connection_is_below_a_kibibyte() {
    assert!(size_of::<Connection<Vec<u8>>>() < 1024, "{}", size_of::<Connection<Vec<u8>>>());
}
