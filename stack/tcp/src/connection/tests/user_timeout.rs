//! The user timeout (RFC 9293 3.10.8, 3.8.3; RFC 5482; Linux's
//! `TCP_USER_TIMEOUT`).

use super::script::{FIRST_TIMEOUT, established, in_state};
use crate::State;

#[test]
fn it_ends_a_connection_whose_data_is_not_acknowledged() {
    established(
        "0    user-timeout 500
         .    write 10
         .    > PA 1+10 ack 1
         200  > PA 1+10 ack 1 again
         499  state Established
         501  error TimedOut
         .    events READABLE|WRITABLE|ERROR|HUP
         .    write-fails TimedOut
         .    closed",
    );
}

#[test]
fn it_may_be_longer_than_the_default() {
    // RFC 9293 MUST-21: a program sets R2.
    let mut text = String::from("0 user-timeout 2000000\n. write 10\n. > PA 1+10 ack 1\n");
    let (mut at, mut pause) = (0.0, FIRST_TIMEOUT);
    while at + pause < 2_000_000.0 {
        at += pause;
        pause = (pause * 2.0).min(120_000.0);
        text += &format!("{at} > PA 1+10 ack 1 again\n");
    }
    established(&(text + "1999999 state Established\n2000001 error TimedOut"));
}

#[test]
fn it_begins_anew_with_each_progress() {
    established(
        "0     user-timeout 1000
         .     write 2000
         .     > A 1+1000 ack 1
         .     > PA 1001+1000 ack 1
         200   > A 1+1000 ack 1 again
         600   > A 1+1000 ack 1 again
         900   < A 1+0 ack 1001
         .     > PA 1001+1000 ack 1 again
         1100  nothing
         1700  > PA 1001+1000 ack 1 again
         1899  state Established
         2000  error TimedOut",
    );
}

#[test]
fn it_counts_at_a_shut_window_although_the_peer_answers() {
    // tcp(7): data may remain untransmitted so long.
    established(
        "0    user-timeout 1000
         .    < A 1+0 ack 1 win 0
         .    write 10
         200  > A 0+0 ack 1
         .    < A 1+0 ack 1 win 0
         600  > A 0+0 ack 1
         .    < A 1+0 ack 1 win 0
         1199 state Established
         1201 error TimedOut",
    );
}

#[test]
fn zero_restores_the_default() {
    established(
        "0    user-timeout 500
         .    user-timeout 0
         .    write 10
         .    > PA 1+10 ack 1
         200  > PA 1+10 ack 1 again
         600  > PA 1+10 ack 1 again
         1400 > PA 1+10 ack 1 again
         .    state Established
         .    < A 1+0 ack 11",
    );
}

#[test]
fn it_counts_while_opening() {
    in_state(State::SynSent, "0 user-timeout 2500\n1000 > S 0+0 again\n3000 nothing\n. error TimedOut");
}

#[test]
fn it_does_not_touch_a_connection_that_owes_nothing() {
    established("0 user-timeout 1000\n100000 state Established\n. no-timer");
}

#[test]
fn it_counts_for_our_fin() {
    in_state(
        State::FinWait1,
        "0 user-timeout 500\n200 > FA 1+0 ack 1 again\n499 state FinWait1\n501 error TimedOut",
    );
}
