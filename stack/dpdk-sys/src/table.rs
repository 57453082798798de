//! The C table, as bindgen reads it from `c/table.h`, which documents it.
#![allow(missing_docs, non_camel_case_types)]
#![allow(clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/table.rs"));
