//! A deterministic simulator for `tpa-tcp`.
//!
//! A [`World`] has one virtual clock, links that delay, queue, lose, double,
//! reorder, damage and mark what they carry ([`LinkConfig`]), and flows: two
//! hosts each, with a connection of the engine and a [`Program`] that uses it.
//! Every segment goes over its links as a whole frame, written and parsed by
//! the engine's own wire code. All chance comes from one seed, so that the same
//! seed gives the same run, event by event.
//!
//! After each step a world that was made with [`World::checked`] looks whether
//! everything still holds that must always hold: what a segment may contain and
//! where it may lie, what the connection recounts of itself, memory, and
//! progress.
//!
//! ```
//! use tpa_sim::{Exchange, HostConfig, LinkConfig, Plan, World};
//! use tpa_tcp::Duration;
//!
//! let mut world = World::checked(1);
//! let delay = Duration::from_millis(10);
//! let links = [0, 1].map(|_| world.add_link(LinkConfig { delay, ..LinkConfig::default() }));
//! let (asks, answers) = (Plan { writes: 100, ..Plan::default() }, Plan { writes: 5000, ..Plan::default() });
//! let [client, server] = Exchange::pair(1, asks, answers);
//! let opens = HostConfig { opens_after: Some(Duration::ZERO), ..HostConfig::default() };
//! let flow = world.add_flow(
//!     [opens, HostConfig::default()],
//!     [Box::new(client), Box::new(server)],
//!     [vec![links[0]], vec![links[1]]],
//! );
//! world.run(Duration::from_secs(60)).expect("all bytes arrive");
//! assert_eq!(world.connection(flow.client).expect("it was opened").info().bytes_received, 5000);
//! ```
//!
//! With `TPA_SIM_TRACE` in the environment a world prints each segment.
#![forbid(unsafe_code)]

mod bulk;
mod content;
pub mod direct;
mod exchange;
mod frame;
pub mod goodput;
mod host;
mod link;
mod listener;
mod loss;
mod offload;
mod progress;
mod random;
mod wire_rules;
mod world;

pub use bulk::{Sink, Source};
pub use exchange::{Exchange, GivesUp, Plan};
pub use host::{HostConfig, Program, Wake};
pub use link::{LinkConfig, LinkStats};
pub use listener::SynQueue;
pub use loss::{Bursts, Loss};
pub use random::Random;
pub use world::{Flow, HostId, LinkId, START, World};
