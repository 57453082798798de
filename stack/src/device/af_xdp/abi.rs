//! What the steering program and its users agree on: `bpf/steer.h`, which
//! documents it, as bindgen reads it.
#![allow(missing_docs, non_camel_case_types, non_upper_case_globals, dead_code)]
#![allow(clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/steer.rs"));
