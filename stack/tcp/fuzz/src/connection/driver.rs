//! Carries a script out and checks what must hold.

use std::sync::Arc;

use tpa_tcp::wire::{Ecn, TcpFlags, TcpOptions, TcpRepr, Timestamps};
use tpa_tcp::{
    Chunk, Connection, Duration, Error, Info, Instant, Keepalive, Params, SendError, SeqNum, State, reset_for,
};

use super::observer::{ISN, OURS, Observer, PEER, THEIRS};
use super::script::{Call, Device, Kind, Options, Place, Segment, Setup, Stamp, Step, Wait};

const MSS: u16 = 1460;
/// Memory of an arriving payload, however small: what a device's buffer takes.
const BUFFER: usize = 2048;
/// Segments after which a script is cut short, for time's sake.
const MOST_SEGMENTS: u64 = 40_000;
/// Bytes that one read takes at most.
const MOST_READ: usize = 1 << 16;
/// Reads that take all that was received, a receive buffer of several MiB.
const MOST_READS: usize = 200;
/// Timers that may run at one point in time, and in one wait.
const MOST_TIMERS_AT_ONCE: u32 = 32;
const MOST_TIMERS: u32 = 20_000;
/// Longer than any connection survives a silent peer: 15 retransmissions with
/// a timeout of up to 120 s, or as many probes, and TIME-WAIT.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// A call that sends.
type Send = fn(&mut Connection<Vec<u8>>, &[u8]) -> Result<usize, SendError>;

/// A connection and those around it.
pub struct Driver {
    connection: Connection<Vec<u8>>,
    now: Instant,
    rcvbuf: usize,
    seen: Observer,
    written: u32,
    read: u32,
    segments: u64,
    /// Where reads go.
    buf: Vec<u8>,
}

impl Driver {
    /// Opens the connection, and completes the handshake when that is wished.
    pub fn new(setup: Setup) -> Self {
        let now = Instant::from_micros(1_000_000);
        let config = setup.config();
        let rcvbuf = config.rcvbuf.max(usize::from(u16::MAX));
        let config = Arc::new(config);
        let params = Params { isn: ISN, ts_offset: 77, mss: MSS };
        let mut driver = Self {
            connection: Connection::connect(&config, params, now),
            now,
            rcvbuf,
            seen: Observer::new(),
            written: 0,
            read: 0,
            segments: 0,
            buf: vec![0; MOST_READ],
        };
        let mut syn = TcpRepr {
            src_port: 1,
            dst_port: 2,
            seq: PEER,
            ack: ISN + 1,
            flags: TcpFlags::SYN,
            window: setup.window,
            urgent: 0,
            ecn: Ecn::NotEct,
            options: driver.options(&setup.options, true),
            payload_len: 0,
        };
        if !setup.active {
            driver.connection = Connection::accept(&config, params, &syn, now);
            driver.seen.allowed = ISN + 1 + u32::from(setup.window);
        }
        driver.transmit(Device::Ordinary);
        if setup.established {
            if setup.active {
                syn.flags |= TcpFlags::ACK;
            } else {
                (syn.seq, syn.flags, syn.options) = (PEER + 1, TcpFlags::ACK, driver.honest_options());
            }
            driver.inject(syn);
            driver.transmit(Device::Ordinary);
        }
        driver
    }

    /// Whether so much was sent that the script is long enough.
    pub fn is_exhausted(&self) -> bool {
        self.segments > MOST_SEGMENTS
    }

    /// Carries one step out.
    pub fn apply(&mut self, step: Step) {
        match step {
            Step::Segment(segment) => self.segment(&segment),
            Step::HonestAck(window) => self.honest_ack(window, &[]),
            Step::HonestData(len) => self.honest_data(len),
            Step::HonestSack { skip, len } => {
                let left = self.connection_una() + u32::from(skip);
                self.honest_sack(left, left + u32::from(len));
            }
            Step::TooBig(size, seconds) => {
                let until = self.now + Duration::from_secs(seconds.into());
                self.connection.on_path_mtu(size, until);
            }
            Step::Unreachable => self.connection.on_unreachable(Error::HostUnreachable),
            Step::Wait(wait) => self.wait(wait),
            Step::Write(len) => self.write(len, Connection::send),
            Step::WriteMore(len) => self.write(len, Connection::send_more),
            Step::WriteUrgent(len) => self.write(len, Connection::send_urgent),
            Step::Read(len) => self.read(len.into()),
            Step::Transmit(device) => self.transmit(device),
            Step::Call(call) => self.call(call),
        }
    }

    fn info(&self) -> Info {
        self.connection.info()
    }

    /// The oldest number that the peer has not acknowledged.
    fn connection_una(&self) -> SeqNum {
        self.seen.sent - self.info().unacked.min(self.seen.sent - ISN)
    }

    fn options(&self, options: &Options, syn: bool) -> TcpOptions {
        TcpOptions {
            mss: options.mss,
            window_scale: options.window_scale,
            sack_permitted: options.sack_permitted,
            timestamps: match options.timestamps {
                Stamp::Honest if syn => Some(Timestamps { tsval: 1000, tsecr: self.clock() }),
                Stamp::Honest => self.honest_options().timestamps,
                Stamp::Absent => None,
                Stamp::Exactly(tsval, tsecr) => Some(Timestamps { tsval, tsecr }),
                Stamp::Near(later, ago) => Some(Timestamps {
                    tsval: self.seen.echo.wrapping_add_signed(later.into()),
                    tsecr: self.clock().wrapping_sub(ago.into()),
                }),
            },
            sack: options
                .sack
                .iter()
                .flatten()
                .map(|&(place, len)| (self.ack(place), self.ack(place) + u32::from(len)))
                .collect(),
        }
    }

    /// Our timestamp clock, as a peer could know it.
    fn clock(&self) -> u32 {
        self.now.as_millis() as u32 + 77
    }

    fn honest_options(&self) -> TcpOptions {
        let stamp = Timestamps { tsval: self.seen.echo, tsecr: self.clock() };
        TcpOptions { timestamps: self.info().timestamps.then_some(stamp), ..TcpOptions::default() }
    }

    fn ack(&self, place: Place) -> SeqNum {
        resolve(place, self.seen.sent, self.seen.allowed)
    }

    fn segment(&mut self, segment: &Segment) {
        let mut flags = match segment.kind {
            Kind::Ack | Kind::Data => TcpFlags::ACK,
            Kind::Fin => TcpFlags::ACK | TcpFlags::FIN,
            Kind::Syn => TcpFlags::SYN,
            Kind::SynAck => TcpFlags::SYN | TcpFlags::ACK,
            Kind::Reset => TcpFlags::RST,
            Kind::Any(bits) => TcpFlags::from_bits_retain(bits),
        };
        flags.set(TcpFlags::URG, flags.contains(TcpFlags::URG) || segment.urgent.is_some());
        flags.set(TcpFlags::ECE, flags.contains(TcpFlags::ECE) || segment.echo);
        let payload_len = match segment.kind {
            Kind::Data | Kind::Fin | Kind::Any(_) => usize::from(segment.len % 9000),
            _ => 0,
        };
        self.inject(TcpRepr {
            src_port: 1,
            dst_port: 2,
            seq: resolve(segment.seq, self.seen.acked, self.seen.promised.unwrap_or(self.seen.acked)),
            ack: self.ack(segment.ack),
            flags,
            window: segment.window,
            urgent: segment.urgent.unwrap_or(0),
            ecn: segment.ecn.field(),
            options: self.options(&segment.options, flags.contains(TcpFlags::SYN)),
            payload_len,
        });
    }

    fn honest(&self, seq: SeqNum, window: u16, payload_len: usize) -> TcpRepr {
        TcpRepr {
            src_port: 1,
            dst_port: 2,
            seq,
            ack: self.seen.sent,
            flags: TcpFlags::ACK,
            window,
            urgent: 0,
            ecn: Ecn::NotEct,
            options: self.honest_options(),
            payload_len,
        }
    }

    fn honest_ack(&mut self, window: u16, sack: &[(SeqNum, SeqNum)]) {
        let mut segment = self.honest(self.seen.acked, window, 0);
        segment.options.sack.extend(sack.iter().copied());
        self.inject(segment);
    }

    fn honest_sack(&mut self, left: SeqNum, right: SeqNum) {
        let mut segment = self.honest(self.seen.acked, 0xffff, 0);
        segment.ack = self.connection_una();
        segment.options.sack.push((left, right.min(self.seen.sent)));
        self.inject(segment);
    }

    fn honest_data(&mut self, len: u16) {
        let window = self.seen.promised.map_or(0, |edge| edge.since(self.seen.acked));
        let len = u32::from(len % (MSS + 1)).min(window);
        let mut segment = self.honest(self.seen.acked, 0xffff, len as usize);
        segment.ack = self.connection_una();
        self.inject(segment);
    }

    /// Lets a segment arrive, with the bytes that its number calls for.
    fn inject(&mut self, segment: TcpRepr) {
        // Payload follows the SYN (RFC 9293 3.10.7.3).
        let syn = segment.flags.contains(TcpFlags::SYN);
        let first = segment.seq + u32::from(syn);
        if syn && self.seen.base.is_none() {
            self.seen.start = first;
        }
        let first = first - self.seen.base.unwrap_or(self.seen.start);
        let chunk = (segment.payload_len > 0).then(|| {
            let mut buf = Vec::with_capacity(BUFFER.max(segment.payload_len));
            buf.extend_from_slice(THEIRS.at(first, segment.payload_len));
            let range = 0..buf.len();
            Chunk { buf, range }
        });
        if let Some(reset) = reset_for(&segment) {
            assert!(reset.flags.contains(TcpFlags::RST) && reset.payload_len() == 0);
        }
        let _ = self.connection.may_reuse(&segment);
        self.connection.on_segment(&segment, chunk, self.now);
        self.note_window(&segment);
        if self.seen.base.is_none() {
            // Whether a SYN counted shows in the first ACK.
            self.transmit(Device::Ordinary);
        }
    }

    /// Learns how far the peer lets us send.
    fn note_window(&mut self, segment: &TcpRepr) {
        let syn = segment.flags.contains(TcpFlags::SYN);
        let shift = if syn { 0 } else { self.info().snd_wscale };
        let acked = if segment.flags.contains(TcpFlags::ACK) { segment.ack } else { ISN + 1 };
        if acked - ISN <= self.seen.sent - ISN {
            self.seen.allowed = self.seen.allowed.max(acked + (u32::from(segment.window) << shift));
        }
    }

    fn write(&mut self, len: u16, send: Send) {
        let data = OURS.at(self.written, len.into());
        if let Ok(taken) = send(&mut self.connection, data) {
            assert!(taken <= data.len());
            self.written += taken as u32;
        }
    }

    fn read(&mut self, len: usize) {
        let buf = &mut self.buf[..len];
        let mut peeked = [0; 100];
        let count = self.connection.peek(0, &mut peeked[..len.min(100)]);
        let Ok(taken) = self.connection.recv(buf) else { return };
        let both = count.min(taken);
        assert_eq!(peeked[..both], buf[..both]);
        THEIRS.check(self.read, &buf[..taken]);
        self.read += taken as u32;
    }

    fn call(&mut self, call: Call) {
        let now = self.now;
        let connection = &mut self.connection;
        match call {
            Call::Shutdown => connection.shutdown_write(now),
            Call::ShutdownRead => connection.shutdown_read(),
            Call::Close => connection.close(now),
            Call::Abort => connection.abort(now),
            Call::CopyOut => connection.copy_out(),
            Call::Cork(on) => connection.set_cork(on),
            Call::Nodelay(on) => connection.set_nodelay(on),
            Call::Quickack(on) => connection.set_quickack(on),
            Call::Sndbuf(bytes) => connection.set_sndbuf(bytes.into()),
            Call::Rcvbuf(bytes) => connection.set_rcvbuf(bytes.into()),
            Call::Keepalive(values) => connection.set_keepalive(values.map(keepalive), now),
            Call::UserTimeoutMillis(millis) => {
                connection.set_user_timeout(Duration::from_millis(millis.into()));
            }
            Call::Rcvlowat(bytes) => connection.set_rcvlowat(bytes.into()),
            Call::NotsentLowat(bytes) => connection.set_notsent_lowat(bytes.into()),
            Call::WindowClamp(bytes) => connection.set_window_clamp(bytes.into()),
            Call::Pacing(most) => connection.set_pacing(most.map(rate)),
            Call::Congestion(control) => connection.set_congestion(control.algorithm()),
            Call::Peek(offset) => drop(connection.peek(offset.into(), &mut [0; 100])),
            Call::TakeError => drop(connection.take_error()),
        }
    }

    fn wait(&mut self, wait: Wait) {
        match wait.duration() {
            Some(duration) => self.run_until(self.now + duration),
            None => {
                if let Some(next) = self.connection.next_timer() {
                    self.run_until(next.max(self.now));
                }
            }
        }
    }

    /// Runs timers, and sends what they ask for, up to `end`.
    fn run_until(&mut self, end: Instant) {
        let (mut all, mut at_once) = (0, 0);
        while let Some(next) = self.connection.next_timer().filter(|&next| next <= end) {
            at_once = if next > self.now { 0 } else { at_once + 1 };
            all += 1;
            assert!(
                at_once < MOST_TIMERS_AT_ONCE && all < MOST_TIMERS,
                "timers do not end: {:?}",
                self.info()
            );
            self.now = self.now.max(next);
            self.connection.on_timer(self.now);
            self.transmit(Device::Ordinary);
        }
        self.now = end;
    }

    /// Takes all that the connection wants to send.
    fn transmit(&mut self, device: Device) {
        let most = match device {
            Device::Ordinary => usize::from(MSS),
            Device::Offloading => 60_000,
            Device::Odd(bytes) => 40 + 8 * usize::from(bytes),
        };
        // Where less than our MSS fits, wants_transmit() can only guess.
        let smaller = most < usize::from(MSS);
        // No more than the send buffer holds, and every bit of it once again.
        let bound = 100 + 4 * (self.connection.send_queued() as u64 + 1);
        let before = self.segments;
        loop {
            let wanted = self.connection.wants_transmit();
            let shift = self.connection.info().rcv_wscale;
            let Some(segment) = self.connection.poll_transmit(self.now, most) else { break };
            assert!(wanted || smaller, "a segment although wants_transmit() denied it");
            self.segments += 1;
            assert!(self.segments - before < bound, "output does not end");
            assert!(segment.payload_len() <= most);
            self.seen.check_segment(&segment, shift);
        }
        assert!(smaller || !self.connection.wants_transmit(), "it wants to send, but sends nothing");
        if !smaller && let Err(error) = self.connection.audit() {
            panic!("{error}: {:?}", self.info());
        }
        self.check_timers();
    }

    /// Whoever owes or is owed something has a timer.
    fn check_timers(&self) {
        let info = self.info();
        let waits = match info.state {
            State::SynSent | State::SynReceived | State::TimeWait => true,
            State::FinWait1 | State::Closing | State::LastAck => true,
            State::Established | State::CloseWait => info.unacked > 0 || info.send_queued > 0,
            State::FinWait2 | State::Closed => false,
        };
        assert!(!waits || self.connection.next_timer().is_some(), "no timer runs: {info:?}");
    }

    /// Checks what holds at any time.
    pub fn check(&mut self) {
        let info = self.info();
        let connection = &mut self.connection;
        // What waits and what fills gaps, each at most the buffer and a
        // rounding, in memory of at most twice its size.
        let bound = 4 * (self.rcvbuf + 65_536 + 20_000);
        assert!(connection.recv_charge() <= bound, "{} bytes held", connection.recv_charge());
        assert!(info.sacked <= info.unacked && info.lost <= info.unacked, "{info:?}");
        assert!(connection.send_queued() <= connection.sndbuf().max(128 * 1024));
        assert!(info.cwnd > 0 && info.rcv_wnd <= 1 << 30, "{info:?}");
        let _ = (connection.take_events(), connection.readiness(), connection.send_space());
    }

    /// The program closes and the peer is gone: the connection must end by
    /// itself.
    pub fn end_in_silence(&mut self) {
        self.connection.close(self.now);
        self.transmit(Device::Ordinary);
        self.run_until(self.now + PATIENCE);
        assert!(self.connection.is_closed(), "a connection without anybody lives on: {:?}", self.info());
        assert_eq!(self.connection.next_timer(), None);
    }

    /// The peer takes everything from now on, and the program reads
    /// everything: what was written must drain, and the window reopen.
    pub fn end_with_an_honest_peer(&mut self) {
        self.connection.set_cork(false);
        if self.connection.pacing_rate().is_some() {
            self.connection.set_pacing(None);
        }
        for _ in 0..MOST_READS {
            if self.connection.recv_queued() == 0 {
                break;
            }
            self.read(MOST_READ);
        }
        assert_eq!(self.connection.recv_queued(), 0);
        self.transmit(Device::Ordinary);
        let state = self.info().state;
        if self.seen.base.is_none() || matches!(state, State::SynSent | State::SynReceived | State::Closed) {
            return;
        }
        if matches!(state, State::Established | State::FinWait1 | State::FinWait2) {
            assert!(self.info().rcv_wnd > 0, "all is read and the window stays shut: {:?}", self.info());
        }
        for _ in 0..10_000 {
            let info = self.info();
            if (info.send_queued == 0 && info.unacked == 0) || info.state == State::Closed {
                return;
            }
            // Numbers up to the edge count as sent, whoever claimed to.
            let edge = self.receive_next(&info) + info.rcv_wnd;
            let segment = self.honest(edge, 0xffff, 0);
            self.inject(segment);
            self.transmit(Device::Ordinary);
            let after = self.info();
            if after.unacked == 0 && after.send_queued > 0 {
                self.wait(Wait::Timer);
            } else if (after.unacked, after.send_queued) == (info.unacked, info.send_queued) {
                // What the peer takes for the latest timestamp is too old. The answer
                // that says so is limited (RFC 5961 7), a retransmission says it too.
                self.run_until(self.now + Duration::from_secs(1));
            }
        }
        panic!("an honest peer does not get what was written: {:?}", self.info());
    }

    /// The next number that the connection expects.
    fn receive_next(&self, info: &Info) -> SeqNum {
        let finished =
            matches!(info.state, State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
        self.seen.base.unwrap_or(PEER + 1) + info.bytes_received as u32 + u32::from(finished)
    }
}

fn keepalive((idle, interval, count): (u8, u8, u8)) -> Keepalive {
    let seconds = |value: u8| Duration::from_secs(u64::from(value.max(1)));
    Keepalive { idle: seconds(idle), interval: seconds(interval), count: u32::from(count.clamp(1, 127)) }
}

/// From 10 kB a second on: what was paced more slowly would outlast any patience.
fn rate(kilobytes: u16) -> u64 {
    10_000 + 1000 * u64::from(kilobytes)
}

fn resolve(place: Place, next: SeqNum, edge: SeqNum) -> SeqNum {
    match place {
        Place::Next => next,
        Place::Ahead(bytes) => next + u32::from(bytes),
        Place::FurtherAhead(bytes) => next + u32::from(bytes),
        Place::Behind(bytes) => next - u32::from(bytes),
        Place::FurtherBehind(bytes) => next - u32::from(bytes),
        Place::Edge(bytes) => SeqNum(edge.0.wrapping_add_signed(bytes.into())),
        Place::Anywhere(number) => SeqNum(number),
    }
}
