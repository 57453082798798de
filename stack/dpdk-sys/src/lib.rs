//! The system's DPDK, opened at first use.
//!
//! DPDK lives in an object of its own, `libtpa_dpdk.so`, so that a program
//! which never needs it pays nothing and a machine without its libraries loses
//! nothing else. The object is C: EAL, the drivers, and one table of functions
//! (`c/table.h`). [`Dpdk::open`] loads it, [`eal::start`] starts EAL, and
//! [`Port`], [`Queue`] and [`Pool`] are the typed face of what follows.
//!
//! All `unsafe` contact with C is in this crate; what [`Frame`]s point to is
//! the caller's duty, as the functions that hand them out say.

pub mod eal;
mod library;
mod log_sink;
mod pool;
mod port;
mod table;

use std::fmt;

pub use library::{Dpdk, OpenError, beside};
pub use log_sink::last_error_line;
pub use pool::{Layout, Pool};
pub use port::{Capabilities, FlowRule, MAX_BURST, Port, PortConfig, PortInfo, PortStats, Queue, Xsk};
/// A frame in a buffer of DPDK's: where it is, how long, and its handle.
pub use table::tpa_frame as Frame;
pub use table::{TPA_FRAME_CHECKSUM_BAD, TPA_FRAME_CHECKSUM_GOOD, TPA_FRAME_CHECKSUM_TX};

/// A call of DPDK that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What was tried.
    pub what: &'static str,
    /// `errno` of the failure, positive.
    pub errno: i32,
    /// What DPDK logged about it, when it did.
    pub detail: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, std::io::Error::from_raw_os_error(self.errno))?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Turns C's "0 or negative errno" into a result; DPDK's own `-1` becomes EIO.
fn check(what: &'static str, result: i32) -> Result<(), Error> {
    match result {
        0.. => Ok(()),
        -1 => Err(Error { what, errno: libc::EIO, detail: last_error_line() }),
        negative => Err(Error { what, errno: -negative, detail: last_error_line() }),
    }
}
