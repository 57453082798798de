//! RST, SYN and ACK out of place (RFC 9293 3.10.7.4, RFC 5961, RFC 1337).

use super::script::{established, in_state};
use crate::wire::{TcpFlags, TcpOptions, TcpRepr};
use crate::{SeqNum, State, reset_for};

#[test]
fn a_rst_with_the_next_number_resets() {
    established(
        "10  < R 1+0
         .   state Closed
         .   error Reset
         .   events READABLE|WRITABLE|ERROR|HUP
         .   ready READABLE|WRITABLE|RDHUP|HUP|ERR
         .   write-fails Reset
         .   write-fails Closed
         .   read-end
         .   closed",
    );
}

#[test]
fn a_rst_elsewhere_in_the_window_is_challenged() {
    established("10 < R 2+0\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn a_rst_outside_of_the_window_is_ignored() {
    established("10 < R 200000+0\n. < R 0+0\n. state Established");
}

#[test]
fn challenges_are_limited() {
    established(
        "10   < R 2+0
         .    > A 1+0 ack 1
         20   < R 3+0
         30   < S 700+0
         509  < R 5+0
         510  < R 6+0
         .    > A 1+0 ack 1",
    );
}

#[test]
fn a_syn_in_the_window_is_challenged() {
    established("10 < S 500+0\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn a_syn_at_the_next_number_is_challenged_too() {
    established("10 < S 1+0\n. > A 1+0 ack 1\n. state Established");
}

#[test]
fn an_ack_of_what_was_never_sent_is_answered_and_dropped() {
    established(
        "10  < PA 1+100 ack 2
         .   > A 1+0 ack 1
         .   read-blocks",
    );
}

#[test]
fn an_ack_from_long_ago_is_answered_and_dropped() {
    // RFC 5961 5.2: older than the largest window.
    established(
        "10  write 1000
         .   > PA 1+1000 ack 1
         20  < A 1+0 ack 1001
         30  < PA 1+100 ack 3000000000
         .   > A 1001+0 ack 1
         .   read-blocks",
    );
}

#[test]
fn an_old_ack_does_not_spoil_the_data() {
    established(
        "10  write 1000
         .   > PA 1+1000 ack 1
         20  < A 1+0 ack 1001
         30  < PA 1+100 ack 500
         .   read 100
         70  > A 1001+0 ack 101",
    );
}

#[test]
fn a_segment_without_ack_is_dropped() {
    established("10 < P 1+100\n. read-blocks");
}

#[test]
fn after_a_reset_what_had_arrived_can_still_be_read() {
    established(
        "10  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         20  < R 101+0
         .   read 100
         .   read-fails Reset
         .   read-end",
    );
}

#[test]
fn a_reset_after_the_peers_fin_is_a_broken_pipe() {
    established("10 < FA 1+0 ack 1\n50 > A 1+0 ack 2\n60 < R 2+0\n. error BrokenPipe");
}

#[test]
fn an_abort_sends_a_rst_and_is_over() {
    established(
        "10  < PA 1+100 ack 1
         .   > A 1+0 ack 101
         20  abort
         .   > RA 1+0 ack 101 no-options
         .   closed
         .   no-timer",
    );
}

#[test]
fn time_wait_is_not_assassinated() {
    // RFC 1337.
    in_state(
        State::TimeWait,
        "30  < R 2+0
         .   state TimeWait",
    );
}

fn stray(flags: TcpFlags, payload_len: usize) -> TcpRepr {
    TcpRepr {
        src_port: 1,
        dst_port: 2,
        seq: SeqNum(1000),
        ack: SeqNum(77),
        flags,
        window: 0,
        urgent: 0,
        options: TcpOptions::default(),
        payload_len,
        ecn: crate::wire::Ecn::NotEct,
    }
}

#[test]
fn a_stray_segment_gets_the_rst_of_rfc_9293() {
    let with_ack = reset_for(&stray(TcpFlags::ACK, 10)).expect("a RST");
    assert_eq!((with_ack.seq, with_ack.flags), (SeqNum(77), TcpFlags::RST));
    let without = reset_for(&stray(TcpFlags::SYN | TcpFlags::FIN, 10)).expect("a RST");
    assert_eq!((without.seq, without.ack), (SeqNum(0), SeqNum(1012)));
    assert_eq!(without.flags, TcpFlags::RST | TcpFlags::ACK);
    assert!(reset_for(&stray(TcpFlags::RST, 0)).is_none());
}
