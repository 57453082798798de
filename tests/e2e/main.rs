//! End-to-end tests: programs as Debian ships them, over network namespaces
//! that each test makes for itself and removes. They need root.
//!
//! Every accelerated server runs with `strict = true`, and the counters of the
//! stack and of the kernel say which way the bytes went: that a program works
//! proves nothing, since it would work on the kernel as well.

mod bystanders;
mod death;
mod differential;
mod fallback;
mod faults;
mod integrity;
mod interop;
mod ipv6;
mod listeners;
mod loopback;
mod memif_peers;
mod neighbours;
mod nginx;
mod objects;
mod privileges;
mod programs;
mod progress;
mod redis_matrix;
mod stress;
mod tcp_info;
mod transparency;
mod why;

use tpa_harness as harness;
