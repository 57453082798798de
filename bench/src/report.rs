//! The table, for people and for machines.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::column::Column;
use crate::measure::Measure;
use crate::summary::{Better, Summary};

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub better: Better,
}

impl Row {
    pub fn new(name: impl Into<String>, unit: &'static str, better: Better) -> Self {
        Self { name: name.into(), unit, better }
    }
}

/// All that was measured.
pub struct Report {
    rows: Vec<Row>,
    values: HashMap<(String, &'static str), Vec<f64>>,
}

impl Report {
    pub fn new(measurements: &[Box<dyn Measure>]) -> Self {
        Self { rows: measurements.iter().flat_map(|one| one.rows()).collect(), values: HashMap::new() }
    }

    /// Adds what one run has given, in the order of the measurement's rows.
    pub fn add(&mut self, measurement: &dyn Measure, column: Column, values: &[f64]) {
        for (row, value) in measurement.rows().into_iter().zip(values) {
            self.values.entry((row.name, column.key())).or_default().push(*value);
        }
    }

    /// Drops the rows that nobody wants.
    pub fn keep_only(&mut self, wanted: impl Fn(&Row) -> bool) {
        self.rows.retain(wanted);
    }

    /// The rows, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What a cell holds; `None` when nothing could be measured.
    pub fn cell(&self, row: &Row, column: Column) -> Option<Summary> {
        let values = |column: Column| self.values.get(&(row.name.clone(), column.key()));
        Summary::of(values(column)?, values(Column::Kernel)?, row.better)
    }

    /// For machines: an array with one object a row.
    ///
    /// # Errors
    ///
    /// When JSON cannot say it.
    pub fn json(&self) -> serde_json::Result<String> {
        let object = |row: &Row| {
            let mut object = Map::new();
            object.insert("row".to_owned(), json!(row.name));
            object.insert("unit".to_owned(), json!(row.unit));
            object.insert("better".to_owned(), json!(row.better));
            for column in Column::ALL {
                object.insert(column.key().to_owned(), json!(self.cell(row, column)));
            }
            Value::Object(object)
        };
        let rows: Vec<Value> = self.rows.iter().map(object).collect();
        Ok(serde_json::to_string_pretty(&rows)? + "\n")
    }

    /// For people.
    pub fn table(&self, runs: u32) -> String {
        let (bold, dim, plain) =
            if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("\n{}; medians of {runs}, one core a side\n\n{bold}{:<26}", machine(), "");
        for column in Column::ALL {
            let _ = write!(text, "{:>24}", column.title());
        }
        let _ = writeln!(text, "  unit{plain}");
        for row in &self.rows {
            let _ = write!(text, "{:<26}", row.name);
            for column in Column::ALL {
                let _ = write!(text, "{:>24}", self.cell(row, column).map_or("-".to_owned(), cell_text));
            }
            let _ = writeln!(text, "  {dim}{}{plain}", row.unit);
        }
        text += "\nThe factor says how many times better than the kernel a cell is, the percentage how far its\n\
                 runs lie apart.\n";
        text
    }
}

fn cell_text(cell: Summary) -> String {
    let spread = 100.0 * (cell.max - cell.min) / cell.median;
    format!("{} {:>6.2}x {:>3.0}%", number(cell.median), cell.ratio, spread)
}

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The machine and the programs.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = vec![
        model.map_or("unknown processor", |(_, name)| name).to_owned(),
        format!("{} cores", std::thread::available_parallelism().map_or(1, usize::from)),
        format!("Linux {}", kernel.trim()),
    ];
    for (program, argument) in
        [("redis-server", "--version"), ("memcached", "-V"), ("nginx", "-v"), ("iperf3", "--version")]
    {
        parts.extend(version(program, argument));
    }
    parts.join(", ")
}

/// "redis 7.0.15": the first word with a dot in what a program says of itself.
fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let numbers = |word: &str| word.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let word = text.split_whitespace().map(numbers).find(|word| word.contains('.'))?;
    Some(format!("{} {word}", program.trim_end_matches("-server")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Ground;
    use std::time::Duration;

    struct One;

    impl Measure for One {
        fn name(&self) -> String {
            "one".to_owned()
        }

        fn rows(&self) -> Vec<Row> {
            vec![Row::new("one-p99", "ms", Better::Lower)]
        }

        fn port(&self) -> u16 {
            1
        }

        fn measure(&self, _: &Ground, _: Duration) -> Vec<f64> {
            vec![1.0]
        }
    }

    #[test]
    fn json_has_one_object_a_row_with_a_column_each() {
        let mut report = Report::new(&[Box::new(One)]);
        report.add(&One, Column::Kernel, &[4.0]);
        report.add(&One, Column::Memif, &[1.0]);
        report.add(&One, Column::Memif, &[3.0]);
        let value: Value = serde_json::from_str(&report.json().expect("JSON")).expect("JSON");
        assert_eq!(
            value,
            json!([{
                "row": "one-p99", "unit": "ms", "better": "lower",
                "kernel": {"median": 4.0, "min": 4.0, "max": 4.0, "ratio": 1.0},
                "af_xdp_server": null,
                "af_xdp": null,
                "memif": {"median": 2.0, "min": 1.0, "max": 3.0, "ratio": 2.0},
            }])
        );
    }
}
