//! A deterministic world of two connections: one virtual clock, one seed.
//!
//! Every segment goes through the real wire code as a checksummed frame, over
//! a link that delays, loses, doubles, reorders and corrupts. The same seed
//! gives the same run, event by event.

mod endpoint;
mod link;
mod random;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tpa_tcp::wire::{ChecksumPolicy, Frame, TcpFlags, TcpFrame, TcpRepr, parse_frame};
use tpa_tcp::{Duration, Instant, State};

pub use endpoint::{Endpoint, Plan};
pub use link::{Fate, Link};
pub use random::Random;

/// What can happen.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A frame reaches an endpoint.
    Arrive(usize, Vec<u8>),
    /// The program of an endpoint does its next thing.
    Program(usize),
}

/// Two endpoints and the links between them.
pub struct World {
    pub now: Instant,
    pub endpoints: [Endpoint; 2],
    links: [Link; 2],
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    count: u64,
    /// Frames that went over the links.
    pub frames: u64,
    traced: bool,
}

impl World {
    pub fn new(endpoints: [Endpoint; 2], links: [Link; 2]) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut world =
            Self { now, endpoints, links, events: BinaryHeap::new(), count: 0, frames: 0, traced: false };
        world.traced = std::env::var_os("TPA_SIM_TRACE").is_some();
        world.schedule(now, Event::Program(0));
        world.schedule(now, Event::Program(1));
        world
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    /// Runs until both programs are done, or fails.
    pub fn run(&mut self, limit: Duration) -> Result<(), String> {
        let deadline = self.now + limit;
        while !self.endpoints.iter().all(Endpoint::is_done) {
            let next_event = self.events.peek().map_or(Instant::FAR, |Reverse((at, _, _))| *at);
            let next_timer = self.endpoints.iter().map(Endpoint::next_timer).min().unwrap_or(Instant::FAR);
            let next = next_event.min(next_timer);
            if next > deadline {
                return Err(format!("stuck at {:?}: {:#?}", self.now, self.describe()));
            }
            self.now = self.now.max(next);
            if next_event <= next_timer {
                self.step()?;
            }
            for index in 0..2 {
                self.endpoints[index].on_timer(self.now);
                self.flush(index)?;
            }
        }
        self.endpoints.iter().try_for_each(Endpoint::verify)
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(Reverse((_, _, event))) = self.events.pop() else { return Ok(()) };
        match event {
            Event::Program(index) => {
                if let Some(pause) = self.endpoints[index].run_program(self.now)? {
                    self.schedule(self.now + pause, Event::Program(index));
                }
            }
            Event::Arrive(index, frame) => self.arrive(index, &frame)?,
        }
        Ok(())
    }

    fn arrive(&mut self, index: usize, frame: &[u8]) -> Result<(), String> {
        let Ok(Frame::Tcp(parsed)) = parse_frame(frame, ChecksumPolicy::Verify) else { return Ok(()) };
        self.trace("reaches", index, frame);
        if let Some(reply) = self.endpoints[index].on_frame(parsed, frame, self.now)? {
            self.transmit(index, reply);
        }
        Ok(())
    }

    fn flush(&mut self, index: usize) -> Result<(), String> {
        while let Some(frame) = self.endpoints[index].next_frame(self.now)? {
            self.transmit(index, frame);
        }
        Ok(())
    }

    /// Puts a frame on the link away from endpoint `index`.
    fn transmit(&mut self, index: usize, frame: Vec<u8>) {
        self.frames += 1;
        self.trace("leaves", index, &frame);
        for Fate { at, frame } in self.links[index].carry(frame, self.now) {
            self.schedule(at, Event::Arrive(1 - index, frame));
        }
    }

    /// Prints a segment when `TPA_SIM_TRACE` is set.
    fn trace(&self, what: &str, index: usize, frame: &[u8]) {
        if !self.traced {
            return;
        }
        if let Ok(Frame::Tcp(TcpFrame { tcp, .. })) = parse_frame(frame, ChecksumPolicy::Trust) {
            let TcpRepr { seq, ack, flags, window, payload_len, options, .. } = tcp;
            let at = self.now.as_micros();
            println!(
                "{at:>12} {what} {index}: {seq:?}+{payload_len} ack {ack:?} win {window} {flags:?} {options:?}"
            );
        }
    }

    fn describe(&self) -> Vec<String> {
        self.endpoints.iter().map(Endpoint::describe).collect()
    }
}

/// Whether an end is over as far as its program is concerned.
pub fn is_over(state: State) -> bool {
    matches!(state, State::Closed | State::TimeWait)
}

/// Shorthand for a flag test.
pub fn is_syn(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK)
}
