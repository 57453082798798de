//! `tpa fault` changes a running program's network, for those who may.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{tpa, wait_until, Device, Redis, Stage};

/// Runs `tpa fault` on a server; gives back what it printed, or why it failed.
fn fault(redis: &Redis, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(tpa());
    command.args(["fault", &redis.pid().to_string()]).args(arguments);
    told(command)
}

fn told(mut command: Command) -> Result<String, String> {
    let output = command.output().expect("tpa");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn faults_begin_and_end_while_the_program_runs() {
    let stage = Stage::new(Device::AfXdp);
    let redis = stage.redis(&[]);
    assert_eq!(fault(&redis, &[]), Ok("off".into()));
    let ask =
        |count: &str| stage.benchmark(&["-t", "get", "-n", count, "-c", "5", "-q"], Duration::from_secs(60));

    let plan = fault(&redis, &["drop=10%, dup=10%", "--port", "6379", "--seed", "7"]);
    assert_eq!(plan, Ok("drop=10%, dup=10%; port=6379; seed=7".into()));
    redis.through_stack(|| drop(ask("200")));
    let injected = redis.stack();
    assert_eq!(injected.get("faults_on"), 1);
    assert!(injected.get("faults_dropped") > 10 && injected.get("faults_duplicated") > 10);

    assert_eq!(fault(&redis, &["off"]), Ok("off".into()));
    let calm = redis.stack();
    ask("200");
    assert_eq!(redis.stack().since(&calm, "faults_dropped"), 0);
    assert_eq!(calm.get("faults_on"), 0);

    let log = redis.process.stderr();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!((lines("fault injection is on"), lines("fault injection is off")), (1, 1), "{log}");
}

#[test]
fn an_outage_ends_when_its_time_is_over_and_its_connections_live_on() {
    let stage = Stage::new(Device::AfXdp);
    let redis = stage.redis(&[]);
    let begin = Instant::now();
    let plan = fault(&redis, &["cut", "--for", "2s"]).expect("a plan");
    assert!(plan.starts_with("cut; for=2s (") && plan.ends_with(" s left)"), "{plan}");
    assert_eq!(stage.cli(&["ping"]).trim(), "PONG");
    assert!(begin.elapsed() >= Duration::from_secs(2), "a reply during the outage");
    wait_until(Duration::from_secs(2), "the end to be noticed", || redis.stack().get("faults_on") == 0);
    assert_eq!(fault(&redis, &["show"]), Ok("off".into()));
}

#[test]
fn a_wrong_plan_changes_nothing_and_strangers_may_not_ask() {
    let stage = Stage::new(Device::AfXdp);
    let redis = stage.redis(&[]);
    let plan = "tx: delay=100%/1ms";
    fault(&redis, &[plan]).expect("a plan");
    let error = fault(&redis, &["drip=1%"]).expect_err("no such fault");
    assert!(error.contains("unknown fault 'drip'"), "{error}");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(tpa());
    command.args(["fault", &redis.pid().to_string(), "cut"]);
    let error = told(command).expect_err("nobody may not");
    assert!(error.ends_with("only its user and root may ask it"), "{error}");
    assert_eq!(fault(&redis, &[]), Ok(plan.into()));
    assert_eq!(stage.cli(&["ping"]).trim(), "PONG");
}
