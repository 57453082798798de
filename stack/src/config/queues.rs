//! How many receive queues of an interface a process takes.

use std::fmt;
use std::str::FromStr;

use super::text::serde_as_text;

/// Most queues that can be asked for.
const MOST: u16 = 64;

/// Receive queues of an interface that a process takes, of those that are free.
/// Written `auto`, `all`, or a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Queues {
    /// All; a worker of a server with several takes one.
    #[default]
    Auto,
    /// All.
    All,
    /// So many at most.
    Count(u16),
}

serde_as_text!(Queues);

impl Queues {
    /// What they are for a process that was forked to serve beside others: the
    /// first must not take them all.
    pub fn of_worker(self) -> Self {
        match self {
            Self::Auto => Self::Count(1),
            set => set,
        }
    }

    /// The most to take; `None`: all.
    pub fn limit(self) -> Option<u16> {
        match self {
            Self::Auto | Self::All => None,
            Self::Count(count) => Some(count),
        }
    }
}

impl FromStr for Queues {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if (1..=MOST).contains(&count) => Ok(Self::Count(count)),
            _ => Err(format!("'{text}' is neither \"auto\" nor \"all\" nor a number from 1 to {MOST}")),
        }
    }
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::All => f.write_str("all"),
            Self::Count(count) => count.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_worker_takes_one_queue_of_itself() {
        let limits = |text: &str| {
            let queues: Queues = text.parse().unwrap();
            assert_eq!(queues.to_string(), text);
            (queues.limit(), queues.of_worker().limit())
        };
        assert_eq!(limits("auto"), (None, Some(1)));
        assert_eq!(limits("all"), (None, None));
        assert_eq!(limits("2"), (Some(2), Some(2)));
    }
}
