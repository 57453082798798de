//! Which sockets are accelerated, and why not.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};

use super::Config;
use super::options::{Rule, RuleAction};

/// The rules of a configuration, in the order in which they are asked.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    /// Loopback is the stack's.
    loopback: bool,
}

/// What the policy says of one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the socket should run on the stack.
    pub accelerate: bool,
    /// Why.
    pub reason: Reason,
}

/// Why a socket is accelerated or not, as far as the configuration goes. None
/// of these is an error under `strict`: it only concerns sockets that should
/// be accelerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A rule names it.
    Matched,
    /// No rule names its address and port.
    NoRule,
    /// Rules name its address and port, but for other programs.
    Program,
    /// A rule with `action = "kernel"` names it.
    KernelRule,
    /// Its address is a loopback one: the kernel's.
    Loopback,
    /// It is an IPv6 socket.
    Ipv6,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Matched => "a rule names it",
            Self::NoRule => "no rule names its address and port",
            Self::Program => "the rules that name it are for other programs",
            Self::KernelRule => "a rule leaves it to the kernel",
            Self::Loopback => "loopback stays with the kernel",
            Self::Ipv6 => "IPv6 stays with the kernel",
        })
    }
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        Self { accelerate: reason == Reason::Matched, reason }
    }
}

impl Policy {
    /// The policy of a configuration: its rules in order, then its own
    /// `listen` and `connect`.
    pub fn new(config: &Config) -> Self {
        let last = Rule {
            programs: config.programs.clone(),
            listen: config.listen.clone(),
            connect: config.connect.clone(),
            action: RuleAction::Accelerate,
        };
        let mut rules = config.rules.clone();
        rules.push(last);
        Self { rules, loopback: config.loopback }
    }

    /// Whether any socket of this program could be accelerated; when not, the
    /// program needs no further look at its sockets.
    pub fn concerns(&self, program: &str) -> bool {
        let names = |rule: &Rule| !rule.listen.is_empty() || !rule.connect.is_empty();
        self.rules
            .iter()
            .any(|rule| rule.action == RuleAction::Accelerate && names(rule) && holds_for(rule, program))
    }

    /// Decides about a listener at this local address (all zeros: every one).
    pub fn decide_listen(&self, program: &str, local: SocketAddr) -> Decision {
        self.decide(program, local, |rule, address| match address {
            Socket::V4(local) => rule.listen.iter().any(|pattern| pattern.matches(local)),
            Socket::V6(port) => rule.listen.iter().any(|pattern| pattern.matches_port(port)),
        })
    }

    /// Decides about a connection to this remote address.
    pub fn decide_connect(&self, program: &str, remote: SocketAddr) -> Decision {
        self.decide(program, remote, |rule, address| match address {
            Socket::V4(remote) => rule.connect.iter().any(|pattern| pattern.matches(remote)),
            Socket::V6(port) => rule.connect.iter().any(|pattern| pattern.matches_port(port)),
        })
    }

    fn decide(&self, program: &str, address: SocketAddr, names: impl Fn(&Rule, Socket) -> bool) -> Decision {
        let socket = Socket::from(address);
        let mut matching = self.rules.iter().filter(|rule| names(rule, socket)).peekable();
        if matching.peek().is_none() {
            return Reason::NoRule.into();
        }
        let Some(rule) = matching.find(|rule| holds_for(rule, program)) else {
            return Reason::Program.into();
        };
        let reason = match socket {
            _ if rule.action == RuleAction::Kernel => Reason::KernelRule,
            Socket::V6(_) => Reason::Ipv6,
            Socket::V4(address) if address.ip().is_loopback() && !self.loopback => Reason::Loopback,
            Socket::V4(_) => Reason::Matched,
        };
        reason.into()
    }
}

/// A socket's address as rules see it: of an IPv6 one only the port counts.
#[derive(Clone, Copy)]
enum Socket {
    V4(SocketAddrV4),
    V6(u16),
}

impl From<SocketAddr> for Socket {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(address.port()),
        }
    }
}

fn holds_for(rule: &Rule, program: &str) -> bool {
    rule.programs.is_empty() || rule.programs.iter().any(|pattern| pattern.matches(program))
}
