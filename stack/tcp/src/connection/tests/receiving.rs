//! Data on its way in: reassembly, acknowledgements (RFC 9293 3.8.6.3, RFC
//! 5681 4.2), SACK as receiver (RFC 2018, RFC 2883).

use super::script::{bare, established, established_with};
use crate::Config;

/// A connection whose quick ACKs are over: 40 ms of delay apply.
const SETTLED: &str = "quickack off\n";

fn with_sack(text: &str) {
    established_with(Config { sack: true, ..bare() }, "sackok", text);
}

#[test]
fn data_can_be_read_in_pieces_and_peeked_at() {
    established(
        "10  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         .   events READABLE
         .   ready READABLE|WRITABLE
         .   peek 0 100
         .   peek 30 70
         .   read 60
         .   read 40
         .   read-blocks
         .   ready WRITABLE",
    );
}

#[test]
fn the_first_segments_are_acknowledged_at_once() {
    established(
        "10  < PA 1+10 ack 1
         .   > A 1+0 ack 11
         11  < PA 11+10 ack 1
         .   > A 1+0 ack 21",
    );
}

#[test]
fn quick_acks_end_after_sixteen() {
    // One went with the handshake.
    let mut text = String::new();
    for n in 0..15 {
        let seq = 1 + 10 * n;
        text += &format!("10 < PA {seq}+10 ack 1\n. > A 1+0 ack {}\n", seq + 10);
    }
    established(&(text + "10 < PA 151+10 ack 1\n50 > A 1+0 ack 161"));
}

#[test]
fn a_lone_segment_is_acknowledged_within_forty_milliseconds() {
    established(&format!(
        "0 {SETTLED}10 < PA 1+10 ack 1\n. read 10\n49.9 silent\n50 > A 1+0 ack 11\n5000 no-timer"
    ));
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    established(&format!(
        "0   {SETTLED}
         10  < A 1+1000 ack 1
         20  < A 1001+1000 ack 1
         .   > A 1+0 ack 2001
         30  < A 2001+1000 ack 1
         40  < A 3001+1000 ack 1
         .   > A 1+0 ack 4001
         50  < A 4001+1000 ack 1
         90  > A 1+0 ack 5001"
    ));
}

#[test]
fn small_segments_share_an_acknowledgement() {
    established(&format!(
        "0   {SETTLED}
         10  < PA 1+10 ack 1
         20  < PA 11+10 ack 1
         30  < PA 21+10 ack 1
         50  > A 1+0 ack 31"
    ));
}

#[test]
fn an_acknowledgement_rides_on_data() {
    established(&format!(
        "0   {SETTLED}
         10  < PA 1+10 ack 1
         20  write 5
         .   > PA 1+5 ack 11
         30  < A 11+0 ack 6
         60  silent"
    ));
}

#[test]
fn the_program_can_ask_for_quick_acks() {
    established(&format!(
        "0 {SETTLED}10 < PA 1+10 ack 1\n20 quickack on\n. > A 1+0 ack 11\n30 < PA 11+10 ack 1\n. > A 1+0 ack 21"
    ));
}

#[test]
fn a_delayed_ack_that_found_no_data_to_ride_on_ends_the_delays() {
    // Linux leaves its ping-pong mode then.
    established(
        "0   quickack on
         1   write 5
         .   > PA 1+5 ack 1
         2   < A 1+0 ack 6
         10  < PA 1+10 ack 6
         50  > A 6+0 ack 11
         60  < PA 11+10 ack 6
         .   > A 6+0 ack 21",
    );
}

#[test]
fn a_segment_ahead_of_a_gap_is_acknowledged_at_once_and_kept() {
    established(&format!(
        "0   {SETTLED}
         10  < A 101+100 ack 1
         .   > A 1+0 ack 1
         .   read-blocks
         .   events -
         20  < A 1+100 ack 1
         .   > A 1+0 ack 201      # the gap is filled: at once
         .   events READABLE
         .   read 200"
    ));
}

#[test]
fn overlaps_are_cut_on_every_side() {
    established(
        "10  < A 201+100 ack 1
         .   > A 1+0 ack 1
         20  < A 401+100 ack 1
         .   > A 1+0 ack 1
         30  < A 151+400 ack 1     # covers one, overlaps another
         .   > A 1+0 ack 1
         40  < A 51+150 ack 1
         .   > A 1+0 ack 1
         50  < PA 1+60 ack 1
         .   > A 1+0 ack 551
         .   read 550",
    );
}

#[test]
fn what_overlaps_the_past_is_cut() {
    established(
        "10  < A 1+100 ack 1
         .   > A 1+0 ack 101
         20  < A 51+100 ack 1
         .   > A 1+0 ack 151
         .   read 150",
    );
}

#[test]
fn a_duplicate_is_acknowledged_at_once() {
    established(&format!(
        "0   {SETTLED}
         10  < A 1+100 ack 1
         50  > A 1+0 ack 101
         60  < A 1+100 ack 1
         .   > A 1+0 ack 101"
    ));
}

#[test]
fn data_beyond_the_window_is_cut() {
    established(
        "0   rcvbuf 2304
         10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001 win 64535   # what was offered stays offered
         20  < A 65001+1000 ack 1
         .   > A 1+0 ack 1001 win 64535
         30  < A 70000+1000 ack 1         # all of it beyond
         .   > A 1+0 ack 1001",
    );
}

#[test]
fn sack_blocks_report_what_waits_the_newest_first() {
    with_sack(
        "10  < A 101+100 ack 1
         .   > A 1+0 ack 1 sack 101-201
         20  < A 301+100 ack 1
         .   > A 1+0 ack 1 sack 301-401,101-201
         30  < A 501+100 ack 1
         .   > A 1+0 ack 1 sack 501-601,301-401,101-201
         40  < A 201+100 ack 1
         .   > A 1+0 ack 1 sack 101-401,501-601
         50  < A 1+100 ack 1
         .   > A 1+0 ack 401 sack 501-601
         60  < A 401+100 ack 1
         .   > A 1+0 ack 601
         .   read 600",
    );
}

#[test]
fn four_blocks_fit_without_timestamps_and_three_with() {
    let holes = "10  < A 101+100 ack 1 T
         .   > A 1+0 ack 1 sack 101-201
         .   < A 301+100 ack 1 T
         .   > A 1+0 ack 1 sack 301-401,101-201
         .   < A 501+100 ack 1 T
         .   > A 1+0 ack 1 sack 501-601,301-401,101-201
         .   < A 701+100 ack 1 T\n";
    with_sack(&format!(
        "{}. > A 1+0 ack 1 sack 701-801,501-601,301-401,101-201\n. < A 901+100 ack 1\n. > A 1+0 ack 1 sack 901-1001,701-801,501-601,301-401",
        holes.replace('T', "")
    ));
    established_with(
        Config { sack: true, timestamps: true, ..bare() },
        "sackok ts 5 0",
        &format!("{}. > A 1+0 ack 1 sack 701-801,501-601,301-401", holes.replace('T', "ts 5 0")),
    );
}

#[test]
fn sack_blocks_ride_on_data_which_makes_room_for_them() {
    with_sack(
        "10  < A 101+100 ack 1
         .   > A 1+0 ack 1 sack 101-201
         20  write 1000
         .   > A 1+988 ack 1 sack 101-201
         .   > PA 989+12 ack 1 sack 101-201",
    );
}

#[test]
fn a_duplicate_is_reported_once() {
    with_sack(
        "10  < A 1+100 ack 1
         .   > A 1+0 ack 101
         20  < A 51+50 ack 1
         .   > A 1+0 ack 101 sack 51-101
         30  < A 301+100 ack 1
         .   > A 1+0 ack 101 sack 301-401
         40  < A 1+100 ack 1
         .   > A 1+0 ack 101 sack 1-101,301-401",
    );
}

#[test]
fn what_was_refused_for_want_of_room_is_not_reported() {
    let config = Config { sack: true, reassembly_segments: 1, ..bare() };
    established_with(
        config,
        "sackok",
        "10  < A 101+100 ack 1
         .   > A 1+0 ack 1 sack 101-201
         20  < A 301+100 ack 1
         .   > A 1+0 ack 1 sack 101-201",
    );
}

#[test]
fn a_peer_without_sack_gets_no_blocks() {
    established_with(Config { sack: true, ..bare() }, "", "10 < A 101+100 ack 1\n. > A 1+0 ack 1");
}

#[test]
fn copied_out_data_reads_the_same() {
    let mut script = established(
        "10  < A 1+100 ack 1
         .   > A 1+0 ack 101
         20  < A 201+100 ack 1
         .   > A 1+0 ack 101",
    );
    script.connection.as_mut().expect("open").copy_out();
    script.play("30 < A 101+100 ack 1\n. > A 1+0 ack 301\n. read 300");
}
