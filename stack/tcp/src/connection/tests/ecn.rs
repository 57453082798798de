//! Explicit congestion notification (RFC 3168).

use super::script::{Script, bare, play};
use crate::{Config, CongestionAlgorithm, EcnMode};

fn with(ecn: EcnMode) -> Config {
    Config { ecn, congestion: CongestionAlgorithm::NewReno, ..bare() }
}

/// A connection that we have opened at time 0, both ends with ECN.
fn capable(text: &str) -> Script {
    capable_with(with(EcnMode::On), text)
}

fn capable_with(config: Config, text: &str) -> Script {
    let opening = "0 connect
         . > SEC 0+0
         . < SAE 0+0 ack 1 win 60000 mss 1000
         . > A 1+0 ack 1
         . events WRITABLE|CONNECTED\n";
    play(config, &format!("{opening}{text}"))
}

/// The same, opened by the peer.
fn capable_server(text: &str) -> Script {
    let opening = "0 < SEC 0+0 win 60000 mss 1000
         . > SAE 0+0 ack 1
         . < A 1+0 ack 1 win 60000
         . events WRITABLE|CONNECTED\n";
    play(with(EcnMode::Accept), &format!("{opening}{text}"))
}

/// Ten segments of the twenty that were written leave.
fn first_window() -> String {
    let segments = (0..10).map(|n| format!(". > A {}+1000 ack 1 ect\n", 1 + 1000 * n));
    format!("0 write 20000\n{}", segments.collect::<String>())
}

mod negotiation {
    use super::*;

    #[test]
    fn nobody_is_asked_unless_that_is_wanted() {
        for ecn in [EcnMode::Off, EcnMode::Accept] {
            play(with(ecn), "0 connect\n. > S 0+0");
        }
    }

    #[test]
    fn an_ecn_setup_syn_has_both_flags_and_is_not_capable_itself() {
        // RFC 3168 6.1.1.
        play(with(EcnMode::On), "0 connect\n. > SEC 0+0");
    }

    #[test]
    fn an_ecn_setup_syn_ack_settles_it() {
        capable("0 write 100\n. > PA 1+100 ack 1 ect");
    }

    #[test]
    fn without_the_peer_nothing_is_capable() {
        play(
            with(EcnMode::On),
            "0 connect
             . > SEC 0+0
             . < SA 0+0 ack 1 win 60000 mss 1000
             . > A 1+0 ack 1
             . write 100
             . > PA 1+100 ack 1",
        );
    }

    #[test]
    fn a_syn_ack_that_reflects_both_flags_is_no_consent() {
        // RFC 3168 6.1.1: some hosts copy reserved flags.
        play(
            with(EcnMode::On),
            "0 connect
             . > SEC 0+0
             . < SAEC 0+0 ack 1 win 60000 mss 1000
             . > A 1+0 ack 1
             . write 100
             . > PA 1+100 ack 1",
        );
    }

    #[test]
    fn a_consent_that_nobody_asked_for_does_not_count() {
        play(
            with(EcnMode::Accept),
            "0 connect
             . > S 0+0
             . < SAE 0+0 ack 1 win 60000 mss 1000
             . > A 1+0 ack 1
             . write 100
             . > PA 1+100 ack 1",
        );
    }

    #[test]
    fn a_syn_without_answer_is_repeated_without_ecn() {
        // RFC 3168 6.1.1.1.
        play(
            with(EcnMode::On),
            "0    connect
             .    > SEC 0+0
             1000 > S 0+0 again
             3000 > S 0+0 again
             3010 < SA 0+0 ack 1 win 60000 mss 1000
             .    > A 1+0 ack 1
             .    write 100
             .    > PA 1+100 ack 1",
        );
    }

    #[test]
    fn a_late_answer_to_the_first_syn_still_counts() {
        play(
            with(EcnMode::On),
            "0    connect
             .    > SEC 0+0
             1000 > S 0+0 again
             1010 < SAE 0+0 ack 1 win 60000 mss 1000
             .    > A 1+0 ack 1
             .    write 100
             .    > PA 1+100 ack 1 ect",
        );
    }

    #[test]
    fn who_is_asked_consents() {
        capable_server("0 write 100\n. > PA 1+100 ack 1 ect");
    }

    #[test]
    fn who_is_asked_consents_when_he_would_ask_himself() {
        play(with(EcnMode::On), "0 < SEC 0+0 win 60000 mss 1000\n. > SAE 0+0 ack 1");
    }

    #[test]
    fn who_wants_nothing_of_it_does_not() {
        play(
            with(EcnMode::Off),
            "0 < SEC 0+0 win 60000 mss 1000
             . > SA 0+0 ack 1
             . < A 1+0 ack 1
             . write 100
             . > PA 1+100 ack 1",
        );
    }

    #[test]
    fn one_flag_alone_asks_for_nothing() {
        for flags in ["SE", "SC", "S"] {
            play(with(EcnMode::Accept), &format!("0 < {flags} 0+0 win 60000 mss 1000\n. > SA 0+0 ack 1"));
        }
    }

    #[test]
    fn a_syn_that_is_capable_itself_is_answered_without() {
        // RFC 3168 6.1.1: it must not be; Linux does the same.
        for field in ["ect", "ect1", "ce"] {
            play(with(EcnMode::Accept), &format!("0 < SEC 0+0 win 60000 mss 1000 {field}\n. > SA 0+0 ack 1"));
        }
    }

    #[test]
    fn the_consent_is_repeated() {
        play(
            with(EcnMode::Accept),
            "0    < SEC 0+0 win 60000 mss 1000
             .    > SAE 0+0 ack 1
             1000 > SAE 0+0 ack 1 again",
        );
    }

    #[test]
    fn both_may_ask_at_once() {
        play(
            with(EcnMode::On),
            "0 connect
             . > SEC 0+0
             5 < SEC 0+0 win 60000 mss 1000
             . > SAE 0+0 ack 1
             9 < SAE 0+0 ack 1 win 60000 mss 1000
             . > A 1+0 ack 1
             . write 100
             . > PA 1+100 ack 1 ect",
        );
    }
}

mod field {
    use super::*;

    #[test]
    fn acknowledgements_are_not_capable() {
        // RFC 3168 6.1.4.
        capable("0 < PA 1+100 ack 1 ect\n. > A 1+0 ack 101");
    }

    #[test]
    fn retransmissions_are_not_capable() {
        // RFC 3168 6.1.5.
        capable(
            "0       write 100
             .       > PA 1+100 ack 1 ect
             200.001 > PA 1+100 ack 1 again",
        );
    }

    #[test]
    fn window_probes_are_not_capable() {
        // RFC 3168 6.1.6.
        capable(
            "0     write 100
             .     > PA 1+100 ack 1 ect
             10    < A 1+0 ack 101 win 0
             .     write 100
             211   > A 100+0 ack 1",
        );
    }

    #[test]
    fn a_fin_alone_is_not_capable() {
        capable("0 shutdown\n. > FA 1+0 ack 1");
    }

    #[test]
    fn a_fin_with_data_is() {
        capable("0 cork on\n. write 10\n. shutdown\n. > FPA 1+10 ack 1 ect");
    }

    #[test]
    fn a_reset_is_not_capable() {
        capable("0 abort\n. > RA 1+0 ack 1");
    }
}

mod receiver {
    use super::*;

    #[test]
    fn a_mark_is_echoed_until_the_sender_has_reacted() {
        // RFC 3168 6.1.3.
        capable(
            "0  < A 1+1000 ack 1 ce
             .  > AE 1+0 ack 1001
             5  < A 1001+1000 ack 1 ect
             .  > AE 1+0 ack 2001
             10 < AC 2001+1000 ack 1 ect
             .  > A 1+0 ack 3001
             15 < A 3001+1000 ack 1 ect
             .  > A 1+0 ack 4001",
        );
    }

    #[test]
    fn data_carries_the_echo_too() {
        capable(
            "0 << A 1+1000 ack 1 ce
             . write 10
             . > PAE 1+10 ack 1001 ect",
        );
    }

    #[test]
    fn a_mark_beside_cwr_is_a_new_one() {
        // RFC 3168 erratum 3639.
        capable(
            "0  < A 1+1000 ack 1 ce
             .  > AE 1+0 ack 1001
             5  < AC 1001+1000 ack 1 ce
             .  > AE 1+0 ack 2001
             10 < A 2001+1000 ack 1 ect
             .  > AE 1+0 ack 3001",
        );
    }

    #[test]
    fn one_marked_segment_among_those_acknowledged_is_enough() {
        // RFC 3168 6.1.3, delayed ACKs.
        capable(
            "0 << A 1+1000 ack 1 ect
             . << A 1001+1000 ack 1 ce
             . << A 2001+1000 ack 1 ect
             . > AE 1+0 ack 3001",
        );
    }

    #[test]
    fn a_mark_behind_a_gap_counts() {
        capable("0 < A 1001+1000 ack 1 ce\n. > AE 1+0 ack 1");
    }

    #[test]
    fn a_mark_on_what_is_known_does_not_count() {
        // RFC 3168 6.1.5: outside of the window.
        capable(
            "0 < A 1+1000 ack 1 ect
             . > A 1+0 ack 1001
             5 < A 1+1000 ack 1 ce
             . > A 1+0 ack 1001",
        );
    }

    #[test]
    fn a_mark_on_an_acknowledgement_does_not_count() {
        capable(
            "0  write 100
             .  > PA 1+100 ack 1 ect
             10 < A 1+0 ack 101 ce
             .  quickack on
             .  < A 1+1000 ack 101 ect
             .  > A 101+0 ack 1001",
        );
    }

    #[test]
    fn without_consent_marks_mean_nothing() {
        play(
            with(EcnMode::Accept),
            "0 < S 0+0 win 60000 mss 1000
             . > SA 0+0 ack 1
             . < A 1+0 ack 1
             . < A 1+1000 ack 1 ce
             . > A 1+0 ack 1001",
        );
    }

    #[test]
    fn cwr_is_answered_at_once() {
        // The sender's window may be a segment; Linux does the same.
        capable(
            "0  quickack off
             .  < A 1+1000 ack 1 ce
             .  > AE 1+0 ack 1001
             10 < AC 1001+100 ack 1 ect
             .  > A 1+0 ack 1101",
        );
    }
}

mod sender {
    use super::*;

    #[test]
    fn an_echo_halves_the_window_and_is_answered_with_new_data() {
        // RFC 3168 6.1.2.
        let text = first_window()
            + "10 < AE 1+0 ack 2001
               .  ssthresh 5000
               .  cwnd 5000
               11 < AE 1+0 ack 4001
               .  cwnd 5000
               12 < A 1+0 ack 6001
               .  > AC 10001+1000 ack 1 ect
               13 < A 1+0 ack 7001
               .  > A 11001+1000 ack 1 ect";
        capable(&text);
    }

    #[test]
    fn cubic_leaves_seven_tenths() {
        // RFC 9438 4.6.
        let config = Config { congestion: CongestionAlgorithm::Cubic, ..with(EcnMode::On) };
        capable_with(config, &(first_window() + "10 < AE 1+0 ack 1001\n. cwnd 7000"));
    }

    #[test]
    fn a_window_of_data_is_answered_once() {
        let text = first_window()
            + "10 < AE 1+0 ack 2001
               11 < AE 1+0 ack 10001
               .  > AC 10001+1000 ack 1 ect
               .  > A 11001+1000 ack 1 ect
               .  > A 12001+1000 ack 1 ect
               .  > A 13001+1000 ack 1 ect
               .  > A 14001+1000 ack 1 ect
               20 < AE 1+0 ack 11001
               .  cwnd 2500
               21 < AE 1+0 ack 15001
               .  > AC 15001+1000 ack 1 ect
               .  > A 16001+1000 ack 1 ect
               .  cwnd 2500";
        capable(&text);
    }

    #[test]
    fn an_echo_does_not_let_the_window_grow() {
        // RFC 3168 6.1.2: five acknowledged segments would bring a sixth.
        let text = first_window()
            + "10 < AE 1+0 ack 1001
               11 < AE 1+0 ack 8001
               .  > AC 10001+1000 ack 1 ect
               .  > A 11001+1000 ack 1 ect
               .  > A 12001+1000 ack 1 ect
               .  cwnd 5000
               12 < A 1+0 ack 13001
               .  > A 13001+1000 ack 1 ect
               .  > A 14001+1000 ack 1 ect
               .  > A 15001+1000 ack 1 ect
               .  > A 16001+1000 ack 1 ect
               .  > A 17001+1000 ack 1 ect
               .  > A 18001+1000 ack 1 ect
               .  cwnd 6000";
        capable(&text);
    }

    #[test]
    fn an_echo_on_a_duplicate_acknowledgement_counts() {
        let text = first_window() + "10 < AE 1+0 ack 1\n. cwnd 5000";
        capable(&text);
    }

    #[test]
    fn an_echo_on_data_counts() {
        let text = first_window()
            + "10 < PAE 1+100 ack 1001 ect
               .  cwnd 5000";
        capable(&text);
    }

    #[test]
    fn without_consent_an_echo_means_nothing() {
        play(
            with(EcnMode::Off),
            "0  connect
             .  > S 0+0
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
    fn a_loss_in_the_same_window_is_no_second_sign() {
        // RFC 3168 6.1.2.
        let text = first_window()
            + "10 < AE 1+0 ack 1001
               .  ssthresh 5000
               11 < A 1+0 ack 1001
               .  < A 1+0 ack 1001
               .  << A 1+0 ack 1001
               .  ssthresh 5000
               .  > A 1001+1000 ack 1 again";
        capable(&text);
    }

    #[test]
    fn a_fast_retransmit_is_announced_with_new_data() {
        // RFC 3168 6.1.2: reduced for any reason.
        let text = first_window()
            + "10 < A 1+0 ack 1
               .  > A 10001+1000 ack 1 ect
               .  < A 1+0 ack 1
               .  > A 11001+1000 ack 1 ect
               .  << A 1+0 ack 1
               .  ssthresh 5000
               .  > A 1+1000 ack 1 again
               20 << A 1+0 ack 12001
               .  > AC 12001+1000 ack 1 ect
               .  > A 13001+1000 ack 1 ect
               .  > A 14001+1000 ack 1 ect
               .  > A 15001+1000 ack 1 ect
               .  > A 16001+1000 ack 1 ect";
        capable(&text);
    }

    #[test]
    fn a_timeout_is_announced_with_new_data() {
        capable(
            "0       write 2000
             .       > A 1+1000 ack 1 ect
             .       > PA 1001+1000 ack 1 ect
             200.001 > A 1+1000 ack 1 again
             210     < A 1+0 ack 2001
             .       write 100
             .       > PAC 2001+100 ack 1 ect",
        );
    }

    #[test]
    fn marks_during_a_recovery_change_nothing() {
        let text = first_window()
            + "10 < A 1+0 ack 1
               .  > A 10001+1000 ack 1 ect
               .  < A 1+0 ack 1
               .  > A 11001+1000 ack 1 ect
               .  << A 1+0 ack 1
               .  > A 1+1000 ack 1 again
               .  ssthresh 5000
               11 << AE 1+0 ack 1
               .  ssthresh 5000";
        capable(&text);
    }
}

#[test]
fn a_device_that_cuts_segments_gets_cwr_with_one_alone() {
    let script = capable(
        &(first_window()
            + "10 < AE 1+0 ack 1001
               .  << A 1+0 ack 10001"),
    );
    let mut connection = script.connection.unwrap();
    let now = crate::Instant::from_millis(5010);
    let mut sizes = Vec::new();
    while let Some(segment) = connection.poll_transmit(now, 65_000) {
        sizes.push((segment.payload_len(), segment.flags.contains(crate::wire::TcpFlags::CWR)));
    }
    assert_eq!(sizes, [(1000, true), (5000, false)]);
}
