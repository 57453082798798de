//! A server and its client in one thread, as an event loop has them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const PORT: u16 = 7007;

/// Requests and replies.
const SIZE: usize = 64;

/// How long an event may take, in milliseconds.
const PATIENCE: u16 = 10_000;

/// That many requests and replies over one connection.
pub fn exchange(count: u64) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
    let (mut server, _) = listener.accept()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (stream, key) in [(&client, 0), (&server, 1)] {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, key))?;
    }
    for _ in 0..count {
        pass(&mut client, &mut server, 1, &epoll)?;
        pass(&mut server, &mut client, 0, &epoll)?;
    }
    Ok(())
}

/// A message from one end to the other, which waits for it under this key.
fn pass(from: &mut TcpStream, to: &mut TcpStream, key: u64, epoll: &Epoll) -> io::Result<()> {
    from.write_all(&[b'x'; SIZE])?;
    let mut events = [EpollEvent::empty(); 16];
    let count = epoll.wait(&mut events, EpollTimeout::from(PATIENCE))?;
    if !events[..count].iter().any(|event| event.data() == key) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    to.read_exact(&mut [0; SIZE])
}
