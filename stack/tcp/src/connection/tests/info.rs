//! The snapshot behind `TCP_INFO`: counts, times, and where recovery stands.

use super::script::{bare, established, established_with};
use crate::Config;

#[test]
fn segments_are_counted_both_ways_with_and_without_data() {
    established(
        "0   field segments_out 2               # SYN and ACK
         .   field segments_in 1
         .   write 1500
         .   > A 1+1000 ack 1
         .   > PA 1001+500 ack 1
         10  < A 1+100 ack 1501
         50  > A 1501+0 ack 101
         .   field segments_out 5
         .   field data_segments_out 2
         .   field segments_in 2
         .   field data_segments_in 1
         .   field bytes_sent 1500
         .   field bytes_acked 1500
         .   field bytes_received 100
         .   field delivered 2",
    );
}

#[test]
fn what_arrives_ahead_of_a_gap_is_counted() {
    established_with(
        Config { sack: true, ..bare() },
        "sackok",
        "0   < A 1001+1000 ack 1
         .   > A 1+0 ack 1 sack 1001-2001
         .   < A 2001+1000 ack 1
         .   > A 1+0 ack 1 sack 1001-3001
         .   < A 1+1000 ack 1
         .   > A 1+0 ack 3001
         .   field out_of_order 2
         .   field data_segments_in 3",
    );
}

#[test]
fn time_is_busy_from_the_first_byte_to_its_acknowledgement() {
    established(
        "0   write 100
         .   > PA 1+100 ack 1
         30  spent 30 0 0
         .   < A 1+0 ack 101
         100 spent 30 0 0
         .   write 100
         .   > PA 101+100 ack 1
         110 < A 1+0 ack 201
         200 spent 40 0 0",
    );
}

#[test]
fn a_peer_that_shuts_its_window_has_its_own_account() {
    established(
        "0   < A 1+0 ack 1 win 1000
         .   write 2000
         .   > A 1+1000 ack 1
         10  < A 1+0 ack 1001 win 0
         60  spent 60 60 0
         .   < A 1+0 ack 1001 win 60000
         .   > PA 1001+1000 ack 1
         70  < A 1+0 ack 2001
         .   spent 70 60 0",
    );
}

#[test]
fn a_send_buffer_that_is_too_small_has_its_own_account() {
    established(
        "0   sndbuf 4608
         .   write 9000 =4608
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > A 3001+1000 ack 1
         .   > PA 4001+608 ack 1
         40  < A 1+0 ack 4609
         50  spent 40 0 40",
    );
}

#[test]
fn waiting_for_the_congestion_window_is_plain_busy() {
    established_with(
        Config { initial_window: 1, ..bare() },
        "",
        "0   write 2000
         .   > A 1+1000 ack 1
         20  < A 1+0 ack 1001
         .   > PA 1001+1000 ack 1
         30  < A 1+0 ack 2001
         .   spent 30 0 0",
    );
}

#[test]
fn the_loss_state_goes_by_linuxs_names() {
    established(
        "0   field loss_state Open
         .   write 4000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > PA 3001+1000 ack 1
         10  < A 1+0 ack 1
         .   field loss_state Disorder
         .   < A 1+0 ack 1
         .   < A 1+0 ack 1
         .   > A 1+1000 ack 1 again
         .   field loss_state Recovery
         20  < A 1+0 ack 4001
         .   field loss_state Open",
    );
}

#[test]
fn a_timeout_is_the_state_of_loss_with_a_backed_off_timeout() {
    established(
        "0     write 100
         .     > PA 1+100 ack 1
         200   > PA 1+100 ack 1 again
         .     field loss_state Loss
         .     field backoff 1
         .     field rto_backed_off Duration(400002)
         210   < A 1+0 ack 101
         .     field loss_state Open",
    );
}

#[test]
fn the_delivery_rate_is_what_arrives_in_a_round_trip() {
    established(
        "0   write 4000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > PA 3001+1000 ack 1
         10  < A 1+0 ack 2001
         .   field delivery_rate 0
         20  < A 1+0 ack 4001
         .   field delivery_rate 200000
         .   field delivery_rate_app_limited true",
    );
}

#[test]
fn unsent_bytes_and_the_times_of_the_last_data_are_told() {
    established(
        "0   < A 1+0 ack 1 win 1000
         10  write 3000
         .   > A 1+1000 ack 1
         .   field unsent 2000
         .   field last_data_sent Instant(5010000)
         20  < A 1+10 ack 1 win 1000
         60  > A 1001+0 ack 11
         .   field last_data_received Instant(5020000)
         .   field last_received Instant(5020000)",
    );
}
