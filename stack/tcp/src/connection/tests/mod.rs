//! Segment tests: one clause of a specification, one script.

mod closing;
mod congestion;
mod keepalive;
mod offload;
mod opening;
mod receiving;
mod recovery;
mod resets;
mod script;
mod sending;
mod state_table;
mod timestamps;
mod urgent;
mod windows;
