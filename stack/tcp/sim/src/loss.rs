//! Which frames a link loses.

use crate::Random;

/// A pattern of losses.
#[derive(Debug, Clone, Default)]
pub enum Loss {
    /// None.
    #[default]
    Never,
    /// Each frame with the same probability, whatever happened before.
    Independent(f64),
    /// In bursts: the model of Gilbert and Elliott.
    Bursty(Bursts),
    /// Frames of these numbers, the first being 0, in rising order.
    Frames(Vec<u64>),
}

/// The two states of the Gilbert-Elliott model: nothing is lost in the good
/// one. The state is drawn anew before each frame.
#[derive(Debug, Clone, Copy)]
pub struct Bursts {
    /// Probability of going from good to bad.
    pub start: f64,
    /// Probability of going from bad to good; its inverse is the mean length
    /// of a burst in frames.
    pub end: f64,
    /// Probability that a frame is lost in the bad state.
    pub loss: f64,
}

/// Where in its pattern a link is.
#[derive(Debug, Default)]
pub(crate) struct LossState {
    bad: bool,
    frame: u64,
}

impl LossState {
    /// Whether the next frame is lost.
    pub(crate) fn next(&mut self, loss: &Loss, random: &mut Random) -> bool {
        let frame = self.frame;
        self.frame += 1;
        match loss {
            Loss::Never => false,
            Loss::Independent(probability) => random.chance(*probability),
            Loss::Bursty(bursts) => {
                let turns = random.chance(if self.bad { bursts.end } else { bursts.start });
                self.bad ^= turns;
                self.bad && random.chance(bursts.loss)
            }
            Loss::Frames(numbers) => numbers.binary_search(&frame).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(loss: &Loss, frames: usize) -> Vec<bool> {
        let (mut state, mut random) = (LossState::default(), Random::new(3));
        (0..frames).map(|_| state.next(loss, &mut random)).collect()
    }

    fn share(pattern: &[bool]) -> f64 {
        pattern.iter().filter(|lost| **lost).count() as f64 / pattern.len() as f64
    }

    #[test]
    fn named_frames_are_lost_and_no_others() {
        let lost = pattern(&Loss::Frames(vec![1, 3]), 5);
        assert_eq!(lost, [false, true, false, true, false]);
    }

    #[test]
    fn bursts_lose_their_share_in_runs_of_their_length() {
        // The bad state holds for start / (start + end) of the time.
        let lost = pattern(&Loss::Bursty(Bursts { start: 0.01, end: 0.2, loss: 1.0 }), 200_000);
        let share = share(&lost);
        assert!((0.042..0.053).contains(&share), "{share}");
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let length = lost.iter().filter(|lost| **lost).count() as f64 / bursts as f64;
        assert!((4.7..5.3).contains(&length), "{length}");
    }

    #[test]
    fn independent_losses_come_at_their_rate() {
        let share = share(&pattern(&Loss::Independent(0.01), 200_000));
        assert!((0.009..0.011).contains(&share), "{share}");
    }
}
