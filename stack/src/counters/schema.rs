//! The text at the start of the file: whose it is, what it holds and where.
//!
//! One line that names the format, then TOML, then zeros. Readers ignore what
//! they do not know, so that fields may be added.

use serde::{Deserialize, Serialize};

use super::identity::Identity;

/// First line of the file.
const MAGIC: &str = "tpa counters 1\n";

/// How a value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    Gauge,
    /// A kind of a later version.
    #[serde(other)]
    Other,
}

/// What is known of a value beside its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// How it moves.
    pub kind: Kind,
    /// What it counts.
    pub unit: String,
    /// A sentence about it.
    pub help: String,
}

/// Whose values they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// The process's.
    Process,
    /// One worker's, and the next one's behind.
    Worker,
    /// A scope of a later version.
    #[serde(other)]
    Other,
}

/// Values that lie together: `count` times, `stride` bytes apart, 64-bit
/// numbers in the order of `fields`, in host byte order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) scope: Scope,
    /// Bytes from the start of the file.
    pub(super) offset: usize,
    pub(super) stride: usize,
    pub(super) count: usize,
    pub(super) fields: Vec<Field>,
}

/// The text as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) program: String,
    pub(super) device: String,
    pub(super) process: Identity,
    pub(super) blocks: Vec<Block>,
}

impl Header {
    /// The text; `None` when it cannot be put into TOML.
    pub(super) fn encode(&self) -> Option<String> {
        Some(format!("{MAGIC}{}", toml::to_string(self).ok()?))
    }

    /// Reads the text at the start of a file's bytes; `None` for anything else.
    pub(super) fn decode(file: &[u8]) -> Option<Self> {
        let text = file.split(|&byte| byte == 0).next()?;
        let text = std::str::from_utf8(text).ok()?.strip_prefix(MAGIC)?;
        toml::from_str(text).ok()
    }
}
