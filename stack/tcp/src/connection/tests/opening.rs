//! Handshakes (RFC 9293 3.5, 3.10.7.3; RFC 6298; RFC 7323).

use super::script::{accepted, bare, established, established_with, in_state, play};
use crate::{Config, State};

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
    in_state(
        State::SynSent,
        "1000    > S 0+0 again
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
    in_state(
        State::SynReceived,
        "1000   > SA 0+0 ack 1 again
         3000   > SA 0+0 ack 1 again
         7000   > SA 0+0 ack 1 again
         15000  > SA 0+0 ack 1 again
         31000  > SA 0+0 ack 1 again
         63000  closed",
    );
}

#[test]
fn a_syn_that_comes_again_is_answered_again() {
    in_state(
        State::SynReceived,
        "500  < S 0+0 mss 1000
         .    > SA 0+0 ack 1
         600  < A 1+0 ack 1
         .    state Established",
    );
}

#[test]
fn a_refused_connection_is_ready_for_everything() {
    in_state(
        State::SynSent,
        "10  < RA 0+0 ack 1
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
    in_state(State::SynSent, "10 < R 0+0\n. < RA 0+0 ack 2\n. state SynSent");
}

#[test]
fn a_wrong_ack_in_syn_sent_is_reset() {
    in_state(
        State::SynSent,
        "10  < A 50+0 ack 2
         .   > R 2+0 no-options
         .   state SynSent
         20  < SA 0+0 ack 0 mss 1000
         .   > R 0+0
         .   state SynSent",
    );
}

#[test]
fn a_wrong_ack_in_syn_received_is_reset() {
    in_state(
        State::SynReceived,
        "10  < A 1+0 ack 7
         .   > R 7+0
         .   state SynReceived
         20  < A 1+0 ack 1
         .   state Established",
    );
}

#[test]
fn both_sides_may_open_at_once() {
    in_state(
        State::SynSent,
        "10  < S 0+0 win 5000 mss 1000
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
    in_state(
        State::SynSent,
        "10  < S 0+0 win 5000 mss 1000
         .   > SA 0+0 ack 1
         20  < R 1+0
         .   error Refused
         .   closed",
    );
}

#[test]
fn data_may_come_with_the_last_ack() {
    in_state(
        State::SynReceived,
        "10  < PA 1+300 ack 1
         .   > A 1+0 ack 301
         .   read 300",
    );
}

#[test]
fn a_fin_may_come_with_the_last_ack() {
    in_state(
        State::SynReceived,
        "10  < FPA 1+300 ack 1
         .   > A 1+0 ack 302
         .   state CloseWait
         .   read 300
         .   read-end",
    );
}

#[test]
fn without_an_mss_option_segments_have_536_bytes() {
    in_state(
        State::SynSent,
        "10  < SA 0+0 ack 1
         .   > A 1+0 ack 1
         .   write 600
         .   > A 1+536 ack 1
         .   > PA 537+64 ack 1",
    );
}

#[test]
fn an_absurd_mss_is_not_believed() {
    in_state(
        State::SynSent,
        "10  < SA 0+0 ack 1 mss 1
         .   > A 1+0 ack 1
         .   write 88
         .   > PA 1+88 ack 1",
    );
}

#[test]
fn the_timeout_after_a_lost_syn_is_three_seconds() {
    // RFC 6298 5.7.
    in_state(
        State::SynSent,
        "1000  > S 0+0 again
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
    in_state(
        State::SynSent,
        "100  < SA 0+0 ack 1 mss 1000
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
    in_state(State::SynSent, "10 close\n. closed\n. no-timer");
}

#[test]
fn a_shutdown_while_opening_waits_for_the_handshake() {
    in_state(
        State::SynSent,
        "5   shutdown
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

#[test]
fn the_listener_recovers_from_an_old_duplicate_syn() {
    // RFC 9293 figure 8, as the passive side.
    play(
        bare(),
        "0   < S -100+0 win 5000 mss 1000
         .   > SA 0+0 ack -99
         10  < R -99+0
         .   forget
         20  < S 0+0 win 5000 mss 1000
         .   > SA 0+0 ack 1
         30  < A 1+0 ack 1
         .   state Established",
    );
}

#[test]
fn the_opener_resets_the_answer_to_its_old_duplicate_syn() {
    // RFC 9293 figure 8, as the active side.
    in_state(
        State::SynSent,
        "10  < SA 0+0 ack -99 mss 1000
         .   > R -99+0
         .   state SynSent
         20  < SA 300+0 ack 1 mss 1000
         .   > A 1+0 ack 301
         .   state Established",
    );
}

#[test]
fn a_half_open_connection_is_discovered_by_who_opens_again() {
    // RFC 9293 figure 9, as the side that has crashed.
    in_state(
        State::SynSent,
        "10    < A 300+0 ack 100
         .     > R 100+0
         .     state SynSent
         1000  > S 0+0 again
         1010  < SA 400+0 ack 1 mss 1000
         .     > A 1+0 ack 401
         .     state Established",
    );
}

#[test]
fn a_half_open_connection_is_left_when_the_other_side_has_crashed() {
    // RFC 9293 figure 9, as the side that remains.
    established("10 < S 400+0\n. > A 1+0 ack 1\n20 < R 1+0\n. error Reset\n. closed");
}

#[test]
fn data_for_a_connection_that_is_gone_is_reset() {
    // RFC 9293 figure 10.
    in_state(State::Closed, "10 < PA 1+10 ack 1\n. > R 1+0 no-options");
}

#[test]
fn an_old_syn_between_two_listeners_leaves_nothing_behind() {
    // RFC 9293 figure 11: the SYN,ACK of the one is reset by the other.
    play(bare(), "0 < SA 0+0 ack 1 mss 1000\n. > R 1+0");
    in_state(State::SynReceived, "10 < R 1+0\n. error -\n. forget\n20 < A 1+0 ack 1\n. > R 1+0");
}

#[test]
fn data_may_come_with_the_syn_ack() {
    // RFC 9293 3.10.7.3, fourth.
    in_state(
        State::SynSent,
        "10 < SPA 0+100 ack 1 mss 1000\n. > A 1+0 ack 101\n. state Established\n. read 100",
    );
}

#[test]
fn a_fin_may_come_with_the_syn_ack() {
    in_state(State::SynSent, "10 < FSA 0+0 ack 1 mss 1000\n. > A 1+0 ack 2\n. state CloseWait\n. read-end");
}

#[test]
fn a_fin_without_a_syn_opens_nothing() {
    // RFC 9293 3.10.7.4, eighth: in SYN-SENT its number cannot be checked.
    in_state(State::SynSent, "10 < F 0+0\n. < FA 1+0 ack 1\n. state SynSent");
}

#[test]
fn the_smaller_of_both_segment_sizes_counts() {
    // RFC 9293 MUST-14, MUST-16.
    for (offered, full) in [(500, 500), (1400, 1000)] {
        in_state(
            State::SynSent,
            &format!(
                "10 < SA 0+0 ack 1 mss {offered}\n. > A 1+0 ack 1\n. write {full}\n. > PA 1+{full} ack 1"
            ),
        );
        in_state(
            State::SynSent,
            &format!(
                "10 < SA 0+0 ack 1 mss {offered}\n. > A 1+0 ack 1\n. cork on\n. write {}\n. > A 1+{full} ack 1",
                full + 1
            ),
        );
    }
}

#[test]
fn options_of_a_syn_mean_nothing_later() {
    established_with(
        Config { window_scaling: true, sack: true, timestamps: true, ..bare() },
        "",
        "10  < A 1+0 ack 1 win 10000 mss 100 ws 3 sackok
         .   write 2000
         .   > A 1+1000 ack 1 no-options
         .   > PA 1001+1000 ack 1 no-options
         20  < A 501+100 ack 1 win 10000
         .   > A 2001+0 ack 1 no-options",
    );
}

#[test]
fn a_repeated_syn_gives_a_sample_by_its_echo() {
    // RFC 7323 4.1: 50 ms, where Karn would see none and leave three seconds.
    play(
        Config { timestamps: true, ..bare() },
        "0      connect
         .      > S 0+0 ts 0 0
         1000   > S 0+0 ts 1000 0 again
         1050   < SA 0+0 ack 1 mss 1000 ts 7 1000
         .      > A 1+0 ack 1
         .      write 10
         .      > PA 1+10 ack 1
         1300   > PA 1+10 ack 1 again",
    );
}

#[test]
fn a_simultaneous_open_repeats_its_syn_ack() {
    in_state(
        State::SynSent,
        "10    < S 0+0 win 5000 mss 1000
         .     > SA 0+0 ack 1
         1000  > SA 0+0 ack 1 again
         1010  < A 1+0 ack 1 win 5000
         .     state Established",
    );
}

#[test]
fn a_simultaneous_open_may_end_with_data() {
    // The ACK alone suffices, whatever comes with it.
    in_state(
        State::SynSent,
        "10  < S 0+0 win 5000 mss 1000
         .   > SA 0+0 ack 1
         20  < PA 1+100 ack 1 win 5000
         .   > A 1+0 ack 101
         .   state Established
         .   read 100",
    );
}

#[test]
fn the_window_of_the_syn_ack_counts_at_once() {
    in_state(
        State::SynSent,
        "10 < SA 0+0 ack 1 win 700 mss 1000\n. > A 1+0 ack 1\n. write 700\n. > PA 1+700 ack 1",
    );
}

#[test]
fn writing_is_possible_as_soon_as_the_handshake_is_over() {
    in_state(
        State::SynReceived,
        "0   write 5 =0
         10  < A 1+0 ack 1
         .   events WRITABLE|CONNECTED
         .   ready WRITABLE
         .   write 5
         .   > PA 1+5 ack 1",
    );
}

#[test]
fn a_close_while_a_passive_open_waits_follows_the_handshake() {
    in_state(State::SynReceived, "10 close\n. state SynReceived\n20 < A 1+0 ack 1\n. > FA 1+0 ack 1");
}

#[test]
fn a_passive_open_that_was_closed_is_given_up_too() {
    in_state(
        State::SynReceived,
        "10     close
         1000   > SA 0+0 ack 1 again
         3000   > SA 0+0 ack 1 again
         7000   > SA 0+0 ack 1 again
         15000  > SA 0+0 ack 1 again
         31000  > SA 0+0 ack 1 again
         63000  closed",
    );
}
