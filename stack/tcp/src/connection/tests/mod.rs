//! Segment tests: one clause of a specification, one script.

mod acknowledging;
mod blind;
mod closing;
mod congestion;
mod keepalive;
mod nagle;
mod offload;
mod opening;
mod probing;
mod receiving;
mod recovery;
mod recovery_probe;
mod recovery_rack;
mod resets;
mod rto;
mod scaling;
mod script;
mod selective;
mod sending;
mod state_table;
mod time_wait;
mod timestamps;
mod urgent;
mod user_timeout;
mod windows;
