//! Connections in TIME-WAIT or FIN-WAIT-2 that no program holds: put away small,
//! bounded in number, the oldest gone first.

use tpa_tcp::TimeWait;
use tpa_tcp::wire::TcpFrame;

use crate::packet::Packet;
use crate::worker::core::Core;
use crate::worker::socket::{FlowKey, Socket};

/// A connection that rests.
pub struct Resting {
    time_wait: TimeWait,
    /// The local port was taken from the worker's blocks.
    holds_port: bool,
}

impl Core {
    /// Puts a stream that nobody holds away when all that is left to it is to wait.
    pub fn lay_to_rest(&mut self, index: u32) {
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return };
        let Some(time_wait) = TimeWait::of(&stream.connection) else { return };
        let key = stream.flow;
        let resting = Resting { time_wait, holds_port: stream.holds_port };
        self.forget_stream(index, key);
        if self.time_wait.len() >= self.settings.time_wait_max
            && let Some((oldest, resting)) = self.time_wait.pop_first()
        {
            self.counters.time_wait_overflows.add(1);
            self.end_time_wait(oldest, resting.holds_port);
        }
        self.time_wait.insert(key, resting.time_wait.deadline(), resting);
        self.counters.time_wait_now.set(self.time_wait.len() as u64);
    }

    /// Ends what may rest under a key, for a new connection in its place.
    pub fn forget_rest(&mut self, key: FlowKey) {
        if let Some(resting) = self.time_wait.remove(key) {
            self.end_time_wait(key, resting.holds_port);
        }
    }

    /// What rested has been taken out.
    fn end_time_wait(&mut self, key: FlowKey, holds_port: bool) {
        if holds_port {
            self.ports.release(key.local_port(), self.now);
        }
        self.counters.time_wait_now.set(self.time_wait.len() as u64);
    }

    /// A segment of a connection that was put away.
    pub fn input_time_wait(&mut self, frame: &TcpFrame, packet: Packet, key: FlowKey) {
        let payload = self.payload_of(frame, packet);
        let Some(resting) = self.time_wait.remove(key) else { return };
        if let Some(isn) = resting.time_wait.next_isn(&self.tcp, &frame.tcp, self.now) {
            self.end_time_wait(key, resting.holds_port);
            return match self.listener_of(key) {
                Some(listener) => self.open_passively(listener, frame, key, Some(isn)),
                None => self.send_reset(frame),
            };
        }
        let Resting { time_wait, holds_port } = resting;
        let (rest, answer) = time_wait.on_segment(&self.tcp, &frame.tcp, payload, self.now);
        match rest {
            Some(time_wait) => {
                self.time_wait.insert(key, time_wait.deadline(), Resting { time_wait, holds_port });
            }
            None => self.end_time_wait(key, holds_port),
        }
        self.reply(key, frame.src_mac, answer);
    }

    /// Ends what has rested long enough.
    pub fn run_time_wait_timers(&mut self) {
        while let Some((key, resting)) = self.time_wait.pop_due(self.now) {
            self.end_time_wait(key, resting.holds_port);
        }
    }
}
