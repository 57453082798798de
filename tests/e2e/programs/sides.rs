//! A server and its clients, either or both accelerated, and which way their
//! bytes went.

use std::time::Duration;

use crate::harness::{wait_until, Device, KernelTcp, Program, Role, Running, StackTcp, Stage, PORT};

/// How long a program may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Where the stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// At the server, over AF_XDP; the clients are the kernel's.
    Server,
    /// At the clients, over AF_XDP; the server is the kernel's.
    Client,
    /// At both, over memif.
    Both,
}

impl Who {
    pub const ALL: [Self; 3] = [Self::Server, Self::Client, Self::Both];

    fn has_server(self) -> bool {
        self != Self::Client
    }
}

/// Payload that one process has read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    pub read: u64,
    pub written: u64,
}

/// Two namespaces and who is accelerated in them.
pub struct Sides {
    pub who: Who,
    pub stage: Stage,
}

impl Sides {
    pub fn new(who: Who) -> Self {
        Self::with(who, "")
    }

    /// With further lines in the configuration of the server, or of the client
    /// where that alone is accelerated.
    pub fn with(who: Who, further: &str) -> Self {
        let stage = match who {
            Who::Server => Stage::with(Device::AfXdp, further),
            // The stage's server is the side with the device.
            Who::Client => Stage::with(Device::AfXdp, &format!("connect = [{PORT}]\n{further}")),
            Who::Both => Stage::with(Device::Memif(Role::Server), further),
        };
        Self { who, stage }
    }

    /// Address and port of the server as clients see it.
    pub fn at_server(&self) -> [String; 2] {
        let host = match self.who {
            Who::Client => self.stage.peer(),
            Who::Server | Who::Both => self.stage.host(),
        };
        [host.to_owned(), PORT.to_string()]
    }

    /// Starts a server on [`PORT`] of all addresses, and waits until it serves.
    pub fn serve(&self, program: Program) -> Running {
        if self.who.has_server() {
            return self.stage.serve(program);
        }
        let mut server = program.spawn(&self.stage.client, &self.stage.work);
        let filter = format!("sport = :{PORT}");
        wait_until(LIMIT, "a kernel listener", || {
            assert!(server.status().is_none(), "the server has ended\n{}", server.printed());
            !self.stage.client.run(&["ss", "-Hltn", &filter]).is_empty()
        });
        server
    }

    /// Starts a client.
    pub fn start_client(&self, program: Program) -> Running {
        match self.who {
            Who::Client => self.stage.as_server(program).spawn(&self.stage.server, &self.stage.work),
            Who::Server | Who::Both => {
                self.stage.as_client(program).spawn(&self.stage.client, &self.stage.work)
            }
        }
    }

    /// Runs a client to its good end and gives back what it printed.
    pub fn run_client(&self, program: Program) -> String {
        self.start_client(program).finish(LIMIT).good()
    }

    /// Runs a function and shows that the kernels of the accelerated sides
    /// handled no segment meanwhile. Gives back what the server has read and
    /// written by its stack, if it has one.
    pub fn through_stack(&self, server: &Running, work: impl FnOnce()) -> Payload {
        let (kernel, before) = (self.kernel_segments(), payload_of(server));
        work();
        assert_eq!(self.kernel_segments(), kernel, "the kernel handled TCP segments of an accelerated side");
        let after = payload_of(server);
        Payload { read: after.read - before.read, written: after.written - before.written }
    }

    fn kernel_segments(&self) -> u64 {
        let ours = KernelTcp::of(&self.stage.server).segments;
        if self.who == Who::Both {
            ours + KernelTcp::of(&self.stage.client).segments
        } else {
            ours
        }
    }
}

/// What a process has read and written by its stack; nothing without one.
pub fn payload_of(process: &Running) -> Payload {
    let stack = StackTcp::of(process.pid());
    let count = |name| stack.as_ref().map_or(0, |stack| stack.get(name));
    Payload { read: count("bytes_received"), written: count("bytes_sent") }
}
