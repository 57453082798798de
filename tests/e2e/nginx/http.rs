//! A client on plain sockets that counts every byte which goes over them.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

/// A response, whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    pub sent: u64,
    pub received: u64,
    /// Received and not used yet.
    rest: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address.into(), Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, sent: 0, received: 0, rest: Vec::new() })
    }

    /// GET, with the connection kept alive.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.write(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())?;
        self.response()
    }

    /// PUT, with the connection kept alive.
    pub fn put(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.write(put_head(path, body).as_bytes())?;
        self.write(body)?;
        self.response()
    }

    /// Sends the first half of a PUT on a new connection.
    pub fn begin_put(address: SocketAddrV4, path: &str, body: &[u8]) -> io::Result<Self> {
        let mut client = Self::connect(address)?;
        client.write(put_head(path, body).as_bytes())?;
        client.write(&body[..body.len() / 2])?;
        Ok(client)
    }

    /// Sends the other half.
    pub fn end_put(&mut self, body: &[u8]) -> io::Result<Response> {
        self.write(&body[body.len() / 2..])?;
        self.response()
    }

    /// Ends the connection and waits for its end on the other side.
    pub fn close(mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        while self.fill()? > 0 {}
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.sent += bytes.len() as u64;
        Ok(())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer)?;
        self.received += count as u64;
        self.rest.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn response(&mut self) -> io::Result<Response> {
        let head_end = loop {
            match self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.fill()? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
        };
        let head = String::from_utf8_lossy(&self.rest[..head_end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let end = head_end + length.map_or(0, |length| length.parse::<usize>().expect("a length"));
        while self.rest.len() < end {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.rest[head_end..end].to_vec();
        self.rest.drain(..end);
        Ok(Response { status, body })
    }
}

fn put_head(path: &str, body: &[u8]) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len())
}
