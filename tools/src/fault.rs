//! `tpa fault`: faults in a running program's device.

use tpa_stack::{counters, request};

/// Shows the faults of a process, or begins or ends them, and prints what holds
/// then.
pub fn run(
    pid: u32,
    plan: &str,
    port: Option<u16>,
    seed: Option<u64>,
    lasts: Option<String>,
) -> Result<(), String> {
    let further: Vec<String> = [
        port.map(|port| format!("; port={port}")),
        seed.map(|seed| format!("; seed={seed}")),
        lasts.map(|time| format!("; for={time}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let request = match plan.trim() {
        "show" | "off" if !further.is_empty() => {
            return Err(format!("--port, --seed and --for go with a plan, not with '{plan}'"));
        }
        "show" => "fault".to_owned(),
        "" => return Err("an empty plan; `tpa fault PID off` ends all faults".to_owned()),
        plan => format!("fault {plan}{}", further.concat()),
    };
    let directory = counters::run_dir().join(pid.to_string());
    if !directory.exists() {
        return Err(format!("process {pid} does not run on the stack"));
    }
    let answer = request::ask(&directory, &request).map_err(|error| format!("process {pid}: {error}"))?;
    println!("{answer}");
    Ok(())
}
