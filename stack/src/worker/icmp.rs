//! ICMP: echo requests to our own addresses, and errors about our segments
//! (RFC 1122 4.2.3.9, RFC 5927, RFC 1191).

use tpa_tcp::Error;
use tpa_tcp::wire::{Icmpv4Frame, Icmpv4Message, QuotedSegment};

use crate::device::Device;
use crate::packet::Packet;
use crate::worker::core::Core;
use crate::worker::path_mtu::{self, HEADERS};
use crate::worker::socket::{FlowKey, Socket};

/// Code of "fragmentation needed and DF set".
const TOO_BIG: u8 = 4;

/// What a message says of a segment of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// It could not be delivered.
    Undeliverable(Error),
    /// It is larger than the next link, whose MTU this is; zero: not told.
    TooBig(u16),
}

/// Linux's `icmp_err_convert`.
fn error_of(code: u8) -> Option<Error> {
    Some(match code {
        0 | 6 | 9 | 11 => Error::NetworkUnreachable,
        1 | 10 | 12..=15 => Error::HostUnreachable,
        2 => Error::ProtocolUnreachable,
        3 => Error::Refused,
        5 => Error::SourceRouteFailed,
        7 => Error::HostDown,
        8 => Error::HostIsolated,
        _ => return None,
    })
}

/// What a message reports, and where it quotes the segment.
fn report_of(message: &Icmpv4Message) -> Option<(Report, std::ops::Range<usize>)> {
    let (report, original) = match message {
        Icmpv4Message::Unreachable { code: TOO_BIG, mtu, original } => (Report::TooBig(*mtu), original),
        Icmpv4Message::Unreachable { code, original, .. } => {
            (Report::Undeliverable(error_of(*code)?), original)
        }
        Icmpv4Message::TimeExceeded { original } => (Report::Undeliverable(Error::HostUnreachable), original),
        Icmpv4Message::ParameterProblem { original } => {
            (Report::Undeliverable(Error::ParameterProblem), original)
        }
        _ => return None,
    };
    Some((report, original.clone()))
}

impl Core {
    /// Takes an ICMP message in.
    pub fn input_icmp(&mut self, icmp: &Icmpv4Frame, packet: &Packet) {
        if let Icmpv4Message::EchoRequest(echo) = &icmp.message {
            if self.device.info().own_neighbours && self.identity.owns(icmp.dst) {
                self.answer_echo(icmp, echo, packet);
            }
            return;
        }
        let Some((report, original)) = report_of(&icmp.message) else { return };
        self.counters.icmp_errors.add(1);
        let segment = packet.bytes().get(original).and_then(QuotedSegment::parse);
        let ours = segment.filter(|segment| segment.src == icmp.dst);
        if !ours.is_some_and(|segment| self.take_report(report, &segment)) {
            self.counters.icmp_errors_ignored.add(1);
        }
    }

    /// Acts upon a report; returns whether it is of something under way.
    fn take_report(&mut self, report: Report, segment: &QuotedSegment) -> bool {
        if self.loops(segment.dst) {
            // No router ever saw it.
            return false;
        }
        let key = FlowKey::new(segment.src, segment.src_port, segment.dst, segment.dst_port);
        let Some(&index) = self.flows.get(&key) else { return self.half_open_report(report, segment, key) };
        let Some(Socket::Stream(stream)) = self.sockets.at(index) else { return false };
        if !stream.connection.is_outstanding(segment.seq) {
            return false;
        }
        match report {
            Report::Undeliverable(error) => stream.connection.on_unreachable(error),
            Report::TooBig(mtu) => {
                let current = stream.connection.info().path_mss as u16 + HEADERS;
                let Some(mtu) = path_mtu::plausible(mtu, segment.total_len, current) else { return false };
                let known = self.paths.learn(segment.dst, mtu, self.now);
                stream.connection.on_path_mtu(known.size(), known.until);
                self.counters.path_mtu_lowered.add(1);
            }
        }
        self.settle(index);
        true
    }

    /// As in Linux the network's refusal ends a half-open connection without a
    /// word; the peer will ask again if it is there.
    fn half_open_report(&mut self, report: Report, segment: &QuotedSegment, key: FlowKey) -> bool {
        let Some(half_open) = self.half_open.get_mut(key) else { return false };
        if half_open.request.isn() != segment.seq {
            return false;
        }
        let fatal = [Error::NetworkUnreachable, Error::HostUnreachable, Error::ParameterProblem];
        if let Report::Undeliverable(error) = report
            && fatal.contains(&error)
        {
            self.forget_half_open(key);
        }
        true
    }
}
