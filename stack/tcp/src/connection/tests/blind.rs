//! Attacks by somebody who cannot see the connection (RFC 5961).

use super::script::{established, established_with, in_state};
use crate::{Config, Duration, State};

#[test]
fn a_rst_at_the_last_byte_of_the_window_is_challenged() {
    // 3.2: the window reaches from 1 to 65535.
    established("10 < R 65535+0\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn a_rst_behind_the_window_is_not_worth_an_answer() {
    established("10 < R 65537+0\n. state Established");
}

#[test]
fn a_rst_one_before_the_next_number_is_not_worth_an_answer() {
    established("10 < R 0+0\n. state Established");
}

#[test]
fn the_peer_proves_its_rst_after_the_challenge() {
    // 3.2: a peer that has lost its state takes its number from the challenge.
    established("10 < R 500+0\n. > A 1+0 ack 1\n20 < R 1+0\n. error Reset");
}

#[test]
fn a_rst_may_carry_data() {
    // RFC 9293 SHLD-2.
    established("10 < R 1+20\n. error Reset\n. closed");
}

#[test]
fn a_challenge_says_where_we_are() {
    // 3.2: <SEQ=SND.NXT><ACK=RCV.NXT>, although data is under way both ways.
    established(
        "10  write 300
         .   > PA 1+300 ack 1
         20  < A 1+100 ack 1
         60  > A 301+0 ack 101
         70  < R 500+0
         .   > A 301+0 ack 101",
    );
}

#[test]
fn a_syn_in_a_synchronized_state_is_challenged_wherever_it_is() {
    // 4.2: irrespective of the sequence number.
    for seq in [-200_000, 0, 1, 500, 65_536, 200_000] {
        established(&format!("10 < S {seq}+0\n. > A 1+0 ack 1\n. state Established"));
    }
}

#[test]
fn a_syn_with_an_ack_is_challenged_too() {
    established("10 < SA 500+0 ack 1\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn data_with_a_syn_is_not_taken() {
    established("10 < SA 1+100 ack 1\n. > A 1+0 ack 1\n. read-blocks");
}

#[test]
fn an_ack_as_old_as_the_largest_window_is_still_believed() {
    // 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK.
    established(
        "0   < A 1+0 ack 1 win 1000
         10  write 1000
         .   > PA 1+1000 ack 1
         20  < A 1+0 ack 1001 win 1000
         .   quickack on
         30  < A 1+10 ack -58999 win 1000
         .   > A 1001+0 ack 11
         40  < A 11+10 ack -59000 win 1000
         .   > A 1001+0 ack 11",
    );
}

#[test]
fn an_ack_of_the_future_is_challenged_once_in_a_while() {
    // 5.2 and 7.
    established(
        "10   < A 1+0 ack 2
         .    > A 1+0 ack 1
         20   < A 1+0 ack 3
         30   < A 1+0 ack 100000
         510  < A 1+0 ack 2
         .    > A 1+0 ack 1",
    );
}

#[test]
fn one_limit_holds_for_every_kind_of_challenge() {
    // 7.
    established(
        "10   < S 9+0
         .    > A 1+0 ack 1
         20   < R 9+0
         30   < A 1+0 ack 9
         40   < A 0+0 ack 1
         50   < A 200000+0 ack 1
         510  silent",
    );
}

#[test]
fn the_limit_can_be_set() {
    let config = Config { challenge_interval: Duration::from_millis(100), ..super::script::bare() };
    established_with(config, "", "10 < R 9+0\n. > A 1+0 ack 1\n109 < R 9+0\n110 < R 9+0\n. > A 1+0 ack 1");
}

#[test]
fn data_out_of_the_window_is_answered_without_limit() {
    // RFC 9293 3.10.7.4, first: its sender would go on for ever.
    established(
        "10  < A 200000+100 ack 1
         .   > A 1+0 ack 1
         11  < A 200000+100 ack 1
         .   > A 1+0 ack 1",
    );
}

#[test]
fn a_wrong_ack_does_not_disturb_a_handshake() {
    // RFC 9293 3.10.7.4, fifth: the RST carries the number of the wrong ACK.
    in_state(State::SynReceived, "10 < A 1+0 ack 4000\n. > R 4000+0\n20 < A 1+0 ack 1\n. state Established");
}

#[test]
fn an_attacker_cannot_end_a_half_open_connection_from_out_of_the_window() {
    in_state(State::SynReceived, "10 < R 70000+0\n. < R 0+0\n. state SynReceived");
}
