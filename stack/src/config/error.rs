//! Errors of the configuration: where it is wrong, and what was meant.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why the configuration cannot be used. Shows as one line such as
/// `./tpa.conf:3:1: unknown key 'lisen', did you mean 'listen'?`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there, or was named by `TPA_CONF`, and cannot be read.
    #[error("{}: cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file says something that it may not.
    #[error("{}:{place}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        place: Place,
        /// What is wrong, and what was meant.
        message: String,
    },
    /// A variable of the environment has a value that it may not.
    #[error("{variable}: {message}")]
    Environment {
        /// Name of the variable.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// A place in a file, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; cut to the text.
    fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        Self { line: before.iter().filter(|&&byte| byte == b'\n').count() + 1, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl ConfigError {
    /// An error of the TOML reader or of serde, put in words of ours.
    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::at(path, text, error.span().unwrap_or(0..0), meant(error.message()))
    }

    /// An error at a span of the text.
    pub(super) fn at(path: &Path, text: &str, span: Range<usize>, message: String) -> Self {
        Self::Wrong { path: path.to_owned(), place: Place::of(text, span.start), message }
    }
}

/// Rewrites serde's messages for unknown names ("unknown field `a`, expected
/// one of `b`, `c`") so that they say what was meant; others stay.
fn meant(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let what = if message.starts_with("unknown field") {
        "key"
    } else if message.starts_with("unknown variant") {
        "value"
    } else {
        // The reader's "expected ..." lists may span lines; an error is one.
        return message.lines().collect::<Vec<_>>().join(", ");
    };
    let name = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    unknown(what, name, &known)
}

/// Text for a name that is not among the known ones: the nearest when one is
/// near, else all of them.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4);
    match nearest {
        Some((_, candidate)) => format!("unknown {what} '{name}', did you mean '{candidate}'?"),
        None => format!("unknown {what} '{name}'; allowed: {}", known.join(", ")),
    }
}
