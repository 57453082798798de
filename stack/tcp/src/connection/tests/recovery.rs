//! Loss recovery: RFC 5681, RFC 6582 without SACK, RFC 6675 with it, RFC 3042.

use super::script::{Script, bare, established, established_with, play};
use crate::{Config, CongestionAlgorithm};

/// Ten segments in flight, NewReno.
pub const TEN: &str = "0   write 10000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > A 3001+1000 ack 1
         .   > A 4001+1000 ack 1
         .   > A 5001+1000 ack 1
         .   > A 6001+1000 ack 1
         .   > A 7001+1000 ack 1
         .   > A 8001+1000 ack 1
         .   > PA 9001+1000 ack 1\n";

/// Plays a script on a connection with a round trip of 100 ms, with NewReno;
/// the time is 100 ms now. A timeout is 300 ms then.
pub fn far(config: Config, options: &str, text: &str) -> Script {
    let opening = format!(
        "0 connect\n. > S 0+0\n100 < SA 0+0 ack 1 win 60000 mss 1000 {options}\n. > A 1+0 ack 1\n. events WRITABLE|CONNECTED\n"
    );
    let text = text.strip_prefix('0').map_or(text.to_string(), |rest| format!("100{rest}"));
    play(Config { congestion: CongestionAlgorithm::NewReno, ..config }, &(opening + &text))
}

fn reno(text: &str) {
    let config = Config { congestion: CongestionAlgorithm::NewReno, ..bare() };
    established_with(config, "", &format!("{TEN}{text}"));
}

/// Ten segments in flight since 100 ms, over 100 ms, to a peer with SACK.
pub fn sack(text: &str) {
    far(Config { sack: true, ..bare() }, "sackok", &format!("{TEN}{text}"));
}

#[test]
fn the_third_duplicate_is_answered_with_the_segment() {
    reno(
        "10  < A 1+0 ack 1
         11  < A 1+0 ack 1
         12  < A 1+0 ack 1
         .   > A 1+1000 ack 1 again
         .   info ssthresh 5000
         20  < A 1+0 ack 10001
         .   cwnd 5000",
    );
}

#[test]
fn the_first_two_duplicates_let_new_segments_out() {
    // Limited transmit, RFC 3042.
    reno(
        "5   write 5000
         10  < A 1+0 ack 1
         .   > A 10001+1000 ack 1
         11  < A 1+0 ack 1
         .   > A 11001+1000 ack 1
         12  < A 1+0 ack 1
         .   > A 1+1000 ack 1 again",
    );
}

#[test]
fn duplicates_beyond_half_a_window_let_new_segments_out() {
    reno(
        "5   write 5000
         10  < A 1+0 ack 1
         .   > A 10001+1000 ack 1
         .   < A 1+0 ack 1
         .   > A 11001+1000 ack 1
         .   < A 1+0 ack 1
         .   > A 1+1000 ack 1 again
         .   info ssthresh 5000
         .   < A 1+0 ack 1
         .   < A 1+0 ack 1
         .   > A 12001+1000 ack 1
         .   < A 1+0 ack 1
         .   < A 1+0 ack 1
         .   > A 13001+1000 ack 1",
    );
}

#[test]
fn a_partial_ack_is_answered_with_the_next_hole() {
    // RFC 6582 3.2 (3).
    reno(
        "10  < A 1+0 ack 1
         11  < A 1+0 ack 1
         12  < A 1+0 ack 1
         .   > A 1+1000 ack 1 again
         13  < A 1+0 ack 1
         14  < A 1+0 ack 1
         20  < A 1+0 ack 4001
         .   > A 4001+1000 ack 1 again
         30  < A 1+0 ack 10001
         .   cwnd 5000",
    );
}

#[test]
fn duplicates_after_a_recovery_do_not_start_another() {
    // RFC 6582 3.2 (2): they come from what was sent twice.
    reno(
        "10  < A 1+0 ack 1
         11  < A 1+0 ack 1
         12  < A 1+0 ack 1
         .   > A 1+1000 ack 1 again
         20  < A 1+0 ack 10001
         30  write 1000
         .   > PA 10001+1000 ack 1
         31  < A 1+0 ack 10001
         32  < A 1+0 ack 10001
         33  < A 1+0 ack 10001
         34  silent",
    );
}

#[test]
fn a_window_update_is_no_duplicate() {
    reno(
        "10  < A 1+0 ack 1 win 60001
         11  < A 1+0 ack 1 win 60002
         12  < A 1+0 ack 1 win 60003
         .   silent",
    );
}

#[test]
fn data_is_no_duplicate() {
    reno(
        "0   quickack on
         10  < A 1+10 ack 1
         .   > A 10001+0 ack 11
         11  < A 11+10 ack 1
         .   > A 10001+0 ack 21
         12  < A 21+10 ack 1
         .   > A 10001+0 ack 31",
    );
}

#[test]
fn one_ack_that_reports_enough_is_enough() {
    sack("200 < A 1+0 ack 1 sack 1001-4001\n. > A 1+1000 ack 1 again");
}

#[test]
fn only_the_holes_are_sent_again() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-3001,4001-10001
         .    > A 1+1000 ack 1 again
         .    > A 3001+1000 ack 1 again
         300  < A 1+0 ack 3001 sack 4001-10001
         301  < A 1+0 ack 10001
         .    cwnd 5000",
    );
}

#[test]
fn a_hole_in_the_middle_of_a_segment_is_cut_to_the_byte() {
    sack(
        "200  < A 1+0 ack 501 sack 1301-10001
         .    > A 501+800 ack 1 again",
    );
}

#[test]
fn a_lie_about_what_was_never_sent_is_ignored() {
    sack("200 < A 1+0 ack 1 sack 20001-30001\n. silent\n. < A 1+0 ack 1 sack 4001-1001");
}

#[test]
fn a_reported_duplicate_marks_nothing() {
    sack(
        "200  < A 1+0 ack 5001
         210  < A 1+0 ack 5001 sack 1001-2001
         211  < A 1+0 ack 5001 sack 2001-3001
         .    info dsacks 2",
    );
}

#[test]
fn a_timeout_begins_with_one_segment_and_grows() {
    reno(
        "200  > A 1+1000 ack 1 again
         .    cwnd 1000
         210  < A 1+0 ack 1001
         .    > A 1001+1000 ack 1 again
         .    > A 2001+1000 ack 1 again
         220  < A 1+0 ack 3001
         .    > A 3001+1000 ack 1 again
         .    > A 4001+1000 ack 1 again
         .    > A 5001+1000 ack 1 again
         230  < A 1+0 ack 10001
         .    write 1000
         .    > PA 10001+1000 ack 1",
    );
}

#[test]
fn a_timeout_spares_what_was_sacked() {
    sack(
        "200  < A 1+0 ack 1 sack 1001-3001
         225  > A 1+1000 ack 1 again
         525  > A 1+1000 ack 1 again
         .    info timeouts 1
         625  < A 1+0 ack 3001
         .    > A 3001+1000 ack 1 again
         .    > A 4001+1000 ack 1 again",
    );
}

#[test]
fn a_timeout_after_reneging_sends_all_again() {
    // RFC 2018 8: the ACK stands below data that was SACKed.
    sack(
        "200  < A 1+0 ack 1 sack 1001-3001
         210  < A 1+0 ack 1001
         511.25 > A 1001+1000 ack 1 again
         613  < A 1+0 ack 2001
         .    > A 2001+1000 ack 1 again
         .    > A 3001+1000 ack 1 again",
    );
}

#[test]
fn a_second_timeout_does_not_lower_the_threshold_again() {
    let script = established(&format!("{TEN}200 > A 1+1000 ack 1 again\n600 > A 1+1000 ack 1 again"));
    assert_eq!(script.connection.expect("open").info().ssthresh, 7000);
}
