//! A program that moves bytes both ways, in its own good time.

use tpa_tcp::{Connection, Duration, Events, Instant, Readiness, RecvError, SendError, State};

use crate::content::Content;
use crate::{Program, Random, START, Wake};

/// What a program does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Bytes that it writes in all.
    pub writes: usize,
    /// Bytes that it writes at most at once.
    pub write_size: usize,
    /// Bytes that it reads at most at once.
    pub read_size: usize,
    /// Longest pause between two actions.
    pub pause: Duration,
    /// Acts on events as well, not only after pauses.
    pub attentive: bool,
    /// Reads nothing before this much time has passed.
    pub sleeps: Duration,
    /// Probability that an action is followed by a nap of up to three seconds.
    pub naps: f64,
    /// Sets `TCP_NODELAY`.
    pub nodelay: bool,
    /// Turns `TCP_CORK` on and off as it writes.
    pub corks: bool,
    /// Says now and then that more follows (`MSG_MORE`).
    pub mores: bool,
    /// Sends urgent data now and then (`MSG_OOB`).
    pub urgents: bool,
    /// Turns `TCP_QUICKACK` on and off as it reads.
    pub quickacks: bool,
    /// Changes the size of the receive buffer as it reads, between these two.
    pub rcvbufs: Option<(usize, usize)>,
    /// Shuts its sending side down as soon as it has written all, instead of
    /// when it has read all as well.
    pub half_close: bool,
    /// Gives up in the middle.
    pub gives_up: Option<GivesUp>,
}

/// How a program gives up.
#[derive(Debug, Clone, Copy)]
pub struct GivesUp {
    /// After so many bytes, both directions added.
    pub after: usize,
    /// With a RST at once, instead of with `close`, which sends one only when
    /// something is or will be left unread.
    pub aborts: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            writes: 0,
            write_size: 100_000,
            read_size: 100_000,
            pause: Duration::from_micros(500),
            attentive: false,
            sleeps: Duration::ZERO,
            naps: 0.0,
            nodelay: false,
            corks: false,
            mores: false,
            urgents: false,
            quickacks: false,
            rcvbufs: None,
            half_close: true,
            gives_up: None,
        }
    }
}

/// A program that follows a [`Plan`] and checks each byte that it reads.
#[derive(Debug)]
pub struct Exchange {
    plan: Plan,
    random: Random,
    ours: Content,
    theirs: Content,
    /// Bytes that the peer will write.
    expects: usize,
    /// The peer may be gone at any time.
    peer_gives_up: bool,
    written: usize,
    read: usize,
    started: bool,
    read_end: bool,
    done: bool,
    /// Fruitless looks in a row.
    idle: u32,
    buf: Vec<u8>,
}

impl Exchange {
    /// Two programs for the two ends of a connection.
    pub fn pair(seed: u64, first: Plan, second: Plan) -> [Self; 2] {
        let mut random = Random::new(seed);
        let streams = [random.bits(), random.bits()].map(Content::new);
        let seeds = [random.fork(), random.fork()];
        let [first_seed, second_seed] = seeds;
        let other = (first.writes, first.gives_up.is_some());
        [
            Self::new(&first, first_seed, streams, (second.writes, second.gives_up.is_some())),
            Self::new(&second, second_seed, [streams[1], streams[0]], other),
        ]
    }

    fn new(plan: &Plan, random: Random, streams: [Content; 2], peer: (usize, bool)) -> Self {
        Self {
            plan: plan.clone(),
            random,
            ours: streams[0],
            theirs: streams[1],
            expects: peer.0,
            peer_gives_up: peer.1,
            written: 0,
            read: 0,
            started: false,
            read_end: false,
            done: false,
            idle: 0,
            buf: vec![0; plan.read_size],
        }
    }

    fn act(&mut self, connection: &mut Connection<Vec<u8>>, now: Instant) -> Result<(), String> {
        if !self.started {
            self.started = true;
            connection.set_nodelay(self.plan.nodelay);
        }
        self.write(connection)?;
        if now - START >= self.plan.sleeps {
            self.read(connection)?;
        }
        if !self.done {
            self.finish(connection, now);
        }
        Ok(())
    }

    fn write(&mut self, connection: &mut Connection<Vec<u8>>) -> Result<(), String> {
        let size = self.random.between(1, self.plan.write_size as u64) as usize;
        let piece = self.ours.piece(self.written, size.min(self.plan.writes - self.written));
        if piece.is_empty() {
            return Ok(());
        }
        if self.plan.corks {
            connection.set_cork(self.random.chance(0.5));
        }
        let sent = if self.plan.urgents && self.random.chance(0.05) {
            connection.send_urgent(piece)
        } else if self.plan.mores && self.random.chance(0.5) {
            connection.send_more(piece)
        } else {
            connection.send(piece)
        };
        match sent {
            Ok(taken) => self.written += taken,
            // What a peer that gave up left behind was read before.
            Err(SendError::Closed) if self.peer_gives_up => self.done = true,
            Err(SendError::Closed) => return Err(self.report("closed while writing")),
            Err(SendError::Connection(error)) => return self.lost(error, "writing"),
        }
        Ok(())
    }

    fn read(&mut self, connection: &mut Connection<Vec<u8>>) -> Result<(), String> {
        if self.done {
            return Ok(());
        }
        if self.plan.quickacks {
            connection.set_quickack(self.random.chance(0.5));
        }
        if let Some((least, most)) = self.plan.rcvbufs
            && self.random.chance(0.1)
        {
            connection.set_rcvbuf(self.random.between(least as u64, most as u64) as usize);
        }
        let size = self.random.between(1, self.plan.read_size as u64) as usize;
        let before_mark = connection.urgent_ahead().saturating_sub(1) as usize;
        match connection.recv(&mut self.buf[..size]) {
            Ok(0) => self.read_end = true,
            Ok(count) => {
                if !self.theirs.is_at(self.read, &self.buf[..count]) {
                    return Err(self.report("wrong bytes"));
                }
                if before_mark > 0 && count > before_mark {
                    return Err(self.report("read across the urgent mark"));
                }
                self.read += count;
            }
            Err(RecvError::WouldBlock) => {}
            Err(RecvError::Connection(error)) => return self.lost(error, "reading"),
        }
        Ok(())
    }

    /// The connection died, which is as it should be when a program gave up.
    fn lost(&mut self, error: tpa_tcp::Error, what: &str) -> Result<(), String> {
        self.done = true;
        if self.peer_gives_up || self.plan.gives_up.is_some() {
            return Ok(());
        }
        Err(self.report(&format!("{error} while {what}")))
    }

    /// Ends the connection when it is time to.
    fn finish(&mut self, connection: &mut Connection<Vec<u8>>, now: Instant) {
        if let Some(GivesUp { after, aborts }) = self.plan.gives_up
            && self.read + self.written >= after
            && !matches!(connection.state(), State::SynSent | State::SynReceived)
        {
            if aborts {
                connection.abort(now)
            } else {
                connection.close(now)
            }
            self.done = true;
            return;
        }
        let all_written = self.written == self.plan.writes;
        let all_read = self.plan.half_close || self.read == self.expects;
        if self.read_end && (all_written || self.peer_gives_up) {
            connection.close(now);
            self.done = true;
        } else if all_written && all_read && connection.readiness().contains(Readiness::WRITABLE) {
            connection.shutdown_write(now);
        }
    }

    /// The pause before the next action: a program that has nothing to do
    /// looks ever less often.
    fn pause(&mut self) -> Duration {
        if self.random.chance(self.plan.naps) {
            return Duration::from_micros(self.random.between(1, 3_000_000));
        }
        let longest = Duration::from_micros(self.plan.pause.as_micros().max(1));
        let longest = longest.backed_off(self.idle / 2, Duration::from_millis(100).max(self.plan.pause));
        Duration::from_micros(self.random.between(1, longest.as_micros()))
    }

    fn report(&self, error: &str) -> String {
        let Self { written, read, expects, read_end, .. } = self;
        format!("{error}: wrote {written}/{} read {read}/{expects} end {read_end}", self.plan.writes)
    }
}

impl Program for Exchange {
    fn wake(
        &mut self,
        connection: &mut Connection<Vec<u8>>,
        wake: Wake,
        now: Instant,
    ) -> Result<Option<Instant>, String> {
        let passes = matches!(wake, Wake::Events(events) if !self.plan.attentive || events == Events::HUP);
        if self.done || passes {
            return Ok(None);
        }
        let before = (self.written, self.read, self.read_end);
        self.act(connection, now)?;
        let idle = before == (self.written, self.read, self.read_end);
        self.idle = if idle { self.idle + 1 } else { 0 };
        Ok((!self.done).then(|| now + self.pause()))
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn verify(&self) -> Result<(), String> {
        let complete = self.read == self.expects && self.written == self.plan.writes;
        if complete || self.peer_gives_up || self.plan.gives_up.is_some() {
            return Ok(());
        }
        Err(self.report("wrong amounts"))
    }
}
