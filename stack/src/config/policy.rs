//! Which sockets are accelerated, and why not.

use std::fmt;
use std::net::SocketAddr;

use tpa_tcp::wire::IpAddress;

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
    /// Its address is an IPv6 link-local one, which needs an interface beside it.
    LinkLocal,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Matched => "a rule names it",
            Self::NoRule => "no rule names its address and port",
            Self::Program => "the rules that name it are for other programs",
            Self::KernelRule => "a rule leaves it to the kernel",
            Self::Loopback => "loopback stays with the kernel",
            Self::LinkLocal => "IPv6 link-local addresses stay with the kernel",
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
        self.decide(program, local, |rule| rule.listen.iter().any(|pattern| pattern.matches(local)))
    }

    /// Decides about a connection to this remote address.
    pub fn decide_connect(&self, program: &str, remote: SocketAddr) -> Decision {
        self.decide(program, remote, |rule| rule.connect.iter().any(|pattern| pattern.matches(remote)))
    }

    fn decide(&self, program: &str, address: SocketAddr, names: impl Fn(&Rule) -> bool) -> Decision {
        let mut matching = self.rules.iter().filter(|rule| names(rule)).peekable();
        if matching.peek().is_none() {
            return Reason::NoRule.into();
        }
        let Some(rule) = matching.find(|rule| holds_for(rule, program)) else {
            return Reason::Program.into();
        };
        let reason = match IpAddress::from(address.ip()) {
            _ if rule.action == RuleAction::Kernel => Reason::KernelRule,
            address if address.is_loopback() && !self.loopback => Reason::Loopback,
            address if address.needs_scope() => Reason::LinkLocal,
            _ => Reason::Matched,
        };
        reason.into()
    }
}

fn holds_for(rule: &Rule, program: &str) -> bool {
    rule.programs.is_empty() || rule.programs.iter().any(|pattern| pattern.matches(program))
}
