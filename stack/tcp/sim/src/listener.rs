//! What waits for a connection: a SYN queue of a few places, SYN cookies beyond
//! (RFC 4987 3.6), and a flood of SYNs from nowhere that fills it.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use tpa_tcp::cookie::SynCookies;
use tpa_tcp::wire::{TcpFlags, TcpOptions, TcpRepr};
use tpa_tcp::{
    Chunk, Config, Connection, Duration, Instant, Listening, Params, Progress, Request, SeqNum, Transmit,
    listening, reset_for,
};

use crate::{Random, START};

/// The SYN queue of a host that waits to be connected to.
#[derive(Debug, Clone, Copy)]
pub struct SynQueue {
    /// Half-open connections that it holds; beyond, SYN-ACKs are cookies.
    pub places: usize,
    /// Time between two SYNs of a flood, as long as there is no connection.
    pub flood: Option<Duration>,
}

/// What became of a segment.
pub(crate) enum Outcome {
    /// The handshake is complete. The initial number is ours.
    Open(Box<Connection<Vec<u8>>>, SeqNum),
    /// This has to be sent.
    Answer(Option<Transmit<'static>>),
}

/// A listener that one peer connects to.
#[derive(Debug)]
pub(crate) struct Listener {
    queue: SynQueue,
    config: Arc<Config>,
    params: Params,
    cookies: SynCookies<BuildHasherDefault<DefaultHasher>>,
    /// A cookie was redeemed.
    redeemed: bool,
    /// Of the peer.
    request: Option<Request>,
    /// Of the flood.
    strangers: Vec<Request>,
    next_stranger: Instant,
    random: Random,
}

impl Listener {
    pub(crate) fn new(queue: SynQueue, config: &Arc<Config>, params: Params, random: Random) -> Self {
        Self {
            queue,
            config: config.clone(),
            params,
            cookies: SynCookies::default(),
            redeemed: false,
            request: None,
            strangers: Vec::new(),
            next_stranger: queue.flood.map_or(Instant::FAR, |_| START),
            random,
        }
    }

    fn is_full(&self) -> bool {
        self.strangers.len() + usize::from(self.request.is_some()) >= self.queue.places
    }

    pub(crate) fn has_redeemed(&self) -> bool {
        self.redeemed
    }

    pub(crate) fn next_deadline(&self) -> Instant {
        let requests = self.request.iter().chain(&self.strangers).map(Request::deadline);
        requests.min().unwrap_or(Instant::FAR).min(self.next_stranger)
    }

    /// Does what is due; returns what has to be sent to the peer.
    pub(crate) fn on_deadline(&mut self, now: Instant) -> Result<Option<Transmit<'static>>, String> {
        if self.next_stranger <= now {
            self.next_stranger = now + self.queue.flood.unwrap_or_default();
            self.on_stranger(now)?;
        }
        let (config, retries) = (&self.config, self.config.synack_retries);
        self.strangers.retain_mut(|request| {
            request.deadline() > now || request.on_timer(config, retries, now).is_some()
        });
        let Some(request) = self.request.as_mut().filter(|request| request.deadline() <= now) else {
            return Ok(None);
        };
        let again = request.on_timer(config, retries, now);
        if again.is_none() {
            self.request = None;
        }
        Ok(again)
    }

    /// A SYN of the flood. The answer goes nowhere, and must not be larger than
    /// what has caused it.
    fn on_stranger(&mut self, now: Instant) -> Result<(), String> {
        let syn = TcpRepr {
            src_port: 0,
            dst_port: 0,
            seq: SeqNum(self.random.bits() as u32),
            ack: SeqNum(0),
            flags: TcpFlags::SYN,
            window: 1000,
            urgent: 0,
            options: TcpOptions { mss: Some(1460), ..TcpOptions::default() },
            payload_len: 0,
            ecn: tpa_tcp::wire::Ecn::NotEct,
        };
        let flow = self.random.bits();
        let answer = if self.is_full() {
            self.cookies.answer(&self.config, self.params, None, &flow, &syn, now)
        } else {
            let mut request = Request::new(self.params, None, &syn);
            let answer = request.syn_ack(&self.config, now);
            self.strangers.push(request);
            answer
        };
        let most = syn.options.wire_len();
        match answer {
            Some(answer) if answer.payload_len() == 0 && answer.options.wire_len() <= most => Ok(()),
            answer => Err(format!("a stranger's SYN is answered by {answer:?}")),
        }
    }

    /// Takes a segment of the peer (RFC 9293 3.10.7.2).
    pub(crate) fn on_segment(
        &mut self,
        tcp: &TcpRepr,
        payload: Option<Chunk<Vec<u8>>>,
        now: Instant,
    ) -> Outcome {
        if self.request.is_some() {
            return self.on_half_open(tcp, payload, now);
        }
        match listening(tcp) {
            Listening::Ignore => Outcome::Answer(None),
            Listening::Open if self.is_full() => {
                Outcome::Answer(self.cookies.answer(&self.config, self.params, None, &FLOW, tcp, now))
            }
            Listening::Open => {
                let mut request = Request::new(self.params, None, tcp);
                let answer = request.syn_ack(&self.config, now);
                self.request = Some(request);
                Outcome::Answer(answer)
            }
            Listening::Reset => match self.cookies.redeem(self.params, None, &FLOW, tcp, now) {
                Some(request) => {
                    (self.request, self.redeemed) = (Some(request), true);
                    self.on_half_open(tcp, payload, now)
                }
                None => Outcome::Answer(reset_for(tcp)),
            },
        }
    }

    fn on_half_open(&mut self, tcp: &TcpRepr, payload: Option<Chunk<Vec<u8>>>, now: Instant) -> Outcome {
        let Some(request) = &mut self.request else { return Outcome::Answer(None) };
        let isn = request.isn();
        match request.on_segment(&self.config, tcp, payload, now) {
            Progress::HalfOpen(answer) => Outcome::Answer(answer),
            Progress::Open(connection) => Outcome::Open(Box::new(connection), isn),
            Progress::Over => {
                self.request = None;
                Outcome::Answer(None)
            }
        }
    }
}

/// The peer's flow, as its cookies name it.
const FLOW: u64 = 0;
