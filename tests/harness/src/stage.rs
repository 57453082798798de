//! The set that most tests play on: a redis-server on one side, clients on the
//! other, joined by a veth pair or by memif.

use std::path::PathBuf;
use std::time::Duration;

use super::{Finished, Namespace, Program, Redis, Running, Work};

/// What joins the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A veth pair: the server on AF_XDP, the clients on the kernel.
    AfXdp,
    /// memif, both sides accelerated, the server in this role.
    Memif(Role),
}

/// Role of the server on a memif.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It waits for the other side to come.
    Server,
    /// It comes.
    Client,
}

impl Role {
    fn of_both(self) -> (&'static str, &'static str) {
        match self {
            Self::Server => ("server", "client"),
            Self::Client => ("client", "server"),
        }
    }
}

/// Server port that the configurations name.
pub const PORT: u16 = 6379;

const VETH_SERVER: &str = "10.77.0.1";
const VETH_CLIENT: &str = "10.77.0.2";
const MEMIF_SERVER: &str = "10.77.1.1";
const MEMIF_CLIENT: &str = "10.77.1.2";

/// Two namespaces, a work folder, and a configuration for each side.
pub struct Stage {
    /// What joins the two sides.
    pub device: Device,
    /// Where the server runs.
    pub server: Namespace,
    /// Where its clients run.
    pub client: Namespace,
    /// Where both keep their files.
    pub work: Work,
    server_config: PathBuf,
    client_config: Option<PathBuf>,
}

impl Stage {
    /// A stage with this device.
    pub fn new(device: Device) -> Self {
        Self::with(device, "")
    }

    /// With further lines in the server's configuration.
    pub fn with(device: Device, further: &str) -> Self {
        let (server, client) = Namespace::pair(VETH_SERVER, VETH_CLIENT);
        let work = Work::new();
        let (server_config, client_config) = match device {
            Device::AfXdp => {
                let text = format!("strict = true\nlisten = [{PORT}]\ndevice = 'af_xdp:eth0'\n{further}\n");
                (work.write("server.conf", text), None)
            }
            Device::Memif(role) => {
                let socket = work.path().join("memif.sock");
                let config = |lists: &str, address: &str, role: &str, further: &str| {
                    format!(
                        "strict = true\n{lists}\ndevice = 'memif'\naddress = '{address}/24'\n{further}\n\
                         [memif]\nsocket = '{}'\nrole = '{role}'\n",
                        socket.display()
                    )
                };
                let (ours, theirs) = role.of_both();
                let server = config(&format!("listen = [{PORT}]"), MEMIF_SERVER, ours, further);
                let client = config(&format!("connect = [{PORT}]"), MEMIF_CLIENT, theirs, "");
                (work.write("server.conf", server), Some(work.write("client.conf", client)))
            }
        };
        Self { device, server, client, work, server_config, client_config }
    }

    /// Address of the server as clients see it.
    pub fn host(&self) -> &'static str {
        match self.device {
            Device::AfXdp => VETH_SERVER,
            Device::Memif(_) => MEMIF_SERVER,
        }
    }

    /// Address of the client's side, as the server sees it over the veth pair.
    #[must_use]
    pub fn peer(&self) -> &'static str {
        VETH_CLIENT
    }

    /// Starts a redis-server and waits until its stack is up.
    pub fn redis(&self, arguments: &[&str]) -> Redis<'_> {
        Redis::start(self, arguments)
    }

    /// The server's program, accelerated.
    pub fn as_server(&self, program: Program) -> Program {
        program.accelerated(&self.server_config)
    }

    /// Starts a server's program, accelerated, and waits until its listener is
    /// the stack's: before that the kernel would serve.
    pub fn serve(&self, program: Program) -> Running {
        let program = self.as_server(program).variable("TPA_LOG", "info");
        let mut server = program.spawn(&self.server, &self.work);
        server.wait_accelerated();
        server
    }

    /// A client's program: accelerated where the device needs it.
    pub fn as_client(&self, program: Program) -> Program {
        match &self.client_config {
            Some(config) => program.accelerated(config),
            None => program,
        }
    }

    /// Runs redis-cli on the client's side and gives back what it printed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let program = self.at_server(Program::new("redis-cli")).args(arguments);
        self.run(program, Duration::from_secs(30)).good()
    }

    /// Runs redis-benchmark on the client's side to its good end.
    pub fn benchmark(&self, arguments: &[&str], limit: Duration) -> String {
        let program = self.at_server(Program::new("redis-benchmark")).args(arguments);
        self.run(program, limit).good()
    }

    /// Starts redis-benchmark on the client's side.
    pub fn start_benchmark(&self, arguments: &[&str]) -> Running {
        let program = self.at_server(Program::new("redis-benchmark")).args(arguments);
        self.as_client(program).spawn(&self.client, &self.work)
    }

    /// Runs a program on the client's side, accelerated where the device needs it.
    pub fn run(&self, program: Program, limit: Duration) -> Finished {
        self.as_client(program).run(&self.client, &self.work, limit)
    }

    /// Adds the server's host and port to a redis client.
    pub fn at_server(&self, program: Program) -> Program {
        program.args(&["-h", self.host(), "-p", &PORT.to_string()])
    }
}
