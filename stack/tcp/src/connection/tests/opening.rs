//! Handshakes (RFC 9293 3.5, 3.10.7.3; RFC 6298; RFC 7323).

use super::script::{accepted, bare, established, play};
use crate::Config;

#[test]
fn an_active_open_takes_three_segments() {
    play(
        bare(),
        "0   connect
         .   > S 0+0 mss 1000 win 65535
         .   ready -
         .   read-blocks
         .   write 5 =0
         10  < SA 0+0 ack 1 win 5000 mss 1000
         .   > A 1+0 ack 1
         .   state Established
         .   events WRITABLE|CONNECTED
         .   ready WRITABLE",
    );
}

#[test]
fn a_passive_open_takes_three_segments() {
    play(
        bare(),
        "0   < S 0+0 win 5000 mss 1000
         .   > SA 0+0 ack 1 mss 1000 win 65535
         .   state SynReceived
         .   ready -
         10  < A 1+0 ack 1 win 5000
         .   state Established
         .   events WRITABLE|CONNECTED",
    );
}

#[test]
fn a_syn_offers_every_option() {
    play(Config::default(), "0 connect\n. > S 0+0 mss 1000 ws 7 sackok ts 0 0");
}

#[test]
fn a_syn_ack_takes_up_what_was_offered() {
    play(
        Config::default(),
        "0 < S 0+0 mss 1000 ws 3 sackok ts 77 0\n. > SA 0+0 ack 1 mss 1000 ws 7 sackok ts 0 77",
    );
}

#[test]
fn a_syn_ack_offers_nothing_of_its_own() {
    let script = play(Config::default(), "0 < S 0+0 mss 1000\n. > SA 0+0 ack 1 mss 1000");
    let info = script.connection.expect("open").info();
    assert!(!info.timestamps && !info.sack && info.rcv_wscale == 0);
}

#[test]
fn options_that_were_switched_off_are_not_taken_up() {
    let script = play(bare(), "0 < S 0+0 mss 1000 ws 3 sackok ts 77 0\n. > SA 0+0 ack 1 mss 1000");
    let info = script.connection.expect("open").info();
    assert!(!info.timestamps && !info.sack && info.snd_wscale == 0);
}

#[test]
fn a_syn_is_sent_again_with_doubling_pauses_and_given_up() {
    play(
        bare(),
        "0       connect
         .       > S 0+0
         1000    > S 0+0 again
         3000    > S 0+0 again
         7000    > S 0+0 again
         15000   > S 0+0 again
         31000   > S 0+0 again
         63000   > S 0+0 again
         126999  state SynSent
         127000  state Closed
         .       error TimedOut
         .       events READABLE|WRITABLE|ERROR|HUP
         .       ready READABLE|WRITABLE|RDHUP|HUP|ERR
         .       write-fails TimedOut
         .       write-fails Closed
         .       closed",
    );
}

#[test]
fn a_syn_ack_is_sent_again_and_given_up() {
    play(
        bare(),
        "0      < S 0+0 mss 1000
         .      > SA 0+0 ack 1
         1000   > SA 0+0 ack 1 again
         3000   > SA 0+0 ack 1 again
         7000   > SA 0+0 ack 1 again
         15000  > SA 0+0 ack 1 again
         31000  > SA 0+0 ack 1 again
         63000  closed",
    );
}

#[test]
fn a_syn_that_comes_again_is_answered_again() {
    play(
        bare(),
        "0    < S 0+0 mss 1000
         .    > SA 0+0 ack 1
         500  < S 0+0 mss 1000
         .    > SA 0+0 ack 1
         600  < A 1+0 ack 1
         .    state Established",
    );
}

#[test]
fn a_refused_connection_is_ready_for_everything() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < RA 0+0 ack 1
         .   error Refused
         .   ready READABLE|WRITABLE|RDHUP|HUP|ERR
         .   read-fails Refused
         .   read-end
         .   ready READABLE|WRITABLE|RDHUP|HUP
         .   closed",
    );
}

#[test]
fn a_rst_without_or_with_a_wrong_ack_does_not_refuse() {
    play(bare(), "0 connect\n. > S 0+0\n10 < R 0+0\n. < RA 0+0 ack 2\n. state SynSent");
}

#[test]
fn a_wrong_ack_in_syn_sent_is_reset() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < A 50+0 ack 2
         .   > R 2+0 no-options
         .   state SynSent
         20  < SA 0+0 ack 0 mss 1000
         .   > R 0+0
         .   state SynSent",
    );
}

#[test]
fn a_wrong_ack_in_syn_received_is_reset() {
    play(
        bare(),
        "0   < S 0+0 mss 1000
         .   > SA 0+0 ack 1
         10  < A 1+0 ack 7
         .   > R 7+0
         .   state SynReceived
         20  < A 1+0 ack 1
         .   state Established",
    );
}

#[test]
fn both_sides_may_open_at_once() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < S 0+0 win 5000 mss 1000
         .   > SA 0+0 ack 1
         .   state SynReceived
         20  < SA 0+0 ack 1 win 5000
         .   > A 1+0 ack 1
         .   state Established
         .   write 10
         .   > PA 1+10 ack 1",
    );
}

#[test]
fn a_simultaneous_open_may_be_refused() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < S 0+0 win 5000 mss 1000
         .   > SA 0+0 ack 1
         20  < R 1+0
         .   error Refused
         .   closed",
    );
}

#[test]
fn data_may_come_with_the_last_ack() {
    play(
        bare(),
        "0   < S 0+0 mss 1000
         .   > SA 0+0 ack 1
         10  < PA 1+300 ack 1
         .   > A 1+0 ack 301
         .   read 300",
    );
}

#[test]
fn a_fin_may_come_with_the_last_ack() {
    play(
        bare(),
        "0   < S 0+0 mss 1000
         .   > SA 0+0 ack 1
         10  < FPA 1+300 ack 1
         .   > A 1+0 ack 302
         .   state CloseWait
         .   read 300
         .   read-end",
    );
}

#[test]
fn without_an_mss_option_segments_have_536_bytes() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < SA 0+0 ack 1
         .   > A 1+0 ack 1
         .   write 600
         .   > A 1+536 ack 1
         .   > PA 537+64 ack 1",
    );
}

#[test]
fn an_absurd_mss_is_not_believed() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < SA 0+0 ack 1 mss 1
         .   > A 1+0 ack 1
         .   write 88
         .   > PA 1+88 ack 1",
    );
}

#[test]
fn the_timeout_after_a_lost_syn_is_three_seconds() {
    // RFC 6298 5.7.
    play(
        bare(),
        "0     connect
         .     > S 0+0
         1000  > S 0+0 again
         1010  < SA 0+0 ack 1 mss 1000
         .     > A 1+0 ack 1
         .     write 10
         .     > PA 1+10 ack 1
         4010  > PA 1+10 ack 1 again",
    );
}

#[test]
fn the_handshake_gives_the_first_rtt_sample() {
    // 100 ms: RTO = 100 + max(200, 4 * 50) = 300.
    play(
        bare(),
        "0    connect
         .    > S 0+0
         100  < SA 0+0 ack 1 mss 1000
         .    > A 1+0 ack 1
         .    write 10
         .    > PA 1+10 ack 1
         400  > PA 1+10 ack 1 again",
    );
}

#[test]
fn a_syn_ack_that_comes_again_is_acknowledged_again() {
    established("10 < SA 0+0 ack 1 win 60000 mss 1000\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn a_connection_that_is_closed_while_opening_is_gone() {
    play(bare(), "0 connect\n. > S 0+0\n10 close\n. closed\n. no-timer");
}

#[test]
fn a_shutdown_while_opening_waits_for_the_handshake() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         5   shutdown
         10  < SA 0+0 ack 1 mss 1000
         .   > FA 1+0 ack 1
         .   state FinWait1",
    );
}

#[test]
fn an_accepted_connection_carries_data_both_ways() {
    accepted(
        "10  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         .   read 100
         .   write 50
         .   > PA 1+50 ack 101
         20  < A 101+0 ack 51
         2000 no-timer",
    );
}
