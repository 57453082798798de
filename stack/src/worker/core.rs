//! The inside of a worker: one round of receive, TCP, timers and transmit.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tpa_tcp::wire::IpAddress;
use tpa_tcp::{Events, Instant, State, SynCookies, TimerWheel};

use crate::clock;
use crate::counters::WorkerCounters;
use crate::device::fault::FaultDevice;
use crate::device::{Batch, Device};
use crate::identity::Identity;
use crate::neighbour::Neighbours;
use crate::packet::Packet;
use crate::ports::PortBlocks;
use crate::worker::interest::Interest;
use crate::worker::limit::RateLimit;
use crate::worker::loopback::Loopback;
use crate::worker::passive::HalfOpen;
use crate::worker::path_mtu::PathCache;
use crate::worker::secret::Secret;
use crate::worker::settings::Settings;
use crate::worker::shelf::Shelf;
use crate::worker::socket::{FlowKey, Owner, Socket, Stream};
use crate::worker::table::SocketTable;
use crate::worker::time_wait::Resting;

/// Resets for segments that match no socket, a second; Linux's
/// `icmp_msgs_per_sec` serves the same end.
const RESETS_PER_SECOND: u32 = 1000;

/// Below a quarter of free device buffers (in 1/256) payload is copied out.
const SCARCE: u32 = 64;

/// Entries of streams that are gone, beyond twice the sockets there are, that the
/// timing wheel may hold.
const MOST_STALE: usize = 4096;

/// Everything that the worker's lock protects.
pub struct Core {
    pub identity: Arc<Identity>,
    pub tcp: Arc<tpa_tcp::Config>,
    pub settings: Settings,
    pub device: FaultDevice,
    pub counters: &'static WorkerCounters,
    pub sockets: SocketTable,
    /// Streams by the ends that packets name.
    pub flows: HashMap<FlowKey, u32, RandomState>,
    /// Listeners by port; several where they differ in address.
    pub listeners: HashMap<u16, Vec<(IpAddress, u32)>, RandomState>,
    /// Connections in SYN-RECEIVED that a peer opens.
    pub half_open: Shelf<HalfOpen>,
    /// Connections in TIME-WAIT that nobody holds.
    pub time_wait: Shelf<Resting>,
    pub cookies: SynCookies,
    /// Path MTUs that the network has told.
    pub paths: PathCache,
    pub interest: Interest,
    pub neighbours: Neighbours,
    /// Frames to ourselves; `None`: our own addresses are the kernel's.
    pub loopback: Option<Loopback>,
    pub ports: PortBlocks,
    pub secret: Secret,
    pub wheel: TimerWheel<u32>,
    /// Streams that have segments to send.
    pub dirty: VecDeque<u32>,
    pub rx: Batch,
    pub tx: Batch,
    /// An empty packet for the next segment.
    pub spare: Option<Packet>,
    /// Time of this round.
    pub now: Instant,
    /// The device is short of buffers: payload is copied out, so that a slow
    /// reader does not starve the device.
    pub scarce: bool,
    /// When the first of those who sleep on the worker wakes by itself.
    pub sleep_until: Instant,
    /// Readiness changed in this round: sleepers must look again.
    pub stirred: bool,
    pub resets: RateLimit,
    /// Expired wheel entries, kept to avoid an allocation a round.
    pub expired: Vec<u32>,
}

/// What a worker is made of.
pub struct Parts {
    pub id: u8,
    pub identity: Arc<Identity>,
    pub tcp: Arc<tpa_tcp::Config>,
    pub settings: Settings,
    pub device: Box<dyn Device>,
    pub counters: &'static WorkerCounters,
    pub ports: PortBlocks,
}

impl Core {
    pub fn new(parts: Parts) -> io::Result<Self> {
        let now = clock::now();
        let loopback = if parts.identity.loopback { Some(Loopback::new()?) } else { None };
        Ok(Self {
            identity: parts.identity,
            tcp: parts.tcp,
            settings: parts.settings,
            device: FaultDevice::new(parts.device, parts.counters),
            counters: parts.counters,
            sockets: SocketTable::new(parts.id),
            flows: HashMap::default(),
            listeners: HashMap::default(),
            half_open: Shelf::new(),
            time_wait: Shelf::new(),
            cookies: SynCookies::default(),
            paths: PathCache::default(),
            interest: Interest::default(),
            neighbours: Neighbours::default(),
            loopback,
            ports: parts.ports,
            secret: Secret::random(),
            wheel: TimerWheel::new(now),
            dirty: VecDeque::new(),
            rx: Batch::new(),
            tx: Batch::new(),
            spare: None,
            now,
            scarce: false,
            sleep_until: Instant::FAR,
            stirred: false,
            resets: RateLimit::new(RESETS_PER_SECOND),
            expired: Vec::new(),
        })
    }

    /// One round. Returns the frames that were received.
    #[inline]
    pub fn round(&mut self) -> usize {
        self.round_at(clock::now())
    }

    /// One round at a time of the caller's.
    pub fn round_at(&mut self, now: Instant) -> usize {
        self.now = now;
        if !self.dirty.is_empty() {
            // Replies leave before new requests are looked at.
            self.transmit();
        }
        self.device.rx_burst(&mut self.rx);
        let frames = self.rx.len();
        self.counters.polls.add(1);
        if frames == 0 {
            self.counters.idle_polls.add(1);
        } else {
            self.counters.rx_frames.add(frames as u64);
            self.scarce = self.device.free_buffers() < SCARCE;
            let mut rx = std::mem::take(&mut self.rx);
            for packet in rx.drain(..) {
                self.input(packet);
            }
            self.rx = rx;
        }
        self.run_timers();
        self.transmit();
        frames + self.run_loopback()
    }

    fn run_timers(&mut self) {
        self.run_half_open_timers();
        self.run_time_wait_timers();
        if self.wheel.next_deadline().is_none_or(|at| at > self.now) {
            return;
        }
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.advance(self.now, |index| expired.push(index));
        for index in expired.drain(..) {
            self.timer_fired(index);
        }
        self.expired = expired;
    }

    fn timer_fired(&mut self, index: u32) {
        let now = self.now;
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        if stream.timer_at.is_none_or(|at| at > now) {
            // An entry from before the deadline moved forward: another one is armed.
            return;
        }
        stream.timer_at = None;
        if stream.connection.next_timer().is_some_and(|at| at <= now) {
            let before = stream.connection.info().timeouts;
            stream.connection.on_timer(now);
            if stream.connection.info().timeouts != before {
                self.counters.rto_fired.add(1);
            } else if stream.connection.is_tail_probe_due() {
                self.counters.tail_probes.add(1);
            }
        }
        self.settle(index);
    }

    /// Whether the wheel holds mostly what streams that are gone have left in it: one
    /// that ends long before its deadline, as in FIN-WAIT-2, leaves its entry behind.
    pub fn has_stale_timers(&self) -> bool {
        self.wheel.len() > self.sockets.len() * 2 + MOST_STALE
    }

    /// Keeps the timers of the streams that stand alone.
    #[cold]
    pub fn clean_wheel(&mut self) {
        self.wheel.clear();
        for index in self.sockets.indices() {
            if let Some(Socket::Stream(Stream { timer_at: Some(at), .. })) = self.sockets.at(index) {
                self.wheel.insert(index, *at);
            }
        }
    }

    /// Time until something must happen without a packet; `None`: never.
    pub fn next_deadline(&self) -> Option<Instant> {
        let held = self.device.next_due();
        let held = held.map(|wait| clock::now() + tpa_tcp::Duration::from_micros(wait.as_micros() as u64));
        let deadlines = [
            self.wheel.next_deadline(),
            self.neighbours.next_deadline(),
            self.half_open.next_deadline(),
            self.time_wait.next_deadline(),
            held,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// After anything that may have changed a stream: readiness, accept queue,
    /// segments to send, timer, end of life.
    pub fn settle(&mut self, index: u32) {
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        let edges = stream.connection.take_events();
        if !edges.is_empty() {
            self.stirred = true;
            if stream.active && edges.contains(Events::CONNECTED) {
                self.counters.connections_opened.add(1);
                stream.established = true;
            }
            if stream.active && !stream.established && edges.contains(Events::ERROR) {
                self.counters.connections_failed.add(1);
            }
            self.interest.notify(&stream.watches, super::readiness::of_events(edges));
        }
        if !stream.dirty && stream.connection.wants_transmit() {
            stream.dirty = true;
            self.dirty.push_back(index);
        }
        let abandoned = stream.owner == Owner::Nobody;
        // The end of TIME-WAIT is looked for where such a stream is put away to.
        let rests = abandoned && stream.connection.state() == State::TimeWait;
        if let Some(at) = stream.connection.next_timer()
            && !rests
            && stream.timer_at.is_none_or(|armed| armed > at)
        {
            stream.timer_at = Some(at);
            self.wheel.insert(index, at);
        }
        let over = stream.connection.is_closed().then_some(stream.flow);
        if let Some(key) = over {
            // As Linux unhashes at TCP_CLOSE: the four numbers are free again.
            self.forget_flow(index, key);
        }
        if abandoned {
            self.bury_if_done(index);
        }
    }
}
