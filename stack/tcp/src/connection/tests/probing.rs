//! Shut and shrinking windows (RFC 9293 3.8.6, 3.8.6.1).

use super::script::{established, in_state, play};
use crate::State;

#[test]
fn a_window_that_was_never_open_is_probed() {
    // RFC 9293 MUST-36, SHLD-29: first after a retransmission timeout.
    in_state(
        State::SynSent,
        "0    < SA 0+0 ack 1 win 0 mss 1000
         .    > A 1+0 ack 1
         10   write 100
         209  silent
         210  > A 0+0 ack 1
         220  < A 1+0 ack 1 win 1000
         .    > PA 1+100 ack 1",
    );
}

#[test]
fn nothing_is_probed_without_something_to_send() {
    established("0 < A 1+0 ack 1 win 0\n1000 no-timer");
}

#[test]
fn a_lost_window_update_is_made_good_by_a_probe() {
    established(
        "0    < A 1+0 ack 1 win 0
         10   write 100
         210  > A 0+0 ack 1
         211  < A 1+0 ack 1 win 50000
         .    > PA 1+100 ack 1
         220  < A 1+0 ack 101",
    );
}

#[test]
fn the_answer_may_acknowledge_as_well() {
    established(
        "0    write 1000
         .    > PA 1+1000 ack 1
         .    write 500
         .    > PA 1001+500 ack 1
         10   < A 1+0 ack 1001 win 500
         20   < A 1+0 ack 1501 win 0
         30   write 100
         233.6 > A 1500+0 ack 1
         240  < A 1+0 ack 1501 win 100
         .    > PA 1501+100 ack 1",
    );
}

#[test]
fn the_pauses_grow_to_two_minutes() {
    // RFC 9293 SHLD-30.
    let mut text = String::from("0 < A 1+0 ack 1 win 0\n. write 100\n");
    let (mut at, mut pause) = (0.0, super::script::FIRST_TIMEOUT);
    for _ in 0..13 {
        at += pause;
        pause = (pause * 2.0_f64).min(120_000.0);
        text += &format!("{at} > A 0+0 ack 1\n. < A 1+0 ack 1 win 0\n");
    }
    established(&format!("{text}{} silent\n{} > A 0+0 ack 1", at + 119_990.0, at + 120_000.0));
}

#[test]
fn no_new_data_goes_into_a_window_that_shrank() {
    // RFC 9293 MUST-34, SHLD-15.
    established(
        "0   < A 1+0 ack 1 win 4000
         .   nodelay on
         .   write 3000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > PA 2001+1000 ack 1
         10  < A 1+0 ack 1001 win 1000
         .   write 500
         20  < A 1+0 ack 2001 win 500
         30  < A 1+0 ack 3001 win 1000
         .   > PA 3001+500 ack 1",
    );
}

#[test]
fn what_a_shrunken_window_holds_is_sent_again() {
    // RFC 9293 SHLD-16.
    established(
        "0     < A 1+0 ack 1 win 4000
         .     write 2000
         .     > A 1+1000 ack 1
         .     > PA 1001+1000 ack 1
         10    < A 1+0 ack 1001 win 500
         211.3 > PA 1001+1000 ack 1 again
         220   < A 1+0 ack 2001 win 4000",
    );
}

#[test]
fn at_a_shut_window_a_rst_still_counts() {
    // RFC 9293 MUST-66.
    established("10 < A 1+65535 ack 1\n. > A 1+0 ack 65536\n20 < R 65536+0\n. error Reset");
}

#[test]
fn at_a_shut_window_an_ack_still_counts() {
    established(
        "0   rcvbuf 2304
         10  < A 1+65535 ack 1
         .   > A 1+0 ack 65536 win 0
         20  write 10
         .   > PA 1+10 ack 65536
         30  < A 65536+0 ack 11
         .   write 10
         .   > PA 11+10 ack 65536",
    );
}

#[test]
fn at_a_shut_window_an_ack_on_a_refused_byte_still_counts() {
    // RFC 9293 3.10.7.4, first: special allowance for valid ACKs.
    established(
        "0   rcvbuf 2304
         10  < A 1+65535 ack 1
         .   > A 1+0 ack 65536 win 0
         20  write 10
         .   > PA 1+10 ack 65536
         30  < A 65536+1 ack 11
         .   > A 11+0 ack 65536 win 0
         .   write 10
         .   > PA 11+10 ack 65536",
    );
}

#[test]
fn our_window_may_stay_shut_as_long_as_the_program_likes() {
    // RFC 9293 MAY-8.
    established(
        "0       rcvbuf 2304
         10      < A 1+65535 ack 1
         .       > A 1+0 ack 65536 win 0
         200     < A 65535+0 ack 1
         .       > A 1+0 ack 65536 win 0
         3600000 < A 65535+0 ack 1
         .       > A 1+0 ack 65536 win 0
         .       read 65535
         .       > A 1+0 ack 65536 win 2304",
    );
}

#[test]
fn a_window_is_unsigned() {
    // RFC 9293 MUST-1.
    let script = play(super::script::bare(), "0 < S 0+0 win 65535 mss 1000\n. > SA 0+0 ack 1");
    assert_eq!(script.connection.expect("open").info().snd_wnd, 65_535);
}
