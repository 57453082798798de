//! The rule that a connection which has something to do gets on with it.

use tpa_tcp::{Connection, Duration, Info, Instant, State};

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What the connection had achieved when it was last seen to move.
    mark: Mark,
    /// It had something to wait for at the last look.
    waited: bool,
    /// When it last moved, or a link last took or damaged a frame of the flow.
    since: Instant,
    /// Frames that the links took or damaged since it last moved: the timer
    /// may have been backed off once for each.
    harmed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Mark {
    state: State,
    acked: u64,
    sacked: u32,
    received: u64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { mark: Mark::default(), waited: false, since: Instant::default(), harmed: 0 }
    }

    /// A link has lost, dropped or damaged a frame of this flow, either way.
    pub(crate) fn on_harm(&mut self, at: Instant) {
        self.since = self.since.max(at);
        self.harmed += 1;
    }

    /// Looks after each step. When no link takes anything away, whatever is
    /// sent or retransmitted has its answer within a timeout and the
    /// `longest_delay` there and back; twice that without any is a hang.
    pub(crate) fn check(
        &mut self,
        connection: &Connection<Vec<u8>>,
        longest_delay: Duration,
        now: Instant,
    ) -> Result<(), String> {
        let info = connection.info();
        let mark = Mark {
            state: info.state,
            acked: info.bytes_acked,
            sacked: info.sacked,
            received: info.bytes_received,
        };
        let waited = std::mem::replace(&mut self.waited, waits_for_peer(&info));
        if mark != self.mark || !waited || !self.waited {
            (self.mark, self.since, self.harmed) = (mark, self.since.max(now), 0);
            return Ok(());
        }
        let backoff = info.backoff.max(self.harmed + 1);
        let patience = (info.rto.backed_off(backoff, Duration::from_secs(120)) + longest_delay) * 2;
        if now - self.since > patience {
            return Err(format!("no progress for {:?}, RTO {:?}", now - self.since, info.rto));
        }
        Ok(())
    }
}

/// Whether the peer owes an answer. A shut window is the business of the
/// peer's program, for however long.
fn waits_for_peer(info: &Info) -> bool {
    match info.state {
        State::SynSent | State::SynReceived => true,
        State::FinWait1 | State::Closing | State::LastAck => info.snd_wnd > 0,
        State::Established | State::CloseWait => info.snd_wnd > 0 && info.send_queued > 0,
        State::Closed | State::FinWait2 | State::TimeWait => false,
    }
}
