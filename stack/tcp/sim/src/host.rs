//! One end of a flow: a connection, the program that uses it, and its card.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tpa_tcp::wire::{
    EthernetAddress, Frame, FrameHeader, Icmpv4Message, Ports, QuotedSegment, TcpFlags, TcpFrame, TcpRepr,
    emit_tcp_frame, parse_frame,
};
use tpa_tcp::{
    Chunk, Config, Connection, Duration, Events, Instant, Params, SeqNum, State, Transmit, reset_for,
};

use crate::listener::{Listener, Outcome, SynQueue};
use crate::offload::{self, Received};
use crate::progress::Progress;
use crate::wire_rules::WireRules;
use crate::world::Checks;
use crate::{Random, START};

/// ICMP's code of a packet that is too large (RFC 792), and how long it counts.
const FRAGMENTATION_NEEDED: u8 = 4;
const REPORT_LASTS: Duration = Duration::from_secs(60);

/// Headers in an MTU.
const IP_AND_TCP: u16 = 40;

/// Largest payload that a card with segmentation offload takes.
const TSO_PAYLOAD: usize = 65_535 - 20 - 60;

/// What a host is like. The default waits to be connected to, without offloads.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Settings of its connection.
    pub config: Config,
    /// Payload that fits its MTU without options.
    pub mss: u16,
    /// Opens the connection this long after the start; `None` listens.
    pub opens_after: Option<Duration>,
    /// Where it listens: half-open connections wait here. Without, a SYN makes a
    /// connection at once.
    pub syn_queue: Option<SynQueue>,
    /// The card cuts large segments.
    pub segmentation: bool,
    /// The card gathers what arrives within this time, joins what belongs
    /// together and hands it over at once; zero hands each frame over alone.
    pub coalescing: Duration,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            config: Config::default(),
            mss: 1460,
            opens_after: None,
            syn_queue: None,
            segmentation: false,
            coalescing: Duration::ZERO,
        }
    }
}

/// Why a program is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Its connection has begun, or the time that it asked for has come.
    Time,
    /// Something has happened to its connection.
    Events(Events),
}

/// What uses a connection.
pub trait Program {
    /// Does what it wants with its connection, and returns when it wants to be
    /// called next, whatever happens.
    ///
    /// # Errors
    ///
    /// What went wrong from the program's point of view: it ends the run.
    fn wake(
        &mut self,
        connection: &mut Connection<Vec<u8>>,
        wake: Wake,
        now: Instant,
    ) -> Result<Option<Instant>, String>;

    /// Whether it wants nothing more.
    fn is_done(&self) -> bool;

    /// Looks back at the end of a run.
    ///
    /// # Errors
    ///
    /// What is missing.
    fn verify(&self) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) struct Host {
    config: Arc<Config>,
    params: Params,
    header: FrameHeader,
    ports: Ports,
    segmentation: bool,
    coalescing: Duration,
    checks: Checks,
    /// Indices of the links that its frames go over.
    pub path: Vec<usize>,
    pub connection: Option<Connection<Vec<u8>>>,
    listener: Option<Listener>,
    pub program: Box<dyn Program>,
    pub progress: Progress,
    rules: WireRules,
    opens_at: Instant,
    /// When the program wants to be called.
    wake_at: Instant,
    /// What the card has gathered, and when it hands it over.
    batch: Vec<Received>,
    batch_at: Instant,
    /// A segment on behalf of no connection.
    reply: Option<Transmit<'static>>,
}

impl Host {
    pub(crate) fn new(
        index: usize,
        config: HostConfig,
        program: Box<dyn Program>,
        path: Vec<usize>,
        checks: Checks,
        mut random: Random,
    ) -> Self {
        let peer = index ^ 1;
        let mac = |index: usize| EthernetAddress([2, 0, 0, 0, (index >> 8) as u8, index as u8]);
        let ip = |index: usize| Ipv4Addr::new(10, 0, (index >> 8) as u8, index as u8).into();
        let isn = SeqNum(random.bits() as u32);
        let params = Params { isn, ts_offset: random.bits() as u32, mss: config.mss };
        let rules = WireRules::new(isn, config.config.window_scaling);
        let settings = Arc::new(config.config);
        let listener = config.syn_queue.map(|queue| Listener::new(queue, &settings, params, random));
        Self {
            params,
            header: FrameHeader {
                src_mac: mac(index),
                dst_mac: mac(peer),
                src: ip(index),
                dst: ip(peer),
                tos: 0,
                ttl: 64,
                flow_label: 0,
            },
            ports: Ports { src: 1000 + index as u16, dst: 1000 + peer as u16 },
            segmentation: config.segmentation,
            coalescing: config.coalescing,
            checks,
            path,
            connection: None,
            listener,
            program,
            progress: Progress::new(),
            rules,
            opens_at: config.opens_after.map_or(Instant::FAR, |after| START + after),
            wake_at: Instant::FAR,
            batch: Vec::new(),
            batch_at: Instant::FAR,
            reply: None,
            config: settings,
        }
    }

    /// When something has to be done here next.
    pub(crate) fn next_deadline(&self) -> Instant {
        let timer = match (&self.connection, &self.listener) {
            (Some(connection), _) => connection.next_timer().unwrap_or(Instant::FAR),
            (None, Some(listener)) => listener.next_deadline(),
            (None, None) => Instant::FAR,
        };
        timer.min(self.opens_at).min(self.wake_at).min(self.batch_at)
    }

    /// Does what is due.
    pub(crate) fn on_deadline(&mut self, now: Instant) -> Result<(), String> {
        if self.opens_at <= now {
            self.opens_at = Instant::FAR;
            self.begin(Connection::connect(&self.config, self.params, now), now);
        }
        if self.batch_at <= now {
            self.hand_over(now);
        }
        let Some(connection) = &mut self.connection else {
            if let Some(listener) = &mut self.listener {
                self.reply = listener.on_deadline(now)?.or(self.reply.take());
            }
            return Ok(());
        };
        if connection.next_timer().is_some_and(|at| at <= now) {
            connection.on_timer(now);
        }
        if self.wake_at <= now {
            let next = self.program.wake(connection, Wake::Time, now)?;
            self.wake_at = next.unwrap_or(Instant::FAR);
        }
        Ok(())
    }

    fn begin(&mut self, connection: Connection<Vec<u8>>, now: Instant) {
        self.connection = Some(connection);
        self.wake_at = now;
    }

    /// Takes a frame off the wire; returns the parsed segment for a trace.
    pub(crate) fn on_frame(&mut self, frame: Vec<u8>, now: Instant) {
        let TcpFrame { tcp, payload, .. } = match parse_frame(&frame, self.checks.policy()) {
            Ok(Frame::Tcp(parsed)) => parsed,
            Ok(Frame::Icmpv4(parsed)) => return self.on_report(&parsed.message, &frame, now),
            _ => return,
        };
        let received = Received { tcp, buf: frame, payload };
        if self.coalescing == Duration::ZERO {
            return self.on_segment(received, now);
        }
        if self.batch.is_empty() {
            self.batch_at = now + self.coalescing;
        }
        let rest = match self.batch.last_mut() {
            Some(last) => last.join(received),
            None => Some(received),
        };
        self.batch.extend(rest);
    }

    fn hand_over(&mut self, now: Instant) {
        self.batch_at = Instant::FAR;
        for received in std::mem::take(&mut self.batch) {
            self.on_segment(received, now);
        }
    }

    /// What the network says about a segment of ours (RFC 1191, RFC 5927).
    fn on_report(&mut self, message: &Icmpv4Message, frame: &[u8], now: Instant) {
        let Icmpv4Message::Unreachable { code: FRAGMENTATION_NEEDED, mtu, original } = message else {
            return;
        };
        let quoted = frame.get(original.clone()).and_then(QuotedSegment::parse);
        if let (Some(connection), Some(quoted)) = (&mut self.connection, quoted)
            && connection.is_outstanding(quoted.seq)
        {
            connection.on_path_mtu(mtu.saturating_sub(IP_AND_TCP), now + REPORT_LASTS);
        }
    }

    fn on_segment(&mut self, received: Received, now: Instant) {
        let Received { tcp, buf, payload, .. } = received;
        let chunk = (tcp.payload_len > 0).then_some(Chunk { buf, range: payload });
        match (&mut self.connection, &mut self.listener) {
            (Some(connection), _) if !connection.is_closed() => connection.on_segment(&tcp, chunk, now),
            // It is not there yet.
            (None, _) if self.opens_at != Instant::FAR => return,
            (None, Some(listener)) => match listener.on_segment(&tcp, chunk, now) {
                Outcome::Answer(answer) => self.reply = answer,
                Outcome::Open(connection, isn) => {
                    self.rules.begin(isn);
                    self.begin(*connection, now);
                }
            },
            (None, None) if is_syn(tcp.flags) => {
                self.begin(Connection::accept(&self.config, self.params, &tcp, now), now);
            }
            _ => {
                self.reply = reset_for(&tcp);
                return;
            }
        }
        if self.checks == Checks::All {
            self.rules.on_received(&tcp);
        }
    }

    /// Tells the program what has happened.
    pub(crate) fn pass_events(&mut self, now: Instant) -> Result<(), String> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let events = connection.take_events();
        if !events.is_empty()
            && let Some(next) = self.program.wake(connection, Wake::Events(events), now)?
        {
            self.wake_at = next;
        }
        Ok(())
    }

    /// The next frames to send, cut by the card; none when `frames` stays empty.
    pub(crate) fn next_frames(&mut self, now: Instant, frames: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let (header, ports, checks) = (&self.header, self.ports, self.checks);
        let emit = |segment: &Transmit<'_>| emit(header, ports, segment, checks);
        if let Some(reply) = self.reply.take() {
            check(&mut self.rules, &reply, checks)?;
            frames.push(emit(&reply));
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let wanted = checks == Checks::None || connection.wants_transmit();
        let largest = if self.segmentation { TSO_PAYLOAD } else { usize::from(self.params.mss) };
        let full = if self.segmentation { full_payload(connection) } else { 0 };
        let Some(segment) = connection.poll_transmit(now, largest) else { return Ok(()) };
        if !wanted {
            return Err("a segment although wants_transmit() denied it".into());
        }
        if !self.segmentation {
            check(&mut self.rules, &segment, checks)?;
            frames.push(emit(&segment));
            return Ok(());
        }
        for piece in offload::cut(&segment, full.saturating_sub(segment.options.wire_len()).max(1)) {
            check(&mut self.rules, &piece, checks)?;
            frames.push(emit(&piece));
        }
        Ok(())
    }

    /// Looks whether everything is as it must be when nothing is left to send.
    pub(crate) fn check(&mut self, longest_delay: Duration, now: Instant) -> Result<(), String> {
        let Some(connection) = &self.connection else { return Ok(()) };
        connection.audit()?;
        self.progress.check(connection, longest_delay + self.coalescing * 2, now)
    }

    pub(crate) fn began_with_cookie(&self) -> bool {
        self.listener.as_ref().is_some_and(Listener::has_redeemed)
    }

    /// The program has had all that it wanted, and the connection is over.
    pub(crate) fn is_done(&self) -> bool {
        let over = |connection: &Connection<_>| matches!(connection.state(), State::Closed | State::TimeWait);
        self.program.is_done() && self.connection.as_ref().is_some_and(over)
    }

    pub(crate) fn describe(&self) -> String {
        let state = self
            .connection
            .as_ref()
            .map(|connection| (connection.info(), connection.error(), connection.next_timer()));
        format!("{:?} {state:#?}", self.ports)
    }
}

/// Bytes of payload and options in a full segment.
fn full_payload(connection: &Connection<Vec<u8>>) -> usize {
    let info = connection.info();
    info.snd_mss as usize + if info.timestamps { 12 } else { 0 }
}

fn check(rules: &mut WireRules, segment: &Transmit<'_>, checks: Checks) -> Result<(), String> {
    if checks == Checks::All { rules.on_sent(segment) } else { Ok(()) }
}

fn emit(header: &FrameHeader, ports: Ports, segment: &Transmit<'_>, checks: Checks) -> Vec<u8> {
    let mut frame = vec![0; 54 + segment.options.wire_len() + segment.payload_len()];
    let len = emit_tcp_frame(&mut frame, header, 0, segment, ports, checks == Checks::All);
    assert_eq!(len, frame.len(), "the segment fits exactly");
    frame
}

fn is_syn(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST)
}

/// A segment in one line.
pub(crate) fn show(frame: &[u8]) -> Option<String> {
    let Ok(Frame::Tcp(TcpFrame { tcp, .. })) = parse_frame(frame, tpa_tcp::wire::ChecksumPolicy::Trust)
    else {
        return None;
    };
    let TcpRepr { seq, ack, flags, window, payload_len, options, ecn, .. } = tcp;
    let flags: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
    Some(format!("{seq:?}+{payload_len} ack {ack:?} win {window} {} {ecn:?} {options:?}", flags.join("|")))
}
