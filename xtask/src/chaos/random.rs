//! Random numbers that are the same for the same seed, on every machine.

use std::time::Duration;

/// Steele, Lea and Flood's `SplitMix64`.
pub(super) struct Random(u64);

impl Random {
    /// The stream of numbers with this name, of this seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed);
        let first = mixed.next();
        Self(first ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to less than `below`, which is not 0.
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// The same, of fewer.
    pub(super) fn below_u32(&mut self, below: u32) -> u32 {
        u32::try_from(self.below(u64::from(below))).expect("less than a u32")
    }

    /// True so often out of a hundred times.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Up to `most`, each as likely as any other.
    pub(super) fn even(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(micros(most) + 1))
    }

    /// Up to `most`, each order of magnitude from a microsecond on as likely as any other.
    pub(super) fn uneven(&mut self, most: Duration) -> Duration {
        let digits = micros(most).max(1).ilog2() + 1;
        let most_of_it = micros(most) >> self.below(u64::from(digits));
        Duration::from_micros(self.below(most_of_it + 1))
    }

    /// One of several, each with its weight.
    pub(super) fn choose<T: Copy>(&mut self, among: &[(u64, T)]) -> T {
        let mut at = self.below(among.iter().map(|(weight, _)| weight).sum());
        for (weight, thing) in among {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *thing,
            }
        }
        unreachable!("it is below the sum of all weights")
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_a_seed_differ_and_come_again() {
        let three = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(three(7, 1), three(7, 1));
        assert_ne!(three(7, 1), three(7, 2));
        assert_ne!(three(7, 1), three(8, 1));
    }

    #[test]
    fn small_delays_are_as_likely_as_large_ones() {
        let mut random = Random::new(1, 1);
        let most = Duration::from_millis(16);
        let drawn: Vec<_> = (0..2_000).map(|_| random.uneven(most)).collect();
        let under = |limit: Duration| drawn.iter().filter(|d| **d < limit).count();
        assert!(drawn.iter().all(|d| *d <= most));
        assert!((600..1_400).contains(&under(Duration::from_micros(100))));
        assert!(under(Duration::from_millis(8)) < 1_990);
    }

    #[test]
    fn what_has_more_weight_is_chosen_more_often() {
        let mut random = Random::new(3, 0);
        let chosen = (0..1_000).filter(|_| random.choose(&[(1, false), (3, true)])).count();
        assert!((650..850).contains(&chosen), "{chosen}");
    }
}
