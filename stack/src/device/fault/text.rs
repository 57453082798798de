//! A plan's text.
//!
//! ```text
//! plan  = [ part { ";" part } ]
//! part  = [ ( "rx" | "tx" | "both" ) ":" ] fault { "," fault }        (both)
//!       | "port" "=" number | "seed" "=" number | "for" "=" time
//! fault = ( "drop" | "dup" | "reorder" | "corrupt" | "truncate" ) "=" share
//!       | "burst" "=" share "/" number     mean length of a run of losses
//!       | "nth" "=" number
//!       | "delay" "=" share "/" time
//!       | "cut" [ "=" time ]               nothing comes through
//! share = number "%"                       decimals allowed: 0.1%
//! time  = number ( "us" | "ms" | "s" )
//! ```
//!
//! Example: `rx: drop=1%, dup=1%, reorder=1%; tx: delay=10%/2ms; seed=7`.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::plan::{Bursts, FaultPlan, Faults, Share};

/// Longest delay of a frame.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// Longest time that a plan or an outage can be given.
const MAX_TIME: Duration = Duration::from_secs(86_400);
/// Longest mean run of losses.
const MAX_RUN: u32 = 10_000;

/// What is wrong with a plan's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No such direction.
    #[error("fault plan: '{0}' is neither 'rx: ...', 'tx: ...' nor 'both: ...'")]
    Part(String),
    /// No such fault.
    #[error(
        "fault plan: unknown fault '{0}'; there are drop, burst, nth, dup, reorder, delay, corrupt, truncate, cut, \
         and port, seed, for"
    )]
    Fault(String),
    /// A fault without its share.
    #[error("fault plan: '{0}' lacks its share: NAME=SHARE%")]
    NoShare(String),
    /// Not a share.
    #[error("fault plan: '{0}' is no share from 0% to 100%")]
    Share(String),
    /// Not a share and a length of runs.
    #[error("fault plan: '{0}' is no burst such as 1%/5, of at most 50% in runs of 1 to 10000 frames")]
    Burst(String),
    /// Not a number of frames.
    #[error("fault plan: '{0}' is no number of frames, 1 or more")]
    Nth(String),
    /// Not a time, or one over ten seconds.
    #[error("fault plan: '{0}' is no delay such as 10%/2ms, of at most 10s")]
    Delay(String),
    /// Not a time, or one over a day.
    #[error("fault plan: '{0}' is no time such as 500ms or 10s, of at most a day")]
    Time(String),
    /// Not a port.
    #[error("fault plan: '{0}' is no port, a number from 1 to 65535")]
    Port(String),
    /// Not a seed.
    #[error("fault plan: '{0}' is no seed, a number from 0 to 2^64-1")]
    Seed(String),
}

impl FromStr for FaultPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = FaultPlan::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once([':', '=']).map(|(name, rest)| (name.trim(), rest.trim())) {
                Some(("rx", faults)) => read_faults(faults, &mut [&mut plan.rx])?,
                Some(("tx", faults)) => read_faults(faults, &mut [&mut plan.tx])?,
                Some(("both", faults)) => read_faults(faults, &mut [&mut plan.rx, &mut plan.tx])?,
                Some(("port", port)) => plan.port = Some(read_port(port)?),
                Some(("seed", seed)) => plan.seed = seed.parse().map_err(|_| PlanError::Seed(seed.into()))?,
                Some(("for", time)) => plan.lasts = Some(read_duration(time)?),
                _ if part.contains(':') => return Err(PlanError::Part(part.into())),
                _ => read_faults(part, &mut [&mut plan.rx, &mut plan.tx])?,
            }
        }
        Ok(plan)
    }
}

fn read_faults(text: &str, targets: &mut [&mut Faults]) -> Result<(), PlanError> {
    for fault in text.split(',').map(str::trim) {
        for target in targets.iter_mut() {
            match fault.split_once('=') {
                Some((name, value)) => read_fault(name.trim(), value.trim(), target)?,
                None if fault == "cut" => target.cut = Some(Duration::MAX),
                None => return Err(PlanError::NoShare(fault.into())),
            }
        }
    }
    Ok(())
}

fn read_fault(name: &str, value: &str, target: &mut Faults) -> Result<(), PlanError> {
    match name {
        "cut" => target.cut = Some(read_duration(value)?),
        "drop" => target.drop = read_share(value)?,
        "burst" => target.bursts = Some(read_bursts(value)?),
        "nth" => target.nth = read_positive(value).ok_or_else(|| PlanError::Nth(value.into()))?,
        "dup" => target.duplicate = read_share(value)?,
        "reorder" => target.reorder = read_share(value)?,
        "corrupt" => target.corrupt = read_share(value)?,
        "truncate" => target.truncate = read_share(value)?,
        "delay" => {
            let wrong = || PlanError::Delay(value.into());
            let (share, time) = value.split_once('/').ok_or_else(wrong)?;
            target.delay = read_share(share.trim())?;
            target.delay_by = read_time(time.trim()).filter(|time| *time <= MAX_DELAY).ok_or_else(wrong)?;
        }
        _ => return Err(PlanError::Fault(name.into())),
    }
    Ok(())
}

fn read_share(text: &str) -> Result<Share, PlanError> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Share((percent * 10_000.0).round() as u32)),
        _ => Err(PlanError::Share(text.into())),
    }
}

fn read_bursts(text: &str) -> Result<Bursts, PlanError> {
    let wrong = || PlanError::Burst(text.into());
    let (share, length) = text.split_once('/').ok_or_else(wrong)?;
    let share = read_share(share.trim())?;
    let length = read_positive(length.trim()).filter(|length| *length <= MAX_RUN).ok_or_else(wrong)?;
    if share.0 > 500_000 { Err(wrong()) } else { Ok(Bursts { share, length }) }
}

fn read_port(text: &str) -> Result<u16, PlanError> {
    text.parse().ok().filter(|&port| port > 0).ok_or_else(|| PlanError::Port(text.into()))
}

fn read_positive(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number > 0)
}

fn read_duration(text: &str) -> Result<Duration, PlanError> {
    read_time(text).filter(|time| *time <= MAX_TIME).ok_or_else(|| PlanError::Time(text.into()))
}

fn read_time(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    match unit.trim() {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_in_full() {
        let text = "rx: drop=1%, dup=0.5% ,reorder=2%, burst=1%/5, nth=100; \
                    tx:corrupt=0.01%,truncate=100%,delay=10%/2ms, cut=3s; seed=7; port=6379; for=10s";
        let rx = Faults {
            drop: Share(10_000),
            duplicate: Share(5_000),
            reorder: Share(20_000),
            bursts: Some(Bursts { share: Share(10_000), length: 5 }),
            nth: 100,
            ..Faults::default()
        };
        let tx = Faults {
            corrupt: Share(100),
            truncate: Share(1_000_000),
            delay: Share(100_000),
            delay_by: Duration::from_millis(2),
            cut: Some(Duration::from_secs(3)),
            ..Faults::default()
        };
        let plan = FaultPlan { rx, tx, port: Some(6379), seed: 7, lasts: Some(Duration::from_secs(10)) };
        assert_eq!(text.parse(), Ok(plan));
    }

    #[test]
    fn both_directions_may_share_their_faults() {
        for text in ["both: drop=1%, cut", "drop=1%,cut", "cut; drop=1%"] {
            let plan: FaultPlan = text.parse().unwrap();
            assert_eq!((plan.rx, plan.tx.drop), (plan.tx, Share(10_000)));
            assert_eq!(plan.rx.cut, Some(Duration::MAX));
        }
    }

    #[test]
    fn nothing_is_the_idle_plan() {
        for text in ["", "  ", ";", "seed=3", "rx: drop=0%", "port=80; for=1s"] {
            assert!(text.parse::<FaultPlan>().unwrap().is_idle(), "{text:?}");
        }
        for text in ["tx: truncate=0.1%", "rx: cut", "rx: nth=2", "tx: burst=1%/3"] {
            assert!(!text.parse::<FaultPlan>().unwrap().is_idle(), "{text:?}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let cases = [
            ("rz: drop=1%", PlanError::Part("rz: drop=1%".into())),
            ("drop", PlanError::NoShare("drop".into())),
            ("prot=80", PlanError::Fault("prot".into())),
            ("rx: drip=1%", PlanError::Fault("drip".into())),
            ("rx: drop", PlanError::NoShare("drop".into())),
            ("rx: drop=1%,", PlanError::NoShare("".into())),
            ("rx: drop=1", PlanError::Share("1".into())),
            ("rx: drop=101%", PlanError::Share("101%".into())),
            ("rx: drop=-1%", PlanError::Share("-1%".into())),
            ("rx: drop=nan%", PlanError::Share("nan%".into())),
            ("rx: burst=1%", PlanError::Burst("1%".into())),
            ("rx: burst=60%/2", PlanError::Burst("60%/2".into())),
            ("rx: burst=1%/0", PlanError::Burst("1%/0".into())),
            ("rx: nth=0", PlanError::Nth("0".into())),
            ("rx: cut=1%", PlanError::Time("1%".into())),
            ("tx: delay=1%", PlanError::Delay("1%".into())),
            ("tx: delay=1%/2", PlanError::Delay("1%/2".into())),
            ("tx: delay=1%/11s", PlanError::Delay("1%/11s".into())),
            ("seed=x", PlanError::Seed("x".into())),
            ("port=0", PlanError::Port("0".into())),
            ("for=2d", PlanError::Time("2d".into())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<FaultPlan>(), Err(error), "{text:?}");
        }
    }
}
