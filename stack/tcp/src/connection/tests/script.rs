//! A small language for segment tests, read line by line in virtual time.
//!
//! Each line is a time in milliseconds (`.` repeats the last one, `+5` adds to
//! it), a verb and its arguments; `#` begins a comment. Sequence numbers count from the initial
//! one of their sender, so that a SYN is 0 and the first byte of data 1.
//!
//! ```text
//! 0    connect
//! 0    > S 0+0 mss 1000
//! 10   < SA 0+0 ack 1 win 5000 mss 1000
//! .    > A 1+0 ack 1
//! 20   write 300
//! .    > PA 1+300 ack 1
//! ```
//!
//! `<` injects a segment and lets the connection answer, `<<` injects one and
//! keeps the answer back: it and the segments right behind it arrive in one
//! burst (and a look at the window or a call behind it comes before the answer).
//! `>` expects the next segment,
//! sent at that time to the millisecond; what the line does not mention (window,
//! options) is not compared, SACK blocks and the ECN field of the IP header
//! (`ect`, `ect1` or `ce`) excepted. Segments that no line expects fail the
//! script. The other verbs are in [`Script::act`].
//!
//! The script is the owner of the connection too: without one it listens (RFC
//! 9293 3.10.7.2), and what arrives for one that is closed is answered as CLOSED
//! does (3.10.7.1). [`in_state`] begins in any state of the specification.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr, Timestamps};
use crate::{
    Chunk, Config, CongestionAlgorithm, Connection, Duration, Error, Instant, Keepalive, Listening, Params,
    RecvError, SendError, SeqNum, State, Transmit, listening, reset_for,
};

/// Initial sequence numbers that make the first bytes cross the wrap.
pub const OURS: SeqNum = SeqNum(u32::MAX - 700);
pub const THEIRS: SeqNum = SeqNum(u32::MAX - 300);

/// Our segment size in all scripts.
pub const MSS: u16 = 1000;

/// Milliseconds of the first timeout of a connection whose handshake took no
/// time: a round trip of a microsecond, and the least timeout.
pub const FIRST_TIMEOUT: f64 = 200.001;

/// Virtual time zero, away from the origin of the clock.
pub const START: u64 = 5_000_000;

/// How exactly a segment must keep its time.
const TOLERANCE: Duration = Duration::from_micros(900);

/// A segment as the language sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    at: Instant,
    flags: TcpFlags,
    seq: u32,
    payload: Vec<u8>,
    ack: u32,
    window: u16,
    urgent: u16,
    options: TcpOptions,
    again: bool,
    ecn: Ecn,
}

/// What byte `offset` of a stream is; offset 1 is the first.
fn content(offset: u32) -> u8 {
    (offset % 251) as u8
}

/// Runs scripts on one connection.
pub struct Script {
    config: Arc<Config>,
    pub connection: Option<Connection<Vec<u8>>>,
    now: Instant,
    output: VecDeque<Segment>,
    written: u32,
    read: u32,
    line: String,
}

/// Plays a script from the very beginning.
pub fn play(config: Config, text: &str) -> Script {
    let mut script = Script {
        config: Arc::new(config),
        connection: None,
        now: Instant::from_micros(START),
        output: VecDeque::new(),
        written: 1,
        read: 1,
        line: String::new(),
    };
    script.play(text);
    script
}

/// A configuration without any option but the MSS, for short scripts.
pub fn bare() -> Config {
    Config {
        timestamps: false,
        sack: false,
        window_scaling: false,
        tail_loss_probe: false,
        ..Config::default()
    }
}

/// The lines that lead to a state, all at time 0: we open, without options, to
/// a peer of the same MSS that offers 60000 bytes, and nobody sends any data.
/// SYN-RECEIVED is that of a passive open. In CLOSED the peer has reset us.
pub fn opening(state: State) -> String {
    let (before, step) = match state {
        State::SynSent => return "0 connect\n. > S 0+0\n".into(),
        State::SynReceived => return "0 < S 0+0 win 60000 mss 1000\n. > SA 0+0 ack 1\n".into(),
        State::Established => (
            State::SynSent,
            ". < SA 0+0 ack 1 win 60000 mss 1000\n. > A 1+0 ack 1\n. events WRITABLE|CONNECTED\n",
        ),
        State::FinWait1 => (State::Established, ". shutdown\n. > FA 1+0 ack 1\n"),
        State::FinWait2 => (State::FinWait1, ". < A 1+0 ack 2\n"),
        State::TimeWait => (State::FinWait2, ". < FA 1+0 ack 2\n. > A 2+0 ack 2\n"),
        State::Closing => (State::FinWait1, ". < FA 1+0 ack 1\n. > A 2+0 ack 2\n"),
        State::CloseWait => (State::Established, ". < FA 1+0 ack 1\n. quickack on\n. > A 1+0 ack 2\n"),
        State::LastAck => (State::CloseWait, ". shutdown\n. > FA 1+0 ack 2\n"),
        State::Closed => (State::Established, ". < R 1+0\n. read-fails Reset\n"),
    };
    opening(before) + step
}

/// Plays a script that begins at time 0 in `state`, see [`opening`].
pub fn in_state(state: State, text: &str) -> Script {
    play(bare(), &(opening(state) + text))
}

/// Plays a script on a connection that we have opened at time 0, with a peer
/// of the same MSS, without options, that offers 60000 bytes.
pub fn established(text: &str) -> Script {
    in_state(State::Established, text)
}

/// The same with other settings, and further options in the peer's SYN-ACK.
pub fn established_with(config: Config, options: &str, text: &str) -> Script {
    let handshake = format!(
        "0 connect\n. > S 0+0\n. < SA 0+0 ack 1 win 60000 mss 1000 {options}\n. > A 1+0 ack 1\n. events WRITABLE|CONNECTED\n{text}"
    );
    play(config, &handshake)
}

/// The same on a connection that the peer has opened.
pub fn accepted(text: &str) -> Script {
    let rest = ". < A 1+0 ack 1 win 60000\n. events WRITABLE|CONNECTED\n";
    in_state(State::SynReceived, &format!("{rest}{text}"))
}

impl Script {
    /// Plays further lines.
    pub fn play(&mut self, text: &str) {
        let mut millis = 0.0;
        let mut in_burst = false;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let mut words = line.split_whitespace();
            let Some(first) = words.next() else { continue };
            let time = |word: &str| word.parse::<f64>().unwrap_or_else(|_| panic!("no time: {line}"));
            millis = match first.strip_prefix('+') {
                _ if first == "." => millis,
                Some(pause) => millis + time(pause),
                None => time(first),
            };
            self.line = format!("{millis} {}", line.trim_start_matches(first).trim());
            let words: Vec<&str> = words.collect();
            let burst = std::mem::replace(&mut in_burst, words.first() == Some(&"<<"));
            let joins = matches!(words[..], ["<" | "<<" | "write" | "congestion" | "cwnd" | "ssthresh", ..]);
            if !(burst && first == "." && joins) {
                self.advance(Instant::from_micros(START + (millis * 1000.0).round() as u64));
            }
            self.act(&words);
        }
        self.line = "the end".into();
        self.expect_silence();
    }

    fn fail(&self, what: impl std::fmt::Display) -> ! {
        panic!("in line `{}`: {what}", self.line)
    }

    /// Lets time pass: fires timers when they are due.
    fn advance(&mut self, to: Instant) {
        // A line that waited a little for its segment may have passed the time.
        assert!(to + TOLERANCE >= self.now, "time runs backwards in line `{}`", self.line);
        self.pump();
        for _ in 0..100_000 {
            let due = self.connection.as_ref().and_then(Connection::next_timer).filter(|&due| due <= to);
            let Some(due) = due else {
                self.now = self.now.max(to);
                return;
            };
            self.now = self.now.max(due);
            self.connection().on_timer(due);
            self.pump();
        }
        self.fail("timers fire for ever");
    }

    fn connection(&mut self) -> &mut Connection<Vec<u8>> {
        let line = &self.line;
        self.connection.as_mut().unwrap_or_else(|| panic!("no connection in line `{line}`"))
    }

    /// Collects what the connection wants to send.
    fn pump(&mut self) {
        let now = self.now;
        let Some(connection) = &mut self.connection else { return };
        while let Some(segment) = connection.poll_transmit(now, usize::from(MSS)) {
            self.output.push_back(collect(&segment, now));
        }
    }

    fn act(&mut self, words: &[&str]) {
        let (verb, rest) = words.split_first().unwrap_or_else(|| self.fail("no verb"));
        match *verb {
            ">" => return self.expect(rest),
            "silent" => return self.expect_silence(),
            _ => self.expect_silence(),
        }
        let now = self.now;
        let on = rest.first() == Some(&"on");
        match (*verb, rest) {
            ("connect", []) => {
                self.connection = Some(Connection::connect(&self.config, params(), now));
            }
            ("<", _) => self.inject(rest),
            ("<<", _) => return self.inject(rest),
            ("write", _) => self.write(rest),
            ("write-more", [count]) => self.write_more(number(count)),
            ("write-fails", [error]) => self.write_fails(error),
            ("write-urgent", [count]) => self.write_urgent(number(count)),
            ("read", [count]) => self.read(number(count), number(count)),
            ("read", [room, count]) => self.read(number(room), number(count.trim_start_matches('='))),
            ("urgent", [ahead]) => {
                let found = self.connection().urgent_ahead().to_string();
                self.same(&found, ahead);
            }
            ("at-mark", [wanted]) => {
                let found = if self.connection().at_mark() { "on" } else { "off" };
                self.same(found, wanted);
            }
            ("waiting", [bytes]) => {
                let found = self.connection().info().reassembly.to_string();
                self.same(&found, bytes);
            }
            ("status", [state]) => {
                let found = format!("{:?}", self.connection().info().state);
                self.same(&found, state);
            }
            ("read-blocks", []) => self.read_fails(Err(RecvError::WouldBlock)),
            ("read-end", []) => self.read_fails(Ok(0)),
            ("read-fails", [error]) => self.read_error(error),
            ("peek", [offset, count]) => self.peek(number(offset), number(count)),
            ("close", []) => self.connection().close(now),
            ("abort", []) => self.connection().abort(now),
            ("shutdown", []) => self.connection().shutdown_write(now),
            ("shutdown-read", []) => self.connection().shutdown_read(),
            ("nodelay", [_]) => self.connection().set_nodelay(on),
            ("cork", [_]) => self.connection().set_cork(on),
            ("quickack", [_]) => self.connection().set_quickack(on),
            ("sndbuf", [bytes]) => self.connection().set_sndbuf(number(bytes) as usize),
            ("lowat", [bytes]) => self.connection().set_notsent_lowat(number(bytes)),
            ("rcvlowat", [bytes]) => self.connection().set_rcvlowat(number(bytes)),
            ("syn-retries", [count]) => self.connection().set_syn_retries(number(count)),
            ("linger2", [millis]) => {
                self.connection().set_fin_wait2(Duration::from_millis(u64::from(number(millis))));
            }
            ("spent", [busy, window, buffer]) => self.spent([busy, window, buffer]),
            ("field", [name, wanted]) => self.field(name, wanted),
            ("unsent", [wanted]) => {
                let found = self.connection().send_unsent().to_string();
                self.same(&found, wanted);
            }
            ("clamp", [bytes]) => self.connection().set_window_clamp(number(bytes) as usize),
            ("rcvbuf", [bytes]) => self.connection().set_rcvbuf(number(bytes) as usize),
            ("user-timeout", [millis]) => {
                self.connection().set_user_timeout(Duration::from_millis(u64::from(number(millis))));
            }
            ("keepalive", ["off"]) => self.connection().set_keepalive(None, now),
            ("forget", []) => {
                let closed = self.connection().is_closed();
                self.same(&closed.to_string(), "true");
                self.connection = None;
            }
            ("keepalive", [idle, interval, count]) => {
                let millis = |word| Duration::from_millis(u64::from(number(word)));
                let wanted =
                    Keepalive { idle: millis(idle), interval: millis(interval), count: number(count) };
                self.connection().set_keepalive(Some(wanted), now);
            }
            ("state", [state]) => {
                let found = format!("{:?}", self.connection().state());
                self.same(&found, state);
            }
            ("ready", [wanted]) => {
                let found = names(self.connection().readiness().iter_names().map(|(name, _)| name));
                self.same(&found, wanted);
            }
            ("events", [wanted]) => {
                let found = names(self.connection().take_events().iter_names().map(|(name, _)| name));
                self.same(&found, wanted);
            }
            ("error", [wanted]) => {
                let found = self.connection().error().map_or("-".into(), |error| format!("{error:?}"));
                self.same(&found, wanted);
            }
            ("unreachable", [seq, error]) => {
                let error = match *error {
                    "Refused" => Error::Refused,
                    "NetworkUnreachable" => Error::NetworkUnreachable,
                    "HostUnreachable" => Error::HostUnreachable,
                    "ProtocolUnreachable" => Error::ProtocolUnreachable,
                    _ => self.fail("unknown error"),
                };
                if self.connection().is_outstanding(OURS + number(seq)) {
                    self.connection().on_unreachable(error);
                }
            }
            ("so-error", [wanted]) => {
                let found = self.connection().take_error().map_or("-".into(), |error| format!("{error:?}"));
                self.same(&found, wanted);
            }
            ("path", [size]) => {
                let until = now + Duration::from_secs(600);
                self.connection().on_path_mtu(number(size) as u16, until);
            }
            ("closed", []) => {
                let closed = self.connection().is_closed();
                self.same(&closed.to_string(), "true");
            }
            ("cwnd", [wanted]) => {
                let found = self.connection().info().cwnd.to_string();
                self.same(&found, wanted);
            }
            ("info", [name, wanted]) => {
                let found = self.counter(name).to_string();
                self.same(&found, wanted);
            }
            ("ssthresh", [wanted]) => {
                let found = self.connection().info().ssthresh.to_string();
                self.same(&found, wanted);
            }
            ("congestion", [name]) => {
                let algorithm = CongestionAlgorithm::from_name(name);
                let algorithm = algorithm.unwrap_or_else(|| self.fail("unknown algorithm"));
                self.connection().set_congestion(algorithm);
            }
            ("no-timer", []) => {
                let timer = format!("{:?}", self.connection().next_timer());
                self.same(&timer, "None");
            }
            ("nothing", []) => {}
            _ => self.fail("unknown verb"),
        }
        self.pump();
    }

    /// A number of the connection's inner state.
    fn counter(&mut self, name: &str) -> u64 {
        let info = self.connection().info();
        match name {
            "ssthresh" => info.ssthresh.into(),
            "lost" => info.lost.into(),
            "resent" => info.resent.into(),
            "recovering" => info.recovering.into(),
            "delivered" => info.delivered.into(),
            "reordering" => info.reordering.into(),
            "reord-seen" => info.reord_seen.into(),
            "dsacks" => info.dsack_dups.into(),
            "spurious" => info.spurious_retransmits.into(),
            "undos" => info.undos.into(),
            "probes" => info.tail_probes.into(),
            "timeouts" => info.timeouts.into(),
            "backoff" => info.backoff.into(),
            "bytes-retransmitted" => info.bytes_retransmitted,
            _ => self.fail("unknown counter"),
        }
    }

    fn same(&self, found: &str, wanted: &str) {
        if found != wanted {
            self.fail(format!("found {found}"));
        }
    }

    fn inject(&mut self, words: &[&str]) {
        let segment = self.parse(words);
        let repr = TcpRepr {
            src_port: 2,
            dst_port: 1,
            seq: THEIRS + segment.seq,
            ack: if segment.flags.contains(TcpFlags::ACK) { OURS + segment.ack } else { SeqNum(0) },
            flags: segment.flags,
            window: segment.window,
            urgent: segment.urgent,
            options: TcpOptions { sack: shift_blocks(&segment.options, OURS), ..segment.options.clone() },
            payload_len: segment.payload.len(),
            ecn: segment.ecn,
        };
        let now = self.now;
        let len = segment.payload.len();
        let chunk = (len > 0).then_some(Chunk { buf: segment.payload, range: 0..len });
        match &mut self.connection {
            Some(connection) if connection.is_closed() => self.refuse(&repr),
            // RFC 6191, RFC 9293 3.6.1.
            Some(connection) if connection.may_reuse(&repr) => {
                let params = Params { isn: connection.next_isn_after(), ..params() };
                self.connection = Some(Connection::accept(&self.config, params, &repr, now));
            }
            Some(connection) => connection.on_segment(&repr, chunk, now),
            None => match listening(&repr) {
                Listening::Open => {
                    self.connection = Some(Connection::accept(&self.config, params(), &repr, now));
                }
                Listening::Reset => self.refuse(&repr),
                Listening::Ignore => {}
            },
        }
    }

    /// Answers a segment that belongs to no connection. Where the RST cannot
    /// take its number from the segment it is zero, here as on the wire.
    fn refuse(&mut self, segment: &TcpRepr) {
        if let Some(mut reset) = reset_for(segment) {
            if reset.flags.contains(TcpFlags::ACK) {
                reset.seq += OURS.0;
            }
            self.output.push_back(collect(&reset, self.now));
        }
    }

    fn write(&mut self, words: &[&str]) {
        let wanted = number(words[0]);
        let expected = words.get(1).map_or(wanted, |word| number(word.trim_start_matches('=')));
        let data: Vec<u8> = (self.written..self.written + wanted).map(content).collect();
        match self.connection().send(&data) {
            Ok(taken) if taken == expected as usize => self.written += expected,
            other => self.fail(format!("found {other:?}")),
        }
    }

    /// Compares the milliseconds that the sender was busy, held up by the peer's
    /// window, and by the send buffer.
    fn spent(&mut self, wanted: [&str; 3]) {
        let now = self.now;
        let time = self.connection().info().chrono.until(now);
        let found = [time.busy_time(), time.window_limited(), time.buffer_limited()];
        let found = found.map(|time| time.as_millis().to_string());
        self.same(&found.join(" "), &wanted.join(" "));
    }

    /// Compares a field of the snapshot, as it is printed.
    fn field(&mut self, name: &str, wanted: &str) {
        let info = format!("{:?}", self.connection().info());
        let (_, rest) = info.split_once(&format!(" {name}: ")).unwrap_or_else(|| self.fail("no such field"));
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        self.same(&rest[..end], wanted);
    }

    fn write_more(&mut self, count: u32) {
        let data: Vec<u8> = (self.written..self.written + count).map(content).collect();
        let taken = self.connection().send_more(&data);
        self.same(&format!("{taken:?}"), &format!("Ok({count})"));
        self.written += count;
    }

    fn write_fails(&mut self, wanted: &str) {
        let found = match self.connection().send(b"x") {
            Err(SendError::Closed) => "Closed".into(),
            Err(SendError::Connection(error)) => format!("{error:?}"),
            Ok(count) => format!("{count} bytes taken"),
        };
        self.same(&found, wanted);
    }

    fn write_urgent(&mut self, count: u32) {
        let data: Vec<u8> = (self.written..self.written + count).map(content).collect();
        let taken = self.connection().send_urgent(&data);
        if taken != Ok(data.len()) {
            self.fail(format!("found {taken:?}"));
        }
        self.written += count;
    }

    fn read(&mut self, room: u32, count: u32) {
        let mut buf = vec![0; room as usize];
        let result = self.connection().recv(&mut buf);
        buf.truncate(count as usize);
        if result != Ok(count as usize) {
            self.fail(format!("found {result:?}"));
        }
        self.check_content(self.read, &buf);
        self.read += count;
    }

    fn peek(&mut self, offset: u32, count: u32) {
        let mut buf = vec![0; count as usize];
        let found = self.connection().peek(offset as usize, &mut buf);
        self.same(&found.to_string(), &count.to_string());
        self.check_content(self.read + offset, &buf);
    }

    fn read_fails(&mut self, wanted: Result<usize, RecvError>) {
        let result = self.connection().recv(&mut [0; 10]);
        if result != wanted {
            self.fail(format!("found {result:?}"));
        }
    }

    fn read_error(&mut self, wanted: &str) {
        let found = match self.connection().recv(&mut [0; 10]) {
            Err(RecvError::Connection(error)) => format!("{error:?}"),
            other => format!("{other:?}"),
        };
        self.same(&found, wanted);
    }

    fn check_content(&self, offset: u32, bytes: &[u8]) {
        let wanted: Vec<u8> = (offset..offset + bytes.len() as u32).map(content).collect();
        if bytes != wanted {
            self.fail(format!("wrong bytes at {offset}"));
        }
    }

    fn expect_silence(&self) {
        if let Some(segment) = self.output.front() {
            self.fail(format!("nothing expected, but there is `{}`", show(segment)));
        }
    }

    fn expect(&mut self, words: &[&str]) {
        let wanted = self.parse(words);
        let due = self.now;
        if self.output.is_empty() {
            self.advance(due + TOLERANCE);
        }
        let Some(found) = self.output.pop_front() else { self.fail("nothing was sent") };
        let late = (due - found.at) + (found.at - due);
        let mentioned = |word| words.contains(&word);
        let differs = found.flags != wanted.flags
            || found.seq != wanted.seq
            || found.payload.len() != wanted.payload.len()
            || (found.flags.contains(TcpFlags::ACK) && found.ack != wanted.ack)
            || (mentioned("win") && found.window != wanted.window)
            || (mentioned("mss") && found.options.mss != wanted.options.mss)
            || (mentioned("ws") && found.options.window_scale != wanted.options.window_scale)
            || (mentioned("ts") && found.options.timestamps != wanted.options.timestamps)
            || (mentioned("sackok") && !found.options.sack_permitted)
            || (mentioned("again") && !found.again)
            || found.ecn != wanted.ecn
            || (mentioned("no-options") && found.options != TcpOptions::default())
            || found.urgent != wanted.urgent
            || found.options.sack != wanted.options.sack;
        if differs || late > TOLERANCE {
            self.fail(format!("found `{}`", show(&found)));
        }
        self.check_content(found.seq, &found.payload);
    }

    /// A segment from its words.
    fn parse(&self, words: &[&str]) -> Segment {
        let mut words = words.iter().copied();
        let mut next = || words.next();
        let flags = next().unwrap_or_default().chars().map(|letter| match letter {
            'S' => TcpFlags::SYN,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            'A' => TcpFlags::ACK,
            'U' => TcpFlags::URG,
            '-' => TcpFlags::empty(),
            'E' => TcpFlags::ECE,
            'C' => TcpFlags::CWR,
            _ => self.fail("unknown flag"),
        });
        let flags: TcpFlags = flags.collect();
        let range = next().unwrap_or_default();
        let (seq, len) = range.split_once('+').unwrap_or_else(|| self.fail("no range"));
        let (seq, len) = (number(seq), number(len));
        // A SYN takes a number of its own, before the data.
        let first = if flags.contains(TcpFlags::SYN) { seq.wrapping_add(1) } else { seq };
        let mut segment = Segment {
            at: self.now,
            flags,
            seq,
            payload: (0..len).map(|at| content(first.wrapping_add(at))).collect(),
            ack: 0,
            window: 60_000,
            urgent: 0,
            options: TcpOptions::default(),
            again: false,
            ecn: Ecn::NotEct,
        };
        while let Some(word) = next() {
            let options = &mut segment.options;
            let mut value = || number(next().unwrap_or_default());
            match word {
                "ack" => segment.ack = value(),
                "urg" => segment.urgent = value() as u16,
                "win" => segment.window = value() as u16,
                "mss" => options.mss = Some(value() as u16),
                "ws" => options.window_scale = Some(value() as u8),
                "ts" => options.timestamps = Some(Timestamps { tsval: value(), tsecr: value() }),
                "sackok" => options.sack_permitted = true,
                "sack" => options.sack = next().unwrap_or_default().split(',').map(block).collect(),
                "again" => segment.again = true,
                "ect" => segment.ecn = Ecn::Ect0,
                "ect1" => segment.ecn = Ecn::Ect1,
                "ce" => segment.ecn = Ecn::Ce,
                "no-options" => {}
                _ => self.fail("unknown word"),
            }
        }
        segment
    }
}

fn params() -> Params {
    // The clock of the timestamps shows milliseconds of virtual time.
    let ts_offset = 0u32.wrapping_sub((START / 1000) as u32);
    Params { isn: OURS, ts_offset, mss: MSS }
}

fn number(word: &str) -> u32 {
    let number: i64 = word.parse().unwrap_or_else(|_| panic!("`{word}` is no number"));
    number as u32
}

fn block(word: &str) -> (SeqNum, SeqNum) {
    let (left, right) = word.split_once('-').unwrap_or_else(|| panic!("`{word}` is no block"));
    (SeqNum(number(left)), SeqNum(number(right)))
}

fn shift_blocks(options: &TcpOptions, base: SeqNum) -> crate::wire::SackBlocks {
    options.sack.iter().map(|&(left, right)| (left + base.0, right + base.0)).collect()
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "-".into() } else { names.join("|") }
}

fn collect(segment: &Transmit<'_>, at: Instant) -> Segment {
    let base = 0u32.wrapping_sub(THEIRS.0);
    let sack = segment.options.sack.iter().map(|&(left, right)| (left + base, right + base)).collect();
    Segment {
        at,
        flags: segment.flags,
        seq: segment.seq - OURS,
        payload: [segment.payload.0, segment.payload.1].concat(),
        ack: if segment.flags.contains(TcpFlags::ACK) { segment.ack - THEIRS } else { segment.ack.0 },
        window: segment.window,
        urgent: segment.urgent,
        options: TcpOptions { sack, ..segment.options.clone() },
        again: segment.is_retransmit,
        ecn: segment.ecn,
    }
}

/// A segment in the words of the language.
fn show(segment: &Segment) -> String {
    let letters = [
        (TcpFlags::SYN, 'S'),
        (TcpFlags::FIN, 'F'),
        (TcpFlags::RST, 'R'),
        (TcpFlags::PSH, 'P'),
        (TcpFlags::URG, 'U'),
        (TcpFlags::ACK, 'A'),
        (TcpFlags::ECE, 'E'),
        (TcpFlags::CWR, 'C'),
    ];
    let flags: String =
        letters.iter().filter(|(flag, _)| segment.flags.contains(*flag)).map(|(_, letter)| letter).collect();
    let millis = (segment.at.as_micros() - START) as f64 / 1000.0;
    let Segment { seq, ack, window, options, ecn, .. } = segment;
    let mut text = format!("{millis} > {flags} {seq}+{} ack {ack} win {window}", segment.payload.len());
    if segment.urgent != 0 {
        text += &format!(" urg {}", segment.urgent);
    }
    if let Some(Timestamps { tsval, tsecr }) = options.timestamps {
        text += &format!(" ts {tsval} {tsecr}");
    }
    if *ecn != Ecn::NotEct {
        text += &format!(" {ecn:?}").to_lowercase();
    }
    for (index, (left, right)) in options.sack.iter().enumerate() {
        text += &format!("{}{left}-{right}", if index == 0 { " sack " } else { "," });
    }
    text
}
