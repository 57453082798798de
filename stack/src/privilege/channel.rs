//! Messages with descriptors over a `SOCK_SEQPACKET` pair.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socketpair,
};

/// Longest message, in bytes.
const LONGEST: usize = 4096;
/// Descriptors that the kernel lets through in one message (`SCM_MAX_FD`).
const MAX_FDS: usize = 253;

/// A message and the descriptors that came with it.
pub struct Message {
    /// What was said; nothing when the other side is gone.
    pub bytes: Vec<u8>,
    /// What came with it.
    pub fds: Vec<OwnedFd>,
}

/// Two ends that are connected with each other, closed by exec(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one message.
pub fn send(socket: BorrowedFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    let rights = [ControlMessage::ScmRights(fds)];
    let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(bytes)], rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Waits for one message.
pub fn receive(socket: BorrowedFd) -> io::Result<Message> {
    let mut bytes = vec![0; LONGEST];
    let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let socket = socket.as_raw_fd();
    let received = recvmsg::<UnixAddr>(socket, &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel has just made these descriptors for us, and we wrap each once.
            fds.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let len = received.bytes;
    bytes.truncate(len);
    Ok(Message { bytes, fds })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (here, there) = pair().unwrap();
        let (left, right) = pair().unwrap();
        send(here.as_fd(), b"two", &[left.as_raw_fd(), right.as_raw_fd()]).unwrap();
        send(here.as_fd(), b"none", &[]).unwrap();
        let first = receive(there.as_fd()).unwrap();
        assert_eq!((&*first.bytes, first.fds.len()), (&b"two"[..], 2));
        assert_eq!(receive(there.as_fd()).unwrap().bytes, b"none");
        drop(here);
        assert!(receive(there.as_fd()).unwrap().bytes.is_empty());
    }
}
