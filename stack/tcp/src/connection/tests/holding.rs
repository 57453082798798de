//! Data that the program wants held back (`MSG_MORE`, `TCP_CORK`), and data that
//! it does not want to have written yet (`TCP_NOTSENT_LOWAT`).

use super::script::{bare, established, established_with};
use crate::Config;

#[test]
fn more_to_come_holds_a_partial_segment_for_the_next_call() {
    established(
        "0   write-more 100
         .   silent
         50  write 200
         .   > PA 1+300 ack 1",
    );
}

#[test]
fn more_to_come_lets_full_segments_go_without_a_push() {
    established(
        "0   write-more 2500
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         10  < A 1+0 ack 2001
         .   silent
         20  write-more 500
         .   > A 2001+1000 ack 1
         .   write 1
         .   > PA 3001+1 ack 1",
    );
}

#[test]
fn more_to_come_that_does_not_come_is_sent_after_200_ms() {
    established(
        "0    write-more 100
         199  silent
         200  > PA 1+100 ack 1
         210  < A 1+0 ack 101
         .    write-more 100
         410  > PA 101+100 ack 1",
    );
}

#[test]
fn the_200_ms_begin_when_everything_before_is_acknowledged() {
    established(
        "0    write 1000
         .    > PA 1+1000 ack 1
         10   write-more 100
         50   < A 1+0 ack 1001
         250  > PA 1001+100 ack 1",
    );
}

#[test]
fn an_empty_write_does_not_end_the_wait() {
    established("0 write-more 100\n10 write 0\n200 > PA 1+100 ack 1");
}

#[test]
fn a_shutdown_sends_what_is_held() {
    established("0 write-more 100\n10 shutdown\n. > FPA 1+100 ack 1");
}

#[test]
fn no_delay_flushes_a_cork_once() {
    established(
        "0   cork on
         .   write 100
         10  nodelay on
         .   > PA 1+100 ack 1
         20  < A 1+0 ack 101
         .   write 100                  # the cork still holds
         220 > PA 101+100 ack 1",
    );
}

#[test]
fn no_delay_flushes_what_more_to_come_holds() {
    established("0 write-more 100\n10 nodelay on\n. > PA 1+100 ack 1");
}

#[test]
fn pulling_the_cork_leaves_nagle_in_force() {
    // As Linux: `tcp_push_pending_frames` with the cork's bit alone gone.
    established(
        "0   write 100
         .   > PA 1+100 ack 1
         .   cork on
         .   write 50
         10  cork off
         .   silent
         20  < A 1+0 ack 101
         .   > PA 101+50 ack 1",
    );
}

#[test]
fn a_full_send_buffer_overrides_the_cork() {
    // tcp_sendmsg pushes before it waits for memory: the program cannot go on.
    established_with(
        Config { sndbuf: 5000, sndbuf_max: 5000, ..bare() },
        "",
        "0   cork on
         .   sndbuf 4700
         .   write 4800 =4700
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   > A 2001+1000 ack 1
         .   > A 3001+1000 ack 1
         .   > PA 4001+700 ack 1",
    );
}

#[test]
fn a_cork_does_not_keep_a_narrow_window_from_being_used() {
    // The cork's own timeout lets partial segments go, not what a window that
    // is narrower than a segment holds back (RFC 9293 3.8.6.2.1).
    established(
        "0    cork on
         .    < A 1+0 ack 1 win 100
         10   write 5000
         210  > A 1+100 ack 1",
    );
}

#[test]
fn a_corked_end_is_probed_when_the_window_is_shut() {
    established(
        "0    cork on
         .    < A 1+0 ack 1 win 0
         10   write 100
         210  > A 0+0 ack 1
         220  < A 1+0 ack 1 win 60000
         420  > PA 1+100 ack 1",
    );
}

#[test]
fn a_cork_outlasts_a_peer_that_never_closes_its_window() {
    // Twenty ceilings in a row are no twenty unanswered probes.
    let mut text = String::from("0 cork on\n");
    for turn in 0..20 {
        let (at, first) = (turn * 300, turn * 10 + 1);
        text += &format!(
            "{at} write 10\n{} > PA {first}+10 ack 1\n{} < A 1+0 ack {}\n",
            at + 200,
            at + 210,
            first + 10
        );
    }
    established(&(text + ". state Established"));
}

#[test]
fn writing_blocks_at_the_low_water_mark_of_unsent_data() {
    established(
        "0   lowat 3000
         .   < A 1+0 ack 1 win 2000
         .   write 9000 =3000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   unsent 1000
         .   write 5000 =2000
         .   unsent 3000
         .   write 10 =0",
    );
}

#[test]
fn a_low_water_mark_below_a_segment_still_takes_a_segment() {
    established(
        "0   lowat 1
         .   write 5000 =1000
         .   > PA 1+1000 ack 1
         .   unsent 0
         .   write 5000 =1000
         .   > PA 1001+1000 ack 1",
    );
}

#[test]
fn writability_ends_at_half_the_low_water_mark() {
    established(
        "0   lowat 2000
         .   < A 1+0 ack 1 win 0
         .   write 999
         .   ready WRITABLE
         .   write 1
         .   ready -
         .   unsent 1000
         .   abort
         .   > RA 1+0 ack 1",
    );
}

#[test]
fn sending_brings_the_writable_edge_without_an_acknowledgement() {
    established(
        "0   lowat 4000
         .   < A 1+0 ack 1 win 2000
         .   write 4000
         .   > A 1+1000 ack 1
         .   > A 1001+1000 ack 1
         .   ready -
         .   events -
         10  < A 1+0 ack 1 win 4000
         .   > A 2001+1000 ack 1
         .   > PA 3001+1000 ack 1
         .   events WRITABLE
         .   ready WRITABLE",
    );
}

#[test]
fn a_raised_mark_brings_the_writable_edge_at_once() {
    established(
        "0   lowat 1000
         .   < A 1+0 ack 1 win 0
         .   write 1000
         .   events -
         .   lowat 100000
         .   events WRITABLE
         .   abort
         .   > RA 1+0 ack 1",
    );
}

#[test]
fn the_configured_mark_holds_until_the_program_sets_its_own() {
    established_with(
        Config { notsent_lowat: 2000, ..bare() },
        "",
        "0   < A 1+0 ack 1 win 0
         .   write 9000 =2000
         .   lowat 3000
         .   write 9000 =1000
         .   abort
         .   > RA 1+0 ack 1",
    );
}

#[test]
fn a_fin_does_not_count_as_unsent_data() {
    established(
        "0   write 100
         .   > PA 1+100 ack 1
         .   unsent 0
         .   shutdown
         .   > FA 101+0 ack 1
         .   unsent 0",
    );
}
