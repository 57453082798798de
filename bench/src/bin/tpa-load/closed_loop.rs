//! Many connections, each of which asks again as soon as it has its answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const REQUEST: &[u8] = b"get key\r\n";
const REPLY: &[u8] = b"VALUE key 0 3\r\nabc\r\nEND\r\n";

/// How long an answer may take, in milliseconds.
const PATIENCE: u16 = 10_000;

/// One connection, and how much of its answer has come.
struct Asker {
    stream: TcpStream,
    received: usize,
}

impl Asker {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, received: 0 })
    }

    fn ask(&mut self) -> io::Result<()> {
        self.received = 0;
        self.stream.write_all(REQUEST)
    }

    /// Takes what has come; whether the answer is complete.
    fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [0; REPLY.len()];
        let count = match self.stream.read(&mut buffer[self.received..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let expected = &REPLY[self.received..self.received + count];
        if buffer[self.received..self.received + count] != *expected {
            return Err(io::Error::other("memcached has answered something else"));
        }
        self.received += count;
        Ok(self.received == REPLY.len())
    }
}

fn store(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"set key 0 0 3\r\nabc\r\n")?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    if &answer == b"STORED\r\n" { Ok(()) } else { Err(io::Error::other("memcached does not store")) }
}

pub fn memcached(address: SocketAddr, connections: usize, time: Duration) -> io::Result<()> {
    store(address)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut askers = (0..connections).map(|_| Asker::connect(address)).collect::<io::Result<Vec<_>>>()?;
    for (index, asker) in askers.iter_mut().enumerate() {
        epoll.add(&asker.stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        asker.ask()?;
    }
    let mut events = [EpollEvent::empty(); 256];
    let (start, mut answers) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        let count = epoll.wait(&mut events, EpollTimeout::from(PATIENCE))?;
        if count == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for event in &events[..count] {
            let asker = &mut askers[event.data() as usize];
            if asker.take()? {
                answers += 1;
                asker.ask()?;
            }
        }
    }
    println!("{}", answers as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
