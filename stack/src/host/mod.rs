//! What the kernel knows: interfaces, addresses, routes and neighbours, read
//! through rtnetlink(7) and watched for changes.
//!
//! Every question opens a socket of its own (a few microseconds, slow paths
//! only). A socket that stayed open would be shared with forked children,
//! whose answers would mix with ours, would stay behind in its network
//! namespace after `setns`, and could be closed under us by a program that
//! closes "everything above 2".

mod attributes;
mod error;
mod interface;
mod neighbour;
mod netlink;
mod route;
#[cfg(test)]
mod tests;
mod watch;

pub use error::HostError;
pub use interface::{
    Interface, driver_of, interface_by_index, interface_by_name, interface_with_address, interfaces,
};
pub use neighbour::{neighbour, resolve};
pub use route::{Route, route_to};
pub use watch::{Change, Watcher};
