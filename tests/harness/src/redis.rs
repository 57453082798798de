//! A redis-server under the shim.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use super::stage::PORT;
use super::{Device, KernelTcp, Program, Running, StackTcp, Stage, wait_until};

/// A redis-server of a stage; killed when the value goes away.
pub struct Redis<'a> {
    stage: &'a Stage,
    /// The server itself.
    pub process: Running,
}

/// What went through the stack between two looks.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// Bytes that the server read.
    pub received: u64,
    /// Bytes that it wrote.
    pub sent: u64,
}

impl<'a> Redis<'a> {
    pub(super) fn start(stage: &'a Stage, arguments: &[&str]) -> Self {
        let program = Program::new("redis-server")
            .args(&["--bind", "0.0.0.0", "--port", &PORT.to_string(), "--protected-mode", "no"])
            .args(&["--save", "", "--enable-debug-command", "yes", "--dir"])
            .arg(stage.work.path())
            .args(arguments);
        let process = stage.as_server(program).spawn(&stage.server, &stage.work);
        let mut redis = Self { stage, process };
        redis.wait_up();
        redis
    }

    fn wait_up(&mut self) {
        let pid = self.process.pid();
        wait_until(Duration::from_secs(20), "redis-server's stack to come up", || {
            assert!(self.process.status().is_none(), "redis-server ended\n{}", self.process.printed());
            StackTcp::of(pid).is_some()
        });
        // The stack comes up in redis' own event loop: once that answers, the
        // listener stands.
        assert!(self.ask("PING").contains("PONG"));
    }

    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Counters of its stack.
    pub fn stack(&self) -> StackTcp {
        StackTcp::of(self.pid()).expect("the server's stack")
    }

    /// Runs a function and shows that all that the server read and wrote
    /// meanwhile went through its stack: the stack's byte counts are redis'
    /// own, and the kernel has not handled a single segment.
    pub fn through_stack(&self, work: impl FnOnce()) -> Transfer {
        let before = self.look();
        work();
        let kernel = self.kernel_segments();
        let after = self.look();
        assert_eq!(kernel, before.kernel_segments, "the kernel handled TCP segments of the accelerated side");
        let transfer = Transfer {
            received: after.stack.since(&before.stack, "bytes_received"),
            sent: after.stack.since(&before.stack, "bytes_sent"),
        };
        // Redis also counted what asking it took: the command of the second
        // look, and the reply to the first.
        assert_eq!(
            transfer.received,
            after.input - before.input - INFO.len() as u64,
            "bytes that redis read"
        );
        assert_eq!(transfer.sent, after.output - before.output - before.reply, "bytes that redis wrote");
        transfer
    }

    fn look(&self) -> Look {
        let reply = self.stage.server.within(|| loopback(INFO));
        Look {
            stack: self.stack(),
            input: field(&reply, "total_net_input_bytes"),
            output: field(&reply, "total_net_output_bytes"),
            reply: reply.len() as u64,
            kernel_segments: self.kernel_segments(),
        }
    }

    /// Segments that the kernels of the accelerated sides handled.
    fn kernel_segments(&self) -> u64 {
        let server = KernelTcp::of(&self.stage.server).segments;
        match self.stage.device {
            Device::AfXdp => server,
            Device::Memif(_) => server + KernelTcp::of(&self.stage.client).segments,
        }
    }

    /// Asks the server over loopback, through the kernel.
    pub fn ask(&self, command: &str) -> String {
        self.stage.server.within(|| loopback(&format!("{command}\r\n")))
    }
}

struct Look {
    stack: StackTcp,
    input: u64,
    output: u64,
    reply: u64,
    kernel_segments: u64,
}

const INFO: &str = "INFO stats\r\n";

/// One inline command over loopback and its whole reply.
fn loopback(command: &str) -> String {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
    let mut stream = TcpStream::connect(address).expect("redis over loopback");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    stream.write_all(command.as_bytes()).expect("to ask redis");
    let mut reply = Vec::new();
    let mut buffer = [0; 16384];
    while !is_whole(&reply) {
        let count = stream.read(&mut buffer).expect("redis' reply");
        assert_ne!(count, 0, "redis closed the connection");
        reply.extend_from_slice(&buffer[..count]);
    }
    // Let the close be over before anyone looks at the kernel's counters.
    stream.shutdown(std::net::Shutdown::Write).expect("to close");
    while stream.read(&mut buffer).unwrap_or(0) > 0 {}
    drop(stream);
    std::thread::sleep(Duration::from_millis(50));
    String::from_utf8_lossy(&reply).into_owned()
}

/// Whether a reply is complete: one line, or a bulk string (`$<length>`).
fn is_whole(reply: &[u8]) -> bool {
    let Some(line_end) = reply.windows(2).position(|pair| pair == b"\r\n") else { return false };
    match reply.first() {
        Some(b'$') => {
            let length: i64 = String::from_utf8_lossy(&reply[1..line_end]).parse().expect("a length");
            length < 0 || reply.len() >= line_end + 2 + length as usize + 2
        }
        _ => true,
    }
}

fn field(info: &str, name: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("INFO shows no {name}"))
}
