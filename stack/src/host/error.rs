//! What can go wrong when the kernel is asked.

use std::io;

use thiserror::Error;

/// A question that the kernel did not answer.
#[derive(Debug, Error)]
pub enum HostError {
    /// The netlink socket itself failed.
    #[error("cannot {action} a netlink socket: {source}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The system's word for it.
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("{what}: {source}")]
    Refused {
        /// What was asked.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The answer lacks what it should hold.
    #[error("{what}: the kernel's answer has no {missing}")]
    Incomplete {
        /// What was asked.
        what: String,
        /// What was not in the answer.
        missing: &'static str,
    },
    /// There is no such interface in this network namespace.
    #[error("no network interface {0}")]
    NoInterface(String),
}

impl HostError {
    /// The `errno` that a socket call would show for it.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Socket { source, .. } | Self::Refused { source, .. } => {
                source.raw_os_error().unwrap_or(libc::EIO)
            }
            Self::Incomplete { .. } => libc::ENETUNREACH,
            Self::NoInterface(_) => libc::ENODEV,
        }
    }
}
