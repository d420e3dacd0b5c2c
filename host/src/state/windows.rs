//! Which windows of event time a record belongs to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::job::{WindowAssigner, WindowSpec};

/// A window of event time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Inclusive.
    pub start: i64,
    /// Exclusive.
    pub end: i64,
}

impl Window {
    /// What stands for "no window" where an operator has none.
    pub const NONE: Window = Window { start: i64::MIN, end: i64::MIN };

    /// The last millisecond that belongs to it.
    #[must_use]
    pub fn last_millisecond(&self) -> i64 {
        self.end.saturating_sub(1)
    }

    /// Whether two sessions are one: they overlap or touch, as in Flink.
    #[must_use]
    pub fn joins(&self, other: &Window) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The session that covers both.
    #[must_use]
    pub fn cover(&self, other: &Window) -> Window {
        Window { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// An operator's windows, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// How records are assigned.
    pub kind: WindowKind,
    /// How long a window's state is kept after its end.
    pub lateness: i64,
}

/// How records are assigned to windows, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowKind {
    /// Windows of `size`, one every `slide`; tumbling ones have `slide == size`.
    Aligned {
        /// Length.
        size: i64,
        /// Distance of one start to the next.
        slide: i64,
        /// Start of one of the windows.
        offset: i64,
    },
    /// A window ends when nothing came for `gap`.
    Session {
        /// The gap.
        gap: i64,
    },
}

impl Windows {
    /// From a job file.
    #[must_use]
    pub fn new(spec: &WindowSpec) -> Self {
        let kind = match spec.assigner {
            WindowAssigner::Tumbling { size, offset } => WindowKind::Aligned {
                size: at_least_1(size),
                slide: at_least_1(size),
                offset: millis(offset),
            },
            WindowAssigner::Sliding { size, slide, offset } => WindowKind::Aligned {
                size: at_least_1(size),
                slide: at_least_1(slide),
                offset: millis(offset),
            },
            WindowAssigner::Session { gap } => WindowKind::Session { gap: at_least_1(gap) },
        };
        Self { kind, lateness: millis(spec.allowed_lateness) }
    }

    /// Whether a window's state is gone at a watermark: nothing can be added.
    #[must_use]
    pub fn is_closed(&self, window: Window, watermark: i64) -> bool {
        window.last_millisecond().saturating_add(self.lateness) <= watermark
    }
}

/// The start of the last aligned window that begins at or before `timestamp`
/// (Flink's `TimeWindow.getWindowStartWithOffset`, with euclidean remainder so
/// that it holds for times before 1970 too).
#[must_use]
pub fn last_start(timestamp: i64, slide: i64, offset: i64) -> i64 {
    timestamp.saturating_sub(timestamp.saturating_sub(offset).rem_euclid(slide))
}

/// The aligned windows that contain `timestamp`, the latest first.
pub fn aligned(timestamp: i64, size: i64, slide: i64, offset: i64) -> impl Iterator<Item = Window> {
    let last = last_start(timestamp, slide, offset);
    // Ends at the beginning of time too, where there is no earlier start.
    std::iter::successors(Some(last), move |start| start.checked_sub(slide))
        .take_while(move |start| timestamp.saturating_sub(*start) < size)
        .map(move |start| Window { start, end: start.saturating_add(size) })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn at_least_1(duration: Duration) -> i64 {
    millis(duration).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tumbling_window_holds_its_start_and_not_its_end() {
        let of = |t| aligned(t, 10, 10, 0).collect::<Vec<_>>();
        assert_eq!(of(0), [Window { start: 0, end: 10 }]);
        assert_eq!(of(9), [Window { start: 0, end: 10 }]);
        assert_eq!(of(10), [Window { start: 10, end: 20 }]);
        assert_eq!(of(-1), [Window { start: -10, end: 0 }]);
        assert_eq!(aligned(7, 10, 10, 3).next(), Some(Window { start: 3, end: 13 }));
    }

    #[test]
    fn the_windows_around_the_ends_of_time_are_few() {
        for t in [i64::MIN, i64::MIN + 1, i64::MIN + 25, i64::MAX - 1, i64::MAX] {
            let windows = aligned(t, 30, 10, 0).take(10).count();
            assert!((1..=3).contains(&windows), "{windows} windows at {t}");
        }
    }

    proptest! {
        #[test]
        fn a_record_is_in_every_sliding_window_around_it(
            t in -1_000_000_i64..1_000_000, slide in 1_i64..50, times in 1_i64..6, offset in 0_i64..50,
        ) {
            let size = slide * times;
            let windows: Vec<_> = aligned(t, size, slide, offset % slide).collect();
            prop_assert_eq!(windows.len(), usize::try_from(times).unwrap());
            for w in windows {
                prop_assert!(w.start <= t && t < w.end && w.end - w.start == size);
                prop_assert_eq!((w.start - offset).rem_euclid(slide), 0);
            }
        }
    }
}
