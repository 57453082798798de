//! Which faults to inject, and the short text that says so.
//!
//! ```text
//! plan  = [ part { ";" part } ]
//! part  = ( "rx" | "tx" | "both" ) ":" fault { "," fault }  |  "seed" "=" number
//! fault = ( "drop" | "dup" | "reorder" | "corrupt" | "cut" ) "=" share
//!       | "delay" "=" share "/" time
//! share = number "%"                    decimals allowed: 0.1%
//! time  = number ( "us" | "ms" | "s" )
//! ```
//!
//! Example: `rx: drop=1%, dup=1%, reorder=1%; tx: delay=10%/2ms; seed=7`.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Longest delay that can be asked for.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// A share of frames, in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(pub u32);

/// Faults of one direction; all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Frames that vanish.
    pub drop: Share,
    /// Frames that come twice.
    pub duplicate: Share,
    /// Frames that up to eight later ones overtake.
    pub reorder: Share,
    /// Frames with one bit inverted behind the Ethernet header.
    pub corrupt: Share,
    /// Frames that lose their end.
    pub cut: Share,
    /// Frames that come later, by [`Faults::delay_by`].
    pub delay: Share,
    /// How much later.
    pub delay_by: Duration,
}

impl Faults {
    /// Whether no frame is touched.
    pub fn is_idle(&self) -> bool {
        let shares = [self.drop, self.duplicate, self.reorder, self.corrupt, self.cut, self.delay];
        shares.iter().all(|&share| share == Share::default())
    }

    /// Whether frames may change on the way.
    pub fn garbles(&self) -> bool {
        self.corrupt.0 > 0 || self.cut.0 > 0
    }
}

/// What a [`FaultDevice`](super::FaultDevice) does to frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// On receive.
    pub rx: Faults,
    /// On transmit.
    pub tx: Faults,
    /// Where the random numbers start; the same seed, the same faults.
    pub seed: u64,
}

impl FaultPlan {
    /// Whether the plan does nothing.
    pub fn is_idle(&self) -> bool {
        self.rx.is_idle() && self.tx.is_idle()
    }
}

/// What is wrong with a plan's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// A part is neither faults of a direction nor a seed.
    #[error("fault plan: '{0}' is neither 'rx: ...', 'tx: ...', 'both: ...' nor 'seed=NUMBER'")]
    Part(String),
    /// No such fault.
    #[error("fault plan: unknown fault '{0}'; there are drop, dup, reorder, delay, corrupt, cut")]
    Fault(String),
    /// A fault without its share.
    #[error("fault plan: '{0}' lacks its share: NAME=SHARE%")]
    NoShare(String),
    /// Not a share.
    #[error("fault plan: '{0}' is no share from 0% to 100%")]
    Share(String),
    /// Not a time, or one over ten seconds.
    #[error("fault plan: '{0}' is no delay such as 10%/2ms, of at most 10s")]
    Delay(String),
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
                Some(("seed", seed)) => plan.seed = seed.parse().map_err(|_| PlanError::Seed(seed.into()))?,
                _ => return Err(PlanError::Part(part.into())),
            }
        }
        Ok(plan)
    }
}

fn read_faults(text: &str, targets: &mut [&mut Faults]) -> Result<(), PlanError> {
    for fault in text.split(',').map(str::trim) {
        let (name, value) = fault.split_once('=').ok_or_else(|| PlanError::NoShare(fault.into()))?;
        for target in targets.iter_mut() {
            read_fault(name.trim(), value.trim(), target)?;
        }
    }
    Ok(())
}

fn read_fault(name: &str, value: &str, target: &mut Faults) -> Result<(), PlanError> {
    match name {
        "drop" => target.drop = read_share(value)?,
        "dup" => target.duplicate = read_share(value)?,
        "reorder" => target.reorder = read_share(value)?,
        "corrupt" => target.corrupt = read_share(value)?,
        "cut" => target.cut = read_share(value)?,
        "delay" => {
            let wrong = || PlanError::Delay(value.into());
            let (share, time) = value.split_once('/').ok_or_else(wrong)?;
            target.delay = read_share(share.trim())?;
            target.delay_by = read_time(time.trim()).ok_or_else(wrong)?;
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

fn read_time(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().ok()?;
    let time = match unit.trim() {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return None,
    };
    (time <= MAX_DELAY).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_in_full() {
        let text = "rx: drop=1%, dup=0.5% ,reorder=2%; tx:corrupt=0.01%,cut=100%,delay=10%/2ms; seed=7";
        let rx = Faults {
            drop: Share(10_000),
            duplicate: Share(5_000),
            reorder: Share(20_000),
            ..Faults::default()
        };
        let tx = Faults {
            corrupt: Share(100),
            cut: Share(1_000_000),
            delay: Share(100_000),
            delay_by: Duration::from_millis(2),
            ..Faults::default()
        };
        assert_eq!(text.parse(), Ok(FaultPlan { rx, tx, seed: 7 }));
    }

    #[test]
    fn both_directions_may_share_their_faults() {
        let plan: FaultPlan = "both: drop=1%".parse().unwrap();
        assert_eq!((plan.rx, plan.tx.drop), (plan.tx, Share(10_000)));
    }

    #[test]
    fn nothing_is_the_idle_plan() {
        for text in ["", "  ", ";", "seed=3", "rx: drop=0%"] {
            assert!(text.parse::<FaultPlan>().unwrap().is_idle(), "{text:?}");
        }
        assert!(!"tx: cut=0.1%".parse::<FaultPlan>().unwrap().is_idle());
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let cases = [
            ("rz: drop=1%", PlanError::Part("rz: drop=1%".into())),
            ("drop", PlanError::Part("drop".into())),
            ("rx: drip=1%", PlanError::Fault("drip".into())),
            ("rx: drop", PlanError::NoShare("drop".into())),
            ("rx: drop=1%,", PlanError::NoShare("".into())),
            ("rx: drop=1", PlanError::Share("1".into())),
            ("rx: drop=101%", PlanError::Share("101%".into())),
            ("rx: drop=-1%", PlanError::Share("-1%".into())),
            ("rx: drop=nan%", PlanError::Share("nan%".into())),
            ("tx: delay=1%", PlanError::Delay("1%".into())),
            ("tx: delay=1%/2", PlanError::Delay("1%/2".into())),
            ("tx: delay=1%/11s", PlanError::Delay("1%/11s".into())),
            ("seed=x", PlanError::Seed("x".into())),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<FaultPlan>(), Err(error), "{text:?}");
        }
    }
}
