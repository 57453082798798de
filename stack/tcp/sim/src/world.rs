//! Virtual time, and what happens in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tpa_tcp::wire::ChecksumPolicy;
use tpa_tcp::{Connection, Duration, Instant};

use crate::Random;
use crate::frame;
use crate::host::{self, Host, HostConfig, Program};
use crate::link::{Arrival, Link, LinkConfig, LinkStats};

/// When every world begins.
pub const START: Instant = Instant::from_micros(1_000_000);

/// Segments that one step of a host may send: beyond, it sends for ever.
const MOST_PER_STEP: usize = 1_000_000;

/// How closely a world looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checks {
    /// At nothing, for speed: not even at checksums.
    None,
    /// At everything, after each step.
    All,
}

impl Checks {
    pub(crate) fn policy(self) -> ChecksumPolicy {
        match self {
            Self::None => ChecksumPolicy::Trust,
            Self::All => ChecksumPolicy::Verify,
        }
    }
}

/// Names a link of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkId(usize);

/// Names a host of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostId(usize);

/// The two hosts of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The first one.
    pub client: HostId,
    /// The second one.
    pub server: HostId,
}

/// A frame that will come to the end of a link.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Transit {
    at: Instant,
    /// Frames that arrive at once do so in the order in which they were sent.
    number: u64,
    from: usize,
    /// Links of the sender's path that are behind it.
    hops: usize,
    frame: Vec<u8>,
}

/// Hosts, links and one clock.
pub struct World {
    now: Instant,
    hosts: Vec<Host>,
    links: Vec<Link>,
    transits: BinaryHeap<Reverse<Transit>>,
    count: u64,
    random: Random,
    checks: Checks,
    traced: bool,
    /// Room for the frames of one segment.
    frames: Vec<Vec<u8>>,
}

impl World {
    /// A world in which everything is checked after each step.
    pub fn checked(seed: u64) -> Self {
        Self::new(seed, Checks::All)
    }

    /// A world for measurements: nothing is checked, checksums included.
    pub fn trusting(seed: u64) -> Self {
        Self::new(seed, Checks::None)
    }

    fn new(seed: u64, checks: Checks) -> Self {
        Self {
            now: START,
            hosts: Vec::new(),
            links: Vec::new(),
            transits: BinaryHeap::new(),
            count: 0,
            random: Random::new(seed),
            checks,
            traced: std::env::var_os("TPA_SIM_TRACE").is_some(),
            frames: Vec::new(),
        }
    }

    /// Adds one direction of a path. Several flows may share it.
    pub fn add_link(&mut self, config: LinkConfig) -> LinkId {
        let random = self.random.fork();
        self.links.push(Link::new(config, random));
        LinkId(self.links.len() - 1)
    }

    /// Adds two hosts and what they run. `paths` says over which links the
    /// frames of each go to the other.
    pub fn add_flow(
        &mut self,
        configs: [HostConfig; 2],
        programs: [Box<dyn Program>; 2],
        paths: [Vec<LinkId>; 2],
    ) -> Flow {
        let first = self.hosts.len();
        for ((config, program), path) in configs.into_iter().zip(programs).zip(paths) {
            let path = path.into_iter().map(|link| link.0).collect();
            let random = self.random.fork();
            self.hosts.push(Host::new(self.hosts.len(), config, program, path, self.checks, random));
        }
        Flow { client: HostId(first), server: HostId(first + 1) }
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Frames that were handed to links so far.
    pub fn frames(&self) -> u64 {
        self.links.iter().map(|link| link.stats.frames).sum()
    }

    /// Whether the connection of a host began with a SYN cookie.
    pub fn began_with_cookie(&self, host: HostId) -> bool {
        self.hosts[host.0].began_with_cookie()
    }

    /// The connection of a host, once it has one.
    pub fn connection(&self, host: HostId) -> Option<&Connection<Vec<u8>>> {
        self.hosts[host.0].connection.as_ref()
    }

    /// What became of a link's frames so far.
    pub fn link_stats(&self, link: LinkId) -> LinkStats {
        self.links[link.0].stats
    }

    /// Runs until all programs are done and all connections over.
    ///
    /// # Errors
    ///
    /// What did not hold, or that the end did not come within `limit`.
    pub fn run(&mut self, limit: Duration) -> Result<(), String> {
        let deadline = self.now + limit;
        while !self.hosts.iter().all(Host::is_done) {
            if self.next_event() > deadline {
                return Err(self.describe(format!("stuck at {:?}", self.now)));
            }
            self.step().map_err(|error| self.describe(error))?;
        }
        self.hosts.iter().try_for_each(|host| host.program.verify().map_err(|error| self.describe(error)))
    }

    /// Runs for `span`, whatever the programs do.
    ///
    /// # Errors
    ///
    /// What did not hold.
    pub fn run_for(&mut self, span: Duration) -> Result<(), String> {
        let end = self.now + span;
        while self.next_event() <= end {
            self.step().map_err(|error| self.describe(error))?;
        }
        self.now = end;
        Ok(())
    }

    fn next_transit(&self) -> Instant {
        self.transits.peek().map_or(Instant::FAR, |Reverse(transit)| transit.at)
    }

    fn next_event(&self) -> Instant {
        self.hosts.iter().map(Host::next_deadline).min().unwrap_or(Instant::FAR).min(self.next_transit())
    }

    /// Lets the next thing happen: a frame comes to the end of a link, or a
    /// host has something to do.
    fn step(&mut self) -> Result<(), String> {
        let deadlines = self.hosts.iter().map(Host::next_deadline).enumerate();
        let (host, deadline) = deadlines.min_by_key(|&(_, at)| at).unwrap_or((0, Instant::FAR));
        if self.next_transit() > deadline {
            self.now = self.now.max(deadline);
            self.hosts[host].on_deadline(self.now)?;
            return self.settle(host);
        }
        let Some(Reverse(Transit { at, from, hops, frame, .. })) = self.transits.pop() else {
            return Ok(());
        };
        self.now = self.now.max(at);
        if hops < self.hosts[from].path.len() {
            self.forward(from, hops, frame);
            return Ok(());
        }
        let host = from ^ 1;
        self.trace("reaches", host, &frame);
        self.hosts[host].on_frame(frame, self.now);
        self.settle(host)
    }

    /// Lets a host draw its conclusions from what has happened to it.
    fn settle(&mut self, host: usize) -> Result<(), String> {
        self.hosts[host].pass_events(self.now)?;
        for _ in 0..MOST_PER_STEP {
            let mut frames = std::mem::take(&mut self.frames);
            let sent = self.hosts[host].next_frames(self.now, &mut frames);
            let none = frames.is_empty();
            for frame in frames.drain(..) {
                self.trace("leaves", host, &frame);
                self.forward(host, 0, frame);
            }
            self.frames = frames;
            sent?;
            if none {
                return self.check(host);
            }
        }
        Err("a host sends for ever".into())
    }

    fn check(&mut self, host: usize) -> Result<(), String> {
        if self.checks == Checks::None {
            return Ok(());
        }
        let delay = |host: usize| {
            let path = self.hosts[host].path.iter();
            path.fold(Duration::ZERO, |sum, &link| sum + self.links[link].config.longest_delay())
        };
        let longest = delay(host) + delay(host ^ 1);
        self.hosts[host].check(longest, self.now)
    }

    /// Puts a frame of host `from` on the link behind `hops` others.
    fn forward(&mut self, from: usize, hops: usize, frame: Vec<u8>) {
        let link = self.hosts[from].path[hops];
        if self.links[link].is_too_large(&frame) && self.links[link].config.reports_mtu {
            self.report(from, link, &frame);
        }
        match self.links[link].carry(frame, self.now) {
            Ok((first, second)) => {
                for arrival in [Some(first), second].into_iter().flatten() {
                    self.put_in_transit(from, hops + 1, arrival);
                }
            }
            Err(_) => self.harm(from, self.now),
        }
    }

    /// The router before a link tells the sender of a frame that it is too large.
    /// Now and then the report is lost.
    fn report(&mut self, from: usize, link: usize, frame: &[u8]) {
        if self.random.chance(0.1) {
            return;
        }
        self.links[link].stats.reported += 1;
        let config = &self.links[link].config;
        let (at, mtu) = (self.now + config.delay, config.mtu.min(usize::from(u16::MAX)) as u16);
        let frame = frame::too_big(frame, mtu);
        // As if it had come from the peer: over all of its links.
        let peer = from ^ 1;
        self.put_in_transit(peer, self.hosts[peer].path.len(), Arrival { at, frame, damaged: false });
    }

    fn put_in_transit(&mut self, from: usize, hops: usize, Arrival { at, frame, damaged }: Arrival) {
        if damaged {
            self.harm(from, at);
        }
        self.count += 1;
        self.transits.push(Reverse(Transit { at, number: self.count, from, hops, frame }));
    }

    fn harm(&mut self, host: usize, at: Instant) {
        self.hosts[host].progress.on_harm(at);
        self.hosts[host ^ 1].progress.on_harm(at);
    }

    fn trace(&self, what: &str, host: usize, frame: &[u8]) {
        if self.traced
            && let Some(segment) = host::show(frame)
        {
            println!("{:>12} {what} {host}: {segment}", self.now.as_micros());
        }
    }

    fn describe(&self, error: String) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(Host::describe).collect();
        format!("{error} at {:?}\n{}", self.now, hosts.join("\n"))
    }
}
