//! Small servers and clients that use sockets as anyone would: nothing here knows
//! of the shim, under which they run unchanged.

mod client;
mod closed_loop;
mod echo;
mod pair;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Loads for the benchmark. Each client prints its numbers, separated by spaces.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, Subcommand)]
enum Program {
    /// Sends back whatever comes.
    Echo {
        /// Where it listens.
        port: u16,
    },
    /// One byte there and back: p50, p99 and p99.9 in µs, and how many.
    PingPong(Target),
    /// Connections opened, used once and closed: how many a second.
    Connections(Target),
    /// Connections opened, used once and held until it is killed.
    Hold {
        #[command(flatten)]
        target: Target,
        /// How many.
        connections: usize,
    },
    /// Gets of a value of three bytes from memcached: how many a second.
    Memcached {
        #[command(flatten)]
        target: Target,
        /// How many connections.
        connections: usize,
    },
    /// Both ends of a connection to itself, in one thread: that many requests of
    /// 64 bytes, and their replies.
    Pair {
        /// How many.
        count: u64,
    },
    /// Tries until a redis-server replies: when, by CLOCK_MONOTONIC, in seconds.
    FirstReply(Target),
}

/// A server, and how long to use it.
#[derive(Debug, Args)]
struct Target {
    host: String,
    port: u16,
    milliseconds: u64,
}

impl Target {
    fn address(&self) -> io::Result<SocketAddr> {
        let host = self.host.parse().map_err(|_| io::Error::other(format!("{} is no address", self.host)))?;
        Ok(SocketAddr::new(host, self.port))
    }

    fn time(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tpa-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(program: Program) -> io::Result<()> {
    match program {
        Program::Echo { port } => echo::serve(port),
        Program::PingPong(target) => client::ping_pong(target.address()?, target.time()),
        Program::Connections(target) => client::connections(target.address()?, target.time()),
        Program::Hold { target, connections } => client::hold(target.address()?, connections),
        Program::Memcached { target, connections } => {
            closed_loop::memcached(target.address()?, connections, target.time())
        }
        Program::Pair { count } => pair::exchange(count),
        Program::FirstReply(target) => client::first_reply(target.address()?),
    }
}
