//! Which frames vanish: each by itself, in runs, by number, or all.

use std::time::Instant;

use super::plan::{Bursts, Faults, Share};
use super::random::Random;

/// The losses of one direction and where they stand.
#[derive(Debug)]
pub struct Loss {
    drop: Share,
    bursts: Option<Chain>,
    nth: u32,
    /// Frames since the last whose number was hit.
    count: u32,
    /// Nothing comes through before this.
    cut_until: Option<Instant>,
    /// Nothing comes through at all.
    cut: bool,
}

/// Gilbert's two states and the chances to change between them.
#[derive(Debug)]
struct Chain {
    bad: bool,
    /// From good to bad, a frame.
    enter: Share,
    /// From bad to good, a frame.
    leave: Share,
}

impl Chain {
    /// A run of `length` frames on average ends with a chance of 1/length a
    /// frame. In the long run flows between both states are equal: share ×
    /// leave = (1 - share) × enter.
    fn new(Bursts { share: Share(share), length }: Bursts) -> Self {
        let million = 1_000_000;
        let leave = million / length.max(1);
        let enter =
            u64::from(leave) * u64::from(share) / u64::from((million - share.min(million - 1)).max(1));
        Self { bad: false, enter: Share(enter as u32), leave: Share(leave) }
    }

    fn takes(&mut self, random: &mut Random) -> bool {
        let change = if self.bad { self.leave } else { self.enter };
        self.bad ^= random.hits(change);
        self.bad
    }
}

impl Loss {
    /// What `faults` say, from `now` on.
    pub fn new(faults: &Faults, now: Instant) -> Self {
        let cut_until = faults.cut.and_then(|time| now.checked_add(time));
        Self {
            drop: faults.drop,
            bursts: faults.bursts.map(Chain::new),
            nth: faults.nth,
            count: 0,
            cut: faults.cut.is_some() && cut_until.is_none(),
            cut_until,
        }
    }

    /// Whether the next frame vanishes.
    pub fn takes(&mut self, random: &mut Random, now: Instant) -> bool {
        if self.cut || self.cut_until.is_some_and(|until| now < until) {
            return true;
        }
        self.is_nth()
            || self.bursts.as_mut().is_some_and(|chain| chain.takes(random))
            || random.hits(self.drop)
    }

    fn is_nth(&mut self) -> bool {
        self.count += 1;
        let hit = self.count == self.nth;
        if hit || self.nth == 0 {
            self.count = 0;
        }
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Lengths of the runs of losses among `count` frames.
    fn runs(faults: Faults, count: u32) -> Vec<u32> {
        let now = Instant::now();
        let (mut loss, mut random) = (Loss::new(&faults, now), Random::new(7));
        let mut runs = vec![0];
        for _ in 0..count {
            match runs.last_mut() {
                Some(run) if loss.takes(&mut random, now) => *run += 1,
                Some(0) => {}
                _ => runs.push(0),
            }
        }
        runs.retain(|&run| run > 0);
        runs
    }

    #[test]
    fn bursts_lose_their_share_in_runs_of_their_length() {
        for (share, length) in [(10_000, 5), (100_000, 20), (50_000, 1)] {
            let bursts = Bursts { share: Share(share), length };
            let runs = runs(Faults { bursts: Some(bursts), ..Faults::default() }, 1_000_000);
            let lost = f64::from(runs.iter().sum::<u32>());
            let (found, mean) = (lost, lost / runs.len() as f64);
            let wanted = f64::from(share);
            assert!((0.9 * wanted..1.1 * wanted).contains(&found), "{share}: {found}");
            let wanted = f64::from(length);
            assert!((0.9 * wanted..1.15 * wanted).contains(&mean), "{length}: {mean}");
        }
    }

    #[test]
    fn every_nth_frame_is_lost() {
        let now = Instant::now();
        let mut loss = Loss::new(&Faults { nth: 3, ..Faults::default() }, now);
        let mut random = Random::new(0);
        let lost: Vec<bool> = (0..7).map(|_| loss.takes(&mut random, now)).collect();
        assert_eq!(lost, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn a_cut_lasts_as_long_as_it_says() {
        let now = Instant::now();
        let mut random = Random::new(0);
        let second = Duration::from_secs(1);
        let mut loss = Loss::new(&Faults { cut: Some(second), ..Faults::default() }, now);
        assert!(loss.takes(&mut random, now) && loss.takes(&mut random, now + second / 2));
        assert!(!loss.takes(&mut random, now + second));
        let mut loss = Loss::new(&Faults { cut: Some(Duration::MAX), ..Faults::default() }, now);
        assert!(loss.takes(&mut random, now + 1_000_000 * second));
    }
}
