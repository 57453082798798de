//! Urgent data (RFC 9293 3.8.5), in line and with the pointer behind it, as RFC
//! 6093 advises.

use super::script::{established, in_state};
use crate::State;

#[test]
fn the_pointer_that_we_send_is_behind_the_urgent_data() {
    // RFC 9293 MUST-62.
    established("10 write-urgent 5\n. > UPA 1+5 ack 1 urg 5");
}

#[test]
fn all_that_is_sent_before_the_urgent_byte_points_to_it() {
    established(
        "10  write 1500
         .   > A 1+1000 ack 1
         .   > PA 1001+500 ack 1
         11  < A 1+0 ack 1 win 1500
         12  write 800
         .   write-urgent 1
         20  < A 1+0 ack 1501 win 1500
         .   > UPA 1501+801 ack 1 urg 801",
    );
}

#[test]
fn urgent_data_may_have_any_length() {
    // RFC 9293 MUST-31.
    established(
        "10  write-urgent 2500
         .   > UA 1+1000 ack 1 urg 2500
         .   > UA 1001+1000 ack 1 urg 1500
         .   > UPA 2001+500 ack 1 urg 500",
    );
}

#[test]
fn a_pointer_too_far_for_its_field_points_as_far_as_it_can() {
    let mut text = String::from("10 < A 1+0 ack 1 win 1000\n. write 70000\n. > A 1+1000 ack 1\n");
    text += ". write-urgent 1\n20 < A 1+0 ack 1001 win 1000\n. > UA 1001+1000 ack 1 urg 65535\n";
    text += "30 < A 1+0 ack 2001 win 5000\n. > UA 2001+1000 ack 1 urg 65535\n";
    text += ". > UA 3001+1000 ack 1 urg 65535\n. > UA 4001+1000 ack 1 urg 65535\n";
    text += ". > UA 5001+1000 ack 1 urg 65001\n. > UA 6001+1000 ack 1 urg 64001\n";
    established(&text);
}

#[test]
fn nagle_does_not_hold_urgent_data_back() {
    established("10 write 5\n. > PA 1+5 ack 1\n11 write-urgent 1\n. > UPA 6+1 ack 1 urg 1");
}

#[test]
fn what_follows_urgent_data_is_not_urgent() {
    established(
        "10  nodelay on
         .   write-urgent 1
         .   > UPA 1+1 ack 1 urg 1
         .   write 5
         .   > PA 2+5 ack 1
         20  < A 1+0 ack 7
         30  write 5
         .   > PA 7+5 ack 1",
    );
}

#[test]
fn urgent_data_is_sent_again_with_its_pointer() {
    established("0 write-urgent 5\n. > UPA 1+5 ack 1 urg 5\n200 > UPA 1+5 ack 1 urg 5 again");
}

#[test]
fn a_shut_window_lets_the_pointer_through() {
    // The probes carry it; the ACKs that we send meanwhile too.
    established(
        "0    < A 1+0 ack 1 win 0
         10   write-urgent 5
         20   < A 1+100 ack 1 win 0
         .    > UA 1+0 ack 101 urg 5
         210  > UA 0+0 ack 101 urg 6
         220  < A 101+0 ack 1 win 100
         .    > UPA 1+5 ack 101 urg 5",
    );
}

#[test]
fn an_urgent_pointer_is_told_at_once_and_the_data_stays_in_line() {
    // RFC 9293 MUST-32, MUST-33; RFC 6093 6.
    established(
        "10  < UA 1+100 ack 1 urg 100
         .   > A 1+0 ack 101
         .   events READABLE|URGENT
         .   ready READABLE|WRITABLE|URGENT
         .   urgent 100
         .   read 100 =99
         .   at-mark on
         .   read 100 =1
         .   at-mark off
         .   urgent 0
         .   ready WRITABLE",
    );
}

#[test]
fn a_read_stops_at_the_mark_and_goes_on_behind_it() {
    established(
        "10  < UA 1+100 ack 1 urg 50
         .   > A 1+0 ack 101
         .   at-mark off
         .   read 20
         .   urgent 30
         .   read 100 =29
         .   at-mark on
         .   read 100 =51",
    );
}

#[test]
fn the_pointer_may_come_before_the_data() {
    // RFC 9293 3.8.5: the program is told, and can learn how much is ahead.
    established(
        "10  < UA 1+0 ack 1 urg 200
         .   events URGENT
         .   urgent 200
         .   ready WRITABLE|URGENT
         .   read-blocks
         20  < PA 1+200 ack 1
         .   > A 1+0 ack 201
         .   read 300 =199
         .   at-mark on",
    );
}

#[test]
fn the_program_hears_of_each_step_of_the_pointer_and_of_no_other() {
    established(
        "10  < UA 1+0 ack 1 urg 10
         .   events URGENT
         20  < UA 1+0 ack 1 urg 10
         .   events -
         30  < UA 1+0 ack 1 urg 5
         .   events -
         .   urgent 10
         40  < UA 1+0 ack 1 urg 20
         .   events URGENT
         .   urgent 20",
    );
}

#[test]
fn a_pointer_to_what_was_read_says_nothing() {
    established(
        "10  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         .   events READABLE
         .   read 100
         20  < UA 101+0 ack 1 urg 0
         .   events -
         .   urgent 0",
    );
}

#[test]
fn the_pointer_is_taken_at_a_shut_window() {
    // RFC 9293 MUST-66.
    established(
        "0   rcvbuf 2304
         10  < A 1+65535 ack 1
         .   > A 1+0 ack 65536 win 0
         .   events READABLE
         20  < UA 65536+0 ack 1 urg 1
         .   events URGENT",
    );
}

#[test]
fn urgent_data_crosses_a_gap() {
    established(
        "10  < UA 101+100 ack 1 urg 100
         .   > A 1+0 ack 1
         .   urgent 200
         20  < A 1+100 ack 1
         .   > A 1+0 ack 201
         .   read 300 =199
         .   read 300 =1",
    );
}

#[test]
fn half_closed_we_still_hear_of_urgent_data() {
    in_state(
        State::FinWait2,
        "10 < UA 1+10 ack 2 urg 10\n50 > A 2+0 ack 11\n. events READABLE|WRITABLE|URGENT",
    );
}

#[test]
fn a_pointer_without_its_bit_means_nothing() {
    established("10 < A 1+10 ack 1 urg 10\n. > A 1+0 ack 11\n. events READABLE\n. urgent 0\n. read 20 =10");
}
