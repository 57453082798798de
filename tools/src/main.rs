//! The `tpa` command: looks into programs that run under libtpa_shim, and
//! checks configurations.

mod check;
mod conf;
mod fault;
mod stat;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Looks into programs that run under libtpa_shim, and checks configurations.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the counters of programs that run on the stack
    Stat {
        /// One object a process, with all counters, for machines
        #[arg(long)]
        json: bool,
        /// Only this process
        pid: Option<u32>,
    },
    /// Says why sockets of a program run on the stack or not
    ///
    /// Shows how often each reason held, and the last 64 decisions: of what, by
    /// which reason, how long ago. Reasons have names that stay the same; with
    /// TPA_LOG=debug the program logs them for each socket.
    Why {
        /// One object, for machines
        #[arg(long)]
        json: bool,
        /// The process
        pid: u32,
    },
    /// Says whether LD_PRELOAD reaches a program, and what of it the shim covers
    ///
    /// Names the functions through which the program and its libraries touch
    /// sockets and that the shim does not have, and says when a program is
    /// static, set-uid or of Go. Fails when there is any such thing. Libraries
    /// that the program opens while it runs are not seen.
    Check {
        /// One object, for machines
        #[arg(long)]
        json: bool,
        /// The shim; without it, the one beside this command
        #[arg(long, value_name = "FILE")]
        shim: Option<PathBuf>,
        /// A path, or a name that is looked for in PATH
        program: PathBuf,
    },
    /// Shows, begins or ends the faults that a running program's device injects
    ///
    /// PLAN is a list of faults, of both directions or of one:
    ///
    ///   drop=1%           each frame may be lost
    ///   burst=1%/5        losses in runs of 5 frames on average
    ///   nth=100           every hundredth frame is lost
    ///   dup=1%            a frame comes twice
    ///   reorder=1%        up to eight later frames overtake one
    ///   delay=10%/2ms     a frame comes later
    ///   corrupt=0.1%      a bit is inverted
    ///   truncate=0.1%     a frame loses its end
    ///   cut, cut=5s       nothing comes through
    ///
    /// Examples: 'drop=1%,dup=1%', 'rx: drop=1%; tx: delay=100%/20ms', 'cut'.
    /// `tpa stat` counts what was injected. Only the program's user and root
    /// may do this.
    #[command(verbatim_doc_comment)]
    Fault {
        /// The process
        pid: u32,
        /// The plan, "off", or "show"
        #[arg(default_value = "show")]
        plan: String,
        /// Only TCP segments from or to this port
        #[arg(long)]
        port: Option<u16>,
        /// Where the random numbers start: the same seed, the same faults
        #[arg(long)]
        seed: Option<u64>,
        /// When the faults end by themselves, such as 500ms or 10s
        #[arg(long = "for", value_name = "TIME")]
        lasts: Option<String>,
    },
    /// Work on configurations
    #[command(subcommand)]
    Conf(Conf),
}

#[derive(Subcommand)]
enum Conf {
    /// Says whether a configuration is right, and prints it with all defaults
    ///
    /// Without FILE: the one that a program started here and now would find,
    /// with what the environment (TPA_LISTEN and its like) sets above it.
    Check {
        /// The file, such as /etc/tpa/tpa.conf
        file: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Stat { json, pid } => stat::print(pid, json),
        Command::Why { json, pid } => why::print(pid, json),
        Command::Check { json, shim, program } => check::run(&program, shim, json),
        Command::Fault { pid, plan, port, seed, lasts } => fault::run(pid, &plan, port, seed, lasts),
        Command::Conf(Conf::Check { file }) => conf::check(file.as_deref()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("tpa: {message}");
            ExitCode::FAILURE
        }
    }
}
