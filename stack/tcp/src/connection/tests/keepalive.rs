//! Keepalive (RFC 9293 3.8.4) with Linux's options.

use super::script::established;

#[test]
fn it_is_off_by_default() {
    established("100 no-timer");
}

#[test]
fn a_silent_peer_is_probed_and_given_up_with_a_reset() {
    established(
        "0      keepalive 10000 1000 3
         10000  > A 0+0 ack 1
         11000  > A 0+0 ack 1
         12000  > A 0+0 ack 1
         13000  > RA 1+0 ack 1
         .      error TimedOut
         .      closed",
    );
}

#[test]
fn an_answer_starts_the_wait_anew() {
    established(
        "0      keepalive 10000 1000 3
         10000  > A 0+0 ack 1
         11000  > A 0+0 ack 1
         11010  < A 1+0 ack 1
         21009  silent
         21010  > A 0+0 ack 1
         21020  < A 1+0 ack 1
         21030  < PA 1+10 ack 1
         .      > A 1+0 ack 11
         31030  > A 0+0 ack 11",
    );
}

#[test]
fn a_probe_is_answered() {
    established("7200000 < A 0+0 ack 1\n. > A 1+0 ack 1");
}

#[test]
fn the_user_timeout_counts_instead_of_the_probes() {
    established(
        "0      keepalive 10000 1000 3
         .      user-timeout 15500
         10000  > A 0+0 ack 1
         11000  > A 0+0 ack 1
         12000  > A 0+0 ack 1
         13000  > A 0+0 ack 1
         14000  > A 0+0 ack 1
         15000  > A 0+0 ack 1
         16000  > RA 1+0 ack 1
         .      error TimedOut",
    );
}
