//! Timestamps (RFC 7323 sections 3 to 5).

use super::script::{bare, established_with, play};
use crate::Config;

/// An established connection with timestamps; the peer's clock stood at 100.
fn stamped(text: &str) {
    established_with(Config { timestamps: true, ..bare() }, "ts 100 0", text);
}

#[test]
fn every_segment_carries_and_echoes_them() {
    stamped(
        "10  write 100
         .   > PA 1+100 ack 1 ts 10 100
         20  < A 1+0 ack 101 ts 110 10
         30  write 100
         .   > PA 101+100 ack 1 ts 30 110",
    );
}

#[test]
fn a_delayed_ack_echoes_the_oldest_segment_that_it_covers() {
    // RFC 7323 4.3 (2), case A of 4.2.
    stamped(
        "0   quickack off
         10  < A 1+500 ack 1 ts 110 0
         20  < A 501+500 ack 1 ts 120 0
         .   > A 1+0 ack 1001 ts 20 110",
    );
}

#[test]
fn an_ack_of_a_gap_echoes_what_came_before_it() {
    // RFC 7323 4.2 case B: the segment beyond the gap is not echoed.
    stamped(
        "10  < A 1+100 ack 1 ts 110 0
         .   > A 1+0 ack 101 ts 10 110
         20  < A 201+100 ack 1 ts 120 0
         .   > A 1+0 ack 101 ts 20 110
         30  < A 101+100 ack 1 ts 130 0
         .   > A 1+0 ack 301 ts 30 130",
    );
}

#[test]
fn what_is_older_than_the_last_is_refused_but_acknowledged() {
    // PAWS, RFC 7323 5.3.
    stamped(
        "10  < A 1+100 ack 1 ts 110 0
         .   > A 1+0 ack 101
         20  < A 101+100 ack 1 ts 109 0
         .   > A 1+0 ack 101
         .   read 100
         .   read-blocks",
    );
}

#[test]
fn a_rst_is_not_subject_to_paws() {
    stamped("10 < R 1+0 ts 50 0\n. error Reset");
}

#[test]
fn a_syn_that_comes_again_is_echoed() {
    // RFC 7323 4.3 (2); the echo of the first one would make for a round trip of
    // all its repetitions.
    let config = Config { timestamps: true, ..bare() };
    let text = "0    < S 0+0 win 60000 mss 1000 ts 100 0
                .    > SA 0+0 ack 1 ts 0 100
                700  < S 0+0 win 60000 mss 1000 ts 800 0
                .    > SA 0+0 ack 1 ts 700 800";
    play(config, text);
}

#[test]
fn a_segment_without_timestamps_is_accepted_like_linux_does() {
    stamped("10 < PA 1+100 ack 1\n. > A 1+0 ack 101 ts 10 100\n. read 100");
}

#[test]
fn they_take_twelve_bytes_of_each_segment() {
    stamped("10 write 1000\n. > A 1+988 ack 1\n. > PA 989+12 ack 1");
}

#[test]
fn a_rst_carries_them_too() {
    // RFC 7323 3.2.
    stamped("10 abort\n. > RA 1+0 ack 1 ts 10 100");
}

#[test]
fn an_echo_gives_a_sample_where_segments_cannot() {
    // The segment was sent twice; the echo says which one was acknowledged.
    stamped(
        "0      write 100
         .      > PA 1+100 ack 1 ts 0 100
         200    > PA 1+100 ack 1 ts 200 100 again
         250    < A 1+0 ack 101 ts 120 200
         .      write 100
         .      > PA 101+100 ack 1
         456.3  > PA 101+100 ack 1 again",
    );
}

#[test]
fn the_peer_that_offers_none_gets_none() {
    established_with(
        Config { timestamps: true, ..bare() },
        "",
        "10 write 1000\n. > PA 1+1000 ack 1 no-options",
    );
}

#[test]
fn an_old_ack_neither_acknowledges_nor_opens_the_window() {
    // PAWS concerns every segment but a RST (RFC 7323 5.3 R1).
    stamped(
        "10   write 100
         .    > PA 1+100 ack 1
         20   < A 1+0 ack 101 ts 99 10
         .    > A 101+0 ack 1
         .    write 100
         30   < A 1+0 ack 101 ts 101 10
         .    > PA 101+100 ack 1",
    );
}

#[test]
fn an_old_fin_ends_nothing() {
    stamped("10 < FA 1+0 ack 1 ts 99 0\n. > A 1+0 ack 1\n. state Established\n. read-blocks");
}

#[test]
fn an_old_syn_is_answered_like_any_old_segment() {
    stamped("10 < S 0+0 mss 1000 ts 99 0\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn the_same_value_again_is_not_old() {
    // RFC 7323 5.3 R1: less than TS.Recent, not less or equal.
    stamped(
        "10  < A 1+100 ack 1 ts 100 0
         .   > A 1+0 ack 101
         .   < A 101+100 ack 1 ts 100 0
         .   > A 1+0 ack 201
         .   read 200",
    );
}

#[test]
fn the_peers_clock_may_wrap() {
    // RFC 7323 5.3: compared modulo 2^32.
    established_with(
        Config { timestamps: true, ..bare() },
        "ts 4294967290 0",
        "10  < A 1+100 ack 1 ts 5 0
         .   > A 1+0 ack 101 ts 10 5
         20  < A 101+100 ack 1 ts 4294967295 0
         .   > A 1+0 ack 101 ts 20 5
         .   read 100
         .   read-blocks",
    );
}

#[test]
fn after_24_days_of_silence_any_value_is_believed() {
    // RFC 7323 5.5.
    stamped("2160000000 < A 1+100 ack 1 ts 50 0\n. > A 1+0 ack 101 ts 2160000000 50\n. read 100");
}

#[test]
fn after_23_days_it_is_not() {
    stamped("1987200000 < A 1+100 ack 1 ts 50 0\n. > A 1+0 ack 1\n. read-blocks");
}

#[test]
fn a_segment_beyond_the_window_does_not_move_the_echo() {
    // RFC 7323 5.3 R2 comes before R3.
    stamped(
        "10  < A 200000+100 ack 1 ts 500 0
         .   > A 1+0 ack 1 ts 10 100
         20  < A 1+100 ack 1 ts 110 0
         .   > A 1+0 ack 101 ts 20 110",
    );
}

#[test]
fn a_duplicate_that_covers_the_last_ack_moves_the_echo() {
    // RFC 7323 4.3 (2): SEG.SEQ <= Last.ACK.sent.
    stamped(
        "10  < A 1+100 ack 1 ts 110 0
         .   > A 1+0 ack 101 ts 10 110
         20  < A 1+100 ack 1 ts 150 0
         .   > A 1+0 ack 101 ts 20 150",
    );
}

#[test]
fn a_value_ahead_of_a_wrong_ack_is_not_taken() {
    stamped(
        "10  < A 1+0 ack 5000 ts 900 0
         .   > A 1+0 ack 1 ts 10 100
         20  write 10
         .   > PA 1+10 ack 1 ts 20 100",
    );
}

#[test]
fn a_probe_of_keepalive_carries_them() {
    stamped("0 keepalive 1000 1000 3\n1000 > A 0+0 ack 1 ts 1000 100");
}

#[test]
fn an_echo_of_zero_gives_no_sample() {
    // RFC 7323 3.2: the field means nothing before a value is known.
    stamped(
        "0    write 10
         .    > PA 1+10 ack 1
         200  > PA 1+10 ack 1 again
         210  < A 1+0 ack 11 ts 120 0
         .    write 10
         .    > PA 11+10 ack 1
         610  > PA 11+10 ack 1 again",
    );
}

#[test]
fn an_original_that_is_only_late_still_fills_its_gap() {
    // RFC 7323 5.3 would discard it: the retransmission of another one has moved TS.Recent.
    stamped(
        "10  < A 1+100 ack 1 ts 110 0
         .   > A 1+0 ack 101
         20  < A 301+100 ack 1 ts 112 0
         .   > A 1+0 ack 101
         90  < A 101+100 ack 1 ts 190 0
         .   > A 1+0 ack 201
         91  < A 201+100 ack 1 ts 111 0
         .   > A 1+0 ack 401 ts 91 190
         .   read 400",
    );
}

#[test]
fn what_is_older_than_the_gap_does_not_fill_it() {
    stamped(
        "10  < A 1+100 ack 1 ts 110 0
         .   > A 1+0 ack 101
         20  < A 301+100 ack 1 ts 112 0
         .   > A 1+0 ack 101
         91  < A 101+100 ack 1 ts 109 0
         .   > A 1+0 ack 101
         .   read 100
         .   read-blocks",
    );
}

#[test]
fn an_old_acknowledgement_stays_old_beside_a_gap() {
    stamped(
        "10  write 100
         .   > PA 1+100 ack 1
         20  < A 201+100 ack 1 ts 112 0
         .   > A 101+0 ack 1
         30  < A 1+100 ack 1 ts 130 0
         .   > A 101+0 ack 101
         40  < A 101+0 ack 101 ts 120 10
         .   > A 101+0 ack 101
         210 > PA 1+100 ack 101 again",
    );
}
