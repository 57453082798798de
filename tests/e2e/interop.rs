//! Bulk data both ways between our stack and Linux's, over a network that loses,
//! doubles, delays and disorders, with the options of either side on and off:
//! every byte arrives, once and in order.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::harness::{
    assert_same, noise, tpa, wait_until, KernelTcp, Namespace, Program, Running, StackTcp, Work,
};

const OURS: &str = "10.78.0.1";
const LINUX: &str = "10.78.0.2";
const PORT: u16 = 7878;
const EXCHANGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/programs/exchange.py");
/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What every run suffers, in both directions.
const FAULTS: &str = "drop=1%, dup=1%, reorder=2%, delay=5%/3ms";

/// Our side and Linux's, joined by a veth pair, each with a file to send.
struct Stage {
    ours: Namespace,
    linux: Namespace,
    work: Work,
    /// Bytes of either file.
    size: usize,
}

/// One side's program.
struct Side {
    process: Running,
    exchanges: usize,
}

impl Stage {
    fn new(size: usize) -> Self {
        let (ours, linux) = Namespace::pair(OURS, LINUX);
        let stage = Self { ours, linux, work: Work::new(), size };
        for (side, seed) in [("ours", 1), ("linux", 2)] {
            stage.work.write(&format!("{side}.send"), noise(size, seed));
        }
        stage
    }

    /// Starts a side's program: `listen` or `connect`, and where.
    fn start(&self, side: &str, arguments: &[&str], config: Option<&str>) -> Side {
        let path = |kind: &str| self.path(side, kind).into_os_string();
        let program = Program::new("python3").arg(EXCHANGE).args(arguments);
        let program = program.arg(path("send")).arg(path("received"));
        let process = match config {
            None => program.spawn(&self.linux, &self.work),
            Some(further) => self.accelerated(program, further).spawn(&self.ours, &self.work),
        };
        Side { process, exchanges: 0 }
    }

    fn accelerated(&self, program: Program, further: &str) -> Program {
        let text = format!(
            "strict = true\nlisten = [{PORT}]\nconnect = [{PORT}]\ndevice = 'af_xdp:eth0'\n{further}\n"
        );
        program.accelerated(&self.work.write("tpa.conf", text)).variable("TPA_LOG", "info")
    }

    fn start_listening(&self, side: &str, config: Option<&str>) -> Side {
        let mut listener = self.start(side, &["listen", &PORT.to_string()], config);
        match config {
            None => wait_until(LIMIT, "the listener", || listener.process.stdout().contains("listening")),
            Some(_) => listener.process.wait_accelerated(),
        }
        listener
    }

    fn path(&self, side: &str, kind: &str) -> PathBuf {
        self.work.path().join(format!("{side}.{kind}"))
    }

    /// Waits until both have finished one exchange, and compares.
    fn finish(&self, ours: &mut Side, linux: &mut Side) {
        for side in [&mut *ours, &mut *linux] {
            side.exchanges += 1;
            wait_until(LIMIT, "an exchange", || side.done().len() == side.exchanges);
        }
        assert_same(&self.path("ours", "send"), &self.path("linux", "received"));
        assert_same(&self.path("linux", "send"), &self.path("ours", "received"));
    }

    fn sysctl(&self, setting: &str) {
        self.linux.run(&["sysctl", "-q", "-w", &format!("net.ipv4.{setting}")]);
    }
}

impl Side {
    /// The lines about finished exchanges, without their first word.
    fn done(&self) -> Vec<String> {
        let stdout = self.process.stdout();
        assert!(!self.process.stderr().contains("Traceback"), "{}", self.process.printed());
        stdout.lines().filter_map(|line| Some(line.strip_prefix("done")?.trim().to_owned())).collect()
    }

    fn stack(&self) -> StackTcp {
        StackTcp::of(self.process.pid()).expect("our side's stack")
    }

    /// The stack takes requests a moment after its listener stands.
    fn fault(&self, plan: &str) {
        wait_until(LIMIT, "a plan of faults", || {
            let output = Command::new(tpa()).args(["fault", &self.process.pid().to_string(), plan]).output();
            output.expect("tpa fault").status.success()
        });
    }
}

/// Which options the kernel and our side are to offer.
#[derive(Debug, Clone, Copy)]
struct Options {
    sack: bool,
    timestamps: bool,
}

const COMBINATIONS: [Options; 4] = [
    Options { sack: true, timestamps: true },
    Options { sack: true, timestamps: false },
    Options { sack: false, timestamps: true },
    Options { sack: false, timestamps: false },
];

impl Options {
    fn of_linux(self, stage: &Stage) {
        stage.sysctl(&format!("tcp_sack={}", u8::from(self.sack)));
        stage.sysctl(&format!("tcp_timestamps={}", u8::from(self.timestamps)));
    }

    fn of_ours(self) -> String {
        format!("[tcp]\nsack = {}\ntimestamps = {}\n", self.sack, self.timestamps)
    }

    /// As the program prints them.
    fn negotiated(self) -> String {
        let names = [(self.timestamps, "timestamps"), (self.sack, "sack")];
        let names: Vec<_> = names.into_iter().filter_map(|(on, name)| on.then_some(name)).collect();
        names.join(" ")
    }
}

/// Megabytes each way: more of them in the full run.
fn size() -> usize {
    if std::env::var_os("TPA_FULL").is_some() {
        32 << 20
    } else {
        3 << 20
    }
}

/// Shows that one exchange's bytes went through our stack.
fn assert_through_stack(stage: &Stage, ours: &Side, before: Option<&StackTcp>) {
    let after = ours.stack();
    let count = |name| before.map_or(after.get(name), |before| after.since(before, name));
    let size = stage.size as u64;
    assert_eq!((count("bytes_received"), count("bytes_sent")), (size, size), "bytes through the stack");
}

/// Shows that an exchange went through our stack, and through trouble.
fn assert_accounted(stage: &Stage, ours: &Side, before: Option<&StackTcp>, kernel: u64) {
    assert_through_stack(stage, ours, before);
    let after = ours.stack();
    let count = |name| before.map_or(after.get(name), |before| after.since(before, name));
    assert!(count("faults_dropped") > 10 && count("faults_reordered") > 10, "faults were injected");
    assert!(count("tx_retransmits") > 0, "nothing had to be sent again");
    assert_eq!(KernelTcp::of(&stage.ours).segments, kernel, "segments that the kernel of our side handled");
}

/// One exchange with Linux as the client.
fn serve(stage: &Stage, ours: &mut Side, options: Options) {
    let (before, kernel) = (StackTcp::of(ours.process.pid()), KernelTcp::of(&stage.ours).segments);
    let mut linux = stage.start("linux", &["connect", OURS, &PORT.to_string()], None);
    stage.finish(ours, &mut linux);
    assert_accounted(stage, ours, before.as_ref(), kernel);
    assert_eq!(linux.done(), [options.negotiated()], "{options:?}");
}

/// One exchange with Linux as the server.
fn call(stage: &Stage, linux: &mut Side, options: Options, config: &str) {
    let kernel = KernelTcp::of(&stage.ours).segments;
    let config = format!("[fault]\nspec = '{FAULTS}; seed=7'\n{config}");
    let mut ours = stage.start("ours", &["connect", LINUX, &PORT.to_string()], Some(&config));
    stage.finish(&mut ours, linux);
    assert_accounted(stage, &ours, None, kernel);
    assert_eq!(linux.done().pop(), Some(options.negotiated()), "{options:?}");
}

#[test]
fn a_linux_client_gets_and_sends_every_byte_whatever_it_offers() {
    let stage = Stage::new(size());
    let mut ours = stage.start_listening("ours", Some(&format!("[fault]\nspec = '{FAULTS}'")));
    for options in COMBINATIONS {
        options.of_linux(&stage);
        serve(&stage, &mut ours, options);
    }
}

#[test]
fn a_linux_server_gets_and_sends_every_byte_whatever_it_accepts() {
    let stage = Stage::new(size());
    let mut linux = stage.start_listening("linux", None);
    for options in COMBINATIONS {
        options.of_linux(&stage);
        call(&stage, &mut linux, options, "");
    }
}

#[test]
fn what_our_configuration_turns_off_is_not_used_with_linux() {
    let stage = Stage::new(size());
    let mut linux = stage.start_listening("linux", None);
    for options in &COMBINATIONS[1..] {
        call(&stage, &mut linux, *options, &options.of_ours());
    }
    drop(linux);
    let options = COMBINATIONS[3];
    let config = format!("[fault]\nspec = '{FAULTS}'\n{}", options.of_ours());
    let mut ours = stage.start_listening("ours", Some(&config));
    serve(&stage, &mut ours, options);
}

/// Kinds of trouble one at a time and worse than in the other tests.
#[test]
fn any_kind_of_trouble_leaves_every_byte_to_a_linux_client() {
    let stage = Stage::new(1 << 20);
    let mut ours = stage.start_listening("ours", Some(""));
    let mut plans =
        vec!["burst=2%/8", "delay=100%/10ms, drop=0.5%", "corrupt=1%, truncate=1%", "dup=30%, reorder=20%"];
    if std::env::var_os("TPA_FULL").is_some() {
        plans.extend(["drop=10%", "burst=10%/20", "nth=20", "rx: drop=5%", "tx: drop=5%", "delay=30%/50ms"]);
    }
    for plan in plans {
        ours_meets(&stage, &mut ours, plan);
    }
}

fn ours_meets(stage: &Stage, ours: &mut Side, plan: &str) {
    ours.fault(&format!("{plan}; seed=7"));
    let before = ours.stack();
    let mut linux = stage.start("linux", &["connect", OURS, &PORT.to_string()], None);
    stage.finish(ours, &mut linux);
    let after = ours.stack();
    println!("{plan}: {} sent again", after.since(&before, "tx_retransmits"));
    assert_through_stack(stage, ours, Some(&before));
    let injected = ["dropped", "duplicated", "reordered", "delayed", "corrupted", "truncated"]
        .map(|kind| after.since(&before, &format!("faults_{kind}")));
    assert!(injected.iter().sum::<u64>() > 0, "{plan}: {injected:?}");
}

/// What both offer is used, and a path of small packets takes the data in small
/// segments.
#[test]
fn ecn_and_a_small_mtu_are_agreed_on_with_linux() {
    let stage = Stage::new(size() / 3);
    for side in [&stage.ours, &stage.linux] {
        side.run(&["ip", "link", "set", "eth0", "mtu", "576"]);
    }
    stage.sysctl("tcp_ecn=1");
    let config = format!("[fault]\nspec = '{FAULTS}; seed=7'\n[tcp]\necn = 'on'\n");
    let mut linux = stage.start_listening("linux", None);
    let mut ours = stage.start("ours", &["connect", LINUX, &PORT.to_string()], Some(&config));
    stage.finish(&mut ours, &mut linux);
    assert_eq!(linux.done(), ["timestamps sack ecn"]);
    assert_eq!(ours.done(), ["timestamps sack ecn"]);
    assert_through_stack(&stage, &ours, None);
    // 576 bytes hold 524 of payload behind both headers and the timestamps.
    let segments = ours.stack().get("tx_segments");
    assert!(segments as usize >= stage.size / 524, "{segments}");
    drop((ours, linux));

    let mut ours = stage.start_listening("ours", Some(&config));
    let mut linux = stage.start("linux", &["connect", OURS, &PORT.to_string()], None);
    stage.finish(&mut ours, &mut linux);
    assert_eq!(linux.done(), ["timestamps sack ecn"]);
    assert_through_stack(&stage, &ours, None);
}

/// Answers each byte with four segments, and tells nothing else.
const REPLIER: &str = "
import socket, sys
listener = socket.create_server(('', int(sys.argv[1])))
while True:
    connection, _ = listener.accept()
    while connection.recv(1):
        connection.sendall(bytes(4 * 1448))
";

/// Asks 100 times, and says how long the longest wait was, in milliseconds.
const ASKER: &str = "
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
longest = 0
for _ in range(100):
    begin = time.monotonic()
    connection.sendall(b'?')
    assert len(connection.recv(4 * 1448, socket.MSG_WAITALL)) == 4 * 1448
    longest = max(longest, time.monotonic() - begin)
print(round(longest * 1000))
";

/// Every eighth segment of ours is lost: the last one of a reply now and then,
/// behind which nothing tells of the loss.
#[test]
fn a_reply_whose_tail_is_lost_costs_no_timeout() {
    let stage = Stage::new(0);
    let port = PORT.to_string();
    let config = format!("[tcp]\npeer_ack_delay_ms = 40\n[fault]\nspec = 'tx: nth=8; port={PORT}'");
    let replier = Program::new("python3").args(&["-c", REPLIER, &port]);
    let mut replier = stage.accelerated(replier, &config).spawn(&stage.ours, &stage.work);
    replier.wait_accelerated();
    let asker = Program::new("python3").args(&["-c", ASKER, OURS, &port]);
    let longest = asker.run(&stage.linux, &stage.work, LIMIT).good();
    let stack = StackTcp::of(replier.pid()).expect("our side's stack");
    assert_eq!(stack.get("bytes_sent"), 100 * 4 * 1448);
    assert!(stack.get("faults_dropped") > 50);
    assert!(stack.get("tail_probes") > 5, "{} tail probes", stack.get("tail_probes"));
    assert_eq!(stack.get("rto_fired"), 0, "timeouts");
    // RFC 6298's least timeout here is 200 ms.
    let longest: u32 = longest.trim().parse().expect("milliseconds");
    assert!(longest < 100, "{longest} ms");
}
