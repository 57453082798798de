//! What programs set on a socket and see of it.

use super::script::{bare, established, established_with, play};
use crate::Config;

#[test]
fn a_connection_is_readable_from_the_low_water_mark_on() {
    established(
        "0   rcvlowat 2500
         10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001
         .   ready WRITABLE
         .   events -
         .   < A 1001+1000 ack 1
         .   > A 1+0 ack 2001
         .   events -
         .   < A 2001+1000 ack 1
         .   > A 1+0 ack 3001
         .   events READABLE
         .   ready READABLE|WRITABLE
         .   read 1000
         .   ready WRITABLE",
    );
}

#[test]
fn reading_does_not_wait_for_the_low_water_mark() {
    established("0 rcvlowat 2500\n10 < A 1+100 ack 1\n. > A 1+0 ack 101\n. read 100\n. read-blocks");
}

#[test]
fn the_end_of_data_is_readable_below_the_mark() {
    established(
        "0   rcvlowat 2500
         10  < FA 1+100 ack 1
         .   > A 1+0 ack 102
         .   ready READABLE|WRITABLE|RDHUP",
    );
}

#[test]
fn a_mark_is_no_higher_than_half_of_a_buffer_that_was_set() {
    established("0 rcvbuf 4000\n. rcvlowat 3000\n. field rcvlowat 2000\n. field rcvbuf 4000");
}

#[test]
fn all_that_a_window_lets_in_is_readable_below_the_mark() {
    // Otherwise both would wait for ever, once the buffer was made smaller.
    let mut text = String::from("0 rcvlowat 3000\n. rcvbuf 2304\n10 nothing\n");
    for next in (0..9000).step_by(1000) {
        let (end, left) = (next + 1001, 9000 - next);
        text += &format!(". < A {}+1000 ack 1\n. > A 1+0 ack {end} win {left}\n. read 1000\n", next + 1);
    }
    text += ". > A 1+0 ack 9001 win 2304
             . < A 9001+1000 ack 1
             . > A 1+0 ack 10001 win 1304
             . ready WRITABLE
             . < A 10001+1000 ack 1
             . > A 1+0 ack 11001 win 304
             . ready READABLE|WRITABLE";
    established_with(Config { rcvbuf: 10_000, rcvbuf_max: 10_000, ..bare() }, "", &text);
}

#[test]
fn a_mark_makes_the_buffer_as_large() {
    established("0 rcvlowat 500000\n. field rcvlowat 500000\n. field rcvbuf 500000");
    established("0 rcvlowat 9000000\n. field rcvlowat 3145728");
    established("0 rcvlowat 0\n. field rcvlowat 1");
}

#[test]
fn a_lower_mark_tells_of_what_waits_already() {
    established(
        "0   rcvlowat 2500
         10  < A 1+1000 ack 1
         .   > A 1+0 ack 1001
         .   events -
         .   rcvlowat 1000
         .   events READABLE",
    );
}

#[test]
fn a_program_chooses_how_often_its_syn_is_repeated() {
    play(
        bare(),
        "0    connect
         .    > S 0+0
         .    syn-retries 1
         1000 > S 0+0 again
         3000 error TimedOut",
    );
}

#[test]
fn a_closed_connection_waits_for_the_peers_fin_as_long_as_the_program_said() {
    established(
        "0    linger2 5000
         .    close
         .    > FA 1+0 ack 1
         10   < A 1+0 ack 2
         .    state FinWait2
         5009 state FinWait2
         5010 state Closed",
    );
}

#[test]
fn a_program_that_does_not_want_to_linger_resets_instead() {
    established(
        "0    linger2 0
         .    close
         .    > FA 1+0 ack 1
         10   < A 1+0 ack 2
         .    > RA 2+0 ack 1
         .    closed",
    );
    established(
        "0    linger2 0
         .    shutdown
         .    > FA 1+0 ack 1
         10   < A 1+0 ack 2
         .    state FinWait2
         20   close
         .    > RA 2+0 ack 1
         .    closed",
    );
}
