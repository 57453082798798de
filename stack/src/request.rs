//! Requests of the `tpa` command to a running process, over a socket in the
//! instance's directory.
//!
//! A request is one line of text; its answer begins with `ok`, and then what
//! was asked for, or with `no`, and then why not. The socket's mode (0600) lets
//! in only the process's own user and root.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, fchmod};

use crate::descriptor::move_high;
use crate::device::memif::Listed;

/// Name of the socket in the instance's directory.
pub(crate) const SOCKET: &str = "control";
/// Longest request, in bytes.
const LONGEST: usize = 4096;
/// Askers that may be connected at once; the first goes when more come.
const ASKERS: usize = 8;
/// How long a process has to answer; its control thread looks every few
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process's end.
#[derive(Debug)]
pub(crate) struct Requests {
    listener: Listed<UnixListener>,
    askers: Vec<Listed<UnixStream>>,
}

impl Requests {
    /// Opens the socket in the instance's directory.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(SOCKET);
        // Of an earlier program of the same process (`exec`).
        let _ = fs::remove_file(&path);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = move_high(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)?;
        // The file that bind(2) makes takes over this mode, less the umask.
        fchmod(&listener, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(listener.as_raw_fd(), &UnixAddr::new(&path)?)?;
        listen(&listener, Backlog::new(ASKERS as i32)?)?;
        Ok(Self { listener: UnixListener::from(listener).into(), askers: Vec::new() })
    }

    /// Descriptors that are readable when somebody comes or asks.
    pub(crate) fn fds(&self) -> impl Iterator<Item = RawFd> {
        let askers = self.askers.iter().map(AsRawFd::as_raw_fd);
        std::iter::once(self.listener.as_raw_fd()).chain(askers)
    }

    /// Answers all that was asked. Never blocks.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(&str) -> Result<String, String>) {
        while let Ok((asker, _)) = self.listener.accept() {
            if self.askers.len() == ASKERS {
                self.askers.remove(0);
            }
            if asker.set_nonblocking(true).is_ok() {
                self.askers.push(asker.into());
            }
        }
        self.askers.retain(|asker| {
            let mut asker: &UnixStream = asker;
            let mut request = [0; LONGEST];
            match asker.read(&mut request) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                Ok(len) if len > 0 => {
                    let _ = asker.write_all(reply(&request[..len], &mut answer).as_bytes());
                    false
                }
                _ => false,
            }
        });
    }
}

fn reply(request: &[u8], answer: &mut impl FnMut(&str) -> Result<String, String>) -> String {
    // A local write of this size arrives as a whole.
    let line = std::str::from_utf8(request).ok().and_then(|text| text.strip_suffix('\n'));
    match line.ok_or_else(|| "a request is one line of text".to_owned()).and_then(answer) {
        Ok(text) => format!("ok {text}"),
        Err(reason) => format!("no {reason}"),
    }
}

/// Asks the process that has this directory under
/// [`run_dir`](crate::counters::run_dir). `request` is a line without its end.
///
/// # Errors
///
/// Its refusal, or why it cannot be asked: one line for people.
pub fn ask(directory: &Path, request: &str) -> Result<String, String> {
    if request.len() >= LONGEST || request.contains('\n') {
        return Err("a request is one short line of text".to_owned());
    }
    let answer = exchange(&directory.join(SOCKET), request).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => "it takes no requests".to_owned(),
        ErrorKind::PermissionDenied => "only its user and root may ask it".to_owned(),
        ErrorKind::WouldBlock => "it does not answer".to_owned(),
        _ => error.to_string(),
    })?;
    match answer.split_at_checked(3) {
        Some(("ok ", text)) => Ok(text.to_owned()),
        Some(("no ", reason)) => Err(reason.to_owned()),
        _ => Err("it answers what makes no sense".to_owned()),
    }
}

fn exchange(path: &Path, request: &str) -> io::Result<String> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.write_all(format!("{request}\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// A directory that goes with the test.
    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tpa-request-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Asks while the process's end serves.
    fn asked(requests: &mut Requests, directory: &Directory, request: &str) -> Result<String, String> {
        let (path, request) = (directory.0.clone(), request.to_owned());
        let asker = thread::spawn(move || ask(&path, &request));
        let begin = Instant::now();
        while !asker.is_finished() {
            assert!(begin.elapsed() < Duration::from_secs(5));
            requests
                .serve(|text| if text == "bad" { Err("refused".into()) } else { Ok(text.to_uppercase()) });
        }
        asker.join().unwrap()
    }

    #[test]
    fn a_request_gets_its_answer_or_its_refusal() {
        let directory = Directory::new();
        let mut requests = Requests::open(&directory.0).unwrap();
        assert_eq!(asked(&mut requests, &directory, "a b"), Ok("A B".into()));
        assert_eq!(asked(&mut requests, &directory, "bad"), Err("refused".into()));
        assert_eq!(asked(&mut requests, &directory, ""), Ok(String::new()));
    }

    #[test]
    fn what_is_not_one_short_line_is_refused() {
        let directory = Directory::new();
        let mut requests = Requests::open(&directory.0).unwrap();
        for request in ["x".repeat(LONGEST), "a\nb".to_owned()] {
            assert_eq!(ask(&directory.0, &request), Err("a request is one short line of text".into()));
        }
        for request in [&b"no end"[..], b"\xff\n"] {
            let mut socket = UnixStream::connect(directory.0.join(SOCKET)).unwrap();
            socket.write_all(request).unwrap();
            requests.serve(|_| unreachable!("it makes no sense"));
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "no a request is one line of text");
        }
    }

    #[test]
    fn only_the_owner_may_ask() {
        let directory = Directory::new();
        let _requests = Requests::open(&directory.0).unwrap();
        let mode = fs::metadata(directory.0.join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn who_asks_nothing_keeps_nobody_from_asking() {
        let directory = Directory::new();
        let mut requests = Requests::open(&directory.0).unwrap();
        let mut silent = Vec::new();
        for _ in 0..ASKERS + 3 {
            silent.push(UnixStream::connect(directory.0.join(SOCKET)).unwrap());
            requests.serve(|_| unreachable!("nobody has asked"));
        }
        assert_eq!(asked(&mut requests, &directory, "hello"), Ok("HELLO".into()));
        assert!(requests.askers.len() <= ASKERS);
    }

    #[test]
    fn the_socket_of_an_earlier_program_is_replaced() {
        let directory = Directory::new();
        drop(Requests::open(&directory.0).unwrap());
        assert_eq!(ask(&directory.0, "x"), Err("it takes no requests".into()));
        let mut requests = Requests::open(&directory.0).unwrap();
        assert_eq!(asked(&mut requests, &directory, "x"), Ok("X".into()));
    }
}
