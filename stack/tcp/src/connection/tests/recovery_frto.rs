//! F-RTO: spurious timeouts without timestamps (RFC 5682).

use super::recovery::{TEN, far, sack};
use super::script::bare;

/// Ten segments in flight since 100 ms, over 100 ms, to a peer without SACK.
fn basic(text: &str) {
    far(bare(), "", &format!("{TEN}{text}"));
}

#[test]
fn new_data_goes_out_after_the_first_acknowledgement() {
    // Step 2 (b), instead of retransmissions.
    basic(
        "150  write 5000
         400  > A 1+1000 ack 1 again
         450  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > A 11001+1000 ack 1",
    );
}

#[test]
fn a_second_advance_shows_that_the_timeout_was_spurious() {
    // Step 3 (b): 1001 was not sent again.
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         .    info ssthresh 5000
         450  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         460  < A 1+0 ack 2001
         .    info undos 1
         .    info recovering 0
         .    info backoff 0
         .    info ssthresh 4294967295
         .    cwnd 10000
         470  < A 1+0 ack 12001",
    );
}

#[test]
fn a_duplicate_after_the_new_data_shows_that_the_loss_was_real() {
    // Step 3 (a).
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         500  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         600  < A 1+0 ack 1001
         .    > A 1001+1000 ack 1 again
         601  < A 1+0 ack 1001
         .    > A 2001+1000 ack 1 again
         .    info undos 0",
    );
}

#[test]
fn a_duplicate_before_the_first_advance_means_the_usual_way() {
    // Step 2 (a).
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         410  < A 1+0 ack 1
         500  < A 1+0 ack 1001
         .    > A 1001+1000 ack 1 again
         .    > A 2001+1000 ack 1 again",
    );
}

#[test]
fn an_acknowledgement_of_everything_ends_the_recovery() {
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         500  < A 1+0 ack 10001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         .    cwnd 2000
         .    info recovering 0
         .    info undos 0",
    );
}

#[test]
fn without_new_data_retransmission_goes_on() {
    basic(
        "400  > A 1+1000 ack 1 again
         500  < A 1+0 ack 1001
         .    > A 1001+1000 ack 1 again
         .    > A 2001+1000 ack 1 again",
    );
}

#[test]
fn without_room_in_the_peers_window_retransmission_goes_on() {
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         500  < A 1+0 ack 1001 win 9000
         .    > A 1001+1000 ack 1 again
         .    > A 2001+1000 ack 1 again",
    );
}

#[test]
fn repeated_timeouts_can_be_spurious_together() {
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         1000 > A 1+1000 ack 1 again
         1050 < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         1060 < A 1+0 ack 2001
         .    info undos 1
         .    info backoff 0",
    );
}

#[test]
fn a_timeout_during_recovery_is_taken_for_real() {
    sack(
        "150  write 4000
         200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         .    > A 10001+1000 ack 1
         500  > A 1+1000 ack 1 again
         550  < A 1+0 ack 4001
         .    > A 4001+1000 ack 1 again
         .    > A 5001+1000 ack 1 again",
    );
}

#[test]
fn another_timeout_after_the_new_data_is_taken_for_real() {
    basic(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         450  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         1050 > A 1001+1000 ack 1 again
         1100 < A 1+0 ack 2001
         .    > A 2001+1000 ack 1 again
         .    > A 3001+1000 ack 1 again",
    );
}

#[test]
fn an_original_that_is_sacked_shows_it_too() {
    // RFC 5682 3.1 step 3 (b).
    sack(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         450  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         460  < A 1+0 ack 1001 sack 2001-3001
         .    info undos 1
         .    info lost 0",
    );
}

#[test]
fn new_data_that_is_sacked_alone_shows_that_the_loss_was_real() {
    // RFC 5682 3.1 step 3 (a).
    sack(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         500  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         600  < A 1+0 ack 1001 sack 10001-11001
         .    > A 1001+1000 ack 1 again
         .    info undos 0",
    );
}

#[test]
fn sacks_before_the_first_advance_do_not_decide() {
    sack(
        "150  write 2000
         400  > A 1+1000 ack 1 again
         440  < A 1+0 ack 1 sack 2001-3001
         450  < A 1+0 ack 1001 sack 2001-3001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         460  < A 1+0 ack 3001
         .    info undos 1",
    );
}
