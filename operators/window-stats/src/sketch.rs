//! Quantiles in bounded space: a DDSketch (Masson, Rim, Lee: "DDSketch: A Fast and
//! Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", VLDB 2019).
//! Unlike a t-digest, its content does not depend on the order of the numbers or
//! on how parts are merged, so that a replay gives the same quantiles.

use serde::{Deserialize, Serialize};

/// Quantiles are off by at most this share of their value.
const RELATIVE_ERROR: f64 = 0.01;
/// The ratio of a bin's upper bound to its lower one.
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Numbers nearer to 0 than this count as 0.
const SMALLEST: f64 = 1e-9;
/// Bins a sign. 2,048 span 17 orders of magnitude; beyond that, the bins nearest
/// to 0 are thrown together.
const MOST_BINS: usize = 2048;

/// How many numbers fell where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Sketch {
    negative: Bins,
    zeros: u64,
    positive: Bins,
}

/// Counts by bin, in order of the bin's index. Bin `i` holds magnitudes from
/// `GAMMA^(i-1)`, exclusive, to `GAMMA^i`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Bins(Vec<(i32, u64)>);

impl Bins {
    fn add(&mut self, index: i32, count: u64) {
        match self.0.binary_search_by_key(&index, |(i, _)| *i) {
            Ok(at) => self.0[at].1 += count,
            Err(at) => {
                self.0.insert(at, (index, count));
                if self.0.len() > MOST_BINS {
                    let (_, smallest) = self.0.remove(0);
                    self.0[0].1 += smallest;
                }
            }
        }
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the logarithm of an f64 is below 36,000 here")]
fn bin(magnitude: f64) -> i32 {
    (magnitude.ln() / GAMMA.ln()).ceil() as i32
}

/// The value that stands for all in the bin.
fn representative(index: i32) -> f64 {
    2.0 * GAMMA.powi(index) / (GAMMA + 1.0)
}

impl Sketch {
    pub(crate) fn add(&mut self, x: f64) {
        if x.abs() < SMALLEST {
            self.zeros += 1;
        } else if x > 0.0 {
            self.positive.add(bin(x), 1);
        } else {
            self.negative.add(bin(-x), 1);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        other.positive.0.iter().for_each(|&(index, count)| self.positive.add(index, count));
        other.negative.0.iter().for_each(|&(index, count)| self.negative.add(index, count));
    }

    /// The number of rank `q * (n - 1)`, in order; 0 if there is none.
    #[expect(clippy::cast_precision_loss, reason = "ranks above 2^53 are far away")]
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let total = self.negative.total() + self.zeros + self.positive.total();
        let rank = q * (total.saturating_sub(1)) as f64;
        let negative = self.negative.0.iter().rev().map(|&(i, n)| (-representative(i), n));
        let positive = self.positive.0.iter().map(|&(i, n)| (representative(i), n));
        let bins = negative.chain([(0.0, self.zeros)]).chain(positive);
        let mut before = 0;
        let mut last = 0.0;
        for (value, count) in bins.filter(|(_, count)| *count > 0) {
            before += count;
            last = value;
            if before as f64 > rank {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_within_a_hundredth_of_the_true_ones(
            mut numbers in prop::collection::vec(-1e6..1e6_f64, 1..300),
            q in 0.0..=1.0_f64,
        ) {
            let mut sketch = Sketch::default();
            numbers.iter().for_each(|x| sketch.add(*x));
            numbers.sort_by(f64::total_cmp);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let exact = numbers[(q * (numbers.len() - 1) as f64).floor() as usize];
            let error = (sketch.quantile(q) - exact).abs();
            prop_assert!(error <= RELATIVE_ERROR * exact.abs() * 1.000_001 + SMALLEST);
        }
    }

    #[test]
    fn space_is_bounded_and_great_numbers_stay_exact() {
        let mut sketch = Sketch::default();
        for exponent in -8..300 {
            for step in 0..100 {
                sketch.add(10_f64.powi(exponent) * (1.0 + 0.09 * f64::from(step)));
            }
        }
        assert_eq!(sketch.positive.0.len(), MOST_BINS);
        assert_eq!(sketch.positive.total(), 308 * 100);
        let p99 = sketch.quantile(0.99);
        assert!((p99 / 10_f64.powi(296)) > 0.5 && p99 < 10_f64.powi(299), "{p99}");
    }
}
