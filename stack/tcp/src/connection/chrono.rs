//! For how long a sender was busy, and what held it up meanwhile: Linux's
//! `tcp_chrono`. A state and the time of its beginning, touched only when it
//! changes.

use crate::time::{Duration, Instant};

/// What a sender does with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occupation {
    /// Nothing is to be sent, and all that was sent is acknowledged.
    #[default]
    Idle,
    /// Data is under way, or waits for the congestion window or the program.
    Busy,
    /// The peer's window holds data back.
    WindowLimited,
    /// All is sent, and the send buffer is too small for more.
    BufferLimited,
}

/// Time spent in each state but idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chrono {
    occupation: Occupation,
    since: Instant,
    busy: Duration,
    window_limited: Duration,
    buffer_limited: Duration,
}

impl Chrono {
    /// From `now` on the sender does this.
    #[inline]
    pub(super) fn enter(&mut self, occupation: Occupation, now: Instant) {
        if occupation != self.occupation {
            *self = Self { occupation, since: now, ..self.until(now) };
        }
    }

    /// The account as of `now`.
    pub fn until(self, now: Instant) -> Self {
        let mut account = self;
        let span = now - self.since;
        match self.occupation {
            Occupation::Idle => {}
            Occupation::Busy => account.busy = self.busy + span,
            Occupation::WindowLimited => account.window_limited = self.window_limited + span,
            Occupation::BufferLimited => account.buffer_limited = self.buffer_limited + span,
        }
        account.since = now;
        account
    }

    /// What the sender does.
    pub fn occupation(&self) -> Occupation {
        self.occupation
    }

    /// Time in which anything was under way or waited (`tcpi_busy_time`).
    pub fn busy_time(&self) -> Duration {
        self.busy + self.window_limited + self.buffer_limited
    }

    /// Time in which the peer's window held data back (`tcpi_rwnd_limited`).
    pub fn window_limited(&self) -> Duration {
        self.window_limited
    }

    /// Time in which the send buffer was too small (`tcpi_sndbuf_limited`).
    pub fn buffer_limited(&self) -> Duration {
        self.buffer_limited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_account_and_busy_is_their_sum() {
        let mut chrono = Chrono::default();
        let steps = [
            (10, Occupation::Busy),
            (30, Occupation::WindowLimited),
            (35, Occupation::Busy),
            (36, Occupation::BufferLimited),
            (43, Occupation::Idle),
            (1000, Occupation::Busy),
        ];
        for (millis, occupation) in steps {
            chrono.enter(occupation, Instant::from_millis(millis));
        }
        let account = chrono.until(Instant::from_millis(1002));
        assert_eq!(account.window_limited(), Duration::from_millis(5));
        assert_eq!(account.buffer_limited(), Duration::from_millis(7));
        assert_eq!(account.busy_time(), Duration::from_millis(20 + 5 + 1 + 7 + 2));
        assert_eq!(account.until(Instant::from_millis(1003)).busy_time(), Duration::from_millis(36));
    }

    #[test]
    fn idleness_is_not_counted() {
        let chrono = Chrono::default();
        assert_eq!(chrono.until(Instant::from_millis(500)).busy_time(), Duration::ZERO);
    }
}
