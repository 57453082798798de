//! `tpa why`: why sockets of a program run on the stack or not.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tpa_stack::counters;
use tpa_stack::decisions::{self, Entry, Log};

/// Prints the decisions of a process.
pub fn print(pid: u32, as_json: bool) -> Result<(), String> {
    let log = decisions::read(&counters::run_dir(), pid).ok_or_else(|| missing(pid))?;
    if as_json {
        println!("{:#}", to_json(pid, &log));
    } else {
        print!("{}", to_text(pid, &log));
    }
    Ok(())
}

/// Why there is nothing to show, as far as can be seen from outside.
fn missing(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/maps")) {
        Err(error) => format!("process {pid}: {error}"),
        Ok(maps) if !maps.contains("libtpa_shim.so") => {
            format!("process {pid} runs without libtpa_shim.so; `tpa check` says what LD_PRELOAD reaches")
        }
        Ok(_) => format!(
            "process {pid} has decided nothing: it has made no TCP socket yet, has found no configuration \
             or one that names other programs alone, or may not write to {}",
            counters::run_dir().display()
        ),
    }
}

fn age(entry: &Entry) -> Duration {
    entry.at.elapsed().unwrap_or_default()
}

fn kind(entry: &Entry) -> &'static str {
    if entry.listens { "listen" } else { "connect" }
}

fn to_text(pid: u32, log: &Log) -> String {
    let mut text = format!("{} ({pid})\n", log.program);
    // Writing to a string cannot fail.
    for (code, help, count) in &log.counts {
        let _ = writeln!(text, "  {count:>10}  {code:<16} {help}");
    }
    text.push_str("the last ones:\n");
    for entry in &log.last {
        let seconds = age(entry).as_secs_f64();
        let address = entry.address.to_string();
        let _ = writeln!(text, "  {seconds:>8.1} s ago  {:<8} {address:<24} {}", kind(entry), entry.code);
    }
    text
}

fn to_json(pid: u32, log: &Log) -> Json {
    let counts = log.counts.iter().map(|(code, _, count)| (code.clone(), Json::from(*count)));
    let entry = |entry: &Entry| {
        let since = entry.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        json!({
            "at_ms": since.as_millis() as u64,
            "call": kind(entry),
            "address": entry.address.to_string(),
            "reason": entry.code,
        })
    };
    json!({
        "pid": pid,
        "program": log.program,
        "reasons": Json::Object(counts.collect()),
        "last": log.last.iter().map(entry).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn log() -> Log {
        let entry = |listens, address: &str, code: &str| Entry {
            at: SystemTime::now(),
            listens,
            address: address.parse().unwrap(),
            code: code.to_owned(),
        };
        Log {
            program: "nginx".to_owned(),
            counts: vec![("accelerated".to_owned(), "it runs on the stack".to_owned(), 1)],
            last: vec![entry(true, "0.0.0.0:80", "accelerated"), entry(false, "[::1]:7", "ipv6")],
        }
    }

    #[test]
    fn text_has_a_line_for_each_reason_and_each_decision() {
        let expected = "nginx (7)\n           1  accelerated      it runs on the stack\nthe last ones:\n       \
                        0.0 s ago  listen   0.0.0.0:80               accelerated\n       \
                        0.0 s ago  connect  [::1]:7                  ipv6\n";
        assert_eq!(to_text(7, &log()), expected);
    }

    #[test]
    fn json_has_the_same() {
        let json = to_json(7, &log());
        assert_eq!(json["reasons"]["accelerated"], 1);
        assert_eq!(json["last"][1]["address"], "[::1]:7");
        assert_eq!(json["last"][1]["call"], "connect");
    }
}
