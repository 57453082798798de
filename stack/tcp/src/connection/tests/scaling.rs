//! The window scale option (RFC 7323 section 2).

use super::script::{bare, established_with, play};
use crate::Config;

fn scaling() -> Config {
    Config { window_scaling: true, rcvbuf: 100_000, rcvbuf_max: 6 << 20, ..bare() }
}

#[test]
fn a_peer_that_does_not_scale_gets_plain_windows() {
    // 2.2: both sides must have sent the option.
    established_with(scaling(), "", "10 < A 1+1000 ack 1\n. > A 1+0 ack 1001 win 65535\n. read 1000");
}

#[test]
fn a_peer_that_does_not_scale_is_read_plainly() {
    established_with(
        scaling(),
        "",
        "0 < A 1+0 ack 1 win 1500\n. write 4000\n. > A 1+1000 ack 1\n10 < A 1+0 ack 1001 win 1000\n. > A 1001+1000 ack 1",
    );
}

#[test]
fn a_shift_of_zero_is_an_offer_too() {
    // 2.2: it says that the sender scales what it is sent.
    established_with(
        scaling(),
        "ws 0",
        "10 < A 1+1000 ack 1\n. > A 1+0 ack 1001 win 774\n. read 1000\n. write 1000\n. > PA 1+1000 ack 1001",
    );
}

#[test]
fn who_is_not_asked_does_not_offer() {
    // 2.2: in a SYN,ACK only as the answer to one in the SYN.
    let script = play(scaling(), "0 < S 0+0 mss 1000\n. > SA 0+0 ack 1");
    let info = script.connection.expect("open").info();
    assert_eq!((info.rcv_wscale, info.snd_wscale), (0, 0));
}

#[test]
fn both_shifts_are_their_senders_own() {
    let script = established_with(scaling(), "ws 3", "");
    let info = script.connection.expect("open").info();
    assert_eq!((info.rcv_wscale, info.snd_wscale), (7, 3));
}

#[test]
fn the_largest_buffer_is_offered_with_a_shift_of_fourteen() {
    // 2.3.
    let config = Config { rcvbuf_max: usize::MAX, ..scaling() };
    play(config, "0 connect\n. > S 0+0 ws 14");
}

#[test]
fn a_window_of_a_gigabyte_can_be_used() {
    // 2.3: 2^30 minus a unit.
    let script = established_with(scaling(), "ws 14", "0 < A 1+0 ack 1 win 65535");
    assert_eq!(script.connection.expect("open").info().snd_wnd, 65_535 << 14);
}

#[test]
fn a_repeated_syn_ack_does_not_scale_its_window() {
    established_with(
        scaling(),
        "ws 7",
        "0 < A 1+0 ack 1 win 100\n10 < SA 0+0 ack 1 win 60000 mss 1000 ws 7\n. > A 1+0 ack 1\n. write 13000\n\
         . > A 1+1000 ack 1\n. > A 1001+1000 ack 1\n. > A 2001+1000 ack 1\n. > A 3001+1000 ack 1\n\
         . > A 4001+1000 ack 1\n. > A 5001+1000 ack 1\n. > A 6001+1000 ack 1\n. > A 7001+1000 ack 1\n\
         . > A 8001+1000 ack 1\n. > A 9001+1000 ack 1\n20 < R 1+0",
    );
}
