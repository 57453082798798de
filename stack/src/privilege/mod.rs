//! What only a privileged process may do, for programs that drop root before
//! they serve.
//!
//! nginx's workers, memcached and haproxy begin as root and give that up before
//! their stack starts. Just before they do, the shim starts `tpad`, which keeps
//! the privileges, outside of the program, and does four things for it and its
//! children: it loads or joins the steering program of an interface and passes
//! its maps, it makes AF_XDP sockets, it registers their memory, and it makes the
//! folder of the counters.
//! All else of the stack works with descriptors that it has been given.
//!
//! One socket, the *door*, is inherited over fork(2) by all of them. A process
//! that needs something puts one end of a new socket pair through the door, and
//! speaks with tpad over the other: so no two processes read each other's
//! replies, and the pair's credentials (unix(7), `SO_PEERCRED`) say who asks.
//! tpad ends with the last holder of its door.

mod channel;
mod client;
mod memory;
mod protocol;
mod server;
mod unheard;

pub(crate) use client::{Helper, helper};
pub use client::{register_memory, start, xdp_socket};
pub use protocol::Refusal;
pub use server::serve;
