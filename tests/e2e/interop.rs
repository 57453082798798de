//! Bulk data both ways between our stack and Linux's, over a network that loses,
//! doubles, delays and disorders, with the options of either side on and off:
//! every byte arrives, once and in order.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{tpa, wait_until, KernelTcp, Namespace, Program, Running, StackTcp, Work};

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
            Some(further) => {
                let text = format!(
                    "strict = true\nlisten = [{PORT}]\nconnect = [{PORT}]\ndevice = 'af_xdp:eth0'\n{further}\n"
                );
                program.accelerated(&self.work.write("tpa.conf", text)).spawn(&self.ours, &self.work)
            }
        };
        Side { process, exchanges: 0 }
    }

    fn start_listening(&self, side: &str, config: Option<&str>) -> Side {
        let listener = self.start(side, &["listen", &PORT.to_string()], config);
        wait_until(LIMIT, "the listener", || listener.process.stdout().contains("listening"));
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

    fn fault(&self, plan: &str) {
        let output = Command::new(tpa()).args(["fault", &self.process.pid().to_string(), plan]).output();
        let output = output.expect("tpa fault");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Bytes in which nothing repeats, so that no misplaced one goes unseen:
/// xorshift64 by Marsaglia.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    });
    words.flatten().take(size).collect()
}

fn assert_same(sent: &Path, received: &Path) {
    let sent = std::fs::read(sent).expect("what was sent");
    let received = std::fs::read(received).expect("what was received");
    let differs = sent.iter().zip(&received).position(|(a, b)| a != b);
    assert_eq!((differs, received.len()), (None, sent.len()), "first byte that differs, and the length");
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

/// Shows that an exchange went through our stack, and through trouble.
fn assert_accounted(stage: &Stage, ours: &Side, before: Option<&StackTcp>, kernel: u64) {
    let after = ours.stack();
    let count = |name| before.map_or(after.get(name), |before| after.since(before, name));
    let size = stage.size as u64;
    assert_eq!((count("bytes_received"), count("bytes_sent")), (size, size), "bytes through the stack");
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
    let stage = Stage::new(size() / 3);
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
    // Faults need a stack to suffer them: it begins with the first wait.
    wait_until(LIMIT, "our stack", || StackTcp::of(ours.process.pid()).is_some());
    ours.fault(&format!("{plan}; seed=7"));
    let before = ours.stack();
    let mut linux = stage.start("linux", &["connect", OURS, &PORT.to_string()], None);
    stage.finish(ours, &mut linux);
    let after = ours.stack();
    assert_eq!(after.since(&before, "bytes_received"), stage.size as u64, "{plan}");
    assert_eq!(after.since(&before, "bytes_sent"), stage.size as u64, "{plan}");
    let injected = ["dropped", "duplicated", "reordered", "delayed", "corrupted", "truncated"]
        .map(|kind| after.since(&before, &format!("faults_{kind}")));
    assert!(injected.iter().sum::<u64>() > 10, "{plan}: {injected:?}");
}
