//! Listeners from before exec(2): a server's new binary gets them from the old one
//! (nginx), or from whoever started it (systemd's socket activation). Nobody calls
//! listen(2) for them in this program.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::boundary::shield;
use crate::{descriptor, listener, options, pending, start, table};

/// Looks for such listeners, once, when the program first accepts or watches
/// something.
#[inline]
pub fn look_once() {
    static LOOKED: AtomicBool = AtomicBool::new(false);
    if !LOOKED.load(Ordering::Relaxed) && !start::is_inside() && !LOOKED.swap(true, Ordering::Relaxed) {
        look();
    }
}

/// Without landing pads for its callers: see [`crate::cancel::act`].
#[cold]
#[inline(never)]
extern "C" fn look() {
    shield(|| {
        for fd in descriptor::open_numbers() {
            if let Some(backlog) = backlog_of(fd).filter(|_| listener::is_wanted(fd)) {
                pending::add_inherited(fd, backlog);
            }
        }
    });
}

/// The backlog of a listener that nothing is known of; `None`: it is none.
fn backlog_of(fd: RawFd) -> Option<u32> {
    let listens = || options::kernel_int(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1);
    (table::slot(fd).is_plain() && listens()).then(|| options::kernel_backlog(fd)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_listener_is_known_by_its_backlog_and_nothing_else_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 77) }, 0);
        assert_eq!(backlog_of(listener.as_raw_fd()), Some(77));
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(backlog_of(one.as_raw_fd()), None);
        assert_eq!(backlog_of(0), None);
    }
}
