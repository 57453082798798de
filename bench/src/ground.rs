//! Where one measurement takes place: two namespaces, and a configuration for
//! each side that runs on our stack.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use tpa_harness::{Namespace, Program, Running, StackTcp, Work, wait_until};

use crate::column::Column;

const VETH_SERVER: &str = "10.77.0.1";
const VETH_CLIENT: &str = "10.77.0.2";
const MEMIF_SERVER: &str = "10.77.1.1";
const MEMIF_CLIENT: &str = "10.77.1.2";

/// The core of the server, and that of the client.
const SERVER_CORE: &str = "0";
const CLIENT_CORE: &str = "1";

/// How long a server may take until it serves, and until its stack is there.
const START: Duration = Duration::from_secs(20);

/// Two namespaces joined as the column says.
pub struct Ground {
    pub column: Column,
    pub server: Namespace,
    pub client: Namespace,
    pub work: Work,
    server_config: Option<PathBuf>,
    client_config: Option<PathBuf>,
}

impl Ground {
    /// With a server on this port.
    pub fn new(column: Column, port: u16) -> Self {
        let (server, client) = Namespace::pair(VETH_SERVER, VETH_CLIENT);
        // A connection a request uses up ports faster than TIME-WAIT ends, on
        // either side and either stack.
        for side in [&server, &client] {
            side.run(&["sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=10000 65535"]);
            side.run(&["sysctl", "-q", "-w", "net.ipv4.tcp_tw_reuse=1"]);
        }
        let work = Work::new();
        let (server_config, client_config) = configs(column, port, &work);
        Self { column, server, client, work, server_config, client_config }
    }

    /// The server's address as its clients see it.
    pub fn host(&self) -> &'static str {
        if self.column == Column::Memif { MEMIF_SERVER } else { VETH_SERVER }
    }

    /// Starts the server, and waits until it serves.
    pub fn start(&self, program: Program, serves: impl Fn(&Running) -> bool) -> Running {
        let program = match &self.server_config {
            Some(config) => program.accelerated(config),
            None => program,
        };
        let mut running = program.under(&["taskset", "-c", SERVER_CORE]).spawn(&self.server, &self.work);
        wait_until(START, "the server to serve", || {
            assert!(running.status().is_none(), "the server has ended\n{}", running.printed());
            serves(&running)
        });
        running
    }

    /// Whether something listens on a port of the server's.
    pub fn listens(&self, port: u16) -> bool {
        self.server.within(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    /// Waits for the stack of the process that serves.
    pub fn wait_for_stack(&self, pid: u32) {
        if self.column.has_stack() {
            wait_until(START, "the server's stack to come up", || StackTcp::of(pid).is_some());
        }
    }

    /// The client as it is to be run.
    pub fn as_client(&self, program: Program) -> Program {
        let program = match &self.client_config {
            Some(config) => program.accelerated(config),
            None => program,
        };
        program.under(&["taskset", "-c", CLIENT_CORE])
    }

    /// Runs a client to its good end, and gives back what it printed.
    pub fn run(&self, program: Program, limit: Duration) -> String {
        self.as_client(program).run(&self.client, &self.work, limit).good()
    }
}

/// The configurations of the server and of the client.
fn configs(column: Column, port: u16, work: &Work) -> (Option<PathBuf>, Option<PathBuf>) {
    let write = |name: &str, lists: &str, device: &str| {
        Some(work.write(name, format!("strict = true\n{lists} = [{port}]\n{device}\n")))
    };
    let memif = |address: &str, role: &str| {
        let socket = work.path().join("memif.sock");
        format!(
            "device = 'memif'\naddress = '{address}/24'\n[memif]\nsocket = '{}'\nrole = '{role}'",
            socket.display()
        )
    };
    let af_xdp = "device = 'af_xdp:eth0'";
    match column {
        Column::Kernel => (None, None),
        Column::AfXdpServer => (write("server.conf", "listen", af_xdp), None),
        Column::AfXdp => (write("server.conf", "listen", af_xdp), write("client.conf", "connect", af_xdp)),
        Column::Memif => (
            write("server.conf", "listen", &memif(MEMIF_SERVER, "server")),
            write("client.conf", "connect", &memif(MEMIF_CLIENT, "client")),
        ),
    }
}
