//! Memory over time: what slots had reserved, in bytes times nanoseconds. Exact,
//! since it is told of every change; nobody samples.

use std::sync::{Mutex, PoisonError};

use crate::clock::Stopwatch;

/// What the slot of a subtask had reserved over time, all its instances together.
#[derive(Debug)]
pub(super) struct ByteTime {
    clock: Stopwatch,
    sum: Mutex<Sum>,
}

/// The sum, in times that the caller gives: nanoseconds since whenever.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    bytes: usize,
    since: u64,
    total: u128,
}

impl Sum {
    fn at(&mut self, now: u64) -> &mut Self {
        let passed = u128::from(now.saturating_sub(self.since));
        self.total += self.bytes as u128 * passed;
        self.since = self.since.max(now);
        self
    }
}

impl ByteTime {
    pub(super) fn new() -> Self {
        Self { clock: Stopwatch::start(), sum: Mutex::default() }
    }

    fn now<T>(&self, change: impl FnOnce(&mut Sum) -> T) -> T {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        // Within the lock, so that times do not go back.
        let now = self.clock.nanos();
        change(sum.at(now))
    }

    /// From now on so many bytes more.
    pub(super) fn grow(&self, bytes: usize) {
        self.now(|sum| sum.bytes = sum.bytes.saturating_add(bytes));
    }

    /// From now on so many bytes less.
    pub(super) fn shrink(&self, bytes: usize) {
        self.now(|sum| sum.bytes = sum.bytes.saturating_sub(bytes));
    }

    /// Bytes times nanoseconds, up to now.
    pub(super) fn total(&self) -> u128 {
        self.now(|sum| sum.total)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However often somebody looks, the sum is that of all rectangles.
        #[test]
        fn the_sum_is_what_was_held_times_how_long(
            steps in prop::collection::vec((0_usize..1_000_000, 0_u64..1_000_000, 1_u64..5), 1..30)
        ) {
            let (mut sum, mut now, mut expected) = (Sum::default(), 0, 0_u128);
            for (bytes, time, looks) in steps {
                sum.at(now).bytes = bytes;
                for _ in 0..looks {
                    now += time;
                    sum.at(now);
                }
                expected += bytes as u128 * u128::from(time * looks);
            }
            prop_assert_eq!(sum.at(now).total, expected);
        }
    }

    #[test]
    fn nothing_is_added_while_nothing_is_held() {
        let time = ByteTime::new();
        time.grow(10);
        time.shrink(10);
        let total = time.total();
        assert_eq!(time.total(), total);
    }
}
