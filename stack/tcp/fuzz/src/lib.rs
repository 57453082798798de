//! What each fuzz target does with its bytes.
//!
//! The binaries in `fuzz_targets` feed these functions from libFuzzer, and
//! `tests/corpora.rs` of tpa-tcp from the checked-in corpora, so that what was
//! once found stays found on any compiler.

pub mod connection;
pub mod frame;
pub mod options;
