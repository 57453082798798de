//! RACK: losses told by time (RFC 8985 6).

use super::recovery::{far, sack as ten};
use super::script::bare;
use crate::Config;

fn rack(text: &str) {
    far(Config { sack: true, ..bare() }, "sackok", text);
}

#[test]
fn a_segment_that_was_overtaken_has_a_quarter_of_the_round_trip_to_arrive() {
    ten("200  < A 1+0 ack 1 sack 1001-2001
         .    info lost 0
         225  > A 1+1000 ack 1 again
         .    info recovering 1
         .    info ssthresh 5000");
}

#[test]
fn a_segment_that_arrives_in_that_time_was_not_lost() {
    ten("200  < A 1+0 ack 1 sack 1001-2001
         220  < A 1+0 ack 2001
         250  silent
         .    info recovering 0
         .    cwnd 10000
         .    info reord-seen 1");
}

#[test]
fn three_segments_above_a_hole_mean_a_loss_at_once() {
    // RFC 8985 6.2 step 4: the threshold of RFC 5681 while no reordering was seen.
    ten("200  < A 1+0 ack 1 sack 1001-2001
         201  < A 1+0 ack 1 sack 1001-3001
         202  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again");
}

#[test]
fn three_small_segments_count_as_well() {
    rack(
        "100  nodelay on
         .    write 10
         .    > PA 1+10 ack 1
         .    write 10
         .    > PA 11+10 ack 1
         .    write 10
         .    > PA 21+10 ack 1
         .    write 10
         .    > PA 31+10 ack 1
         200  < A 1+0 ack 1 sack 11-31
         .    silent
         .    < A 1+0 ack 1 sack 11-41
         .    > A 1+10 ack 1 again",
    );
}

#[test]
fn a_path_that_was_seen_to_reorder_has_no_such_threshold() {
    ten("200  < A 1+0 ack 1 sack 1001-2001
         205  < A 1+0 ack 2001                    # overtaken: reordering
         210  < A 1+0 ack 2001 sack 3001-7001     # sent at 100, 110 ms ago
         .    info lost 0
         235  > A 2001+1000 ack 1 again");
}

#[test]
fn every_segment_sent_before_the_one_that_arrived_is_suspected() {
    ten("200  < A 1+0 ack 1 sack 1001-2001,4001-5001
         .    info lost 0
         225  > A 1+1000 ack 1 again
         .    info lost 3000
         .    cwnd 6000");
}

#[test]
fn what_was_sent_after_the_one_that_arrived_is_not_suspected() {
    rack(
        "100  write 2000
         .    > A 1+1000 ack 1
         .    > PA 1001+1000 ack 1
         150  write 1000
         .    > PA 2001+1000 ack 1
         200  < A 1+0 ack 1 sack 1001-2001
         225  > A 1+1000 ack 1 again
         .    info lost 1000",
    );
}

#[test]
fn the_second_segment_of_a_moment_is_the_later_one() {
    // RACK_sent_after: times are equal, sequence numbers decide.
    ten("200  < A 1+0 ack 1 sack 2001-3001
         225  > A 1+1000 ack 1 again
         .    info lost 2000");
}

#[test]
fn a_lost_retransmission_is_found_out_by_what_was_sent_after_it() {
    // DupThresh could never tell: a timeout would be due.
    ten("150  write 2000
         199  < A 1+0 ack 1 sack 1001-3001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         205  write 2000
         210  < A 1+0 ack 1 sack 1001-10001
         .    > A 12001+1000 ack 1
         .    > PA 13001+1000 ack 1
         300  < A 1+0 ack 1 sack 1001-12001       # sent before the retransmission
         .    info lost 1000
         .    info resent 1000
         310  < A 1+0 ack 1 sack 1001-13001       # sent after it
         .    > A 1+1000 ack 1 again
         400  < A 1+0 ack 14001
         .    cwnd 5000
         .    info timeouts 0");
}

#[test]
fn a_retransmission_that_arrives_accuses_what_was_sent_before_it() {
    ten("200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         300  < A 1+0 ack 4001                   # 4001 to 10001 were sent at 100
         .    > A 4001+1000 ack 1 again
         .    > A 5001+1000 ack 1 again
         .    > A 6001+1000 ack 1 again
         .    info lost 6000");
}

#[test]
fn an_acknowledgement_that_is_too_fast_is_for_the_original() {
    // RFC 8985 6.2 step 2: 20 ms after the retransmission, and no RTT below 100.
    ten("200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         220  < A 1+0 ack 4001
         .    info lost 0");
}

#[test]
fn an_echo_that_is_older_than_the_retransmission_is_for_the_original() {
    let config = Config { sack: true, timestamps: true, ..bare() };
    far(
        config,
        "sackok ts 500 0",
        "100  write 4940
         .    > A 1+988 ack 1
         .    > A 989+988 ack 1
         .    > A 1977+988 ack 1
         .    > A 2965+988 ack 1
         .    > PA 3953+988 ack 1
         200  < A 1+0 ack 1 ts 600 100 sack 989-3953
         .    > A 1+988 ack 1 again
         310  < A 1+0 ack 3953 ts 610 100
         .    info lost 0
         .    info undos 1",
    );
}

#[test]
fn a_duplicate_that_was_reported_widens_the_window() {
    // RFC 8985 6.2 step 4: two quarters of 100 ms.
    ten("200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         210  < A 1+0 ack 10001                  # the original was only late
         300  < A 1+0 ack 10001 sack 1-1001      # and the retransmission for nothing
         .    info dsacks 1
         .    info spurious 1
         310  write 4000
         .    > A 10001+1000 ack 1
         .    > A 11001+1000 ack 1
         .    > A 12001+1000 ack 1
         .    > PA 13001+1000 ack 1
         410  < A 1+0 ack 10001 sack 11001-14001
         459  silent
         460  > A 10001+1000 ack 1 again");
}

#[test]
fn a_duplicate_widens_the_window_when_the_recovery_was_undone_before_it_came() {
    let config = Config { sack: true, timestamps: true, ..bare() };
    far(
        config,
        "sackok ts 500 0",
        "100  write 4940
         .    > A 1+988 ack 1
         .    > A 989+988 ack 1
         .    > A 1977+988 ack 1
         .    > A 2965+988 ack 1
         .    > PA 3953+988 ack 1
         200  < A 1+0 ack 1 ts 600 100 sack 989-3953
         .    > A 1+988 ack 1 again
         210  < A 1+0 ack 4941 ts 610 100
         .    info undos 1
         300  < A 1+0 ack 4941 ts 700 200 sack 1-989
         310  write 1976
         .    > A 4941+988 ack 1
         .    > PA 5929+988 ack 1
         410  < A 1+0 ack 4941 ts 810 310 sack 5929-6917
         459  silent
         460  > A 4941+988 ack 1 again",
    );
}

#[test]
fn the_degree_of_reordering_is_counted_in_segments() {
    ten("200  < A 1+0 ack 1 sack 9001-10001
         .    info reordering 3
         201  < A 1+0 ack 1001 sack 9001-10001
         .    info reordering 10
         .    info reord-seen 1");
}

#[test]
fn blocks_of_one_acknowledgement_are_no_reordering_among_themselves() {
    // The ACK in between was lost; the newest block comes first.
    ten("200  < A 1+0 ack 1 sack 5001-6001,2001-3001
         .    info reord-seen 0");
}

#[test]
fn a_timeout_takes_what_is_overdue_for_lost_and_nothing_else() {
    // RFC 8985 6.3.
    rack(
        "100  write 3000
         .    > A 1+1000 ack 1
         .    > A 1001+1000 ack 1
         .    > PA 2001+1000 ack 1
         370  write 1000
         .    > PA 3001+1000 ack 1
         400  > A 1+1000 ack 1 again
         .    info lost 3000
         .    cwnd 1000",
    );
}

#[test]
fn a_timeout_takes_the_oldest_for_lost_however_young() {
    rack(
        "100  write 1000
         .    > PA 1+1000 ack 1
         400  > PA 1+1000 ack 1 again
         1000 > PA 1+1000 ack 1 again
         .    info lost 1000",
    );
}

#[test]
fn a_lost_retransmission_after_a_timeout_is_found_out_too() {
    ten("150  write 2000
         400  > A 1+1000 ack 1 again
         500  < A 1+0 ack 1001
         .    > A 10001+1000 ack 1
         .    > PA 11001+1000 ack 1
         600  < A 1+0 ack 1001 sack 10001-11001  # F-RTO: the loss was real
         .    > A 1001+1000 ack 1 again
         601  < A 1+0 ack 1001 sack 10001-12001
         .    > A 2001+1000 ack 1 again
         701  < A 1+0 ack 1001 sack 2001-3001,10001-12001
         .    > A 1001+1000 ack 1 again
         .    > A 3001+1000 ack 1 again");
}

#[test]
fn losses_beyond_a_recovery_begin_the_next() {
    ten("150  write 2000
         200  < A 1+0 ack 1 sack 1001-4001
         .    > A 1+1000 ack 1 again
         .    > A 10001+1000 ack 1
         201  < A 1+0 ack 1 sack 1001-6001
         .    > PA 11001+1000 ack 1
         .    info ssthresh 5000
         310  < A 1+0 ack 10001 sack 11001-12001
         .    > A 10001+1000 ack 1 again
         .    info recovering 1
         .    info ssthresh 2500");
}

#[test]
fn no_timer_runs_for_what_was_sent_after_the_last_arrival() {
    ten("200  < A 1+0 ack 2001 sack 9001-10001
         225  > A 2001+1000 ack 1 again
         .    info lost 7000");
}
