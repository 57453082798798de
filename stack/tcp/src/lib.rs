//! Sans-IO TCP engine and wire formats.
#![forbid(unsafe_code)]

pub mod config;
pub mod congestion;
pub mod connection;
mod error;
mod isn;
mod seq;
mod time;
mod timer_wheel;
pub mod wire;

pub use config::{Config, CongestionAlgorithm, Keepalive};
pub use connection::{
    Chunk, Connection, Events, Info, Params, Payload, Readiness, State, Transmit, reset_for,
};
pub use error::{Error, RecvError, SendError};
pub use isn::initial_sequence;
pub use seq::SeqNum;
pub use time::{Duration, Instant};
pub use timer_wheel::TimerWheel;
