//! What the tests share: namespaces, processes with a time limit, a redis on
//! either device, and the counters that tell which way the bytes went.

mod counters;
mod namespace;
mod paths;
mod process;
mod redis;
mod stage;
mod work;

pub use counters::{KernelTcp, StackTcp};
pub use namespace::Namespace;
pub use paths::{dpdk, shim, tpa};
pub use process::{wait_until, Finished, Program, Running};
pub use redis::Redis;
pub use stage::{Device, Role, Stage, PORT};
pub use work::Work;
