//! Requests and replies, one JSON object a message.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What tpad is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The steering program of an interface, loaded if need be. The reply brings
    /// its link and its maps, in their order.
    Steer {
        /// Name of the interface.
        interface: String,
    },
    /// A new AF_XDP socket, which the reply brings.
    Socket,
    /// Memory for an AF_XDP socket (`XDP_UMEM_REG`). With the request come the
    /// socket and the file of the memory.
    Memory {
        /// Where it begins in the file, in bytes.
        offset: u64,
        /// Bytes of it.
        length: u64,
        /// What of `struct xdp_umem_reg` comes after the address and the length.
        options: Vec<u8>,
    },
    /// The folder of the asking process's counters, which it may write to.
    Folder,
}

/// Why tpad could not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{text}")]
pub struct Refusal {
    /// One line for people.
    pub text: String,
    /// errno(3) where there is one.
    pub errno: Option<i32>,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(text: impl ToString) -> Self {
        Self { text: text.to_string(), errno: None }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { text: error.to_string(), errno: error.raw_os_error() }
    }
}

/// What tpad answers.
pub type Reply = Result<(), Refusal>;
