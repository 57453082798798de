//! iperf3: bulk data either way and both ways, over one connection and eight,
//! with buffers and algorithms of its own.

use serde_json::{Deserializer, Value};

use super::{Sides, Who, LIMIT};
use crate::harness::{wait_until, Program, Running, PORT};

/// Bytes of iperf3's own beside the data of a test: cookies, parameters, results.
const CONTROL: u64 = 64 << 10;

const CELLS: [&str; 9] =
    ["", "-R", "-P 8", "-P 8 -R", "--bidir", "--bidir -P 4", "-w 64K", "-C reno", "-C cubic -R"];

fn serve(sides: &Sides) -> Running {
    sides.serve(Program::new("iperf3").args(&["-s", "-J", "-p", &PORT.to_string()]))
}

/// Runs the client; gives back what it says of the test.
fn run(sides: &Sides, cell: &str) -> Value {
    let [host, port] = sides.at_server();
    let client = Program::new("iperf3").args(&["-c", &host, "-p", &port, "-J", "-n", "8M"]);
    let words: Vec<&str> = cell.split_whitespace().collect();
    let report = sides.run_client(client.args(&words));
    let report: Value = serde_json::from_str(&report).expect("iperf3's report");
    assert_eq!(report["error"], Value::Null, "{cell}");
    report
}

/// Bytes that all streams of a report together have received and sent at the
/// end that made the report.
fn moved(report: &Value) -> (u64, u64) {
    let mut total = (0, 0);
    for stream in report["end"]["streams"].as_array().expect("streams") {
        let bytes = |role: &str| stream[role]["bytes"].as_u64().expect("bytes");
        // Each says what it was itself in both of its halves.
        if stream["sender"]["sender"] == true {
            total.1 += bytes("sender");
        } else {
            total.0 += bytes("receiver");
        }
    }
    total
}

/// The server's report of its test of that number.
fn servers_report(server: &Running, number: usize) -> Value {
    let report = || {
        let stdout = server.stdout();
        Deserializer::from_str(&stdout).into_iter::<Value>().map_while(Result::ok).nth(number)
    };
    wait_until(LIMIT, "the server's report", || report().is_some());
    report().expect("the server's report")
}

fn moves(who: Who, cells: &[&str]) {
    let sides = Sides::new(who);
    let server = serve(&sides);
    for (number, cell) in cells.iter().enumerate() {
        let payload = sides.through_stack(&server, || {
            let report = run(&sides, cell);
            let (received, sent) = moved(&report);
            assert!(received + sent >= 8 << 20, "{cell}: {received} and {sent} bytes");
            servers_report(&server, number);
        });
        if who == Who::Client {
            continue;
        }
        let (received, sent) = moved(&servers_report(&server, number));
        println!("{who:?} {cell}: {received} received, {sent} sent, {payload:?} through the stack");
        assert!((received..received + CONTROL).contains(&payload.read), "{cell}: {received}, {payload:?}");
        assert!((sent..sent + CONTROL).contains(&payload.written), "{cell}: {sent}, {payload:?}");
    }
}

#[test]
fn iperf3_serves_over_af_xdp() {
    moves(Who::Server, &CELLS);
}

#[test]
fn iperf3_asks_over_af_xdp() {
    moves(Who::Client, &CELLS);
}

#[test]
fn iperf3_runs_over_memif() {
    moves(Who::Both, &CELLS);
}
