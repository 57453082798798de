//! Flow control: our window (RFC 9293 3.8.6.2.2), the peer's (3.8.6.2.1), its
//! end (persist, 3.8.6.1), scaling (RFC 7323 2).

use super::script::{FIRST_TIMEOUT, bare, established, established_with, play};
use crate::Config;

#[test]
fn the_window_shrinks_by_what_waits_and_opens_by_what_is_read() {
    established(
        "0   rcvbuf 4000
         10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001 win 64535
         20  read 1000",
    );
}

/// Our receive buffer is 4000 bytes from the first SYN on.
fn small_receiver(text: &str) {
    established_with(Config { rcvbuf: 4000, rcvbuf_max: 4000, ..bare() }, "", text);
}

#[test]
fn a_full_buffer_shuts_the_window_and_reading_opens_it() {
    small_receiver(
        "10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001 win 3000
         .   < A 1001+1000 ack 1
         .   > A 1+0 ack 2001 win 2000
         .   < A 2001+1000 ack 1
         .   > A 1+0 ack 3001 win 1000
         .   < A 3001+1000 ack 1
         .   > A 1+0 ack 4001 win 0
         20  read 1000                   # less than two segments: no update
         30  read 1000
         .   > A 1+0 ack 4001 win 2000
         40  read 2000
         .   > A 1+0 ack 4001 win 4000",
    );
}

#[test]
fn a_probe_of_a_shut_window_is_answered() {
    small_receiver(
        "10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001 win 3000
         .   < A 1001+1000 ack 1
         .   > A 1+0 ack 2001 win 2000
         .   < A 2001+1000 ack 1
         .   > A 1+0 ack 3001 win 1000
         .   < A 3001+1000 ack 1
         .   > A 1+0 ack 4001 win 0
         200 < A 4000+0 ack 1             # as Linux probes
         .   > A 1+0 ack 4001 win 0
         400 < A 4001+1 ack 1             # as RFC 9293 does
         .   > A 1+0 ack 4001 win 0
         .   read 4000
         .   > A 1+0 ack 4001 win 4000",
    );
}

#[test]
fn a_shut_window_lets_an_ack_and_a_fin_in() {
    small_receiver(
        "10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001 win 3000
         .   < A 1001+1000 ack 1
         .   > A 1+0 ack 2001 win 2000
         .   < A 2001+1000 ack 1
         .   > A 1+0 ack 3001 win 1000
         .   < A 3001+1000 ack 1
         .   > A 1+0 ack 4001 win 0
         20  write 10
         .   > PA 1+10 ack 4001
         30  < FA 4001+0 ack 11
         70  > A 11+0 ack 4002
         .   read 4000
         .   read-end",
    );
}

#[test]
fn the_peers_window_is_respected() {
    established(
        "0   < A 1+0 ack 1 win 2500
         .   write 5000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         10  < A 1+0 ack 2001 win 2500
         .   > A 2001+1000 ack 1
         .   > A 3001+1000 ack 1
         20  < A 1+0 ack 4001 win 2500
         .   > PA 4001+1000 ack 1",
    );
}

#[test]
fn a_silly_window_is_not_used_until_a_timeout() {
    // RFC 9293 3.8.6.2.1: 400 of at most 60000 bytes.
    established(
        "0     write 1000
         .     > PA 1+1000 ack 1
         10    < A 1+0 ack 1001 win 400
         .     write 2000
         211.2 > A 1001+400 ack 1
         220   < A 1+0 ack 1401 win 60000
         .     > A 1401+1000 ack 1
         .     > PA 2401+600 ack 1",
    );
}

#[test]
fn half_of_the_largest_window_is_not_silly() {
    play(
        bare(),
        "0   < S 0+0 win 500 mss 1000
         .   > SA 0+0 ack 1
         .   < A 1+0 ack 1 win 500
         .   write 1000
         .   > A 1+500 ack 1
         10  < A 1+0 ack 501 win 250
         .   > A 501+250 ack 1",
    );
}

#[test]
fn a_shut_window_is_probed_with_doubling_pauses() {
    established(
        "0    < A 1+0 ack 1 win 0
         10   write 100
         210  > A 0+0 ack 1
         211  < A 1+0 ack 1 win 0
         610  > A 0+0 ack 1
         611  < A 1+0 ack 1 win 0
         1410 > A 0+0 ack 1
         1411 < A 1+0 ack 1 win 60000
         .    > PA 1+100 ack 1
         1420 < A 1+0 ack 101 win 0
         1500 write 100                   # the pauses begin anew
         1701.1 > A 100+0 ack 1
         1702 < A 1+0 ack 101 win 60000
         .    > PA 101+100 ack 1",
    );
}

#[test]
fn a_probed_connection_lives_as_long_as_its_peer_answers() {
    let mut text = String::from("0 < A 1+0 ack 1 win 0\n10 write 100\n");
    let (mut at, mut pause) = (10.0, FIRST_TIMEOUT);
    for _ in 0..30 {
        at += pause;
        pause = (pause * 2.0).min(120_000.0);
        text += &format!("{at} > A 0+0 ack 1\n. < A 1+0 ack 1 win 0\n");
    }
    established(&(text + ". state Established"));
}

#[test]
fn an_unanswered_probe_is_the_end_at_last() {
    let mut text = String::from("0 < A 1+0 ack 1 win 0\n10 write 100\n");
    let (mut at, mut pause) = (10.0, FIRST_TIMEOUT);
    for _ in 0..16 {
        at += pause;
        pause = (pause * 2.0).min(120_000.0);
        text += &format!("{at} > A 0+0 ack 1\n");
    }
    established(&(text + "2000000 error TimedOut"));
}

#[test]
fn a_fin_waits_for_the_window_too() {
    established(
        "0    < A 1+0 ack 1 win 0
         10   shutdown
         210  > A 0+0 ack 1
         220  < A 1+0 ack 1 win 10
         .    > FA 1+0 ack 1",
    );
}

#[test]
fn a_window_that_was_withdrawn_with_data_under_way_does_not_kill() {
    let mut text = String::from(
        "0    write 1000
         .    > PA 1+1000 ack 1
         10   < A 1+0 ack 1 win 0\n",
    );
    let (mut at, mut pause) = (0.0, FIRST_TIMEOUT);
    for _ in 0..20 {
        at += pause;
        pause = (pause * 2.0).min(120_000.0);
        text += &format!("{at} > PA 1+1000 ack 1 again\n. < A 1+0 ack 1 win 0\n");
    }
    established(&(text + ". state Established"));
}

#[test]
fn a_scaled_window_counts_in_its_units() {
    established_with(
        Config { window_scaling: true, initial_window: 100, ..bare() },
        "ws 10",
        "0   < A 1+0 ack 1 win 2
         .   write 4000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         10  < A 1+0 ack 2001 win 3
         .   > A 2001+1000 ack 1
         .   > PA 3001+1000 ack 1",
    );
}

#[test]
fn the_window_of_a_syn_is_not_scaled() {
    play(
        Config { window_scaling: true, ..bare() },
        "0   < S 0+0 win 1000 mss 1000 ws 10
         .   > SA 0+0 ack 1 ws 7 win 65535
         .   < A 1+0 ack 1 win 1
         .   write 5000
         .   > A 1+1000 ack 1",
    );
}

#[test]
fn a_shift_of_more_than_fourteen_counts_as_fourteen() {
    let script = established_with(Config { window_scaling: true, ..bare() }, "ws 200", "");
    assert_eq!(script.connection.expect("open").info().snd_wscale, 14);
}

#[test]
fn a_large_buffer_is_offered_scaled() {
    established_with(
        Config { window_scaling: true, ..bare() },
        "ws 7",
        "10 < A 1+1000 ack 1\n. > A 1+0 ack 1001 win 1017\n. read 1000",
    );
}

#[test]
fn an_old_segment_does_not_move_the_window() {
    established(
        "0   quickack off
         10  < PA 1+100 ack 1 win 5000
         .   < PA 101+100 ack 1 win 5000
         20  < A 1+100 ack 1 win 100      # older than the last update
         .   > A 1+0 ack 201
         .   write 3000
         .   > A 1+1000 ack 201
         .   > A 1001+1000 ack 201
         .   > PA 2001+1000 ack 201",
    );
}
