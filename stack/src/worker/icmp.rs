//! ICMP and ICMPv6: echo requests to our own addresses, and errors about our
//! segments (RFC 1122 4.2.3.9, RFC 5927, RFC 1191, RFC 4443, RFC 8201).

use tpa_tcp::Error;
use tpa_tcp::wire::{Icmpv4Frame, Icmpv4Message, Icmpv6Frame, Icmpv6Message, IpAddress, QuotedSegment};

use crate::device::Device;
use crate::identity::headers;
use crate::packet::Packet;
use crate::worker::core::Core;
use crate::worker::path_mtu;
use crate::worker::socket::{FlowKey, Socket};

/// Code of "fragmentation needed and DF set".
const TOO_BIG: u8 = 4;

/// What a message says of a segment of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// It could not be delivered.
    Undeliverable(Error),
    /// It is larger than the next link, whose MTU this is; zero: not told.
    TooBig(u32),
}

/// The MTU that is reported, when it is smaller than the one in use.
fn smaller_mtu(mtu: u32, segment: &QuotedSegment, current: u16) -> Option<u16> {
    if segment.dst.is_v4() {
        path_mtu::plausible(u16::try_from(mtu).ok()?, segment.total_len, current)
    } else {
        path_mtu::plausible_v6(mtu, current)
    }
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

/// Linux's `icmpv6_err_convert`.
fn error_of_v6(code: u8) -> Error {
    match code {
        0 => Error::NetworkUnreachable,
        2 | 3 => Error::HostUnreachable,
        4 => Error::Refused,
        1 | 5 | 6 => Error::Prohibited,
        _ => Error::ParameterProblem,
    }
}

/// What a message reports, and where it quotes the segment.
fn report_of(message: &Icmpv4Message) -> Option<(Report, std::ops::Range<usize>)> {
    let (report, original) = match message {
        Icmpv4Message::Unreachable { code: TOO_BIG, mtu, original } => {
            (Report::TooBig(u32::from(*mtu)), original)
        }
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

/// The same of an ICMPv6 message.
fn report_of_v6(message: &Icmpv6Message) -> Option<(Report, std::ops::Range<usize>)> {
    let (report, original) = match message {
        Icmpv6Message::PacketTooBig { mtu, original } => (Report::TooBig(*mtu), original),
        Icmpv6Message::Unreachable { code, original } => {
            (Report::Undeliverable(error_of_v6(*code)), original)
        }
        Icmpv6Message::TimeExceeded { original } => (Report::Undeliverable(Error::HostUnreachable), original),
        Icmpv6Message::ParameterProblem { original } => {
            (Report::Undeliverable(Error::ParameterProblem), original)
        }
        _ => return None,
    };
    Some((report, original.clone()))
}

/// Whether an error ends a half-open connection without a word, as in Linux
/// (`tcp_v4_err`, and what `icmpv6_err_convert` calls fatal); the peer will ask
/// again if it is there.
fn ends_half_open(error: Error, peer: IpAddress) -> bool {
    let fatal = if peer.is_v4() {
        [Error::NetworkUnreachable, Error::HostUnreachable, Error::ParameterProblem]
    } else {
        [Error::Prohibited, Error::Refused, Error::ParameterProblem]
    };
    fatal.contains(&error)
}

impl Core {
    /// Takes an ICMP message in.
    pub fn input_icmp(&mut self, icmp: &Icmpv4Frame, packet: &Packet) {
        if let Icmpv4Message::EchoRequest(echo) = &icmp.message {
            if self.device.info().own_neighbours && self.identity.owns(icmp.dst) {
                self.answer_echo((icmp.dst, icmp.src), icmp.src_mac, echo, packet);
            }
            return;
        }
        if let Some((report, original)) = report_of(&icmp.message) {
            self.input_report(report, icmp.dst, packet.bytes().get(original));
        }
    }

    /// Takes an ICMPv6 message in.
    pub fn input_icmpv6(&mut self, icmp: &Icmpv6Frame, packet: &Packet) {
        match &icmp.message {
            Icmpv6Message::EchoRequest(echo) => {
                if self.device.info().own_neighbours && self.identity.owns(icmp.dst) {
                    self.answer_echo((icmp.dst, icmp.src), icmp.src_mac, echo, packet);
                }
            }
            Icmpv6Message::Neighbour(message) => self.input_ndp(icmp, message),
            message => {
                if let Some((report, original)) = report_of_v6(message) {
                    self.input_report(report, icmp.dst, packet.bytes().get(original));
                }
            }
        }
    }

    /// A report to `to` about the segment that it quotes.
    fn input_report(&mut self, report: Report, to: IpAddress, quoted: Option<&[u8]>) {
        self.counters.icmp_errors.add(1);
        let segment = quoted.and_then(QuotedSegment::parse);
        let ours = segment.filter(|segment| segment.src == to);
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
                let current = stream.connection.info().path_mss as u16 + headers(segment.dst);
                let Some(mtu) = smaller_mtu(mtu, segment, current) else { return false };
                let known = self.paths.learn(segment.dst, mtu, self.now);
                stream.connection.on_path_mtu(known.size, known.until);
                self.counters.path_mtu_lowered.add(1);
            }
        }
        self.settle(index);
        true
    }

    /// A report about the SYN-ACK of a half-open connection.
    fn half_open_report(&mut self, report: Report, segment: &QuotedSegment, key: FlowKey) -> bool {
        let Some(half_open) = self.half_open.get_mut(key) else { return false };
        if half_open.request.isn() != segment.seq {
            return false;
        }
        if let Report::Undeliverable(error) = report
            && ends_half_open(error, segment.dst)
        {
            self.forget_half_open(key);
        }
        true
    }
}
