//! Processes that open one interface at a time, as nginx's workers do, take
//! their turns: each finds free queues and opens them before the next one looks.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};

/// Longest wait for others, of a process that opens an interface for the first time.
/// Who holds the turn for longer is none of ours: any user may take the name.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// The turn of this process, which ends with the value, or with the process. It
/// is an abstract socket name (unix(7)): there is one of them in a network
/// namespace, it needs no folder, and leaves nothing behind.
pub(super) struct Turn {
    _name: OwnedFd,
}

impl Turn {
    /// Waits for the turn on an interface, for so long at most; `None`: it did not come.
    pub fn take(ifindex: u32, patience: Duration) -> Option<Self> {
        let end = Instant::now() + patience;
        loop {
            match Self::try_take(ifindex) {
                Err(Errno::EADDRINUSE) if Instant::now() < end => std::thread::sleep(PAUSE),
                outcome => return outcome.inspect_err(|error| log::debug!("no turn: {error}")).ok(),
            }
        }
    }

    fn try_take(ifindex: u32) -> Result<Self, Errno> {
        let name = UnixAddr::new_abstract(format!("tpa/af_xdp/{ifindex}").as_bytes())?;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &name)?;
        Ok(Self { _name: socket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_and_the_next_gets_it_afterwards() {
        // A number that no interface has.
        let ifindex = u32::MAX - std::process::id();
        let turn = Turn::take(ifindex, PATIENCE).unwrap();
        assert_eq!(Turn::try_take(ifindex).err(), Some(Errno::EADDRINUSE));
        drop(turn);
        assert!(Turn::try_take(ifindex).is_ok());
    }
}
