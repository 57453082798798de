//! `tpad` keeps the privileges that a program gives up, for the stack inside it.
//!
//! The shim starts it, with one end of a socket pair as standard input, when a
//! program that it concerns is about to drop root; see
//! [`tpa_stack::privilege`]. It ends with the last process that holds the other
//! end.

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::{daemon, dup};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tpad: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let input = std::io::stdin();
    if getsockopt(&input, sockopt::SockType) != Ok(SockType::SeqPacket) {
        return Err("libtpa_shim.so starts this program by itself; there is nothing to call".to_owned());
    }
    let text = |error: &dyn std::fmt::Display| error.to_string();
    // SOCK_CLOEXEC is no matter here: tpad starts nothing.
    let door = dup(input.as_fd()).map_err(|error| text(&error))?;
    // The first process ends here; the second has no terminal and no standard streams.
    daemon(false, false).map_err(|error| text(&error))?;
    tpa_stack::privilege::serve(door).map_err(|error| text(&error))
}
