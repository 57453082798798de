//! Devices, steering, neighbours, workers and sockets: everything between a
//! socket call and a frame on the wire. See `ARCHITECTURE.md`.

mod clock;
pub mod config;
mod control;
pub mod counters;
pub mod decisions;
mod descriptor;
pub mod device;
mod errno;
mod faults;
mod fork;
mod handle;
pub mod host;
mod identity;
mod instance;
mod neighbour;
mod options;
pub mod packet;
pub mod ports;
pub mod privilege;
pub mod request;
mod worker;

pub use clock::now;
pub use descriptor::always_readable;
pub use handle::{Handle, SetId};
pub use instance::{Purpose, Stack, StartError};
pub use options::SocketOptions;
pub use worker::{Busy, ConnectState, MAX_WAIT_FDS, Queued, Worker, WorkerGuard};
