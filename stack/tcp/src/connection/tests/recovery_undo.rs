//! Spurious retransmissions: told by D-SACK (RFC 3708) and by timestamps (RFC
//! 3522), and taken back (RFC 4015).

use super::recovery::{far, sack};
use super::script::{bare, play};
use crate::{Config, EcnMode};

/// Five segments of 988 bytes in flight since 100 ms, over 100 ms, with
/// timestamps; the peer's clock is 500 ms ahead.
fn stamped(text: &str) {
    let five = "100  write 4940
         .    > A 1+988 ack 1 ts 100 600
         .    > A 989+988 ack 1
         .    > A 1977+988 ack 1
         .    > A 2965+988 ack 1
         .    > PA 3953+988 ack 1\n";
    let config = Config { sack: true, timestamps: true, ..bare() };
    far(config, "sackok ts 600 0", &format!("{five}{text}"));
}

#[test]
fn a_d_sack_for_all_that_was_sent_again_undoes_the_recovery() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         .    info ssthresh 5000
         210  < A 1+0 ack 10001
         .    cwnd 5000
         300  < A 1+0 ack 10001 sack 1-1001
         .    info undos 1
         .    info spurious 1
         .    info ssthresh 4294967295",
    );
}

#[test]
fn the_window_comes_back_by_slow_start() {
    // RFC 4015 (ReCC): what is in flight, and no burst.
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         210  < A 1+0 ack 4001
         300  < A 1+0 ack 4001 sack 1-1001
         .    info undos 1
         .    info recovering 0
         .    cwnd 7000",
    );
}

#[test]
fn a_d_sack_within_the_second_block_counts_as_well() {
    // RFC 2883 4.2.
    sack(
        "150  write 1000
         200  < A 1+0 ack 1 sack 1001-3001,4001-8001
         .    > A 1+1000 ack 1 again
         .    > A 3001+1000 ack 1 again
         .    > PA 10001+1000 ack 1
         230  < A 1+0 ack 1 sack 3001-4001,1001-8001
         .    info dsacks 1
         .    info spurious 1
         .    info undos 0",
    );
}

#[test]
fn one_of_two_is_not_enough() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-3001,4001-10001
         .    > A 1+1000 ack 1 again
         .    > A 3001+1000 ack 1 again
         300  < A 1+0 ack 10001
         301  < A 1+0 ack 10001 sack 1-1001
         .    info undos 0
         302  < A 1+0 ack 10001 sack 3001-4001
         .    info undos 1",
    );
}

#[test]
fn two_halves_are_enough() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         300  < A 1+0 ack 10001
         301  < A 1+0 ack 10001 sack 1-401
         .    info undos 0
         302  < A 1+0 ack 10001 sack 401-1001
         .    info undos 1",
    );
}

#[test]
fn a_duplicate_that_the_network_made_is_no_evidence() {
    // RFC 3708 3: only what was sent twice can be spurious.
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         300  < A 1+0 ack 10001
         301  < A 1+0 ack 10001 sack 5001-6001
         302  < A 1+0 ack 10001 sack 4001-5001
         .    info dsacks 2
         .    info spurious 0
         .    info undos 0",
    );
}

#[test]
fn a_d_sack_out_of_all_bounds_is_no_d_sack() {
    sack(
        "200  < A 1+0 ack 10001
         .    < A 1+0 ack 10001 sack 20001-21001,10001-30001
         .    info dsacks 0",
    );
}

#[test]
fn what_was_undone_is_undone_once() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         210  < A 1+0 ack 10001
         300  < A 1+0 ack 10001 sack 1-1001
         301  < A 1+0 ack 10001 sack 1-1001
         .    info undos 1
         .    info dsacks 2
         .    info spurious 1",
    );
}

#[test]
fn a_later_recovery_is_judged_by_its_own_retransmissions() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         300  < A 1+0 ack 10001
         .    cwnd 5000
         310  write 5000
         .    > A 10001+1000 ack 1
         .    > A 11001+1000 ack 1
         .    > A 12001+1000 ack 1
         .    > A 13001+1000 ack 1
         .    > PA 14001+1000 ack 1
         410  < A 1+0 ack 10001 sack 11001-14001
         .    > A 10001+1000 ack 1 again
         411  < A 1+0 ack 10001 sack 1-1001,11001-14001
         .    info undos 0
         412  < A 1+0 ack 10001 sack 10001-11001,11001-14001
         .    info recovering 1",
    );
}

#[test]
fn a_spurious_fast_retransmission_shows_reordering() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         210  < A 1+0 ack 4001
         .    info reord-seen 0
         300  < A 1+0 ack 4001 sack 1-1001
         .    info reord-seen 1",
    );
}

#[test]
fn losses_that_were_forgotten_are_found_again_when_they_are_real() {
    // 1 was only late, 5001 is lost.
    sack(
        "200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         210  < A 1+0 ack 4001 sack 5001-6001
         .    > A 4001+1000 ack 1 again
         211  < A 1+0 ack 4001 sack 1-1001,5001-6001
         .    info undos 0
         220  < A 1+0 ack 5001 sack 5001-6001
         300  < A 1+0 ack 6001",
    );
}

#[test]
fn an_older_echo_shows_that_the_original_has_arrived() {
    // RFC 3522 3.2.
    stamped(
        "200  < A 1+0 ack 1 ts 700 100 sack 989-3953
         .    > A 1+988 ack 1 again ts 200 700
         .    info ssthresh 2470
         210  < A 1+0 ack 3953 ts 710 100
         .    info undos 1
         .    info recovering 0
         .    info ssthresh 4294967295
         300  < A 1+0 ack 3953 ts 800 100 sack 1-989
         .    info undos 1
         .    info spurious 1",
    );
}

#[test]
fn the_echo_of_the_retransmission_shows_that_it_was_needed() {
    stamped(
        "200  < A 1+0 ack 1 ts 700 100 sack 989-3953
         .    > A 1+988 ack 1 again
         300  < A 1+0 ack 3953 ts 800 200
         .    > PA 3953+988 ack 1 again
         .    info undos 0
         .    info recovering 1",
    );
}

#[test]
fn the_first_acknowledgement_decides() {
    // What comes after it may be older and proves nothing.
    stamped(
        "200  < A 1+0 ack 1 ts 700 100 sack 989-3953
         .    > A 1+988 ack 1 again
         300  < A 1+0 ack 3953 ts 800 200
         .    > PA 3953+988 ack 1 again
         310  < A 1+0 ack 4941 ts 810 100
         .    info undos 0
         .    cwnd 2470",
    );
}

#[test]
fn an_echo_of_the_same_millisecond_decides_nothing() {
    let text = "100  write 4940
         .    > A 1+988 ack 1
         .    > A 989+988 ack 1
         .    > A 1977+988 ack 1
         .    > A 2965+988 ack 1
         .    > PA 3953+988 ack 1
         100.1 < A 1+0 ack 1 ts 600 100 sack 989-3953
         .    > A 1+988 ack 1 again
         100.2 < A 1+0 ack 3953 ts 600 100
         .    info undos 0";
    far(Config { sack: true, timestamps: true, ..bare() }, "sackok ts 600 0", text);
}

#[test]
fn an_older_echo_undoes_a_timeout_with_its_back_off() {
    stamped(
        "400  > A 1+988 ack 1 again
         .    cwnd 988
         .    info backoff 1
         450  < A 1+0 ack 989 ts 950 100
         .    info undos 1
         .    info backoff 0
         .    info lost 0
         .    info recovering 0
         .    cwnd 4940
         .    info ssthresh 4294967295
         460  < A 1+0 ack 4941 ts 960 100",
    );
}

#[test]
fn an_older_echo_undoes_repeated_timeouts() {
    stamped(
        "400  > A 1+988 ack 1 again
         1000 > A 1+988 ack 1 again
         1050 < A 1+0 ack 989 ts 950 100
         .    info undos 1
         .    info backoff 0",
    );
}

#[test]
fn a_d_sack_undoes_a_timeout() {
    sack(
        "400  > A 1+1000 ack 1 again
         450  < A 1+0 ack 10001
         .    info ssthresh 5000
         500  < A 1+0 ack 10001 sack 1-1001
         .    info undos 1
         .    info ssthresh 4294967295",
    );
}

#[test]
fn an_acknowledgement_that_echoes_a_mark_undoes_nothing() {
    // RFC 4015 3.2 (ReCC).
    let text = "0    connect
         .    > SEC 0+0
         100  < SAE 0+0 ack 1 win 60000 mss 1000 sackok
         .    > A 1+0 ack 1
         .    write 5000
         .    > A 1+1000 ack 1 ect
         .    > A 1001+1000 ack 1 ect
         .    > A 2001+1000 ack 1 ect
         .    > A 3001+1000 ack 1 ect
         .    > PA 4001+1000 ack 1 ect
         200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         210  < A 1+0 ack 5001
         300  < EA 1+0 ack 5001 sack 1-1001
         .    info dsacks 1
         .    info undos 0";
    play(Config { sack: true, ecn: EcnMode::On, ..bare() }, text);
}

#[test]
fn without_sack_and_timestamps_a_fast_retransmission_stands() {
    far(
        bare(),
        "",
        "100  write 5000
         .    > A 1+1000 ack 1
         .    > A 1001+1000 ack 1
         .    > A 2001+1000 ack 1
         .    > A 3001+1000 ack 1
         .    > PA 4001+1000 ack 1
         200  < A 1+0 ack 1
         201  < A 1+0 ack 1
         202  < A 1+0 ack 1
         .    > A 1+1000 ack 1 again
         203  < A 1+0 ack 5001
         .    info undos 0
         .    cwnd 2500",
    );
}
