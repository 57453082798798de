//! Pacing: the rate, the bursts, and what must not wait.

use super::script::{Script, bare, established_with, play};
use crate::{Config, CongestionAlgorithm, Instant};

fn paced() -> Config {
    Config { pacing: true, congestion: CongestionAlgorithm::NewReno, ..bare() }
}

/// Segments from `from` to `to`, in thousands, at one time.
fn segments(time: &str, from: u32, to: u32) -> String {
    (from..to).map(|n| format!("{time} > A {}+1000 ack 1\n", 1 + 1000 * n)).collect()
}

/// A connection over a path of 100 ms, paced, that has sent its first window at 100 ms.
fn distant(text: &str) -> Script {
    let opening = "0 connect
         . > S 0+0
         100 < SA 0+0 ack 1 win 60000 mss 1000
         . > A 1+0 ack 1
         . events WRITABLE|CONNECTED
         . write 60000\n";
    play(paced(), &format!("{opening}{}{text}", segments(".", 0, 10)))
}

#[test]
fn the_initial_window_is_not_paced() {
    // As in Linux; the tenth segment is on the schedule already.
    distant("");
}

#[test]
fn in_slow_start_the_rate_is_two_windows_a_round_trip() {
    // Two windows of 12 segments in 100 ms: one each 4.2 ms, and two may run ahead.
    let mut script = distant(
        "200    < A 1+0 ack 2001
         200    > A 10001+1000 ack 1
         200    > A 11001+1000 ack 1
         206.3  > A 12001+1000 ack 1
         206.3  > A 13001+1000 ack 1",
    );
    assert_eq!(rate(&mut script), 12_000 * 2 * 10);
}

fn rate(script: &mut Script) -> u64 {
    script.connection.as_ref().and_then(|connection| connection.pacing_rate()).unwrap()
}

#[test]
fn otherwise_the_rate_is_six_fifths_of_a_window_a_round_trip() {
    let mut script = distant(
        "200 << A 1+0 ack 1
         .   << A 1+0 ack 1
         .   << A 1+0 ack 1
         .   ssthresh 5000
         .   > A 1+1000 ack 1 again",
    );
    // What is in flight counts for the window while that is more.
    assert_eq!(rate(&mut script), 10_000 * 12);
}

#[test]
fn acknowledgements_do_not_wait() {
    distant(
        "200    << A 1+0 ack 2001
         200    > A 10001+1000 ack 1
         200    > A 11001+1000 ack 1
         201    < A 1+1000 ack 2001
         201    > A 12001+0 ack 1001
         206.3  > A 12001+1000 ack 1001
         206.3  > A 13001+1000 ack 1001",
    );
}

#[test]
fn a_timeout_does_not_wait() {
    // 1000 bytes a second: the third segment is due seconds after the timeout.
    let mut script = established_with(paced(), "", "");
    let connection = script.connection.as_mut().unwrap();
    connection.set_pacing(Some(1000));
    script.play(
        &("0 write 20000\n".to_owned()
            + &segments("0", 0, 10)
            + "1       < A 1+0 ack 10001
               .       > A 10001+1000 ack 1
               .       > A 11001+1000 ack 1
               201.1   > A 10001+1000 ack 1 again"),
    );
}

#[test]
fn a_ceiling_paces_without_a_configuration() {
    // SO_MAX_PACING_RATE: 100 000 bytes a second are a segment each 10 ms.
    let mut script = established_with(Config { pacing: false, ..paced() }, "", "");
    script.connection.as_mut().unwrap().set_pacing(Some(100_000));
    script.play(
        &("0 write 20000\n".to_owned()
            + &segments("0", 0, 10)
            + "1  < A 1+0 ack 10001
               1  > A 10001+1000 ack 1
               1  > A 11001+1000 ack 1
               21 > A 12001+1000 ack 1
               21 > A 13001+1000 ack 1
               41 > A 14001+1000 ack 1
               41 > A 15001+1000 ack 1"),
    );
}

#[test]
fn the_rate_of_a_ceiling_is_kept() {
    // A megabyte in a second at a megabyte a second, whatever the window lets go.
    let config = Config { initial_window: 1000, ..paced() };
    let mut script = established_with(Config { sndbuf: 4 << 20, ..config }, "ws 7", "0 < A 1+0 ack 1");
    let connection = script.connection.as_mut().unwrap();
    connection.set_pacing(Some(1_000_000));
    connection.send(&vec![0; 60_000]).unwrap();
    let start = Instant::from_micros(5_000_000);
    let mut now = start;
    let mut sent = 0;
    loop {
        while let Some(segment) = connection.poll_transmit(now, 1000) {
            sent += segment.payload_len();
        }
        if sent == 60_000 {
            break;
        }
        now = connection.next_timer().unwrap();
        connection.on_timer(now);
    }
    // Ten segments and what may run ahead go at once.
    let millis = (now - start).as_millis();
    assert!((45..=52).contains(&millis), "{millis}");
}

#[test]
fn a_late_timer_does_not_lower_the_rate() {
    let mut script = established_with(Config { initial_window: 1000, ..paced() }, "", "");
    let connection = script.connection.as_mut().unwrap();
    connection.set_pacing(Some(1_000_000));
    connection.send(&vec![0; 60_000]).unwrap();
    let start = Instant::from_micros(5_000_000);
    let (mut now, mut sent) = (start, 0);
    while sent < 60_000 {
        while let Some(segment) = connection.poll_transmit(now, 1000) {
            sent += segment.payload_len();
        }
        if let Some(due) = connection.next_timer() {
            now = due + crate::Duration::from_micros(900);
            connection.on_timer(now);
        }
    }
    let millis = (now - start).as_millis();
    assert!((44..=54).contains(&millis), "{millis}");
}

#[test]
fn a_device_that_cuts_gets_no_more_than_a_burst() {
    let mut script = established_with(Config { initial_window: 1000, ..paced() }, "", "");
    let connection = script.connection.as_mut().unwrap();
    connection.set_pacing(Some(8_000_000));
    connection.send(&vec![0; 60_000]).unwrap();
    let now = Instant::from_micros(5_000_000);
    let first = connection.poll_transmit(now, 60_000).unwrap().payload_len();
    assert_eq!(first, 8000);
}

#[test]
fn without_pacing_the_window_alone_counts() {
    let script = established_with(
        bare(),
        "",
        "0 write 3000\n. > A 1+1000 ack 1\n. > A 1001+1000 ack 1\n. > PA 2001+1000 ack 1",
    );
    assert_eq!(script.connection.unwrap().pacing_rate(), None);
}
