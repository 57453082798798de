//! The `tpa` command.
fn main() {}
