//! Small segments: Nagle's algorithm (RFC 9293 3.7.4, appendix A.3), PSH (3.9.1.2)
//! and the sender's silly windows (3.8.6.2.1).

use super::script::established;

#[test]
fn a_small_segment_may_follow_full_ones() {
    // Minshall's variant: only a small one in flight holds the next back.
    established(
        "0   write 2000
         .   > A 1+1000 ack 1
         .   > PA 1001+1000 ack 1
         1   write 10
         .   > PA 2001+10 ack 1
         2   write 10
         3   < A 1+0 ack 2001
         4   < A 1+0 ack 2011
         .   > PA 2011+10 ack 1",
    );
}

#[test]
fn gathered_writes_leave_as_soon_as_they_fill_a_segment() {
    established(
        "0   write 10
         .   > PA 1+10 ack 1
         1   write 600
         2   write 600
         .   > A 11+1000 ack 1
         3   < A 1+0 ack 11
         .   > PA 1011+200 ack 1",
    );
}

#[test]
fn the_end_does_not_wait() {
    established("0 write 10\n. > PA 1+10 ack 1\n1 write 10\n2 shutdown\n. > FPA 11+10 ack 1");
}

#[test]
fn the_last_segment_of_what_was_written_is_pushed() {
    // RFC 9293 MUST-61.
    established(
        "0   nodelay on
         .   write 1000
         .   > PA 1+1000 ack 1
         .   write 1001
         .   > A 1001+1000 ack 1
         .   > PA 2001+1 ack 1",
    );
}

#[test]
fn what_is_sent_again_together_is_pushed_once() {
    // RFC 9293 SHLD-27.
    established(
        "0    nodelay on
         .    write 10
         .    > PA 1+10 ack 1
         .    write 10
         .    > PA 11+10 ack 1
         .    write 10
         .    > PA 21+10 ack 1
         200  > PA 1+30 ack 1 again",
    );
}

#[test]
fn full_segments_are_sent_where_possible() {
    // RFC 9293 SHLD-28.
    established(
        "0   cork on
         .   write 400
         .   write 400
         .   write 400
         .   > A 1+1000 ack 1
         .   cork off
         .   > PA 1001+200 ack 1",
    );
}

#[test]
fn a_window_of_less_than_a_segment_is_used_when_all_fits() {
    // RFC 9293 3.8.6.2.1 (2).
    established("0 < A 1+0 ack 1 win 300\n. write 300\n. > PA 1+300 ack 1");
}

#[test]
fn a_window_of_less_than_a_segment_waits_when_more_is_there() {
    // RFC 9293 3.8.6.2.1: neither (1) nor (3), until the override of (4).
    established(
        "0     < A 1+0 ack 1 win 300
         .     write 500
         199   silent
         200   > A 1+300 ack 1
         210   < A 1+0 ack 301 win 5000
         .     > PA 301+200 ack 1",
    );
}

#[test]
fn nagle_applies_again_when_it_is_switched_on() {
    // RFC 9293 MUST-17.
    established(
        "0   nodelay on
         .   write 10
         .   > PA 1+10 ack 1
         1   write 10
         .   > PA 11+10 ack 1
         2   nodelay off
         .   write 10
         10  < A 1+0 ack 21
         .   > PA 21+10 ack 1",
    );
}

#[test]
fn an_empty_write_sends_nothing() {
    established("0 write 0\n. silent\n. no-timer");
}
