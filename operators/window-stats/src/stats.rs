//! The state of a key and window: exact where integers allow it, bounded always.

use cofferdam_sdk::json::{Number, Object};
use serde::{Deserialize, Serialize};

use crate::sketch::Sketch;

/// Statistics of the numbers so far.
///
/// Integers (and floats that are whole) are summed exactly, so that the result
/// does not depend on order, batches or parallelism. Other floats are summed with
/// Neumaier's compensation, which keeps the error below what is printed in all
/// but contrived cases.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    count: u64,
    whole: i128,
    fractions: f64,
    compensation: f64,
    extremes: Option<(Number, Number)>,
    sketch: Sketch,
}

/// Floats that are whole and exact count as integers.
fn normalise(number: Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    match number {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Number::Float(x) if x.fract() == 0.0 && x.abs() < EXACT => Number::Int(x as i64),
        other => other,
    }
}

impl Stats {
    /// Takes a number in.
    pub fn add(&mut self, number: Number) {
        let number = normalise(number);
        self.count += 1;
        match number {
            Number::Int(n) => self.whole += i128::from(n),
            Number::Float(x) => self.add_float(x),
        }
        self.widen(number, number);
        self.sketch.add(number.as_f64());
    }

    fn add_float(&mut self, x: f64) {
        let sum = self.fractions + x;
        let lost = if self.fractions.abs() >= x.abs() {
            (self.fractions - sum) + x
        } else {
            (x - sum) + self.fractions
        };
        self.compensation += lost;
        self.fractions = sum;
    }

    fn widen(&mut self, low: Number, high: Number) {
        let (min, max) = self.extremes.unwrap_or((low, high));
        let min = if low.compare(min).is_lt() { low } else { min };
        let max = if high.compare(max).is_gt() { high } else { max };
        self.extremes = Some((min, max));
    }

    /// Takes in all that `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.whole += other.whole;
        self.add_float(other.fractions);
        self.compensation += other.compensation;
        if let Some((low, high)) = other.extremes {
            self.widen(low, high);
        }
        self.sketch.merge(&other.sketch);
    }

    #[expect(clippy::cast_precision_loss, reason = "printed as floating point")]
    fn sum(&self) -> f64 {
        self.whole as f64 + (self.fractions + self.compensation)
    }

    /// The number below which about a share `q` (0 to 1) of the numbers lie.
    pub fn quantile(&self, q: f64) -> f64 {
        let (min, max) = self.extremes.unwrap_or((Number::Int(0), Number::Int(0)));
        self.sketch.quantile(q).clamp(min.as_f64(), max.as_f64())
    }

    /// Writes count, sum, min, max and mean.
    pub(crate) fn write(&self, object: &mut Object<'_>) {
        object.field("count").extend_from_slice(self.count.to_string().as_bytes());
        let is_whole = self.fractions == 0.0 && self.compensation == 0.0;
        match is_whole {
            true => object.int("sum", self.whole),
            false => object.float("sum", self.sum()),
        };
        if let Some((min, max)) = self.extremes {
            object.number("min", min).number("max", max);
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean is floating point")]
        object.float("mean", self.sum() / self.count as f64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[Number]) -> Stats {
        let mut stats = Stats::default();
        numbers.iter().for_each(|n| stats.add(*n));
        stats
    }

    proptest! {
        #[test]
        fn with_integers_neither_order_nor_batching_matters(
            numbers in prop::collection::vec(any::<i64>(), 1..100),
            cut in any::<prop::sample::Index>(),
        ) {
            let numbers: Vec<Number> = numbers.into_iter().map(Number::Int).collect();
            let forward = of(&numbers);
            let mut reversed = numbers.clone();
            reversed.reverse();
            prop_assert_eq!(&forward, &of(&reversed));
            let (left, right) = numbers.split_at(cut.index(numbers.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            prop_assert_eq!(&forward, &merged);
        }
    }

    #[test]
    fn sums_beyond_64_bits_are_exact() {
        let stats = of(&[Number::Int(i64::MAX); 3]);
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        stats.write(&mut object);
        object.end();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\"sum\":27670116110564327421,"), "{text}");
    }

    #[test]
    fn small_floats_are_not_lost_beside_great_ones() {
        let numbers = [1e100, 0.25, -1e100, 0.5].map(Number::Float);
        assert!((of(&numbers).sum() - 0.75).abs() < 1e-12);
    }
}
