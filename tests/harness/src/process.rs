//! Programs under test: where they run, with the shim or without, and for how
//! long at most.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::work::unique;
use super::{Namespace, Work, shim};

/// A program to be run.
#[derive(Clone)]
pub struct Program {
    words: Vec<OsString>,
    variables: Vec<OsString>,
    wrapper: Vec<OsString>,
    folder: Option<PathBuf>,
    stdin: Option<PathBuf>,
}

impl Program {
    /// A program by its name or path.
    pub fn new(name: &str) -> Self {
        let words = vec![name.into()];
        Self { words, variables: Vec::new(), wrapper: Vec::new(), folder: None, stdin: None }
    }

    /// The command that it is.
    pub fn name(&self) -> String {
        self.words[0].to_string_lossy().into_owned()
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.words.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.words.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Sets a variable of the program's environment.
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let mut variable = OsString::from(format!("{name}="));
        variable.push(value.into());
        self.variables.push(variable);
        self
    }

    /// Preloads the shim.
    pub fn preloaded(self) -> Self {
        self.variable("LD_PRELOAD", shim())
    }

    /// Preloads the shim with this configuration.
    pub fn accelerated(self, config: &Path) -> Self {
        self.preloaded().variable("TPA_CONF", config)
    }

    /// Lets another command start the program, without the shim: `taskset -c 0`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper.extend(wrapper.iter().map(OsString::from));
        self
    }

    /// Runs it in this folder.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Gives it a file to read on its standard input.
    pub fn input(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_owned());
        self
    }

    /// Starts it. What it prints goes to files in the work folder.
    ///
    /// It is killed with the test, even when that is killed: `setpriv
    /// --pdeathsig`. All that is before `env` runs without the shim.
    pub fn spawn(&self, namespace: &Namespace, work: &Work) -> Running {
        let stem = format!("{}-{}", self.words[0].to_string_lossy().replace('/', "_"), unique());
        let stdout = work.path().join(format!("{stem}.out"));
        let stderr = work.path().join(format!("{stem}.err"));
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", namespace.name()]);
        command.args(&self.wrapper).arg("env").args(&self.variables).args(&self.words);
        command.env_remove("LD_LIBRARY_PATH").current_dir(self.folder.as_deref().unwrap_or(work.path()));
        command.stdin(match &self.stdin {
            Some(path) => Stdio::from(File::open(path).expect("the input file")),
            None => Stdio::null(),
        });
        command.stdout(File::create(&stdout).expect("the output file"));
        command.stderr(File::create(&stderr).expect("the error file"));
        let child = command.spawn().expect("setpriv(1)");
        Running { name: format!("{:?}", self.words), child, stdout, stderr, status: None }
    }

    /// Runs it to its end.
    pub fn run(&self, namespace: &Namespace, work: &Work, limit: Duration) -> Finished {
        self.spawn(namespace, work).finish(limit)
    }
}

/// A program that runs; killed when the value goes away.
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    status: Option<ExitStatus>,
}

/// A program that has ended, and what it printed.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// Its errors, and the log of the shim.
    pub stderr: String,
}

impl Running {
    /// Number of the process: `env` and the like before it have become the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("to signal a child");
    }

    /// The status, once it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("to wait for a child");
        }
        self.status
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Its errors so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits until the stack has a listener of the program's, which must log
    /// at the level "info".
    pub fn wait_accelerated(&mut self) {
        wait_until(Duration::from_secs(20), "an accelerated listener", || {
            assert!(self.status().is_none(), "{} ended\n{}", self.name, self.printed());
            let stands = |line: &str| line.contains("listener on") && line.ends_with("is accelerated");
            self.stderr().lines().any(stands)
        });
    }

    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Finished {
        let end = Instant::now() + limit;
        while self.status().is_none() {
            assert!(Instant::now() < end, "{} did not end within {limit:?}\n{}", self.name, self.printed());
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.status().expect("it has ended");
        Finished { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// All that it printed so far, for error messages.
    pub fn printed(&self) -> String {
        format!("--- its output:\n{}\n--- its errors:\n{}", tail(&self.stdout()), tail(&self.stderr()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Finished {
    /// What it printed, if it ended well.
    pub fn good(self) -> String {
        let (stdout, stderr) = (tail(&self.stdout), tail(&self.stderr));
        assert!(
            self.status.success(),
            "{}\n--- its output:\n{stdout}\n--- its errors:\n{stderr}",
            self.status
        );
        self.stdout
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Waits until something holds.
pub fn wait_until(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
