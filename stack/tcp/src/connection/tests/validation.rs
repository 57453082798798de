//! Window validation (RFC 7661) and what becomes of an unused window.

use super::script::{bare, established_with};
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr};
use crate::{Config, CongestionAlgorithm, Connection, Duration, Info, Instant, SeqNum};

const MSS: u32 = 1000;
const RTT: Duration = Duration::from_millis(10);

/// A connection over a path of 10 ms, and the program that uses it.
struct Program {
    connection: Connection<Vec<u8>>,
    now: Instant,
    /// What the peer has received.
    arrived: SeqNum,
}

impl Program {
    /// An initial window of four segments, grown to at least 32.
    fn with_a_wide_window() -> Self {
        let config = Config { initial_window: 4, congestion: CongestionAlgorithm::NewReno, ..bare() };
        let script = established_with(config, "", "");
        let connection = script.connection.unwrap();
        let mut program = Self { connection, now: Instant::from_millis(5000), arrived: SeqNum(0) };
        program.arrived = program.send_all(0).unwrap_or(SeqNum(u32::MAX - 699));
        while program.cwnd() < 32 * MSS {
            program.transfer(200);
        }
        program
    }

    fn info(&self) -> Info {
        self.connection.info()
    }

    fn cwnd(&self) -> u32 {
        self.info().cwnd
    }

    /// Sends what may be sent of `segments` more; returns where it ends.
    fn send_all(&mut self, segments: u32) -> Option<SeqNum> {
        self.connection.send(&vec![0; (segments * MSS) as usize]).unwrap();
        self.flush()
    }

    fn flush(&mut self) -> Option<SeqNum> {
        let mut end = None;
        while let Some(segment) = self.connection.poll_transmit(self.now, MSS as usize) {
            end = Some(segment.seq + segment.payload_len() as u32);
        }
        end
    }

    fn ack(&mut self, to: SeqNum) {
        let segment = TcpRepr {
            src_port: 2,
            dst_port: 1,
            seq: SeqNum(u32::MAX - 299),
            ack: to,
            flags: TcpFlags::ACK,
            window: 60_000,
            urgent: 0,
            options: TcpOptions::default(),
            payload_len: 0,
            ecn: Ecn::NotEct,
        };
        self.connection.on_segment(&segment, None, self.now);
    }

    /// Sends `segments`; each is acknowledged a round trip later.
    fn transfer(&mut self, segments: u32) {
        let mut end = self.send_all(segments);
        while let Some(sent) = end.take() {
            self.now += RTT;
            while self.arrived.lt(sent) {
                self.arrived += MSS;
                self.ack(self.arrived);
                end = self.flush().or(end);
            }
        }
    }

    /// A segment each 100 ms.
    fn trickle(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.now += Duration::from_millis(90);
            self.transfer(1);
        }
    }

    /// Three duplicate acknowledgements for `segments` that have just been sent.
    fn lose_first_of(&mut self, segments: u32) {
        self.send_all(segments);
        self.now += RTT;
        (0..3).for_each(|_| self.ack(self.arrived));
    }
}

#[test]
fn a_window_that_is_hardly_used_is_kept_for_five_minutes() {
    // RFC 7661 4.4: the non-validated period.
    let mut program = Program::with_a_wide_window();
    let window = program.cwnd();
    program.trickle(298);
    assert_eq!(program.cwnd(), window);
}

#[test]
fn after_five_minutes_it_halves() {
    // RFC 7661 4.4.3: cwnd = max(cwnd / 2, IW), ssthresh = max(ssthresh, 3/4 cwnd).
    let mut program = Program::with_a_wide_window();
    program.lose_first_of(200);
    while program.info().unacked > 0 {
        let sent = program.arrived + program.info().unacked;
        program.now += RTT;
        program.arrived = sent;
        program.ack(sent);
        program.flush();
    }
    let before = program.info();
    program.trickle(302);
    assert_eq!(program.cwnd(), before.cwnd / 2);
    assert_eq!(program.info().ssthresh, before.ssthresh.max(before.cwnd / 4 * 3));
}

#[test]
fn it_halves_down_to_the_initial_window() {
    let mut program = Program::with_a_wide_window();
    program.trickle(2000);
    assert_eq!(program.cwnd(), 4 * MSS);
}

#[test]
fn use_in_between_begins_the_five_minutes_anew() {
    let mut program = Program::with_a_wide_window();
    let window = program.cwnd();
    program.trickle(200);
    // Half of the window in a round trip validates it.
    program.transfer(window / MSS / 2 + 1);
    program.trickle(290);
    assert_eq!(program.cwnd(), window);
    program.trickle(15);
    assert_eq!(program.cwnd(), window / 2);
}

#[test]
fn less_than_half_of_it_does_not() {
    let mut program = Program::with_a_wide_window();
    let window = program.cwnd();
    program.trickle(200);
    program.transfer(window / MSS / 3);
    program.trickle(110);
    assert_eq!(program.cwnd(), window / 2);
}

#[test]
fn a_loss_in_an_unused_window_is_answered_from_what_was_used_lately() {
    // RFC 7661 4.4.1: max(pipeACK, FlightSize) / 2.
    let mut program = Program::with_a_wide_window();
    program.trickle(5);
    program.transfer(10);
    program.lose_first_of(4);
    assert_eq!(program.info().ssthresh, 5 * MSS);
}

#[test]
fn what_was_used_long_ago_does_not_count() {
    // The pipeACK sampling period: a second on a short path.
    let mut program = Program::with_a_wide_window();
    program.trickle(5);
    program.transfer(10);
    program.trickle(2);
    program.lose_first_of(4);
    assert_eq!(program.info().ssthresh, 2 * MSS);
}

#[test]
fn a_loss_in_a_used_window_is_answered_from_what_is_in_flight() {
    // RFC 5681 equation 4: the window counts as validated.
    let mut program = Program::with_a_wide_window();
    let window = program.cwnd();
    program.transfer(window / MSS);
    program.lose_first_of(8);
    assert_eq!(program.info().ssthresh, 4 * MSS);
}

#[test]
fn an_unused_window_does_not_grow() {
    let mut program = Program::with_a_wide_window();
    let window = program.cwnd();
    program.trickle(5);
    for _ in 0..20 {
        program.transfer(window / MSS - 1);
    }
    assert_eq!(program.cwnd(), window);
}

#[test]
fn silence_beyond_a_timeout_leaves_the_initial_window() {
    // RFC 5681 4.1; the threshold keeps three quarters, as in Linux.
    let mut program = Program::with_a_wide_window();
    program.now += Duration::from_secs(10);
    program.transfer(1);
    assert_eq!(program.cwnd(), 4 * MSS);
}

#[test]
fn silence_of_a_timeout_halves_the_window() {
    let mut program = Program::with_a_wide_window();
    let window = program.cwnd();
    program.now = program.now + program.info().rto + Duration::from_millis(1);
    program.transfer(1);
    assert_eq!(program.cwnd(), window / 2);
}
