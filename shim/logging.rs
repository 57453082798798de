//! Log lines of the stack and the shim: standard error, one line each, as
//! `TPA_LOG` asks (env_logger's syntax; warnings by default).

use std::io::Write;

use env_logger::{Builder, Env, Target, WriteStyle};
use log::Level;

/// Starts logging; later calls do nothing.
pub fn init() {
    let started = Builder::from_env(Env::new().filter_or("TPA_LOG", "warn"))
        .target(Target::Stderr)
        .write_style(WriteStyle::Never)
        .format(|out, record| match record.level() {
            Level::Error | Level::Warn => writeln!(out, "tpa: {}", record.args()),
            level => {
                writeln!(out, "tpa: {} {}: {}", level.as_str().to_lowercase(), record.target(), record.args())
            }
        })
        .try_init();
    // Fails when logging runs already, which is as well.
    drop(started);
}
