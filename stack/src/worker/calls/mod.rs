//! What the program's socket calls do, errno for errno.

mod closing;
mod connecting;
mod listening;
mod options;
mod sets;
mod state;
mod transfer;

use nix::errno::Errno;

use crate::handle::Handle;
use crate::worker::core::Core;
use crate::worker::socket::{Owner, Socket, Stream};

pub use state::{ConnectState, Queued};

impl Core {
    fn stream(&self, handle: Handle) -> Result<&Stream, Errno> {
        match self.sockets.get(handle) {
            Some(Socket::Stream(stream)) if stream.owner == Owner::Program => Ok(stream),
            Some(Socket::Listener(_)) => Err(Errno::ENOTCONN),
            _ => Err(Errno::EBADF),
        }
    }

    #[inline]
    fn stream_mut(&mut self, handle: Handle) -> Result<&mut Stream, Errno> {
        match self.sockets.get_mut(handle) {
            Some(Socket::Stream(stream)) if stream.owner == Owner::Program => Ok(stream),
            Some(Socket::Listener(_)) => Err(Errno::ENOTCONN),
            _ => Err(Errno::EBADF),
        }
    }
}
