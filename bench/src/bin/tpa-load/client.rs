//! Clients that do one thing after the other.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Round trips before the clock counts.
const WARM_UP: usize = 1000;

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One byte there and back.
fn round_trip(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])
}

pub fn ping_pong(address: SocketAddr, time: Duration) -> io::Result<()> {
    let mut stream = connect(address)?;
    for _ in 0..WARM_UP {
        round_trip(&mut stream)?;
    }
    let mut trips = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    let mut last = start;
    while last - start < time {
        round_trip(&mut stream)?;
        let now = Instant::now();
        trips.push((now - last).as_nanos() as u64);
        last = now;
    }
    trips.sort_unstable();
    let percentile = |part: f64| {
        let index = ((trips.len() - 1) as f64 * part) as usize;
        trips[index] as f64 / 1000.0
    };
    let rounds = trips.len() + WARM_UP;
    println!("{} {} {} {rounds}", percentile(0.5), percentile(0.99), percentile(0.999));
    Ok(())
}

pub fn connections(address: SocketAddr, time: Duration) -> io::Result<()> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        round_trip(&mut connect(address)?)?;
        count += 1;
    }
    println!("{}", f64::from(count) / start.elapsed().as_secs_f64());
    Ok(())
}

pub fn hold(address: SocketAddr, connections: usize) -> io::Result<()> {
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(address)?;
        round_trip(&mut stream)?;
        held.push(stream);
    }
    println!("open");
    loop {
        sleep(Duration::from_secs(3600));
    }
}

pub fn first_reply(address: SocketAddr) -> io::Result<()> {
    println!("trying");
    let asked = || -> io::Result<()> {
        let mut stream = connect(address)?;
        stream.write_all(b"PING\r\n")?;
        stream.read_exact(&mut [0; 7])
    };
    while asked().is_err() {
        sleep(Duration::from_micros(500));
    }
    println!("{}", Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_secs_f64());
    Ok(())
}
