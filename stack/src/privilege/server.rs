//! tpad's side.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};

use super::channel;
use super::protocol::{Refusal, Reply, Request};
use crate::{counters, device::af_xdp, host};

/// Processes that speak with one tpad at a time.
const MOST_CLIENTS: usize = 1024;

/// One process that was let in.
struct Client {
    socket: OwnedFd,
    who: UnixCredentials,
    /// The folder that was made for it.
    folder: Option<PathBuf>,
}

/// Serves those who come through the door until it has no holder any more.
///
/// # Errors
///
/// When waiting fails.
pub fn serve(door: OwnedFd) -> io::Result<()> {
    let mut door = Some(door);
    let mut clients: Vec<Client> = Vec::new();
    while door.is_some() || !clients.is_empty() {
        let ready = wait(door.as_ref(), &clients)?;
        if let Some(open) = door.as_ref().filter(|door| ready.contains(&door.as_raw_fd())) {
            match admit(open) {
                Ok(Some(client)) if clients.len() < MOST_CLIENTS => clients.push(client),
                Ok(_) => {}
                Err(error) => {
                    log::debug!("the door is closed: {error}");
                    door = None;
                }
            }
        }
        clients.retain_mut(|client| !ready.contains(&client.socket.as_raw_fd()) || client.serve().is_ok());
    }
    Ok(())
}

/// Waits until somebody wants something; returns who.
fn wait(door: Option<&OwnedFd>, clients: &[Client]) -> io::Result<Vec<RawFd>> {
    let sockets = door.into_iter().chain(clients.iter().map(|client| &client.socket));
    let mut polled: Vec<PollFd> =
        sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut polled, PollTimeout::NONE) {
        Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let ready = polled.iter().filter(|fd| fd.any().unwrap_or(true));
    Ok(ready.map(|fd| fd.as_fd().as_raw_fd()).collect())
}

/// Takes what was put through the door; an error when nobody can any more.
fn admit(door: &OwnedFd) -> io::Result<Option<Client>> {
    let message = channel::receive(door.as_fd())?;
    if message.bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some(socket) = message.fds.into_iter().next() else { return Ok(None) };
    let Ok(who) = getsockopt(&socket, sockopt::PeerCredentials) else { return Ok(None) };
    Ok(Some(Client { socket, who, folder: None }))
}

impl Client {
    /// Answers one request; an error when the process is gone.
    fn serve(&mut self) -> io::Result<()> {
        let message = channel::receive(self.socket.as_fd())?;
        if message.bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let outcome = match serde_json::from_slice(&message.bytes) {
            Ok(request) => self.grant(request, &message.fds),
            Err(error) => Err(Refusal::new(error)),
        };
        let (reply, fds): (Reply, Vec<OwnedFd>) = match outcome {
            Ok(fds) => (Ok(()), fds),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        channel::send(self.socket.as_fd(), &serde_json::to_vec(&reply)?, &fds)
    }

    fn grant(&mut self, request: Request, given: &[OwnedFd]) -> Result<Vec<OwnedFd>, Refusal> {
        match request {
            Request::Steer { interface } => {
                let interface = host::interface_by_name(&interface).map_err(Refusal::new)?;
                af_xdp::share_steering(&interface).map_err(Refusal::new)
            }
            Request::Socket => Ok(vec![af_xdp::make_socket()?]),
            Request::Memory { offset, length, options } => {
                let [socket, file] = given else { return Err(Refusal::new("two descriptors are needed")) };
                af_xdp::register_memory(socket, file, offset, length, &options)?;
                Ok(Vec::new())
            }
            Request::Folder => {
                self.folder =
                    Some(counters::make_folder_for(self.who.pid(), self.who.uid(), self.who.gid())?);
                Ok(Vec::new())
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            counters::remove_files(folder);
        }
    }
}
