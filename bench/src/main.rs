//! Measures programs on the kernel's stack and under the shim, side by side, and
//! prints one table. `scripts/bench` builds what it needs and starts it.

mod check;
mod column;
mod ground;
mod instructions;
mod measure;
mod plot;
mod process;
mod report;
mod summary;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use column::Column;
use ground::Ground;
use measure::Measure;
use report::{Report, Row};

/// Runs each measurement on the kernel and on the stack over each device by
/// turns, one core a side, and prints one table of medians.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
struct Arguments {
    /// Rows of the table, with the wildcards * and ?; all of them when none is given.
    rows: Vec<String>,
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// About how long one measurement takes, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Also writes the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draws the ratios.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Lists the rows and ends.
    #[arg(long)]
    list: bool,
    /// Counts the instructions of a small request and its reply instead, and
    /// compares them with the kept ones (needs valgrind).
    #[arg(long, conflicts_with_all = ["rows", "json", "plot", "list"])]
    instructions: bool,
    /// Keeps the new counts.
    #[arg(long, requires = "instructions")]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.instructions {
        return match instructions::run(arguments.keep) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(error.as_ref()),
        };
    }
    let measurements = match chosen(&arguments.rows) {
        Ok(measurements) => measurements,
        Err(unknown) => {
            eprintln!("error: no row is called '{unknown}'; --list shows them");
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        for row in measurements.iter().flat_map(|measurement| measurement.rows()) {
            println!("{:<28} {:<16} {} is better", row.name, row.unit, row.better);
        }
        return ExitCode::SUCCESS;
    }
    raise_descriptor_limit();
    // What fails says so as it happens; the panic's own words would only repeat it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = Report::new(&measurements);
    let mut failed = false;
    for run in 1..=arguments.runs {
        for measurement in &measurements {
            for column in Column::ALL {
                failed |= !measure_once(measurement.as_ref(), column, run, &arguments, &mut report);
            }
        }
    }
    report.keep_only(|row| is_chosen(row, &arguments.rows));
    match write(&report, &arguments) {
        Err(error) => fail(error.as_ref()),
        Ok(()) if failed => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// As many descriptors as this process may have, for ten thousand connections: the
/// programs inherit it.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // The hard limit is always allowed.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The measurements that give the wanted rows.
///
/// # Errors
///
/// A word that names no row.
fn chosen(words: &[String]) -> Result<Vec<Box<dyn Measure>>, String> {
    let all = measure::all();
    let names: Vec<String> = all.iter().flat_map(|one| one.rows()).map(|row| row.name).collect();
    if let Some(unknown) = words.iter().find(|word| !names.iter().any(|name| matches(word, name))) {
        return Err(unknown.clone());
    }
    let wanted = |one: &dyn Measure| one.rows().iter().any(|row| is_chosen(row, words));
    Ok(all.into_iter().filter(|one| wanted(one.as_ref())).collect())
}

fn is_chosen(row: &Row, words: &[String]) -> bool {
    words.is_empty() || words.iter().any(|word| matches(word, &row.name))
}

/// Whether a name is what a pattern with `*` and `?` says.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            matches(&pattern[1..], name)
                || name.chars().next().is_some_and(|first| matches(pattern, &name[first.len_utf8()..]))
        }
        (Some('?'), Some(first)) => matches(&pattern[1..], &name[first.len_utf8()..]),
        (Some(wanted), Some(first)) if wanted == first => {
            matches(&pattern[wanted.len_utf8()..], &name[first.len_utf8()..])
        }
        _ => false,
    }
}

/// One value for each row of a measurement. Returns whether that went well.
fn measure_once(
    measurement: &dyn Measure,
    column: Column,
    run: u32,
    arguments: &Arguments,
    report: &mut Report,
) -> bool {
    let what = format!("run {run} of {}: {}, {}", arguments.runs, measurement.name(), column.title());
    let limit = Duration::from_secs(arguments.seconds);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let ground = Ground::new(column, measurement.port());
        measurement.measure(&ground, limit)
    }));
    match outcome {
        Ok(values) => {
            let texts: Vec<String> = values.iter().map(|value| report::number(*value)).collect();
            eprintln!("{what}: {}", texts.join(" "));
            report.add(measurement, column, &values);
            true
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no reason)");
            eprintln!("{what}: failed: {text}");
            false
        }
    }
}

fn write(report: &Report, arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", report.table(arguments.runs));
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &arguments.plot {
        plot::draw(report, path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_would() {
        assert!(matches("redis-*-p1", "redis-get-c50-p1"));
        assert!(matches("idle-cpu", "idle-cpu"));
        assert!(matches("iperf3-?", "iperf3-8"));
        assert!(!matches("iperf3-?", "iperf3-8-reverse"));
        assert!(!matches("redis", "redis-get-c50-p1"));
    }

    #[test]
    fn an_unknown_row_is_named() {
        assert_eq!(chosen(&["redis-gte".to_owned()]).err().as_deref(), Some("redis-gte"));
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let mut names: Vec<_> =
            measure::all().iter().flat_map(|one| one.rows()).map(|row| row.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
