//! What is restored of all of a vertex's saved subtasks together, where one subtask of
//! its own does not tell: the parallelism may have changed.

use crate::{
    checkpoint::{OperatorState, SubtaskState},
    metrics::Counters,
    stream::watermark,
};

/// The counters of a saved subtask; where the parallelism changed, those of all
/// saved subtasks go to the first one, since only their sum means anything.
pub(super) fn counters_for(
    saved: Option<&OperatorState>,
    index: u32,
    parallelism: u32,
) -> Counters {
    let Some(saved) = saved else { return Counters::default() };
    if saved.subtasks.len() == parallelism as usize {
        return saved.subtasks[index as usize].counters;
    }
    if index > 0 {
        return Counters::default();
    }
    saved.subtasks.iter().map(|s| s.counters).fold(Counters::default(), Counters::plus)
}

/// The least of some times; none if one of them is not known yet.
pub(super) fn least(mut times: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    let first = times.next()??;
    times.try_fold(first, |least, time| time.map(|time| least.min(time)))
}

/// How far event time had come in all subtasks of a vertex. A subtask may have been further,
/// but only as to those that sent to it then: where these have another parallelism now, it
/// gets records of others, which are not late.
pub(super) fn common_watermark(subtasks: &[SubtaskState]) -> i64 {
    let known = least(subtasks.iter().map(|s| s.watermark));
    // A job that is run again after its end may have more to read.
    known.filter(|w| *w != watermark::END).unwrap_or(watermark::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_subtask_takes_nothing_for_late_that_another_one_would_have_got_before() {
        let at = |watermarks: &[Option<i64>]| {
            let state = |w: &Option<i64>| SubtaskState { watermark: *w, ..SubtaskState::default() };
            common_watermark(&watermarks.iter().map(state).collect::<Vec<_>>())
        };
        assert_eq!(at(&[Some(90), Some(100)]), 90);
        assert_eq!(at(&[Some(90), None]), watermark::NONE);
        assert_eq!(at(&[Some(90), Some(watermark::END)]), 90, "an input may have ended");
        assert_eq!(at(&[Some(watermark::END); 2]), watermark::NONE);
        assert_eq!(at(&[]), watermark::NONE);
    }
}
