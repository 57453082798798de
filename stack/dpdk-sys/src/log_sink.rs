//! DPDK's log, handed to the `log` crate.
//!
//! What DPDK calls an error is often a try that has an alternative, so nothing
//! of it is more than `debug` here: whoever called says in one line what
//! failed, with [`last_error_line`] for a reason.

use std::ffi::c_char;
use std::panic;
use std::sync::{Mutex, PoisonError};

use crate::library::Dpdk;

/// DPDK's levels (rte_log.h).
const RTE_LOG_ERR: u32 = 4;
const RTE_LOG_NOTICE: u32 = 6;
const RTE_LOG_DEBUG: u32 = 8;

static LAST_ERROR: Mutex<Option<String>> = Mutex::new(None);

/// The last line that DPDK logged as an error; taken, so that it is reported
/// once.
pub fn last_error_line() -> Option<String> {
    LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Sends DPDK's log here, as detailed as the `log` crate's level asks for.
pub(crate) fn install(dpdk: &Dpdk) {
    let level = if log::max_level() == log::LevelFilter::Trace { RTE_LOG_DEBUG } else { RTE_LOG_NOTICE };
    // SAFETY: the sink is a function that lives as long as the process.
    unsafe { (dpdk.f().set_log)(Some(sink), level) }
}

unsafe extern "C" fn sink(level: u32, text: *const c_char, len: usize) {
    // SAFETY: C promises `len` readable bytes for the time of the call.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    // A panic must not unwind into C, and there is nobody to tell.
    let _ = panic::catch_unwind(|| forward(level, &String::from_utf8_lossy(bytes)));
}

fn forward(level: u32, text: &str) {
    if level <= RTE_LOG_ERR {
        *LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }
    let level = if level <= RTE_LOG_NOTICE { log::Level::Debug } else { log::Level::Trace };
    log::log!(target: "dpdk", level, "{text}");
}
