//! The programs of a bulk transfer: one writes as much as there is room for,
//! the other reads all that comes.

use tpa_tcp::{Connection, Instant, RecvError, SendError};

use crate::{Program, Wake};

/// Bytes that one call moves at most.
const STEP: usize = 1 << 16;

/// Writes without end.
#[derive(Debug, Default)]
pub struct Source(());

impl Program for Source {
    fn wake(
        &mut self,
        connection: &mut Connection<Vec<u8>>,
        _wake: Wake,
        _now: Instant,
    ) -> Result<Option<Instant>, String> {
        static ZEROS: [u8; STEP] = [0; STEP];
        loop {
            match connection.send(&ZEROS) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(SendError::Closed) => return Err("closed while writing".into()),
                Err(SendError::Connection(error)) => return Err(format!("{error} while writing")),
            }
        }
    }

    fn is_done(&self) -> bool {
        false
    }
}

/// Reads without end.
#[derive(Debug)]
pub struct Sink {
    buf: Vec<u8>,
}

impl Default for Sink {
    fn default() -> Self {
        Self { buf: vec![0; STEP] }
    }
}

impl Program for Sink {
    fn wake(
        &mut self,
        connection: &mut Connection<Vec<u8>>,
        _wake: Wake,
        _now: Instant,
    ) -> Result<Option<Instant>, String> {
        loop {
            match connection.recv(&mut self.buf) {
                Ok(0) | Err(RecvError::WouldBlock) => return Ok(None),
                Ok(_) => {}
                Err(RecvError::Connection(error)) => return Err(format!("{error} while reading")),
            }
        }
    }

    fn is_done(&self) -> bool {
        false
    }
}
