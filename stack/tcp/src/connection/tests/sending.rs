//! Data on its way out: segmentation, Nagle (RFC 9293 3.7.4), PSH, the send
//! buffer, retransmission (RFC 6298).

use super::script::{FIRST_TIMEOUT, bare, established, established_with};
use crate::Config;

#[test]
fn a_write_is_cut_into_full_segments_with_push_on_the_last() {
    established(
        "0   write 2500
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > PA 2001+500 ack 1",
    );
}

#[test]
fn nagle_holds_a_second_small_segment_back() {
    established(
        "0   write 100
         .   > PA 1+100 ack 1
         1   write 100
         2   write 100
         10  < A 1+0 ack 101
         .   > PA 101+200 ack 1",
    );
}

#[test]
fn nagle_lets_full_segments_go() {
    established(
        "0   write 100
         .   > PA 1+100 ack 1
         1   write 1500
         .   > A 101+1000 ack 1
         10  < A 1+0 ack 101
         .   > PA 1101+500 ack 1",
    );
}

#[test]
fn nodelay_sends_at_once() {
    established(
        "0   nodelay on
         .   write 100
         .   > PA 1+100 ack 1
         1   write 100
         .   > PA 101+100 ack 1",
    );
}

#[test]
fn nodelay_releases_what_was_held() {
    established(
        "0   write 100
         .   > PA 1+100 ack 1
         1   write 100
         2   nodelay on
         .   > PA 101+100 ack 1",
    );
}

#[test]
fn a_cork_holds_partial_segments_for_a_timeout() {
    established(
        "0     cork on
         .     write 1500
         .     > A 1+1000 ack 1
         10    < A 1+0 ack 1001
         100   write 200
         210   > PA 1001+700 ack 1",
    );
}

#[test]
fn a_cork_holds_each_partial_segment_no_longer_than_the_last() {
    established(
        "0     cork on
         .     write 100
         200   > PA 1+100 ack 1
         210   < A 1+0 ack 101
         .     write 100
         410   > PA 101+100 ack 1
         420   < A 1+0 ack 201
         .     write 100
         620   > PA 201+100 ack 1",
    );
}

#[test]
fn pulling_the_cork_sends() {
    established("0 cork on\n. write 100\n10 cork off\n. > PA 1+100 ack 1");
}

#[test]
fn a_full_send_buffer_takes_no_more_until_a_third_is_free() {
    established(
        "0   sndbuf 6000
         .   write 7000 =6000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > A 3001+1000 ack 1
         .   > A 4001+1000 ack 1
         .   > PA 5001+1000 ack 1
         .   ready -
         .   write 10 =0
         10  < A 1+0 ack 1001
         .   events -
         .   ready -
         20  < A 1+0 ack 2001
         .   events WRITABLE
         .   ready WRITABLE
         .   write 3000 =2000
         .   > A 6001+1000 ack 1
         .   > PA 7001+1000 ack 1
         30  < A 1+0 ack 5001
         .   events WRITABLE",
    );
}

#[test]
fn space_is_no_event_when_there_was_enough() {
    established(
        "0   write 1000
         .   > PA 1+1000 ack 1
         10  < A 1+0 ack 1001
         .   events -",
    );
}

#[test]
fn the_retransmission_timer_doubles() {
    established(
        "0      write 100
         .      > PA 1+100 ack 1
         200    > PA 1+100 ack 1 again
         600    > PA 1+100 ack 1 again
         1400   > PA 1+100 ack 1 again
         3000   > PA 1+100 ack 1 again
         3010   < A 1+0 ack 101
         5000   no-timer",
    );
}

#[test]
fn unacknowledged_data_ends_the_connection_after_924_seconds() {
    let mut text = String::from("0 write 100\n. > PA 1+100 ack 1\n");
    let (mut at, mut pause) = (0.0, FIRST_TIMEOUT);
    for _ in 0..15 {
        at += pause;
        pause = (pause * 2.0).min(120_000.0);
        text += &format!("{at} > PA 1+100 ack 1 again\n");
    }
    assert!((804_000.0..805_000.0).contains(&at), "Linux: 804.6 s");
    established(&(text + "924600 state Established\n924602 error TimedOut\n. closed"));
}

#[test]
fn the_user_timeout_ends_it_earlier() {
    established(
        "0      user-timeout 1000
         .      write 100
         .      > PA 1+100 ack 1
         200    > PA 1+100 ack 1 again
         600    > PA 1+100 ack 1 again
         999    state Established
         1001   error TimedOut",
    );
}

#[test]
fn the_back_off_stays_until_there_is_a_sample() {
    // Karn: the ACK of a retransmission gives none.
    established(
        "0      write 100
         .      > PA 1+100 ack 1
         200    > PA 1+100 ack 1 again
         600    > PA 1+100 ack 1 again
         610    < A 1+0 ack 101
         .      write 100
         .      > PA 101+100 ack 1
         1410   > PA 101+100 ack 1 again
         1420   < A 1+0 ack 201
         1430   write 100
         .      > PA 201+100 ack 1
         1440   < A 1+0 ack 301
         .      write 100                   # a sample: 10 ms
         .      > PA 301+100 ack 1
         1641.2 > PA 301+100 ack 1 again",
    );
}

#[test]
fn the_timer_starts_anew_with_each_acknowledgement() {
    // RFC 6298 5.3.
    established(
        "0      write 2000
         .      > A 1+1000 ack 1
         .      > PA 1001+1000 ack 1
         150    < A 1+0 ack 1001
         300    silent
         350    nothing",
    );
}

#[test]
fn lost_small_segments_are_sent_again_together() {
    established(
        "0      nodelay on
         .      write 300
         .      > PA 1+300 ack 1
         1      write 300
         .      > PA 301+300 ack 1
         2      write 600
         .      > PA 601+600 ack 1
         200    > A 1+1000 ack 1 again
         210    < A 1+0 ack 1001
         .      > PA 1001+200 ack 1 again",
    );
}

#[test]
fn the_send_buffer_grows_with_the_congestion_window() {
    let config = Config { sndbuf: 12_000, sndbuf_max: 30_000, ..bare() };
    let script = established_with(
        config,
        "",
        "0   write 20000 =12000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > A 3001+1000 ack 1
         .   > A 4001+1000 ack 1
         .   > A 5001+1000 ack 1
         .   > A 6001+1000 ack 1
         .   > A 7001+1000 ack 1
         .   > A 8001+1000 ack 1
         .   > A 9001+1000 ack 1
         10  < A 1+0 ack 10001
         .   > A 10001+1000 ack 1
         .   > PA 11001+1000 ack 1",
    );
    assert_eq!(script.connection.expect("open").sndbuf(), 20_000);
}

#[test]
fn an_idle_connection_gives_its_memory_back() {
    established(
        "0     write 1000
         .     > PA 1+1000 ack 1
         10    < A 1+0 ack 1001
         20    < PA 1+500 ack 1001
         60    > A 1001+0 ack 501
         .     read 500
         3000  no-timer",
    );
}
