//! Programs beyond redis, as Debian ships them, each at the server's and at the
//! client's side of accelerated connections.

mod haproxy;
mod http;
mod iperf3;
mod node;
mod pgbench;
mod python;
mod redis;
mod rust;
mod sides;

use sides::{Sides, Who, LIMIT};
