//! Each state against each event (RFC 9293 3.10), from `state_table.txt`, where
//! the form of the table is described.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::script::{Script, bare, opening, play};
use crate::{Config, Duration, State};

/// What the table must have for each state.
const EVENTS: [&str; 31] = [
    "OPEN",
    "SEND",
    "RECEIVE",
    "CLOSE",
    "ABORT",
    "STATUS",
    "SYN in the window",
    "SYN before the window",
    "SYN repeated",
    "SYN,ACK",
    "SYN,ACK with a wrong ACK",
    "ACK acceptable",
    "ACK old",
    "ACK too new",
    "RST at the next number",
    "RST,ACK at the next number",
    "RST in the window",
    "RST beyond the window",
    "RST before the window",
    "FIN",
    "FIN that acknowledges all",
    "data in order",
    "data ahead of a gap",
    "data that begins before the window",
    "data that ends beyond the window",
    "data beyond the window",
    "URG",
    "no control bits",
    "USER TIMEOUT",
    "RETRANSMISSION TIMEOUT",
    "TIME-WAIT TIMEOUT",
];

/// A state as the table names it, the state that the engine has for it (none
/// for LISTEN), and its numbers: next, fin, una, nxt, old, new, ack.
type Row = (&'static str, Option<State>, [u32; 7]);

const ROWS: [Row; 12] = [
    ("CLOSED", Some(State::Closed), [1, 1, 1, 1, 0, 9, 1]),
    ("LISTEN", None, [1, 1, 1, 1, 0, 9, 1]),
    ("SYN-SENT", Some(State::SynSent), [1, 1, 0, 1, 0, 9, 1]),
    ("SYN-RECEIVED", Some(State::SynReceived), [1, 1, 0, 1, 0, 9, 1]),
    ("SYN-RECEIVED (active)", Some(State::SynReceived), [1, 1, 0, 1, 0, 9, 1]),
    ("ESTABLISHED", Some(State::Established), [1, 1, 1, 101, 0, 109, 1]),
    ("FIN-WAIT-1", Some(State::FinWait1), [1, 1, 1, 2, 0, 9, 1]),
    ("FIN-WAIT-2", Some(State::FinWait2), [1, 1, 2, 2, 1, 9, 2]),
    ("CLOSE-WAIT", Some(State::CloseWait), [2, 1, 1, 101, 0, 109, 1]),
    ("CLOSING", Some(State::Closing), [2, 1, 1, 2, 0, 9, 1]),
    ("LAST-ACK", Some(State::LastAck), [2, 1, 1, 2, 0, 9, 1]),
    ("TIME-WAIT", Some(State::TimeWait), [2, 1, 2, 2, 1, 9, 2]),
];

const NUMBERS: [&str; 7] = ["{next}", "{fin}", "{una}", "{nxt}", "{old}", "{new}", "{ack}"];

/// One line of the table.
struct Cell<'a> {
    event: &'a str,
    /// The line that makes the event happen.
    trigger: &'a str,
    state: &'a str,
    reaction: &'a str,
    next: &'a str,
}

fn table() -> Vec<Cell<'static>> {
    let mut cells = Vec::new();
    let (mut event, mut trigger) = ("", "");
    for line in include_str!("state_table.txt").lines() {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        match parts[..] {
            _ if line.starts_with('#') || line.trim().is_empty() => {}
            [state, reaction, next] if line.starts_with(' ') => {
                cells.push(Cell { event, trigger, state, reaction, next });
            }
            [name, script] if !line.starts_with(' ') => (event, trigger) = (name, script),
            _ => panic!("no line of the table: {line}"),
        }
    }
    cells
}

/// The script lines that lead to a row's state, with something in flight where
/// the state has something to send.
fn beginning(row: &Row) -> String {
    let open = "nodelay on\n. quickack on\n";
    let data = |next| format!(". {open}. write 100\n. > PA 1+100 ack {next}\n. quickack on\n");
    match *row {
        ("LISTEN", ..) => String::new(),
        ("SYN-RECEIVED (active)", ..) => {
            opening(State::SynSent) + ". < S 0+0 win 60000 mss 1000\n. > SA 0+0 ack 1\n"
        }
        (_, Some(state @ State::Established), _) => opening(state) + &data(1),
        (_, Some(state @ State::CloseWait), _) => opening(state) + &data(2),
        (_, Some(state), _) => format!("{}. {open}", opening(state)),
        (name, None, _) => panic!("no state {name}"),
    }
}

/// The script of a cell.
fn script(cell: &Cell<'_>, row: &Row) -> String {
    let [.., nxt, _, _, _] = row.2;
    let ack = format!("> A {nxt}+0 ack {}", row.2[0]);
    let mut lines = vec![cell.trigger];
    lines.extend(cell.reaction.split(';').map(str::trim).map(|line| match line {
        "-" => "silent",
        "ack" => &ack,
        line => line,
    }));
    let mut text = beginning(row);
    let mut first = true;
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        let timed = line.starts_with(|letter: char| letter.is_ascii_digit() || letter == '+');
        let time = if timed { "" } else { "+10 " };
        text += if first || timed { time } else { ". " };
        text += line;
        text += "\n";
        first = false;
    }
    NUMBERS.iter().zip(row.2).fold(text, |text, (name, number)| text.replace(name, &number.to_string()))
}

fn next_state(script: &Script, next: &str) {
    let Some(row) = ROWS.iter().find(|row| row.0 == next) else { panic!("no state {next}") };
    match (script.connection.as_ref(), row.1) {
        (None, None) => {}
        (Some(connection), None) => assert!(connection.is_closed(), "not back to LISTEN"),
        (None, Some(state)) => panic!("no connection, but {state:?} is expected"),
        (Some(connection), Some(state)) => assert_eq!(connection.state(), state),
    }
}

fn config(event: &str) -> Config {
    if event == "TIME-WAIT TIMEOUT" {
        let slow = Duration::from_secs(100);
        Config { rto_initial: slow, rto_min: slow, ..bare() }
    } else {
        bare()
    }
}

fn check(cell: &Cell<'_>) {
    let Some(row) = ROWS.iter().find(|row| row.0 == cell.state) else { panic!("no state {}", cell.state) };
    if cell.reaction == "no such call" {
        return assert!(row.1.is_none() || cell.event == "OPEN", "the call exists");
    }
    next_state(&play(config(cell.event), &script(cell, row)), cell.next);
}

#[test]
fn each_state_reacts_to_each_event_as_rfc_9293_has_it() {
    let failed: Vec<String> = table()
        .iter()
        .filter(|cell| catch_unwind(AssertUnwindSafe(|| check(cell))).is_err())
        .map(|cell| format!("{} in {}", cell.event, cell.state))
        .collect();
    assert!(failed.is_empty(), "{} cells: {failed:#?}", failed.len());
}

#[test]
fn no_cell_of_the_state_table_is_missing() {
    let cells = table();
    for event in EVENTS {
        for (state, ..) in ROWS {
            let count = cells.iter().filter(|cell| (cell.event, cell.state) == (event, state)).count();
            assert_eq!(count, 1, "{event} in {state}");
        }
    }
    assert_eq!(cells.len(), EVENTS.len() * ROWS.len(), "the table has events that are not asked for");
}
