//! `libtpa_shim.so`: runs the sockets of an unmodified program on the stack.
//!
//! A call of the program goes `hooks` → (by the descriptor `table`) `stream`,
//! `listener`, `io`, `options`, `descriptor`, `event_set` or `polling` → the
//! stack's worker; what has to wait does so in `wait`. `start` knows whether the
//! program's sockets are to be accelerated at all and starts the stack at the
//! first use of one. `README.md` beside this file lists every symbol.
//!
//! Whatever this library, the stack and their dependencies call comes through
//! the hooks as well. That is safe by construction: numbers that the table does
//! not know go to the real functions at once, and a thread inside the start of
//! the stack never has a socket accelerated.

// What only the hooks call is dead in a unit test; see `mod hooks`.
#![cfg_attr(test, allow(dead_code))]

mod address;
mod ancillary;
mod boundary;
mod buffers;
mod cancel;
mod cold;
mod descriptor;
mod event_set;
mod fork;
mod forking;
// Unit tests call the functions behind the hooks; their process keeps libc's own.
#[cfg(not(test))]
mod hooks;
mod inherited;
mod io;
mod listener;
mod logging;
mod memory;
mod nested;
mod options;
mod pending;
mod polling;
mod privilege;
mod real;
mod reserve;
mod rouse;
mod signals;
mod start;
mod stdio;
mod stream;
mod table;
mod transfer;
mod wait;
mod watches;

/// Runs when the library is loaded, in every process that inherits
/// `LD_PRELOAD`: looks up the real functions and little else.
#[cfg(not(test))]
extern "C" fn load() {
    real::resolve_all();
    fork::note_load();
    boundary::install_panic_hook();
}

#[cfg(not(test))]
#[used]
#[link_section = ".init_array"]
static LOAD: extern "C" fn() = load;
