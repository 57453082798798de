//! Which way bytes went: the stack's counters, read by `tpa stat`, and the
//! kernel's, read by nstat(8).

use std::process::Command;

use serde_json::Value;

use super::{Namespace, tpa};

/// Counters of one process's stack, all its workers.
#[derive(Debug, Clone)]
pub struct StackTcp(Value);

impl StackTcp {
    /// `None` while the process has no stack.
    pub fn of(pid: u32) -> Option<Self> {
        let output =
            Command::new(tpa()).args(["stat", "--json", &pid.to_string()]).output().expect("tpa stat");
        let instances: Value = serde_json::from_slice(&output.stdout).ok()?;
        let instance = instances.as_array()?.iter().find(|instance| instance["pid"] == pid)?;
        Some(Self(instance["counters"].clone()))
    }

    /// One counter by its name.
    pub fn get(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {}", self.0))
    }

    /// How much a counter has grown since.
    pub fn since(&self, before: &Self, name: &str) -> u64 {
        self.get(name) - before.get(name)
    }
}

/// The kernel's TCP counters in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelTcp {
    /// Segments received and sent.
    pub segments: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Segments that were sent again.
    pub retransmitted: u64,
}

impl KernelTcp {
    /// What `nstat` shows now.
    pub fn of(namespace: &Namespace) -> Self {
        let text = namespace.run(&["nstat", "-asz"]);
        let value = |name: &str| {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("nstat shows no {name}"))
        };
        Self {
            segments: value("TcpInSegs") + value("TcpOutSegs"),
            timeouts: value("TcpExtTCPTimeouts"),
            retransmitted: value("TcpRetransSegs"),
        }
    }
}
