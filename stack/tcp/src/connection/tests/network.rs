//! What the network reports: undeliverable segments (RFC 1122 4.2.3.9, RFC
//! 5927) and the path's MTU (RFC 1191).

use super::script::{accepted, bare, established, play};

#[test]
fn an_unreachable_peer_ends_an_attempt_to_connect() {
    for error in ["HostUnreachable", "NetworkUnreachable", "Refused", "ProtocolUnreachable"] {
        play(
            bare(),
            &format!(
                "0   connect
                 .   > S 0+0
                 10  unreachable 0 {error}
                 .   state Closed
                 .   events READABLE|WRITABLE|ERROR|HUP
                 .   error {error}
                 .   closed
                 .   no-timer"
            ),
        );
    }
}

#[test]
fn a_report_about_something_never_sent_is_ignored() {
    play(bare(), "0 connect\n. > S 0+0\n10 unreachable 1 Refused\n. state SynSent");
    play(bare(), "0 connect\n. > S 0+0\n10 unreachable 4294967295 Refused\n. state SynSent");
}

#[test]
fn a_report_about_something_acknowledged_is_ignored() {
    established(
        "10  write 100
         .   > PA 1+100 ack 1
         20  < A 1+0 ack 101
         30  unreachable 1 HostUnreachable
         .   so-error -",
    );
}

#[test]
fn an_established_connection_survives_a_report() {
    for error in ["HostUnreachable", "Refused", "ProtocolUnreachable"] {
        established(&format!(
            "10  write 100
             .   > PA 1+100 ack 1
             20  unreachable 1 {error}
             .   state Established
             .   error -
             30  < A 1+0 ack 101
             .   state Established
             .   so-error -"
        ));
    }
}

#[test]
fn so_error_tells_of_a_report_once() {
    established(
        "10  write 100
         .   > PA 1+100 ack 1
         20  unreachable 50 HostUnreachable
         .   so-error HostUnreachable
         .   so-error -
         .   < A 1+0 ack 101",
    );
}

#[test]
fn a_connection_that_times_out_names_the_last_report() {
    established(
        "0    user-timeout 500
         10   write 100
         .    > PA 1+100 ack 1
         20   unreachable 1 NetworkUnreachable
         30   unreachable 1 HostUnreachable
         210  > PA 1+100 ack 1 again
         600  state Closed
         .    error HostUnreachable",
    );
}

#[test]
fn an_attempt_that_the_network_refuses_while_both_open_ends() {
    play(
        bare(),
        "0   connect
         .   > S 0+0
         10  < S 0+0 win 60000 mss 1000
         .   > SA 0+0 ack 1
         20  unreachable 0 HostUnreachable
         .   state Closed
         .   error HostUnreachable",
    );
}

#[test]
fn a_report_in_time_wait_changes_nothing() {
    established(
        "10  shutdown
         .   > FA 1+0 ack 1
         20  < FA 1+0 ack 2
         .   > A 2+0 ack 2
         .   unreachable 1 HostUnreachable
         .   state TimeWait
         .   error -",
    );
}

#[test]
fn a_smaller_path_gets_smaller_segments_at_once() {
    // RFC 1191 6.4: what was too large is sent again without delay.
    established(
        "10  write 2500
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > PA 2001+500 ack 1
         20  path 600
         .   > A 1+600 ack 1 again
         .   > A 601+600 ack 1 again
         .   > A 1201+600 ack 1 again
         .   > A 1801+200 ack 1 again
         30  < A 1+0 ack 2501",
    );
}

#[test]
fn a_smaller_path_is_no_sign_of_congestion() {
    established(
        "10  write 2000
         .   > A 1+1000 ack 1
         .   > PA 1001+1000 ack 1
         .   cwnd 10000
         20  path 600
         .   > A 1+600 ack 1 again
         .   > A 601+600 ack 1 again
         .   > A 1201+600 ack 1 again
         .   > PA 1801+200 ack 1 again
         .   cwnd 10000",
    );
}

#[test]
fn what_fits_the_smaller_path_is_not_sent_again() {
    established(
        "0   nodelay on
         10  write 500
         .   > PA 1+500 ack 1
         .   write 1000
         .   > PA 501+1000 ack 1
         20  path 600
         .   > A 501+600 ack 1 again
         .   > PA 1101+400 ack 1 again
         30  < A 1+0 ack 1501",
    );
}

#[test]
fn a_smaller_path_known_before_the_handshake_holds_after_it() {
    play(
        bare(),
        "0   connect
         .   > S 0+0 mss 1000
         .   path 700
         10  < SA 0+0 ack 1 win 5000 mss 1000
         .   > A 1+0 ack 1
         .   write 1400
         .   > A 1+700 ack 1
         .   > PA 701+700 ack 1",
    );
}

#[test]
fn the_peers_segment_size_holds_on_a_larger_path() {
    established(
        "10  path 5000
         .   write 1500
         .   > A 1+1000 ack 1
         .   > PA 1001+500 ack 1
         30  < A 1+0 ack 1501",
    );
}

#[test]
fn a_report_is_forgotten_in_time() {
    // Linux's mtu_expires: ten minutes.
    established(
        "10      path 600
         .       write 600
         .       > PA 1+600 ack 1
         20      < A 1+0 ack 601
         600030  write 600
         .       > PA 601+600 ack 1
         +1      < A 1+0 ack 1201
         .       write 1000
         .       > PA 1201+1000 ack 1",
    );
}

#[test]
fn the_receiving_side_is_not_concerned_by_a_smaller_path() {
    accepted("10 path 600\n. < PA 1+1000 ack 1\n. > A 1+0 ack 1001\n. read 1000");
}
