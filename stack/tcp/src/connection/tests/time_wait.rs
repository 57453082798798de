//! TIME-WAIT: RFC 9293 3.6.1, RFC 1337, RFC 6191.

use std::sync::Arc;

use super::script::{OURS, START, Script, THEIRS, bare, in_state, play};
use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr};
use crate::{Chunk, Config, Duration, Instant, State, TimeWait};

fn time_wait(text: &str) -> Script {
    in_state(State::TimeWait, text)
}

/// TIME-WAIT of a connection with timestamps; the peer's clock stood at 100.
fn stamped(text: &str) {
    play(
        Config { timestamps: true, ..bare() },
        &format!(
            "0  connect
             .  > S 0+0
             .  < SA 0+0 ack 1 mss 1000 ts 100 0
             .  > A 1+0 ack 1
             .  shutdown
             .  > FA 1+0 ack 1
             .  < FA 1+0 ack 2 ts 100 0
             .  > A 2+0 ack 2
             .  state TimeWait\n{text}"
        ),
    );
}

#[test]
fn it_lasts_a_minute() {
    // RFC 9293 MUST-13, with Linux's idea of twice the segment lifetime.
    time_wait("59999 state TimeWait\n60000 closed\n. no-timer");
}

#[test]
fn its_length_can_be_set() {
    let config = Config { time_wait: Duration::from_secs(1), ..bare() };
    play(config, &(super::script::opening(State::TimeWait) + "999 state TimeWait\n1001 closed"));
}

#[test]
fn a_rst_does_not_end_it() {
    // RFC 1337, hazards H1 to H3.
    time_wait("10 < R 2+0\n. < RA 2+0 ack 2\n. state TimeWait\n60000 closed");
}

#[test]
fn old_data_does_not_disturb_it() {
    // RFC 1337: answered, not taken, and the time goes on.
    time_wait("30000 < A -499+500 ack 2\n. > A 2+0 ack 2\n. read-end\n60000 closed");
}

#[test]
fn only_a_fin_starts_the_time_over() {
    // RFC 9293 3.10.7.4, eighth.
    time_wait("30000 < A 2+0 ack 2\n. < A 2+0 ack 1\n40000 < S -5+0\n. > A 2+0 ack 2\n60000 closed");
}

#[test]
fn it_gives_way_to_a_syn_with_a_later_number() {
    // RFC 9293 MAY-2: beginning beyond all that the old connection has used.
    time_wait(
        "10  < S 3+0 win 5000 mss 1000
         .   > SA 65539+0 ack 4
         20  < A 4+0 ack 65540
         .   state Established",
    );
}

#[test]
fn it_does_not_give_way_to_an_old_syn() {
    time_wait("10 < S 2+0\n. > A 2+0 ack 2\n. state TimeWait");
}

#[test]
fn it_does_not_give_way_to_a_syn_with_an_ack() {
    time_wait("10 < SA 500+0 ack 2\n. > A 2+0 ack 2\n. state TimeWait");
}

#[test]
fn a_later_clock_counts_more_than_the_number() {
    // RFC 6191 2.
    stamped("10 < S -5000+0 mss 1000 ts 101 0\n. > SA 65539+0 ack -4999 ts 10 101\n. state SynReceived");
}

#[test]
fn an_earlier_clock_does_too() {
    stamped("10 < S 5000+0 mss 1000 ts 99 0\n. > A 2+0 ack 2\n. state TimeWait");
}

#[test]
fn with_the_same_clock_the_number_decides() {
    stamped("10 < S 2+0 mss 1000 ts 100 0\n. > A 2+0 ack 2\n. state TimeWait");
    stamped("10 < S 3+0 mss 1000 ts 100 0\n. > SA 65539+0 ack 4\n. state SynReceived");
}

#[test]
fn without_a_clock_the_number_decides() {
    stamped("10 < S 3+0 mss 1000\n. > SA 65539+0 ack 4\n. state SynReceived");
}

#[test]
fn an_ack_of_our_fin_that_comes_again_is_not_answered() {
    time_wait("10 < A 2+0 ack 2\n20 < A 2+0 ack 2\n. state TimeWait");
}

#[test]
fn a_program_that_still_holds_it_reads_the_end() {
    time_wait("10 read-end\n. write-fails Closed\n. ready READABLE|WRITABLE|RDHUP|HUP\n. error -");
}

#[test]
fn an_abort_ends_it_without_a_word() {
    // RFC 9293 3.10.5.
    time_wait("10 abort\n. closed");
}

/// What the peer may send to a connection in FIN-WAIT-2 whose program is gone.
fn segments() -> Vec<TcpRepr> {
    let plain = TcpRepr {
        src_port: 2,
        dst_port: 1,
        seq: THEIRS + 1,
        ack: OURS + 2,
        flags: TcpFlags::ACK,
        window: 1000,
        urgent: 0,
        options: TcpOptions::default(),
        payload_len: 0,
        ecn: Ecn::NotEct,
    };
    let with = |flags, seq: u32| TcpRepr { flags, seq: THEIRS + seq, ..plain.clone() };
    let data = |seq: u32, payload_len| TcpRepr { payload_len, ..with(TcpFlags::ACK, seq) };
    vec![
        with(TcpFlags::ACK, 1),
        with(TcpFlags::ACK | TcpFlags::FIN, 1),
        with(TcpFlags::ACK | TcpFlags::FIN, 50),
        with(TcpFlags::ACK, 100_000),
        TcpRepr { ack: OURS + 500, ..plain.clone() },
        data(1, 10),
        data(20, 10),
        data(0u32.wrapping_sub(9), 10),
        with(TcpFlags::RST, 1),
        with(TcpFlags::RST, 5),
        with(TcpFlags::SYN, 500),
        with(TcpFlags::SYN | TcpFlags::ACK, 0),
    ]
}

#[test]
fn an_orphan_in_fin_wait_2_that_was_put_away_answers_as_before() {
    for segment in segments() {
        let mut whole = in_state(State::FinWait2, "0 close").connection.expect("it is there");
        let small = TimeWait::of(&whole).expect("nothing is left to say");
        let minute = Instant::from_micros(START) + Duration::from_secs(60);
        assert_eq!((small.state(), small.deadline()), (State::FinWait2, minute));
        let chunk = || {
            let buf = vec![7; segment.payload_len];
            (!buf.is_empty()).then_some(Chunk { range: 0..buf.len(), buf })
        };
        let (config, now) = (Arc::new(bare()), Instant::from_micros(START) + Duration::from_secs(1));
        let (rest, answer) = small.on_segment(&config, &segment, chunk(), now);
        whole.on_segment(&segment, chunk(), now);
        assert_eq!(format!("{answer:?}"), format!("{:?}", whole.poll_transmit(now, 1000)), "{segment:?}");
        assert_eq!(rest.map_or(State::Closed, |rest| rest.state()), whole.state(), "{segment:?}");
    }
}

#[test]
fn what_a_program_holds_or_has_to_say_is_not_put_away() {
    let put_away = |state, text| TimeWait::of(&in_state(state, text).connection.expect("open")).is_some();
    assert!(!put_away(State::FinWait2, ""));
    assert!(!put_away(State::FinWait1, "0 close"));
    assert!(!put_away(State::Established, ""));
    assert!(put_away(State::TimeWait, ""));
}
