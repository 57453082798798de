//! `tpa conf`: configurations.

use std::path::Path;

use tpa_stack::config::{self, Config};

/// Checks a configuration and prints it; without a file the one that a program
/// would find.
pub fn check(file: Option<&Path>) -> Result<(), String> {
    let config = match file {
        Some(file) => config::parse_file(file).map_err(|error| error.to_string())?,
        None => match config::load().map_err(|error| error.to_string())? {
            Some(config) => config,
            None => return Err(nothing_found()),
        },
    };
    print!("{}", render(&config)?);
    Ok(())
}

fn nothing_found() -> String {
    "no configuration: TPA_CONF is not set, and there is neither ./tpa.conf nor /etc/tpa/tpa.conf".to_owned()
}

fn render(config: &Config) -> Result<String, String> {
    toml::to_string(config).map_err(|error| error.to_string())
}
