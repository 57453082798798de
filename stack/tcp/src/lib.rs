//! Sans-IO TCP engine and wire formats.
#![forbid(unsafe_code)]
