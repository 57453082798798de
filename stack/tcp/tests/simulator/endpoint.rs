//! One end: a connection, the program that uses it, and what must always hold.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tpa_tcp::wire::{EthIpv4Header, EthernetAddress, Ports, TcpFlags, TcpFrame, TcpRepr, emit_tcp_frame};
use tpa_tcp::{
    Chunk, Config, Connection, Duration, Instant, Params, Readiness, RecvError, SendError, SeqNum, Transmit,
    reset_for,
};

use super::{Random, is_over, is_syn};

/// What a program wants to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Opens actively.
    pub connects: bool,
    /// Bytes to write in all, and at most at once.
    pub writes: usize,
    pub write_size: usize,
    /// Bytes to read at most at once.
    pub read_size: usize,
    /// Longest pause between two actions.
    pub pause: Duration,
    /// Reads nothing before this much virtual time has passed.
    pub sleeps: Duration,
    pub nodelay: bool,
    /// Shuts its sending side down as soon as it has written all, instead of
    /// when it has read all as well.
    pub half_close: bool,
}

/// The byte that stream `stream` has at `offset`.
fn content(stream: u64, offset: usize) -> u8 {
    let mixed = (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream;
    (mixed >> 29) as u8
}

/// One end of the world.
pub struct Endpoint {
    pub config: Arc<Config>,
    pub plan: Plan,
    pub connection: Option<Connection<Vec<u8>>>,
    params: Params,
    header: EthIpv4Header,
    ports: Ports,
    random: Random,
    /// Streams of both directions, and what is expected of the peer.
    stream: u64,
    peer_stream: u64,
    expects: usize,
    written: usize,
    read: usize,
    read_end: bool,
    closed: bool,
    started: bool,
    /// Fruitless looks in a row.
    idle: u32,
    /// Right edge of the window in the segments sent so far.
    promised: Option<SeqNum>,
    our_shift: u8,
    /// Edge of the peer's window as far as it reached us.
    allowed: Option<SeqNum>,
    peer_shift: u8,
    /// Both sides offered window scaling.
    scaling: bool,
    /// What the peer's SYN said.
    peer_mss: Option<u16>,
}

impl Endpoint {
    pub fn new(index: u8, seed: u64, config: Config, plan: Plan, peer_plan: &Plan, mss: u16) -> Self {
        let mut random = Random::new(seed ^ u64::from(index) << 32);
        let mac = |last| EthernetAddress([2, 0, 0, 0, 0, last]);
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        Self {
            params: Params { isn: SeqNum(random.next() as u32), ts_offset: random.next() as u32, mss },
            header: EthIpv4Header {
                src_mac: mac(index),
                dst_mac: mac(1 - index),
                src: ip(index),
                dst: ip(1 - index),
                tos: 0,
                ttl: 64,
            },
            ports: Ports { src: 1000 + u16::from(index), dst: 1001 - u16::from(index) },
            random,
            stream: seed.wrapping_add(u64::from(index)),
            peer_stream: seed.wrapping_add(u64::from(1 - index)),
            expects: peer_plan.writes,
            config: Arc::new(config),
            plan,
            connection: None,
            written: 0,
            read: 0,
            read_end: false,
            closed: false,
            started: false,
            idle: 0,
            promised: None,
            our_shift: 0,
            allowed: None,
            peer_shift: 0,
            scaling: false,
            peer_mss: None,
        }
    }

    pub fn next_timer(&self) -> Instant {
        self.connection.as_ref().and_then(Connection::next_timer).unwrap_or(Instant::FAR)
    }

    pub fn on_timer(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection
            && connection.next_timer().is_some_and(|at| at <= now)
        {
            connection.on_timer(now);
        }
    }

    /// The program has had all that it wanted, and the connection is over.
    pub fn is_done(&self) -> bool {
        self.closed && self.connection.as_ref().is_some_and(|connection| is_over(connection.state()))
    }

    /// Everything has arrived, and nothing else.
    pub fn verify(&self) -> Result<(), String> {
        if self.read != self.expects || self.written != self.plan.writes {
            return Err(format!("wrong amounts: {}", self.describe()));
        }
        Ok(())
    }

    pub fn describe(&self) -> String {
        let connection = self.connection.as_ref();
        let state =
            connection.map(|connection| (connection.info(), connection.error(), connection.next_timer()));
        let (written, writes, read, expects) = (self.written, self.plan.writes, self.read, self.expects);
        format!("wrote {written}/{writes} read {read}/{expects} end {} {state:#?}", self.read_end)
    }

    /// Lets the program act; returns the pause before its next action.
    pub fn run_program(&mut self, now: Instant) -> Result<Option<Duration>, String> {
        if self.closed {
            return Ok(None);
        }
        if !self.started && self.plan.connects {
            self.started = true;
            let mut connection = Connection::connect(&self.config, self.params, now);
            connection.set_nodelay(self.plan.nodelay);
            self.connection = Some(connection);
        }
        let before = (self.written, self.read, self.read_end);
        if now - Instant::from_micros(1_000_000) >= self.plan.sleeps {
            self.act(now)?;
        }
        // A program that has nothing to do looks ever less often.
        let idle = before == (self.written, self.read, self.read_end);
        self.idle = if idle { self.idle + 1 } else { 0 };
        let longest = Duration::from_micros(self.plan.pause.as_micros().max(1));
        let longest = longest.backed_off(self.idle / 2, Duration::from_millis(100));
        Ok(Some(Duration::from_micros(self.random.between(1, longest.as_micros()))))
    }

    fn act(&mut self, now: Instant) -> Result<(), String> {
        self.write()?;
        self.read()?;
        let written = self.written == self.plan.writes;
        let all_read = self.plan.half_close || self.read == self.expects;
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if written && self.read_end {
            connection.close(now);
            self.closed = true;
        } else if written && all_read && connection.readiness().contains(Readiness::WRITABLE) {
            connection.shutdown_write(now);
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let size = self.random.between(1, self.plan.write_size as u64) as usize;
        let size = size.min(self.plan.writes - self.written);
        if size == 0 {
            return Ok(());
        }
        let data: Vec<u8> = (0..size).map(|at| content(self.stream, self.written + at)).collect();
        match connection.send(&data) {
            Ok(taken) => self.written += taken,
            Err(SendError::Closed) => return Err(format!("closed while writing: {}", self.describe())),
            Err(SendError::Connection(error)) => {
                return Err(format!("{error} while writing: {}", self.describe()));
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let mut buf = vec![0; self.random.between(1, self.plan.read_size as u64) as usize];
        match connection.recv(&mut buf) {
            Ok(0) => self.read_end = true,
            Ok(count) => {
                for (at, &byte) in buf[..count].iter().enumerate() {
                    if byte != content(self.peer_stream, self.read + at) {
                        return Err(format!("wrong byte at {}: {}", self.read + at, self.describe()));
                    }
                }
                self.read += count;
            }
            Err(RecvError::WouldBlock) => {}
            Err(RecvError::Connection(error)) => {
                return Err(format!("{error} while reading: {}", self.describe()));
            }
        }
        Ok(())
    }

    /// Takes a frame; returns one that answers it outside of any connection.
    pub fn on_frame(
        &mut self,
        parsed: TcpFrame,
        frame: &[u8],
        now: Instant,
    ) -> Result<Option<Vec<u8>>, String> {
        let TcpFrame { tcp, payload, .. } = parsed;
        if self.connection.is_none() && is_syn(tcp.flags) && !self.plan.connects {
            let mut connection = Connection::accept(&self.config, self.params, &tcp, now);
            connection.set_nodelay(self.plan.nodelay);
            self.note_window(&tcp);
            self.connection = Some(connection);
            return Ok(None);
        }
        match &mut self.connection {
            Some(connection) if !connection.is_closed() => {
                let chunk = (tcp.payload_len > 0).then(|| Chunk { buf: frame.to_vec(), range: payload });
                connection.on_segment(&tcp, chunk, now);
                self.note_window(&tcp);
                Ok(None)
            }
            _ => Ok(reset_for(&tcp).map(|reset| emit(&self.header, self.ports, &reset))),
        }
    }

    /// Learns how far the peer lets us send.
    fn note_window(&mut self, tcp: &TcpRepr) {
        if tcp.flags.contains(TcpFlags::RST) {
            return;
        }
        if tcp.flags.contains(TcpFlags::SYN) {
            self.scaling = self.config.window_scaling && tcp.options.window_scale.is_some();
            self.peer_shift = if self.scaling { tcp.options.window_scale.unwrap_or(0).min(14) } else { 0 };
            self.peer_mss = tcp.options.mss;
        }
        if tcp.flags.contains(TcpFlags::ACK) {
            let shift = if tcp.flags.contains(TcpFlags::SYN) { 0 } else { self.peer_shift };
            let edge = tcp.ack + (u32::from(tcp.window) << shift);
            self.allowed = Some(self.allowed.map_or(edge, |allowed| allowed.max(edge)));
        } else if tcp.flags.contains(TcpFlags::SYN) {
            self.allowed = Some(self.params.isn + 1 + u32::from(tcp.window));
        }
    }

    /// The next frame to send, with all that must hold checked.
    pub fn next_frame(&mut self, now: Instant) -> Result<Option<Vec<u8>>, String> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let wanted = connection.wants_transmit();
        let Some(segment) = connection.poll_transmit(now, usize::from(self.params.mss)) else {
            return Ok(None);
        };
        let frame = emit(&self.header, self.ports, &segment);
        let (seq, ack, flags) = (segment.seq, segment.ack, segment.flags);
        let payload_len = segment.payload_len();
        let size = payload_len + segment.options.wire_len();
        let window = u32::from(segment.window);
        let scale = segment.options.window_scale;
        if !wanted {
            return Err("a segment although wants_transmit() denied it".into());
        }
        if flags.contains(TcpFlags::RST) {
            return Ok(Some(frame));
        }
        if flags.contains(TcpFlags::SYN) {
            self.our_shift = scale.unwrap_or(0);
            return Ok(Some(frame));
        }
        if self.peer_mss.is_some_and(|mss| size > usize::from(mss)) {
            return Err(format!("{size} bytes exceed the peer's MSS: {}", self.describe()));
        }
        let end = seq + payload_len as u32 + u32::from(flags.contains(TcpFlags::FIN));
        if end != seq && !self.allowed.is_some_and(|allowed| end.le(allowed)) {
            return Err(format!("{end} is beyond the window {:?}: {}", self.allowed, self.describe()));
        }
        let shift = if self.scaling { self.our_shift } else { 0 };
        let edge = ack + (window << shift);
        // Rounding may hide less than one unit of the field (RFC 7323 2.4).
        let visible = edge + ((1 << shift) - 1);
        if self.promised.is_some_and(|promised| visible.lt(promised)) {
            return Err(format!(
                "the window was withdrawn to {edge} from {:?}: {}",
                self.promised,
                self.describe()
            ));
        }
        self.promised = Some(self.promised.map_or(edge, |promised| promised.max(edge)));
        Ok(Some(frame))
    }
}

fn emit(header: &EthIpv4Header, ports: Ports, segment: &Transmit<'_>) -> Vec<u8> {
    let mut frame = vec![0; 200 + segment.payload_len()];
    let len = emit_tcp_frame(&mut frame, header, 0, segment, ports, true);
    assert!(len > 0, "the segment fits");
    frame.truncate(len);
    frame
}
