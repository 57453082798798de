//! Segment tests: one clause of a specification, one script.

mod blind;
mod closing;
mod congestion;
mod keepalive;
mod offload;
mod opening;
mod receiving;
mod recovery;
mod recovery_probe;
mod recovery_rack;
mod resets;
mod rto;
mod script;
mod sending;
mod state_table;
mod time_wait;
mod timestamps;
mod urgent;
mod windows;
