//! Requests and answers over a route netlink socket (netlink(7), rtnetlink(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader,
};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::HostError;

/// Largest datagram that the kernel makes for a dump (`NLMSG_GOODSIZE` is
/// below, `netlink_dump` goes up to 32 KiB when the reader offers as much).
const DATAGRAM: usize = 32 * 1024;
/// Times that a dump is repeated when the tables changed under it.
const DUMP_TRIES: u32 = 4;
/// Seconds until a kernel that does not answer is an error.
const PATIENCE: i64 = 2;

/// A route netlink socket.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Opens a socket that hears the multicast groups of the mask `groups`.
    pub(super) fn open(groups: u32, flags: SockFlag) -> Result<Self, HostError> {
        let failed = |action| move |errno: Errno| HostError::Socket { action, source: errno.into() };
        let flags = flags | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .map_err(failed("open"))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed("bind"))?;
        Ok(Self(fd))
    }

    /// A socket that is owned by somebody else from here on.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }

    fn send(&self, request: &[u8]) -> Result<(), HostError> {
        send(self.0.as_raw_fd(), request, MsgFlags::empty())
            .map(drop)
            .map_err(|errno| HostError::Socket { action: "send to", source: errno.into() })
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<&'a [u8], HostError> {
        receive(self.0.as_fd(), buffer)
            .map_err(|errno| HostError::Socket { action: "receive from", source: errno.into() })
    }
}

/// One datagram; a signal does not end the wait.
pub(super) fn receive<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    loop {
        match recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Ok(len) => return buffer.get(..len).ok_or(Errno::EMSGSIZE),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A buffer that any datagram of the kernel fits.
pub(super) fn datagram() -> Vec<u8> {
    vec![0; DATAGRAM]
}

/// The messages of a datagram. Ends at the first that is malformed.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let padded = (message.length() as usize).next_multiple_of(4);
        datagram = datagram.get(padded..).unwrap_or_default();
        Some(message)
    })
}

/// A question to the kernel.
pub(super) struct Request<'a> {
    /// What is asked, for errors: "route to 10.0.0.1".
    pub(super) what: &'a str,
    /// `RTM_*`.
    pub(super) kind: u16,
    /// `NLM_F_*` beyond `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// Header and attributes of the message.
    pub(super) body: &'a dyn Emitable,
}

enum Outcome<T> {
    Complete(Vec<T>),
    /// The tables changed while they were read (`NLM_F_DUMP_INTR`).
    Interrupted,
}

impl Request<'_> {
    /// Asks for a whole table; `decode` picks from each entry.
    pub(super) fn dump<T>(mut self, decode: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, HostError> {
        self.flags |= NLM_F_DUMP;
        for _ in 0..DUMP_TRIES {
            if let Outcome::Complete(entries) = self.exchange(&decode)? {
                return Ok(entries);
            }
        }
        Err(self.refused(Errno::EAGAIN as i32))
    }

    /// Asks for one thing, or orders one; the answer, if there was one.
    pub(super) fn once<T>(mut self, decode: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, HostError> {
        self.flags |= NLM_F_ACK;
        match self.exchange(&decode)? {
            Outcome::Complete(mut answers) => Ok(answers.pop()),
            Outcome::Interrupted => Ok(None),
        }
    }

    fn exchange<T>(&self, decode: &impl Fn(&[u8]) -> Option<T>) -> Result<Outcome<T>, HostError> {
        let socket = Socket::open(0, SockFlag::empty())?;
        setsockopt(&socket.0, ReceiveTimeout, &TimeVal::seconds(PATIENCE))
            .map_err(|errno| HostError::Socket { action: "set the timeout of", source: errno.into() })?;
        socket.send(&self.bytes())?;
        let mut buffer = datagram();
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            for message in messages(socket.receive(&mut buffer)?) {
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    // An acknowledgement is an error of 0; both end the exchange.
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = status(message.payload());
                        return match (code, interrupted) {
                            (0, false) => Ok(Outcome::Complete(answers)),
                            (0, true) => Ok(Outcome::Interrupted),
                            _ => Err(self.refused(-code)),
                        };
                    }
                    _ => answers.extend(decode(message.payload())),
                }
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut header = NetlinkHeader::default();
        let header_len = header.buffer_len();
        let mut bytes = vec![0; header_len + self.body.buffer_len()];
        header.length = bytes.len() as u32;
        header.message_type = self.kind;
        header.flags = self.flags | NLM_F_REQUEST;
        header.emit(&mut bytes);
        self.body.emit(&mut bytes[header_len..]);
        bytes
    }

    fn refused(&self, errno: i32) -> HostError {
        HostError::Refused { what: self.what.to_owned(), source: io::Error::from_raw_os_error(errno) }
    }
}

/// The status that starts the payload of `NLMSG_ERROR` and `NLMSG_DONE`: 0 or
/// a negative `errno`.
fn status(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let len = (16 + payload.len()) as u32;
        let mut bytes = Vec::new();
        bytes.extend(len.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_datagram_is_cut_into_its_messages() {
        let datagram = [message(16, &[1, 2, 3]), message(20, &[]), message(3, &[0; 4])].concat();
        let kinds: Vec<u16> = messages(&datagram).map(|m| m.message_type()).collect();
        assert_eq!(kinds, [16, 20, 3]);
        assert_eq!(messages(&datagram).next().unwrap().payload(), [1, 2, 3]);
    }

    #[test]
    fn a_length_beyond_the_datagram_or_below_a_header_ends_it() {
        let mut datagram = [message(16, &[0; 8]), message(20, &[0; 8])].concat();
        datagram[24..28].copy_from_slice(&200u32.to_ne_bytes());
        assert_eq!(messages(&datagram).count(), 1);
        datagram[24..28].copy_from_slice(&3u32.to_ne_bytes());
        assert_eq!(messages(&datagram).count(), 1);
        assert_eq!(messages(&[]).count(), 0);
    }
}
