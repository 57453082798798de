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

#[test]
fn it_can_be_switched_off_again() {
    // RFC 9293 MUST-24.
    established("0 keepalive 1000 1000 3\n500 keepalive off\n. no-timer\n5000 state Established");
}

#[test]
fn it_waits_two_hours_unless_told_otherwise() {
    // RFC 9293 MUST-28.
    assert_eq!(crate::Keepalive::default().idle, crate::Duration::from_secs(2 * 3600));
    established("0 keepalive 7200000 75000 9\n7199999 silent\n7200000 > A 0+0 ack 1\n. < A 1+0 ack 1");
}

#[test]
fn nothing_is_probed_while_data_is_under_way() {
    // RFC 9293 MUST-26: the retransmissions tell.
    established(
        "0     keepalive 1000 1000 3
         .     write 10
         .     > PA 1+10 ack 1
         200   > PA 1+10 ack 1 again
         600   > PA 1+10 ack 1 again
         1400  > PA 1+10 ack 1 again
         1410  < A 1+0 ack 11
         2409  silent
         2410  > A 10+0 ack 1",
    );
}

#[test]
fn whatever_arrives_is_a_sign_of_life() {
    // RFC 9293 MUST-26.
    established(
        "0     keepalive 1000 1000 3
         900   < A 1+0 ack 1
         1899  silent
         1900  > A 0+0 ack 1
         1910  < A 1+0 ack 1
         2910  > A 0+0 ack 1",
    );
}

#[test]
fn one_lost_probe_does_not_kill() {
    // RFC 9293 MUST-29.
    established(
        "0     keepalive 1000 1000 2
         1000  > A 0+0 ack 1
         2000  > A 0+0 ack 1
         2500  < A 1+0 ack 1
         3500  > A 0+0 ack 1
         4500  > A 0+0 ack 1
         5500  > RA 1+0 ack 1
         .     error TimedOut",
    );
}

#[test]
fn a_peer_that_has_forgotten_us_resets_the_probe() {
    established("0 keepalive 1000 1000 9\n1000 > A 0+0 ack 1\n1010 < R 1+0\n. error Reset\n. no-timer");
}

#[test]
fn a_half_closed_connection_is_probed_too() {
    use super::script::in_state;
    use crate::State;
    in_state(State::CloseWait, "0 keepalive 1000 1000 9\n1000 > A 0+0 ack 2\n1010 < A 2+0 ack 1");
    in_state(State::FinWait2, "0 keepalive 1000 1000 9\n1000 > A 1+0 ack 1\n1010 < A 1+0 ack 2");
}
