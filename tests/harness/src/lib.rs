//! What the end-to-end tests and the benchmark share: namespaces, processes with
//! a time limit, a redis on either device, and the counters that tell which way
//! the bytes went.
//!
//! A step that fails panics, and says what it was that failed.

mod content;
mod counters;
mod namespace;
mod paths;
mod process;
mod redis;
mod stage;
mod work;

pub use content::{assert_same, noise};
pub use counters::{KernelTcp, StackTcp};
pub use namespace::Namespace;
pub use paths::{built, dpdk, shim, tpa};
pub use process::{Finished, Program, Running, wait_until};
pub use redis::Redis;
pub use stage::{Device, PORT, Role, Stage};
pub use work::Work;
