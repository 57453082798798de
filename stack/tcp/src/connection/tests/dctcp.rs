//! DCTCP (RFC 8257) at both ends of a connection.

use super::script::{Script, bare, play};
use crate::{Config, CongestionAlgorithm, EcnMode};

fn config() -> Config {
    Config { congestion: CongestionAlgorithm::Dctcp, ..bare() }
}

/// A connection that we have opened at time 0, with ECN.
fn capable(text: &str) -> Script {
    let opening = "0 connect
         . > SEC 0+0 ect
         . < SAE 0+0 ack 1 win 60000 mss 1000 ect
         . > A 1+0 ack 1 ect
         . events WRITABLE|CONNECTED\n";
    play(config(), &format!("{opening}{text}"))
}

fn first_window() -> String {
    let segments = (0..10).map(|n| format!(". > A {}+1000 ack 1 ect\n", 1 + 1000 * n));
    format!("0 write 40000\n{}", segments.collect::<String>())
}

#[test]
fn it_asks_for_ecn_by_itself_and_its_syn_is_capable() {
    // RFC 8257 3.6.
    for ecn in [EcnMode::Off, EcnMode::Accept, EcnMode::On] {
        play(Config { ecn, ..config() }, "0 connect\n. > SEC 0+0 ect");
    }
}

#[test]
fn a_repeated_syn_goes_without() {
    play(
        config(),
        "0    connect
         .    > SEC 0+0 ect
         1000 > S 0+0 again",
    );
}

#[test]
fn it_takes_up_an_offer_that_is_capable_itself() {
    // RFC 8257 3.6: marks on a SYN are ignored.
    for field in ["ect", "ce"] {
        play(
            config(),
            &format!(
                "0 < SEC 0+0 win 60000 mss 1000 {field}
                 . > SAE 0+0 ack 1 ect
                 . < A 1+0 ack 1 ect
                 . write 10
                 . > PA 1+10 ack 1 ect"
            ),
        );
    }
}

#[test]
fn the_algorithm_of_the_listener_decides_in_time() {
    // What was set on the listener arrives before the SYN-ACK has left.
    play(
        bare(),
        "0 << SEC 0+0 win 60000 mss 1000 ect
         . congestion dctcp
         . > SAE 0+0 ack 1 ect",
    );
}

#[test]
fn without_the_peer_it_is_conventional_tcp() {
    play(
        config(),
        "0  connect
         .  > SEC 0+0 ect
         .  < SA 0+0 ack 1 win 60000 mss 1000
         .  > A 1+0 ack 1
         .  write 2000
         .  > A 1+1000 ack 1
         .  > PA 1001+1000 ack 1
         10 < AE 1+0 ack 1001
         .  cwnd 10000",
    );
}

#[test]
fn everything_is_capable() {
    capable(
        "0       < PA 1+100 ack 1 ect
         .       > A 1+0 ack 101 ect
         .       write 100
         .       > PA 1+100 ack 101 ect
         200.001 > PA 1+100 ack 101 ect again
         210     abort
         .       > RA 101+0 ack 101 ect",
    );
}

mod receiver {
    use super::*;

    #[test]
    fn the_echo_follows_the_marks() {
        // RFC 8257 3.2.
        capable(
            "0  < A 1+1000 ack 1 ce
             .  > AE 1+0 ack 1001 ect
             5  < A 1001+1000 ack 1 ce
             .  > AE 1+0 ack 2001 ect
             10 < A 2001+1000 ack 1 ect
             .  > A 1+0 ack 3001 ect
             15 < A 3001+1000 ack 1 ect
             .  > A 1+0 ack 4001 ect",
        );
    }

    #[test]
    fn what_came_before_a_change_is_reported_on_its_own() {
        capable(
            "0 << A 1+1000 ack 1 ect
             . << A 1001+1000 ack 1 ect
             . << A 2001+1000 ack 1 ce
             . > A 1+0 ack 2001 ect
             . > AE 1+0 ack 3001 ect
             5 << A 3001+1000 ack 1 ce
             . << A 4001+1000 ack 1 ect
             . > AE 1+0 ack 4001 ect
             . > A 1+0 ack 5001 ect",
        );
    }

    #[test]
    fn every_change_in_a_burst_is_reported() {
        capable(
            "0 << A 1+1000 ack 1 ce
             . << A 1001+1000 ack 1 ect
             . << A 2001+1000 ack 1 ce
             . << A 3001+1000 ack 1 ect
             . > AE 1+0 ack 1001 ect
             . > A 1+0 ack 2001 ect
             . > AE 1+0 ack 3001 ect
             . > A 1+0 ack 4001 ect",
        );
    }

    #[test]
    fn a_change_ends_the_delay_of_an_acknowledgement() {
        capable(
            "0  quickack off
             .  < A 1+100 ack 1 ect
             5  < A 101+100 ack 1 ce
             .  > A 1+0 ack 101 ect
             .  > AE 1+0 ack 201 ect",
        );
    }

    #[test]
    fn what_was_offered_is_not_withdrawn_by_a_report_of_the_past() {
        let config = Config { rcvbuf: 10_000, rcvbuf_max: 10_000, ..config() };
        play(
            config,
            "0 < SEC 0+0 win 60000 mss 1000 ect
             . > SAE 0+0 ack 1 win 10000 ect
             . < A 1+0 ack 1
             . << A 1+1000 ack 1 ect
             . << A 1001+1000 ack 1 ce
             . > A 1+0 ack 1001 win 9000 ect
             . > AE 1+0 ack 2001 win 8000 ect",
        );
    }

    #[test]
    fn cwr_changes_nothing() {
        // The next segment without a mark does.
        capable(
            "0 < A 1+1000 ack 1 ce
             . > AE 1+0 ack 1001 ect
             5 < AC 1001+1000 ack 1 ce
             . > AE 1+0 ack 2001 ect",
        );
    }

    #[test]
    fn a_mark_on_an_acknowledgement_is_not_acknowledged() {
        capable(
            "0  write 10
             .  > PA 1+10 ack 1 ect
             10 < A 1+0 ack 11 ce",
        );
    }

    #[test]
    fn changes_without_end_are_bounded() {
        let mut text = String::from("0 nothing\n");
        for n in 0..200 {
            let field = if n % 2 == 0 { "ce" } else { "ect" };
            text += &format!(". << A {}+10 ack 1 {field}\n", 1 + 10 * n);
        }
        for n in 0..64 {
            let flags = if n % 2 == 0 { "AE" } else { "A" };
            text += &format!(". > {flags} 1+0 ack {} ect\n", 11 + 10 * n);
        }
        capable(&(text + ". > A 1+0 ack 2001 ect"));
    }
}

mod sender {
    use super::*;

    #[test]
    fn the_first_mark_halves_the_window() {
        // RFC 8257 3.3: alpha is 1 - 1/16 at the first acknowledgement, and rises with its mark.
        capable(
            &(first_window()
                + "10 < AE 1+0 ack 1001 ect
                   .  cwnd 5000
                   11 < AE 1+0 ack 6001 ect
                   .  > AC 10001+1000 ack 1 ect
                   .  cwnd 5000"),
        );
    }

    #[test]
    fn fewer_marks_cost_less() {
        // The first acknowledgement ends an observation of its own: alpha is 15/16,
        // and the window 11 * (1 - 15/32) = 5.8 segments.
        capable(
            &(first_window()
                + "10 << A 1+0 ack 1001 ect
                   .  cwnd 11000
                   .  > A 10001+1000 ack 1 ect
                   .  > A 11001+1000 ack 1 ect
                   11 << AE 1+0 ack 2001 ect
                   .  cwnd 5844"),
        );
    }

    #[test]
    fn a_loss_after_marks_counts_in_full() {
        // RFC 8257 3.5: what the marks have cost may be next to nothing.
        capable(
            &(first_window()
                + "10 << AE 1+0 ack 1001 ect
                   .  ssthresh 5000
                   11 < A 1+0 ack 1001 ect
                   .  < A 1+0 ack 1001 ect
                   .  << A 1+0 ack 1001 ect
                   .  ssthresh 2500
                   .  > A 1001+1000 ack 1 ect again"),
        );
    }
}
