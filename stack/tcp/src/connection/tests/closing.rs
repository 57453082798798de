//! The end (RFC 9293 3.6, figures 12 and 13; RFC 2525 2.17; Linux's orphans).

use super::script::{FIRST_TIMEOUT, accepted, established, in_state};
use crate::wire::{TcpFlags, TcpOptions, TcpRepr, Timestamps};
use crate::{SeqNum, State};

#[test]
fn the_side_that_closes_first_waits() {
    established(
        "10     close
         .      > FA 1+0 ack 1
         .      state FinWait1
         20     < A 1+0 ack 2
         .      state FinWait2
         30     < FA 1+0 ack 2
         .      > A 2+0 ack 2
         .      state TimeWait
         60029  state TimeWait
         60030  state Closed
         .      closed
         .      no-timer",
    );
}

#[test]
fn the_side_that_closes_second_does_not() {
    accepted(
        "10  < FA 1+0 ack 1
         .   events READABLE|RDHUP
         .   ready READABLE|WRITABLE|RDHUP
         .   state CloseWait
         .   read-end
         .   close
         .   > FA 1+0 ack 2
         .   state LastAck
         20  < A 2+0 ack 2
         .   closed
         .   no-timer",
    );
}

#[test]
fn both_may_close_at_once() {
    in_state(
        State::FinWait1,
        "20  < FA 1+0 ack 1
         .   > A 2+0 ack 2
         .   state Closing
         30  < A 2+0 ack 2
         .   state TimeWait
         .   ready READABLE|WRITABLE|RDHUP|HUP",
    );
}

#[test]
fn ack_and_fin_may_come_together() {
    in_state(State::FinWait1, "10 < FA 1+0 ack 2\n. > A 2+0 ack 2\n. state TimeWait");
}

#[test]
fn a_fin_rides_on_the_last_data() {
    established(
        "10  cork on
         .   write 500
         .   shutdown
         .   > FPA 1+500 ack 1
         20  < A 1+0 ack 502
         .   state FinWait2",
    );
}

#[test]
fn a_fin_follows_all_data() {
    established(
        "0   < A 1+0 ack 1 win 1000
         10  write 1500
         .   > A 1+1000 ack 1
         .   shutdown
         20  < A 1+0 ack 1001 win 1000
         .   > FPA 1001+500 ack 1",
    );
}

#[test]
fn a_fin_that_rides_on_data_is_acknowledged_with_it() {
    established(
        "10  < FPA 1+100 ack 1
         .   > A 1+0 ack 102
         .   state CloseWait
         .   read 100
         .   read-end",
    );
}

#[test]
fn a_fin_ahead_of_a_gap_waits_for_the_data() {
    established(
        "10  < FPA 101+100 ack 1
         .   > A 1+0 ack 1
         .   state Established
         .   events -
         20  < A 1+100 ack 1
         .   > A 1+0 ack 202
         .   state CloseWait
         .   events READABLE|RDHUP
         .   read 200
         .   read-end",
    );
}

#[test]
fn a_lone_fin_ahead_of_a_gap_waits_too() {
    established(
        "10  < FA 101+0 ack 1
         .   > A 1+0 ack 1
         20  < A 1+100 ack 1
         .   > A 1+0 ack 102
         .   read 100
         .   read-end",
    );
}

#[test]
fn a_fin_that_comes_again_is_acknowledged_again() {
    established(
        "10  < FA 1+0 ack 1
         50  > A 1+0 ack 2
         60  < FA 1+0 ack 1
         .   > A 1+0 ack 2
         .   state CloseWait",
    );
}

#[test]
fn our_fin_is_sent_again() {
    in_state(
        State::FinWait1,
        "200  > FA 1+0 ack 1 again
         600  > FA 1+0 ack 1 again
         620  < A 1+0 ack 2
         .    state FinWait2",
    );
}

#[test]
fn data_and_fin_are_sent_again_together() {
    established(
        "10   write 500
         .    > PA 1+500 ack 1
         .    shutdown
         .    > FA 501+0 ack 1
         210  > FPA 1+500 ack 1 again",
    );
}

#[test]
fn half_closed_we_still_receive() {
    in_state(
        State::FinWait1,
        ".   write-fails Closed
         20  < A 1+0 ack 2
         30  < PA 1+100 ack 2
         .   read 100
         .   ready WRITABLE
         70  > A 2+0 ack 101
         80  < FA 101+0 ack 2
         .   > A 2+0 ack 102
         .   read-end",
    );
}

#[test]
fn half_closed_we_still_send() {
    established(
        "10  < FA 1+0 ack 1
         20  write 100
         .   > PA 1+100 ack 2
         30  < A 2+0 ack 101
         40  shutdown
         .   > FA 101+0 ack 2
         50  < A 2+0 ack 102
         .   closed",
    );
}

#[test]
fn unread_data_turns_a_close_into_a_reset() {
    established(
        "10  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         20  close
         .   > RA 1+0 ack 101
         .   closed",
    );
}

#[test]
fn data_after_close_is_answered_with_a_reset() {
    established(
        "10  close
         .   > FA 1+0 ack 1
         20  < A 1+0 ack 2
         30  < PA 1+100 ack 2
         .   > RA 2+0 ack 1
         .   closed",
    );
}

#[test]
fn data_after_close_is_reset_before_our_fin_is_acknowledged_too() {
    established("10 close\n. > FA 1+0 ack 1\n20 < PA 1+100 ack 1\n. > RA 2+0 ack 1\n. closed");
}

#[test]
fn data_after_shutdown_of_reading_is_still_taken() {
    established(
        "10  shutdown-read
         .   ready READABLE|WRITABLE|RDHUP
         .   read-end
         20  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         .   read 100
         .   read-end",
    );
}

#[test]
fn an_orphan_leaves_fin_wait_2_after_a_minute() {
    established(
        "10     close
         .      > FA 1+0 ack 1
         20     < A 1+0 ack 2
         60019  state FinWait2
         60020  closed",
    );
}

#[test]
fn a_program_that_only_shut_down_may_wait_for_ever() {
    in_state(State::FinWait2, "5000 no-timer\n. state FinWait2");
}

#[test]
fn closing_in_fin_wait_2_starts_the_minute() {
    in_state(State::FinWait2, "1000 close\n60999 state FinWait2\n61000 closed");
}

#[test]
fn an_orphan_is_given_up_earlier() {
    // Eight doublings of 200 ms: 102.2 s.
    let mut text = String::from("0 close\n. > FA 1+0 ack 1\n");
    let (mut at, mut pause) = (0.0, FIRST_TIMEOUT);
    for _ in 0..8 {
        at += pause;
        pause *= 2.0;
        text += &format!("{at} > FA 1+0 ack 1 again\n");
    }
    established(&(text + "102201 closed"));
}

#[test]
fn an_orphan_at_a_shut_window_is_given_up_although_the_peer_answers() {
    let mut text = String::from("0 < A 1+0 ack 1 win 0\n. write 10\n. close\n");
    let (mut at, mut pause) = (0.0, FIRST_TIMEOUT);
    for _ in 0..9 {
        at += pause;
        pause *= 2.0;
        text += &format!("{at} > A 0+0 ack 1\n. < A 1+0 ack 1 win 0\n");
    }
    established(&(text + "300000 closed"));
}

#[test]
fn time_wait_answers_a_fin_and_starts_over() {
    established(
        "10     close
         .      > FA 1+0 ack 1
         20     < FA 1+0 ack 2
         .      > A 2+0 ack 2
         30000  < FA 1+0 ack 2
         .      > A 2+0 ack 2
         89999  state TimeWait
         90000  closed",
    );
}

#[test]
fn the_last_ack_may_have_to_wait_for_a_second_fin() {
    established(
        "10   < FA 1+0 ack 1
         20   close
         .    > FA 1+0 ack 2
         220  > FA 1+0 ack 2 again
         230  < A 2+0 ack 2
         .    closed",
    );
}

#[test]
fn closing_twice_changes_nothing() {
    established("10 close\n. > FA 1+0 ack 1\n20 close\n. shutdown\n30 < A 1+0 ack 2\n. state FinWait2");
}

fn syn(seq: SeqNum, tsval: Option<u32>) -> TcpRepr {
    TcpRepr {
        src_port: 2,
        dst_port: 1,
        seq,
        ack: SeqNum(0),
        flags: TcpFlags::SYN,
        window: 1000,
        urgent: 0,
        options: TcpOptions {
            timestamps: tsval.map(|tsval| Timestamps { tsval, tsecr: 0 }),
            ..TcpOptions::default()
        },
        payload_len: 0,
        ecn: crate::wire::Ecn::NotEct,
    }
}

#[test]
fn time_wait_gives_way_to_a_newer_incarnation() {
    // RFC 6191. The peer's FIN had number 1, its SYN u32::MAX - 300.
    let script = established("10 close\n. > FA 1+0 ack 1\n20 < FA 1+0 ack 2\n. > A 2+0 ack 2");
    let connection = script.connection.expect("in TIME-WAIT");
    let next = SeqNum(u32::MAX - 300) + 2;
    assert!(connection.may_reuse(&syn(next + 1, None)));
    assert!(!connection.may_reuse(&syn(next, None)));
    assert!(!connection.may_reuse(&syn(next - 100, Some(50))), "no timestamps were in use");
    let mut with_ack = syn(next + 1, None);
    with_ack.flags |= TcpFlags::ACK;
    assert!(!connection.may_reuse(&with_ack));
    assert!(connection.next_isn_after().gt(SeqNum(u32::MAX - 700) + 2));
}
