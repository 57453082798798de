//! Prints how much a bulk transfer gets out of simulated paths, beside what the
//! model says. `cargo bench -p tpa-tcp --bench goodput -- reno` measures another
//! controller than CUBIC.

use std::env;
use std::process::ExitCode;

use tpa_sim::goodput;
use tpa_tcp::CongestionAlgorithm;

fn main() -> ExitCode {
    // Cargo adds an option of its own.
    let name = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let name = name.as_deref().unwrap_or("cubic");
    let Some(congestion) = CongestionAlgorithm::ALL.into_iter().find(|one| one.name() == name) else {
        eprintln!("no controller `{name}`: {}", CongestionAlgorithm::ALL.map(|one| one.name()).join(", "));
        return ExitCode::FAILURE;
    };
    match goodput::rows(congestion) {
        Ok(rows) => print!("{congestion:?}\n{}", goodput::table(&rows)),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
