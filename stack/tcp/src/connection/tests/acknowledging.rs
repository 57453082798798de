//! When to acknowledge: RFC 9293 3.8.6.3 and 3.10.7.4, RFC 5681 4.2, and what
//! Linux makes of them.

use super::script::{Script, established, in_state};
use crate::{Config, Duration, State};

/// A connection whose quick ACKs are over.
fn settled(text: &str) -> Script {
    established(&format!("0 quickack off\n{text}"))
}

#[test]
fn the_delay_is_less_than_half_a_second() {
    // RFC 9293 MUST-40.
    assert!(Config::default().delayed_ack < Duration::from_millis(500));
}

#[test]
fn segments_of_one_burst_share_an_acknowledgement() {
    // RFC 9293 MUST-58, MUST-59.
    settled(
        "10  << A 1+1000 ack 1
         .   << A 1001+1000 ack 1
         .   << A 2001+1000 ack 1
         .   < A 3001+1000 ack 1
         .   > A 1+0 ack 4001",
    );
}

#[test]
fn a_gap_that_a_burst_closes_again_needs_one_acknowledgement() {
    settled(
        "10  << A 1001+1000 ack 1
         .   < A 1+1000 ack 1
         .   > A 1+0 ack 2001
         .   read 2000",
    );
}

#[test]
fn an_acknowledgement_is_not_acknowledged() {
    established("10 < A 1+0 ack 1\n. < A 1+0 ack 1 win 5000\n. < A 1+0 ack 1 win 0");
}

#[test]
fn the_delay_counts_from_the_first_segment() {
    settled("10 < PA 1+10 ack 1\n45 < PA 11+10 ack 1\n50 > A 1+0 ack 21");
}

#[test]
fn more_than_a_full_segment_in_pieces_is_acknowledged_at_once() {
    // RFC 9293 SHLD-19: twice the segment size as it was seen.
    settled(
        "10  < A 1+600 ack 1
         20  < A 601+600 ack 1
         .   > A 1+0 ack 1201",
    );
}

#[test]
fn a_segment_that_fills_part_of_a_gap_is_acknowledged_at_once() {
    // RFC 5681 4.2.
    settled(
        "10  < A 2001+100 ack 1
         .   > A 1+0 ack 1
         20  < A 1+100 ack 1
         .   > A 1+0 ack 101",
    );
}

#[test]
fn after_a_gap_acknowledgements_stay_quick_for_a_while() {
    settled(
        "10  < A 101+100 ack 1
         .   > A 1+0 ack 1
         20  < A 1+100 ack 1
         .   > A 1+0 ack 201
         30  < A 201+100 ack 1
         .   > A 1+0 ack 301",
    );
}

#[test]
fn after_a_pause_acknowledgements_are_quick_again() {
    // The peer may have gone back to slow start.
    established(
        "0    quickack on
         10   < PA 1+10 ack 1
         .    > A 1+0 ack 11
         500  < PA 11+10 ack 1
         .    > A 1+0 ack 21",
    );
}

#[test]
fn where_data_goes_both_ways_acknowledgements_wait_for_it() {
    established(
        "0    quickack on
         10   < PA 1+10 ack 1
         .    > A 1+0 ack 11
         20   write 5
         .    > PA 1+5 ack 11
         30   < PA 11+10 ack 6
         40   write 5
         .    > PA 6+5 ack 21",
    );
}

#[test]
fn a_retransmission_carries_the_latest_acknowledgement() {
    settled(
        "0    write 10
         .    > PA 1+10 ack 1
         190  < PA 1+10 ack 1
         200  > PA 1+10 ack 11 again
         300  silent",
    );
}

#[test]
fn a_delayed_acknowledgement_goes_with_the_fin() {
    settled("10 < PA 1+10 ack 1\n20 read 10\n. close\n. > FA 1+0 ack 11");
}

#[test]
fn the_acknowledgement_of_a_fin_rides_on_the_answer() {
    established(
        "10  < FPA 1+10 ack 1
         .   > A 1+0 ack 12
         20  read 10
         .   write 5
         .   > PA 1+5 ack 12",
    );
    in_state(
        State::Established,
        "0 quickack off\n10 < FA 1+0 ack 1\n20 write 5\n. > PA 1+5 ack 2\n60 silent",
    );
}

#[test]
fn data_can_be_read_without_a_push() {
    // RFC 9293 3.9.1.2: PSH is not waited for.
    settled("10 < A 1+10 ack 1\n. events READABLE\n. read 10\n50 > A 1+0 ack 11");
}

#[test]
fn what_exceeds_the_window_is_acknowledged_up_to_its_edge() {
    established(
        "10  < A 1+65635 ack 1
         .   > A 1+0 ack 65536
         .   read 65535
         .   < A 65536+100 ack 1
         .   > A 1+0 ack 65636
         .   read 100",
    );
}
