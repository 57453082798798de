//! Proportional rate reduction at work (RFC 9937).

use super::recovery::{TEN, far, sack};
use super::script::bare;

#[test]
fn one_segment_goes_for_two_that_arrive() {
    // NewReno: from ten segments down to five.
    sack(
        "150  write 9000
         200  < A 1+0 ack 1 sack 1001-2001
         .    > A 10001+1000 ack 1
         201  < A 1+0 ack 1 sack 1001-3001
         .    > A 11001+1000 ack 1
         202  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         203  < A 1+0 ack 1 sack 1001-5001
         204  < A 1+0 ack 1 sack 1001-6001
         .    > A 12001+1000 ack 1
         205  < A 1+0 ack 1 sack 1001-7001
         206  < A 1+0 ack 1 sack 1001-8001
         .    > A 13001+1000 ack 1
         207  < A 1+0 ack 1 sack 1001-9001
         208  < A 1+0 ack 1 sack 1001-10001      # five are in flight
         302  < A 1+0 ack 12001
         .    > A 14001+1000 ack 1
         .    > A 15001+1000 ack 1
         .    > A 16001+1000 ack 1
         .    cwnd 5000",
    );
}

#[test]
fn after_heavy_losses_as_much_goes_as_arrives() {
    // Conservation: seven of ten are lost.
    sack(
        "200  < A 1+0 ack 1 sack 7001-8001
         201  < A 1+0 ack 1 sack 7001-9001
         202  < A 1+0 ack 1 sack 7001-10001
         .    > A 1+1000 ack 1 again
         302  < A 1+0 ack 1001 sack 7001-10001
         .    > A 1001+1000 ack 1 again
         .    > A 2001+1000 ack 1 again",
    );
}

#[test]
fn good_progress_lets_the_flight_grow_to_the_threshold() {
    // SafeACK: one segment more than has arrived.
    sack(
        "202  < A 1+0 ack 1 sack 7001-10001
         .    > A 1+1000 ack 1 again
         .    > A 1001+1000 ack 1 again
         .    > A 2001+1000 ack 1 again
         302  < A 1+0 ack 1001 sack 7001-10001
         .    > A 3001+1000 ack 1 again
         .    > A 4001+1000 ack 1 again
         303  < A 1+0 ack 3001 sack 7001-10001
         .    > A 5001+1000 ack 1 again
         .    > A 6001+1000 ack 1 again",
    );
}

#[test]
fn a_loss_that_a_timer_finds_lets_out_one_segment() {
    sack(
        "150  write 5000
         200  < A 1+0 ack 1 sack 4001-5001
         .    > A 10001+1000 ack 1
         225  > A 1+1000 ack 1 again
         .    info lost 4000",
    );
}

#[test]
fn recovery_ends_with_the_threshold_as_window() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-10001
         .    > A 1+1000 ack 1 again
         300  < A 1+0 ack 10001
         .    cwnd 5000
         .    info recovering 0",
    );
}

#[test]
fn without_sack_a_duplicate_counts_as_a_segment() {
    far(
        bare(),
        "",
        &format!(
            "{TEN}150 write 5000
         200  < A 1+0 ack 1
         .    > A 10001+1000 ack 1
         201  < A 1+0 ack 1
         .    > A 11001+1000 ack 1
         202  < A 1+0 ack 1
         .    > A 1+1000 ack 1 again
         203  < A 1+0 ack 1
         204  < A 1+0 ack 1
         .    > A 12001+1000 ack 1
         302  < A 1+0 ack 3001                   # a partial ACK
         .    > A 3001+1000 ack 1 again
         402  < A 1+0 ack 12001
         .    > A 13001+1000 ack 1
         .    > PA 14001+1000 ack 1
         .    cwnd 5000"
        ),
    );
}
