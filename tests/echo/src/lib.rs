//! What both echo programs share: their arguments and what they send.
//!
//! ```text
//! PROGRAM serve PORT
//! PROGRAM ask HOST:PORT CONNECTIONS BYTES
//! ```

use std::error::Error;
use std::net::SocketAddr;

/// What a program ends with: its error goes to standard error.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What a program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Send everything back, on this port of all addresses.
    Serve(u16),
    /// Send bytes over connections, all at once, and compare what comes back.
    Ask(Asking),
}

/// What a client is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// Where the server is.
    pub server: SocketAddr,
    /// Connections at the same time.
    pub connections: u64,
    /// Bytes over each of them.
    pub bytes: usize,
}

/// Reads the arguments of this process.
///
/// # Errors
///
/// What is wrong with them.
pub fn task() -> Outcome<Task> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", port] => Ok(Task::Serve(port.parse()?)),
        ["ask", server, connections, bytes] => Ok(Task::Ask(Asking {
            server: server.parse()?,
            connections: connections.parse()?,
            bytes: bytes.parse()?,
        })),
        _ => Err("either 'serve PORT' or 'ask HOST:PORT CONNECTIONS BYTES'".into()),
    }
}

/// Bytes in which nothing repeats, others for each connection: xorshift64 by
/// Marsaglia.
#[must_use]
pub fn payload(connection: u64, bytes: usize) -> Vec<u8> {
    let mut state = (connection + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// Compares what came back over a connection with what was sent.
///
/// # Errors
///
/// When it differs.
pub fn compare(connection: u64, sent: &[u8], received: &[u8]) -> Outcome<()> {
    let differs =
        || format!("connection {connection}: {} of {} bytes back, or others", received.len(), sent.len());
    if sent == received { Ok(()) } else { Err(differs().into()) }
}
