//! Several values of one cell.

use serde::Serialize;

/// Median and spread of a cell, and how it compares with the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// How many times better than the kernel: above 1 is better, whatever the unit.
    pub ratio: f64,
}

/// Which values are good ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
}

impl std::fmt::Display for Better {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        })
    }
}

impl Better {
    /// How many times better one value is than another.
    pub fn ratio(self, value: f64, kernel: f64) -> f64 {
        match self {
            Self::Higher => value / kernel,
            Self::Lower => kernel / value,
        }
    }
}

/// The middle one; of an even number the mean of the two in the middle. `None`
/// without any.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

impl Summary {
    /// Of the values of a cell, and of those of the kernel's; `None` without any.
    pub fn of(values: &[f64], kernel: &[f64], better: Better) -> Option<Self> {
        let (median, kernel) = (self::median(values)?, self::median(kernel)?);
        Some(Self {
            median,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ratio: better.ratio(median, kernel),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_above_one_is_better_whichever_way_better_points() {
        assert_eq!(Better::Higher.ratio(300.0, 100.0), 3.0);
        assert_eq!(Better::Lower.ratio(20.0, 100.0), 5.0);
    }

    #[test]
    fn a_summary_has_the_spread() {
        let summary = Summary::of(&[2.0, 4.0, 9.0], &[2.0], Better::Higher).expect("there are values");
        assert_eq!(summary, Summary { median: 4.0, min: 2.0, max: 9.0, ratio: 2.0 });
    }
}
