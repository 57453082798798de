//! `tpa stat`: the counters of running programs.

use std::fmt::Write;

use serde_json::{Map, Value as Json, json};
use tpa_stack::counters::{self, Instance, Value};

/// Prints the counters of all processes, or of one.
pub fn print(pid: Option<u32>, as_json: bool) -> Result<(), String> {
    let mut instances = counters::read_all(&counters::run_dir());
    instances.retain(|instance| instance.alive && pid.is_none_or(|pid| pid == instance.pid));
    if let (Some(pid), true) = (pid, instances.is_empty()) {
        return Err(format!("process {pid} does not run on the stack"));
    }
    if as_json {
        println!("{:#}", Json::from_iter(instances.iter().map(to_json)));
    } else if instances.is_empty() {
        println!("no process runs on the stack");
    } else {
        print!("{}", instances.iter().map(to_text).collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// The values of all workers added up, those of the process before them.
fn total(instance: &Instance) -> Vec<Value> {
    let mut total = instance.process.clone();
    let own = total.len();
    for values in &instance.workers {
        for (index, value) in values.iter().enumerate() {
            match total.get_mut(own + index) {
                Some(sum) => sum.value = sum.value.wrapping_add(value.value),
                None => total.push(value.clone()),
            }
        }
    }
    total
}

fn to_json(instance: &Instance) -> Json {
    let workers: Vec<Json> = instance.workers.iter().map(|values| object(values)).collect();
    json!({
        "pid": instance.pid,
        "program": instance.program,
        "device": instance.device,
        "counters": object(&total(instance)),
        "workers": workers,
    })
}

fn object(values: &[Value]) -> Json {
    let pairs = values.iter().map(|value| (value.field.name.clone(), Json::from(value.value)));
    Json::Object(Map::from_iter(pairs))
}

/// One process: a heading, and a line for each value that is not zero.
fn to_text(instance: &Instance) -> String {
    let Instance { pid, program, device, workers, .. } = instance;
    let workers = match workers.len() {
        1 => "1 worker".to_owned(),
        count => format!("{count} workers"),
    };
    let mut text = format!("{program} ({pid}) on {device}, {workers}\n");
    for value in total(instance).iter().filter(|value| value.value != 0) {
        let field = &value.field;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:<22} {:>16} {:<12} {}", field.name, value.value, field.unit, field.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tpa_stack::counters::{Field, Kind};

    use super::*;

    fn value(name: &str, value: u64) -> Value {
        let field = Field {
            name: name.to_owned(),
            kind: Kind::Counter,
            unit: "bytes".to_owned(),
            help: format!("About {name}."),
        };
        Value { field: Arc::new(field), value }
    }

    fn instance() -> Instance {
        Instance {
            pid: 4711,
            program: "redis-server".to_owned(),
            device: "af_xdp:eth0".to_owned(),
            alive: true,
            process: vec![value("fallback_listen", 1)],
            workers: vec![vec![value("in", 5), value("out", 0)], vec![value("in", 7), value("out", 0)]],
        }
    }

    #[test]
    fn json_has_the_sum_of_the_workers_and_each_of_them() {
        let expected = json!({
            "pid": 4711,
            "program": "redis-server",
            "device": "af_xdp:eth0",
            "counters": {"fallback_listen": 1, "in": 12, "out": 0},
            "workers": [{"in": 5, "out": 0}, {"in": 7, "out": 0}],
        });
        assert_eq!(to_json(&instance()), expected);
    }

    #[test]
    fn text_shows_what_is_not_zero() {
        let expected = "redis-server (4711) on af_xdp:eth0, 2 workers\n  \
                        fallback_listen                       1 bytes        About fallback_listen.\n  \
                        in                                   12 bytes        About in.\n";
        assert_eq!(to_text(&instance()), expected);
    }
}
