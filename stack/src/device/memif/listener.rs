//! The server's socket file: taken over from a dead server, never from a
//! living one.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use thiserror::Error;

use super::control::connect_to;
use super::fds::ListedFd;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;
/// Tries, and their distance, to get hold of the folder while another server
/// starts there.
const LOCK_TRIES: u32 = 50;
const LOCK_DISTANCE: Duration = Duration::from_millis(20);

/// Why a server cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another server is alive there.
    #[error("another server is listening there")]
    InUse,
    /// Something else has that name.
    #[error("the file there is no socket")]
    NotASocket,
    /// The system refused one step.
    #[error("{step}: {error}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What came of it.
        error: io::Error,
    },
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> ListenError {
    move |error| ListenError::System { step, error: error.into() }
}

/// A listening socket. Its file goes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: ListedFd,
    path: PathBuf,
    /// Device and inode of our file, to know it from a later one.
    identity: (u64, u64),
}

impl Listener {
    /// Listens at `path`; the file of a dead server is replaced, and a folder
    /// that lacks is made.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        // Two servers that start at once must not both take a dead one's
        // place: the second would unlink the first one's fresh file.
        let _folder = lock_folder(path)?;
        let socket = open_socket().map_err(failed("socket"))?;
        let address = UnixAddr::new(path).map_err(failed("address"))?;
        match bind(socket.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) => {
                remove_dead(path)?;
                bind(socket.as_raw_fd(), &address).map_err(failed("bind"))?;
            }
            other => other.map_err(failed("bind"))?,
        }
        let backlog = Backlog::new(BACKLOG).map_err(failed("listen"))?;
        listen(&socket, backlog).map_err(failed("listen"))?;
        let file = std::fs::symlink_metadata(path).map_err(failed("stat"))?;
        Ok(Self { socket: socket.into(), path: path.into(), identity: (file.dev(), file.ino()) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let file = std::fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn open_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
}

fn lock_folder(path: &Path) -> Result<Flock<File>, ListenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed("folder"))?;
    let mut file = File::open(folder).map_err(failed("folder"))?;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) => file = back,
            Err((_, errno)) => return Err(failed("lock of the folder")(errno)),
        }
        std::thread::sleep(LOCK_DISTANCE);
    }
    Err(failed("lock of the folder")(Errno::EWOULDBLOCK))
}

/// Removes a socket file on which nobody listens.
fn remove_dead(path: &Path) -> Result<(), ListenError> {
    let file = std::fs::symlink_metadata(path).map_err(failed("stat"))?;
    if !file.file_type().is_socket() {
        return Err(ListenError::NotASocket);
    }
    match connect_to(path) {
        Err(Errno::ECONNREFUSED) => std::fs::remove_file(path).map_err(failed("remove")),
        // It took the connection, or has no room, or is a socket of another type.
        _ => Err(ListenError::InUse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::memif::tests::TempFolder;

    #[test]
    fn the_file_goes_with_the_listener() {
        let folder = TempFolder::new();
        let path = folder.path().join("s");
        let listener = Listener::bind(&path).unwrap();
        assert!(path.exists());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_server_keeps_its_path() {
        let folder = TempFolder::new();
        let path = folder.path().join("s");
        let _first = Listener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(ListenError::InUse)));
        assert!(connect_to(&path).is_ok());
    }

    #[test]
    fn the_file_of_a_dead_server_is_replaced() {
        let folder = TempFolder::new();
        let path = folder.path().join("s");
        let dead = open_socket().unwrap();
        bind(dead.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        drop(dead);
        assert_eq!(connect_to(&path).unwrap_err(), Errno::ECONNREFUSED);
        let _listener = Listener::bind(&path).unwrap();
        assert!(connect_to(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let folder = TempFolder::new();
        let path = folder.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(ListenError::NotASocket)));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_later_servers_file_survives_our_end() {
        let folder = TempFolder::new();
        let path = folder.path().join("s");
        let first = Listener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = Listener::bind(&path).unwrap();
        drop(first);
        assert!(connect_to(&path).is_ok());
    }

    #[test]
    fn of_servers_that_start_at_once_one_wins() {
        let folder = TempFolder::new();
        let path = folder.path().join("s");
        for _ in 0..20 {
            let dead = open_socket().unwrap();
            bind(dead.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
            drop(dead);
            let starts: Vec<_> = (0..4)
                .map(|_| {
                    let path = path.clone();
                    std::thread::spawn(move || Listener::bind(&path))
                })
                .collect();
            let ends: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
            assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
            assert!(connect_to(&path).is_ok());
        }
    }

    #[test]
    fn a_missing_folder_is_made_or_named() {
        let folder = TempFolder::new();
        assert!(Listener::bind(&folder.path().join("new/folder/s")).is_ok());
        let error = Listener::bind(Path::new("/proc/nonexistent/s")).unwrap_err();
        assert!(matches!(error, ListenError::System { step: "folder", .. }));
    }
}
