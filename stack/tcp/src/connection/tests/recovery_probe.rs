//! Tail loss probes (RFC 8985 7).

use super::recovery::{TEN, far};
use super::script::bare;
use crate::{Config, Duration};

fn config() -> Config {
    Config { sack: true, tail_loss_probe: true, max_ack_delay: Duration::from_millis(40), ..bare() }
}

/// On a connection of 100 ms round trip: a probe is due 202 ms after the last
/// segment, a timeout 300 ms after the first.
fn probing(text: &str) {
    far(config(), "sackok", text);
}

fn ten(text: &str) {
    probing(&format!("{TEN}{text}"));
}

const THREE: &str = "100  write 3000
         .    > A 1+1000 ack 1
         .    > A 1001+1000 ack 1
         .    > PA 2001+1000 ack 1\n";

fn three(text: &str) {
    probing(&format!("{THREE}{text}"));
}

#[test]
fn the_last_segment_is_sent_again_after_two_round_trips() {
    three(
        "302  > PA 2001+1000 ack 1 again
         .    cwnd 10000
         .    info probes 1
         .    info recovering 0",
    );
}

#[test]
fn new_data_goes_instead_whatever_the_congestion_window_says() {
    ten("150  write 2500
         302  > A 10001+1000 ack 1
         .    info probes 1");
}

#[test]
fn but_not_beyond_the_peers_window() {
    ten("150  < A 1+0 ack 1 win 10000
         .    write 2500
         302  > A 9001+1000 ack 1 again");
}

#[test]
fn what_nagle_holds_back_is_new_data() {
    probing(
        "100  write 100
         .    > PA 1+100 ack 1
         110  write 50
         340  > PA 101+50 ack 1",
    );
}

#[test]
fn a_lone_segment_is_given_time_for_the_delayed_acknowledgement() {
    probing(
        "100  write 500
         .    > PA 1+500 ack 1
         339  silent
         340  > PA 1+500 ack 1 again",
    );
}

#[test]
fn a_probe_is_never_later_than_the_timeout() {
    // 2 * 100 + 200 ms against 100 + 200 ms.
    far(
        Config { max_ack_delay: Duration::from_millis(200), ..config() },
        "sackok",
        "100  write 500
         .    > PA 1+500 ack 1
         400  > PA 1+500 ack 1 again
         .    info timeouts 0
         .    cwnd 10000
         700  > PA 1+500 ack 1 again
         .    info timeouts 1
         .    cwnd 1000",
    );
}

#[test]
fn a_whole_timeout_follows_a_probe() {
    three(
        "302  > PA 2001+1000 ack 1 again
         601  silent
         602  > A 1+1000 ack 1 again
         .    cwnd 1000",
    );
}

#[test]
fn new_data_starts_the_probe_timer_again() {
    three(
        "150  write 1000
         .    > PA 3001+1000 ack 1
         352  > PA 3001+1000 ack 1 again",
    );
}

#[test]
fn an_acknowledgement_starts_the_probe_timer_again() {
    three(
        "200  < A 1+0 ack 1001
         402  > PA 2001+1000 ack 1 again",
    );
}

#[test]
fn a_duplicate_does_not() {
    three(
        "200  < A 1+0 ack 1
         302  > PA 2001+1000 ack 1 again",
    );
}

#[test]
fn before_the_first_sample_a_probe_takes_a_second() {
    super::script::play(
        config(),
        "0    connect
         .    > S 0+0
         1000 > S 0+0 again
         1050 < SA 0+0 ack 1 win 60000 mss 1000 sackok
         .    > A 1+0 ack 1
         .    write 2000
         .    > A 1+1000 ack 1
         .    > PA 1001+1000 ack 1
         2050 > PA 1001+1000 ack 1 again",
    );
}

#[test]
fn a_fin_is_probed_for_as_data_is() {
    probing(
        "100  cork on
         .    write 1500
         .    > A 1+1000 ack 1
         110  close
         .    > FPA 1001+500 ack 1
         312  > FPA 1001+500 ack 1 again
         400  < A 1+0 ack 1502",
    );
}

#[test]
fn only_the_last_segment_of_a_large_transmission_is_sent() {
    ten("302  > PA 9001+1000 ack 1 again
         303  silent");
}

#[test]
fn a_peer_without_sack_is_not_probed() {
    far(
        config(),
        "",
        "100  write 2000
         .    > A 1+1000 ack 1
         .    > PA 1001+1000 ack 1
         400  > A 1+1000 ack 1 again
         .    info probes 0",
    );
}

#[test]
fn there_is_no_probe_while_something_is_sacked() {
    ten("200  < A 1+0 ack 1 sack 1001-2001
         225  > A 1+1000 ack 1 again
         500  silent
         .    info probes 0");
}

#[test]
fn there_is_no_probe_during_recovery_from_a_timeout() {
    three(
        "302  > PA 2001+1000 ack 1 again
         602  > A 1+1000 ack 1 again
         702  < A 1+0 ack 1001
         .    > A 1001+1000 ack 1 again
         .    > PA 2001+1000 ack 1 again
         1000 silent
         .    info probes 1",
    );
}

#[test]
fn a_lost_tail_is_repaired_without_a_timeout() {
    ten("200  < A 1+0 ack 7001
         402  > PA 9001+1000 ack 1 again
         502  < A 1+0 ack 7001 sack 9001-10001
         .    > A 7001+1000 ack 1 again
         602  < A 1+0 ack 8001 sack 9001-10001
         .    > A 8001+1000 ack 1 again
         702  < A 1+0 ack 10001
         .    info timeouts 0
         .    info probes 1");
}

#[test]
fn a_loss_that_the_probe_repaired_is_congestion() {
    // RFC 8985 7.4.2: an ACK beyond the probe, and no D-SACK before it.
    ten("200  < A 1+0 ack 9001
         .    cwnd 10000
         440  > PA 9001+1000 ack 1 again
         450  write 1000
         .    > PA 10001+1000 ack 1
         540  < A 1+0 ack 10001
         .    cwnd 10000
         550  < A 1+0 ack 11001
         .    info recovering 0
         .    cwnd 2000");
}

#[test]
fn a_probe_that_is_reported_as_duplicate_was_harmless() {
    ten("200  < A 1+0 ack 9001
         440  > PA 9001+1000 ack 1 again
         450  write 1000
         .    > PA 10001+1000 ack 1
         460  < A 1+0 ack 10001
         540  < A 1+0 ack 10001 sack 9001-10001
         550  < A 1+0 ack 11001
         .    cwnd 10000
         .    info dsacks 1
         .    info spurious 0");
}

#[test]
fn a_duplicate_acknowledgement_tells_that_both_have_arrived() {
    // RFC 8985 7.4.2: from a peer that does not report D-SACKs.
    ten("200  < A 1+0 ack 9001
         440  > PA 9001+1000 ack 1 again
         460  < A 1+0 ack 10001
         540  < A 1+0 ack 10001
         550  write 1000
         .    > PA 10001+1000 ack 1
         650  < A 1+0 ack 11001
         .    cwnd 10000");
}

#[test]
fn new_data_that_arrives_ends_a_probe_without_harm() {
    ten("150  write 1000
         302  > PA 10001+1000 ack 1
         402  < A 1+0 ack 11001
         .    write 1000
         .    > PA 11001+1000 ack 1
         502  < A 1+0 ack 12001
         .    cwnd 10000");
}

#[test]
fn at_most_one_probe_is_open() {
    ten("200  < A 1+0 ack 9001
         440  > PA 9001+1000 ack 1 again
         460  < A 1+0 ack 10001
         470  write 1000
         .    > PA 10001+1000 ack 1
         770  > PA 10001+1000 ack 1 again
         .    info probes 1
         .    info timeouts 1");
}
