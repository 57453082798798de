//! Which sockets are accelerated, and why not.

use std::fmt;
use std::net::SocketAddr;

use tpa_tcp::wire::IpAddress;

use super::Config;
use super::options::{Rule, RuleAction};

/// Servers that fork for each connection, by their file's name.
const FORKING_SERVERS: [&str; 5] = ["inetd", "postgres", "sshd", "vsftpd", "xinetd"];

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

/// Why a socket is accelerated or not. Their order is that of [`Reason::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A rule names it, and the stack took it.
    Accelerated,
    /// A rule names it: it is to move to the stack, a listener at its first use.
    Pending,
    /// No rule names its address and port.
    NoRule,
    /// Rules name its address and port, but for other programs.
    Program,
    /// A rule with `action = "kernel"` names it.
    KernelRule,
    /// Its program forks for each connection: the child that serves it has no part
    /// in its parent's stack.
    Forks,
    /// Its address is a loopback one, or it goes to an own address of the device,
    /// and `loopback` is off.
    Loopback,
    /// Its address is an IPv6 link-local one, which needs an interface beside it.
    LinkLocal,
    /// It goes to an address of this host, where this process has no
    /// accelerated listener: another one may have.
    NotToItself,
    /// The stack could not start.
    NoStack,
    /// Other processes have every receive queue of the device now.
    NoQueue,
    /// Replies might arrive on a receive queue of another process.
    SharedQueues,
    /// The process was forked from one whose stack ran already.
    Forked,
    /// The device does not have the listener's address.
    NotOwnAddress,
    /// The device does not lead to the connection's destination.
    NoPath,
    /// The stack refused it, as when a port is in use.
    Refused,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Accelerated,
        Self::Pending,
        Self::NoRule,
        Self::Program,
        Self::KernelRule,
        Self::Forks,
        Self::Loopback,
        Self::LinkLocal,
        Self::NotToItself,
        Self::NoStack,
        Self::NoQueue,
        Self::SharedQueues,
        Self::Forked,
        Self::NotOwnAddress,
        Self::NoPath,
        Self::Refused,
    ];

    /// A name that stays the same from version to version.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Accelerated => "accelerated",
            Self::Pending => "pending",
            Self::NoRule => "no_rule",
            Self::Program => "other_program",
            Self::KernelRule => "kernel_rule",
            Self::Forks => "forks",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::NotToItself => "not_to_itself",
            Self::NoStack => "no_stack",
            Self::NoQueue => "no_queue",
            Self::SharedQueues => "shared_queues",
            Self::Forked => "forked",
            Self::NotOwnAddress => "not_own_address",
            Self::NoPath => "no_path",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Accelerated => "it runs on the stack",
            Self::Pending => "a rule names it; a listener moves to the stack at its first use",
            Self::NoRule => "no rule names its address and port",
            Self::Program => "the rules that name it are for other programs",
            Self::KernelRule => "a rule leaves it to the kernel",
            Self::Forks => "it forks for each connection",
            Self::Loopback => "loopback stays with the kernel without `loopback = true`",
            Self::LinkLocal => "IPv6 link-local addresses stay with the kernel",
            Self::NotToItself => {
                "no accelerated listener of this process is there; another process may listen"
            }
            Self::NoStack => "the stack could not start; the log says why",
            Self::NoQueue => "every receive queue of the device is taken; a listener moves when one is free",
            Self::SharedQueues => "other processes have receive queues, where replies may come in",
            Self::Forked => "the stack is that of the process that this one was forked from",
            Self::NotOwnAddress => "the device does not have this address",
            Self::NoPath => "the device does not lead there",
            Self::Refused => "the stack refused it; the log says why",
        })
    }
}

impl From<Reason> for Decision {
    fn from(reason: Reason) -> Self {
        Self { accelerate: reason == Reason::Pending, reason }
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
        let decision =
            self.decide(program, local, |rule| rule.listen.iter().any(|pattern| pattern.matches(local)));
        if decision.accelerate && FORKING_SERVERS.contains(&program) {
            Reason::Forks.into()
        } else {
            decision
        }
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
            _ => Reason::Pending,
        };
        reason.into()
    }
}

fn holds_for(rule: &Rule, program: &str) -> bool {
    rule.programs.is_empty() || rule.programs.iter().any(|pattern| pattern.matches(program))
}
