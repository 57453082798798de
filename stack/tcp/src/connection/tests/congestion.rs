//! The congestion window at work (RFC 5681, RFC 6928, RFC 7661).

use super::script::{bare, established, established_with};
use crate::{Config, CongestionAlgorithm};

#[test]
fn ten_segments_go_out_at_first() {
    let mut text = String::from("0 write 20000\n");
    for n in 0..10 {
        text += &format!(". > A {}+1000 ack 1\n", 1 + 1000 * n);
    }
    // Slow start: two for each that is acknowledged.
    text += "10 < A 1+0 ack 2001\n";
    for n in 10..14 {
        text += &format!(". > A {}+1000 ack 1\n", 1 + 1000 * n);
    }
    established(&(text + ". cwnd 12000"));
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    established(
        "0 write 3000\n. > A 1+1000 ack 1\n. > A 1001+1000 ack 1\n. > PA 2001+1000 ack 1\n10 < A 1+0 ack 3001\n. cwnd 10000",
    );
}

#[test]
fn an_idle_connection_starts_again_from_the_initial_window() {
    let config = Config { initial_window: 2, congestion: CongestionAlgorithm::NewReno, ..bare() };
    established_with(
        config,
        "",
        "0     write 6000
         .     > A 1+1000 ack 1
         .     > A 1001+1000 ack 1
         10    < A 1+0 ack 2001
         .     > A 2001+1000 ack 1
         .     > A 3001+1000 ack 1
         .     > A 4001+1000 ack 1
         .     > PA 5001+1000 ack 1
         20    < A 1+0 ack 6001
         .     cwnd 4000
         5000  write 100
         .     > PA 6001+100 ack 1
         .     cwnd 2000",
    );
}

#[test]
fn a_window_of_one_segment_follows_a_twice_lost_syn() {
    super::script::play(
        bare(),
        "0     connect
         .     > S 0+0
         1000  > S 0+0 again
         3000  > S 0+0 again
         3010  < SA 0+0 ack 1 win 60000 mss 1000
         .     > A 1+0 ack 1
         .     write 3000
         .     > A 1+1000 ack 1",
    );
}
