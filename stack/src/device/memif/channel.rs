//! One connection of the control socket: whole messages, each with at most
//! one descriptor, never waiting for the peer.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use thiserror::Error;

use super::fds::ListedFd;
use super::message::{DecodeError, MESSAGE_LEN, Message};

/// Descriptors that the kernel lets through in one message (`SCM_MAX_FD`):
/// with room for all of them none is ever left behind unseen.
const MAX_FDS: usize = 253;

/// A connected control socket.
#[derive(Debug)]
pub struct Channel {
    socket: ListedFd,
}

/// What [`Channel::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message, and the descriptor that came with it.
    Message(Message, Option<OwnedFd>),
    /// Nothing for now.
    Nothing,
}

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The peer closed it, or died.
    #[error("the peer is gone")]
    Closed,
    /// The peer sent what is no message.
    #[error("the peer sent {0}")]
    Decode(#[from] DecodeError),
    /// The socket failed; a full one (EAGAIN) counts too, since a sound peer
    /// never leaves so many messages unread.
    #[error("control socket: {0}")]
    Socket(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => ChannelError::Closed,
            other => ChannelError::Socket(other.into()),
        }
    }
}

impl Channel {
    /// Takes over a connected `SOCK_SEQPACKET` socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket: socket.into() }
    }

    /// Sends one message, with a descriptor where the message has one.
    pub fn send(&self, message: &Message, fd: Option<BorrowedFd>) -> Result<(), ChannelError> {
        let bytes = message.encode();
        let fds: Option<[RawFd; 1]> = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = fds.as_ref().map(|fds| ControlMessage::ScmRights(fds));
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let socket = self.socket.as_raw_fd();
        sendmsg::<UnixAddr>(socket, &[IoSlice::new(&bytes)], rights.as_slice(), flags, None)?;
        Ok(())
    }

    /// The next message, if there is one. Of several descriptors in a message
    /// the first is kept and the others are closed.
    pub fn receive(&self) -> Result<Received, ChannelError> {
        // One byte more than a message, so that a longer packet shows.
        let mut bytes = [0; MESSAGE_LEN + 1];
        let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let socket = self.socket.as_raw_fd();
        let received = match recvmsg::<UnixAddr>(socket, &mut slices, Some(&mut control), flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Received::Nothing),
            other => other?,
        };
        let fds: Vec<OwnedFd> = received
            .cmsgs()?
            .filter_map(|message| match message {
                ControlMessageOwned::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            // SAFETY: the kernel has just made these descriptors for us, and we wrap each once.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect();
        match received.bytes {
            0 => Err(ChannelError::Closed),
            len => Ok(Received::Message(Message::decode(&bytes[..len])?, fds.into_iter().next())),
        }
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    fn pair() -> (Channel, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        (Channel::new(ours), theirs)
    }

    fn count_fds() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_message_arrives_with_its_descriptor() {
        let (ours, theirs) = pair();
        let theirs = Channel::new(theirs);
        assert!(matches!(theirs.receive(), Ok(Received::Nothing)));
        let file = std::fs::File::open("/dev/null").unwrap();
        let message = Message::AddRegion { index: 0, size: 1 };
        ours.send(&message, Some(std::os::fd::AsFd::as_fd(&file))).unwrap();
        let Ok(Received::Message(got, Some(fd))) = theirs.receive() else { panic!("no message") };
        assert_eq!(got, message);
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, nix::libc::FD_CLOEXEC);
    }

    #[test]
    fn packets_of_any_other_size_are_refused() {
        for len in [1, MESSAGE_LEN - 1, MESSAGE_LEN + 1, 4096] {
            let (ours, theirs) = pair();
            nix::unistd::write(&theirs, &vec![1; len]).unwrap();
            assert!(matches!(ours.receive(), Err(ChannelError::Decode(_))), "{len} bytes");
        }
    }

    #[test]
    fn a_peer_that_left_is_noticed_at_both_calls() {
        let (ours, theirs) = pair();
        drop(theirs);
        assert!(matches!(ours.receive(), Err(ChannelError::Closed)));
        assert!(matches!(ours.send(&Message::Ack, None), Err(ChannelError::Closed)));
    }

    #[test]
    fn a_peer_that_never_reads_does_not_block_us() {
        let (ours, _theirs) = pair();
        let failed = (0..100_000).find_map(|_| ours.send(&Message::Ack, None).err());
        assert!(matches!(failed, Some(ChannelError::Socket(_))));
    }

    #[test]
    fn a_flood_of_descriptors_leaves_none_open() {
        let (ours, theirs) = pair();
        let flood = vec![theirs.as_raw_fd(); MAX_FDS];
        let before = count_fds();
        for _ in 0..4 {
            let rights = [ControlMessage::ScmRights(&flood)];
            let bytes = Message::Ack.encode();
            sendmsg::<UnixAddr>(
                theirs.as_raw_fd(),
                &[IoSlice::new(&bytes)],
                &rights,
                MsgFlags::empty(),
                None,
            )
            .unwrap();
            drop(ours.receive().unwrap());
        }
        // Other tests of the process open and close descriptors meanwhile.
        assert!(count_fds() < before + MAX_FDS);
    }
}
