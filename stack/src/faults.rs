//! The switch of the process's fault injection: one plan for all workers, from
//! the configuration or from `tpa fault`.

use std::time::Duration;

use crate::device::fault::{FaultPlan, PlanError};
use crate::worker::Worker;

/// What is injected, as text.
#[derive(Debug, Default)]
pub struct FaultSwitch {
    /// The plan at work; empty for none.
    text: String,
}

impl FaultSwitch {
    /// Begins with the plan of the configuration.
    pub fn new(text: &str, workers: &[Worker]) -> Result<Self, PlanError> {
        let mut switch = Self::default();
        switch.set(text, workers)?;
        Ok(switch)
    }

    /// Begins another plan; one that does nothing ends the faults.
    pub fn set(&mut self, text: &str, workers: &[Worker]) -> Result<(), PlanError> {
        let plan: FaultPlan = text.parse()?;
        if plan.is_idle() && self.text.is_empty() {
            return Ok(());
        }
        workers.iter().for_each(|worker| worker.lock().inject(&plan));
        if plan.is_idle() {
            self.over();
        } else {
            text.trim().clone_into(&mut self.text);
            log::warn!("fault injection is on: {}", self.text);
        }
        Ok(())
    }

    /// Notices that the time of a plan is over.
    pub fn look_after(&mut self, workers: &[Worker]) {
        if !self.text.is_empty() && workers.iter().all(|worker| worker.lock().faults().is_none()) {
            self.over();
        }
    }

    fn over(&mut self) {
        self.text.clear();
        log::warn!("fault injection is off");
    }

    /// The plan at work and the time that it still has, in a line.
    pub fn show(&self, workers: &[Worker]) -> String {
        let left: Vec<Option<Duration>> =
            workers.iter().filter_map(|worker| worker.lock().faults()).collect();
        match left.first() {
            None => "off".to_owned(),
            Some(None) => self.text.clone(),
            Some(Some(left)) => format!("{} ({:.1} s left)", self.text, left.as_secs_f64()),
        }
    }
}
