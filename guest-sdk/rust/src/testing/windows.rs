//! Which windows a record falls into. The real host has its own assigner; this
//! one follows the same rules.

use crate::Window;

/// How records are assigned to windows. Lengths are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Assigner {
    None,
    Sliding { size: i64, slide: i64 },
    Session { gap: i64 },
}

impl Assigner {
    /// The windows of a record of this time; a session's may be merged yet.
    pub(super) fn windows(self, time: i64) -> Vec<Option<Window>> {
        match self {
            Self::None => vec![None],
            Self::Session { gap } => vec![Some(Window { start: time, end: time + gap })],
            Self::Sliding { size, slide } => {
                let last = time - time.rem_euclid(slide);
                let starts = std::iter::successors(Some(last), |start| Some(start - slide));
                let windows = starts.take_while(|start| start + size > time);
                windows.map(|start| Some(Window { start, end: start + size })).collect()
            }
        }
    }
}

/// Whether two sessions are one: they overlap or touch.
pub(super) fn join(a: Window, b: Window) -> Option<Window> {
    (a.start <= b.end && b.start <= a.end)
        .then(|| Window { start: a.start.min(b.start), end: a.end.max(b.end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stands_in_every_window_that_covers_it() {
        let assigner = Assigner::Sliding { size: 10, slide: 5 };
        for time in -20..20 {
            let windows = assigner.windows(time);
            assert_eq!(windows.len(), 2, "{time}");
            for w in windows.into_iter().flatten() {
                assert!(
                    w.start <= time && time < w.end && w.start.rem_euclid(5) == 0,
                    "{time} {w:?}"
                );
            }
        }
    }

    #[test]
    fn sessions_that_touch_are_one() {
        let session = |start| Window { start, end: start + 10 };
        assert_eq!(join(session(0), session(10)), Some(Window { start: 0, end: 20 }));
        assert_eq!(join(session(0), session(11)), None);
    }
}
