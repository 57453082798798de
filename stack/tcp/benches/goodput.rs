//! Prints how much a bulk transfer gets out of simulated paths, beside what the
//! model says. `cargo bench -p tpa-tcp --bench goodput -- newreno` measures
//! another controller than CUBIC.

use std::env;
use std::process::ExitCode;

use tpa_sim::goodput;
use tpa_tcp::CongestionAlgorithm;

fn main() -> ExitCode {
    // Cargo adds an option of its own.
    let name = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let congestion = match name.as_deref() {
        None | Some("cubic") => CongestionAlgorithm::Cubic,
        Some("newreno") => CongestionAlgorithm::NewReno,
        Some(other) => {
            eprintln!("no controller `{other}`: cubic or newreno");
            return ExitCode::FAILURE;
        }
    };
    match goodput::table(congestion) {
        Ok(table) => print!("{congestion:?}\n{table}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
