//! Takes back what a call did to the state before the operator answered: calls
//! that crash the guest leave no trace, and can be made again with a part of
//! what they were about. What an operator answers is applied in `keyed`.

use std::{collections::HashSet, ops::Range};

use crate::{
    state::{
        call::{Firing, FiringKind, Groups, TimerKind},
        keyed::KeyedState,
    },
    stream::keys::KeyGroup,
};

impl KeyedState {
    /// A call came to nothing: the state is as it was before its records were
    /// grouped. What was due stays taken, see [`again`](Self::again).
    pub fn abandon(&mut self, groups: Groups) {
        for id in groups.created {
            self.remove_entry(id);
        }
        for (id, replaced) in groups.merged {
            let made = self.remove_entry(id);
            self.sessions.remove(&made.key, made.window);
            for old in replaced {
                let (key, window) = (&old.entry.key, old.entry.window);
                let id = self.put(key, window, &old.entry.state, old.entry.fired);
                for (kind, at) in old.timers {
                    self.set_timer(kind, at, id);
                }
                self.mark(id);
            }
        }
    }

    /// The state of some keys, as chunks. `due` was taken from the timers for a call
    /// that came to nothing, and counts as still set.
    pub fn saved_before(
        &mut self,
        keys: &HashSet<&[u8]>,
        due: &[Firing],
        groups: &Groups,
    ) -> Vec<(KeyGroup, Vec<u8>)> {
        for (firing, id) in due.iter().zip(&groups.entries) {
            match timer_kind(firing.kind) {
                Some(kind) => self.set_timer(kind, firing.at, *id),
                None => self.set_fired(*id, firing.at, false),
            }
        }
        let saved = self.chunks_of(|key| keys.contains(key));
        for (firing, id) in due.iter().zip(&groups.entries) {
            match timer_kind(firing.kind) {
                Some(kind) => self.delete_timer(kind, firing.at, *id),
                None => self.set_fired(*id, firing.at, true),
            }
        }
        saved
    }

    /// Some of what was due, to be handed over again, with the states that its
    /// groups have now.
    ///
    /// # Panics
    /// If the range is not within the firings.
    #[must_use]
    pub fn again(
        &self,
        due: &[Firing],
        groups: &Groups,
        range: Range<usize>,
    ) -> (Vec<Firing>, Groups) {
        let due = due[range.clone()].iter().copied();
        self.firing_groups(due.zip(groups.entries[range].iter().copied()).collect())
    }
}

/// Which timers it was; none for a window.
fn timer_kind(kind: FiringKind) -> Option<TimerKind> {
    match kind {
        FiringKind::Window => None,
        FiringKind::Event => Some(TimerKind::Event),
        FiringKind::Processing => Some(TimerKind::Processing),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        state::{
            Change, TimerChange, TimerKind,
            windows::{Window, WindowKind, Windows},
        },
        stream::{Batch, BatchBuilder, Column, keys::KeyGroups},
    };

    fn batch(records: &[(u8, i64)]) -> Batch {
        let mut builder = BatchBuilder::new();
        for (key, time) in records {
            builder.push(Some(&[*key]), b"v", Some(*time));
        }
        builder.take()
    }

    fn group(state: &mut KeyedState, batch: &Batch, watermark: i64) -> Groups {
        if !state.has_sessions() {
            return state.group(batch, watermark);
        }
        let mut plan = state.plan_sessions(batch, watermark);
        while let Some(pairs) = plan.pairs() {
            let both = pairs.left.iter().zip(pairs.right.iter());
            let merged: Column = both.map(|(left, right)| [left, right].concat()).collect();
            assert!(plan.merged(&merged));
        }
        state.group_sessions(plan, watermark)
    }

    /// Appends the number of its records to each state, and sets a timer.
    fn answer(groups: &Groups, at: i64) -> Change {
        let count = u32::try_from(groups.len()).unwrap();
        let rows = groups.row_offsets.windows(2).map(|w| u8::try_from(w[1] - w[0]).unwrap());
        let states = groups.states.iter().zip(rows);
        let timer = |group| TimerChange { group, kind: TimerKind::Event, at };
        Change {
            changed: (0..count).collect(),
            states: states.map(|(state, n)| [state, &[n]].concat()).collect(),
            set_timers: (0..count).map(timer).collect(),
            delete_timers: Vec::new(),
        }
    }

    type Seen = BTreeSet<(Vec<u8>, Window, Vec<u8>, bool, Vec<i64>)>;

    /// All that makes a difference, in an order of its own.
    fn seen(state: &KeyedState) -> (Seen, usize, usize) {
        let entries = state.table.iter().map(|(id, e)| {
            let timers = state.timers_of(id).into_iter().map(|(_, at)| at).collect();
            (e.key.to_vec(), e.window, e.state.to_vec(), e.fired, timers)
        });
        (entries.collect(), state.window_ends.bytes(), state.sessions.bytes())
    }

    fn windows(kind: u8) -> Option<Windows> {
        let kind = match kind {
            0 => return None,
            1 => WindowKind::Aligned { size: 10, slide: 10, offset: 0 },
            2 => WindowKind::Aligned { size: 20, slide: 5, offset: 0 },
            _ => WindowKind::Session { gap: 7 },
        };
        Some(Windows { kind, lateness: 4 })
    }

    fn records() -> impl Strategy<Value = Vec<(u8, i64)>> {
        prop::collection::vec((0_u8..4, 0_i64..80), 1..12)
    }

    proptest! {
        #[test]
        fn a_call_that_came_to_nothing_leaves_the_state_as_it_was(
            kind in 0_u8..4,
            calls in prop::collection::vec((records(), any::<bool>(), 0_i64..80), 1..20),
        ) {
            let mut state = KeyedState::new(windows(kind), KeyGroups::new(8, 1));
            for (records, crashes, watermark) in calls {
                let batch = batch(&records);
                if crashes {
                    let before = seen(&state);
                    let groups = group(&mut state, &batch, watermark);
                    state.abandon(groups);
                    prop_assert_eq!(seen(&state), before);
                } else {
                    let groups = group(&mut state, &batch, watermark);
                    state.apply(&groups, &answer(&groups, watermark + 30)).unwrap();
                    while let Some((_, groups)) = state.due(watermark) {
                        state.apply(&groups, &Change::default()).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_saved_of_a_crashed_firing_makes_it_due_again() {
        for kind in [0, 1] {
            let mut state = KeyedState::new(windows(kind), KeyGroups::new(8, 1));
            let groups = state.group(&batch(&[(1, 0), (2, 0)]), i64::MIN);
            state.apply(&groups, &answer(&groups, 9)).unwrap();
            let before = seen(&state);
            let (due, groups) = state.due(9).unwrap();
            let taken = seen(&state);
            let saved = state.saved_before(&HashSet::from([&[2][..]]), &due, &groups);
            assert_eq!(seen(&state), taken, "looking changes nothing");
            let mut restored = KeyedState::new(windows(kind), KeyGroups::new(8, 1));
            for (group, chunk) in &saved {
                restored.restore(*group, &[chunk]).unwrap();
            }
            assert!(seen(&restored).0.is_subset(&before.0) && restored.len() == 1);
            let (again, groups) = restored.due(9).unwrap();
            assert_eq!((again.len(), groups.keys.get(0)), (1, &[2][..]));
        }
    }

    #[test]
    fn what_was_due_is_handed_over_again_in_parts_with_the_states_of_now() {
        let mut state = KeyedState::new(None, KeyGroups::new(8, 1));
        let groups = state.group(&batch(&[(1, 0), (2, 0), (3, 0)]), i64::MIN);
        state.apply(&groups, &answer(&groups, 5)).unwrap();
        let (due, groups) = state.due(10).unwrap();
        let (first, of_first) = state.again(&due, &groups, 0..1);
        state.apply(&of_first, &answer(&of_first, 50)).unwrap();
        let (both, of_both) = state.again(&due, &groups, 0..2);
        assert_eq!((first.len(), both.len()), (1, 2));
        let states: Vec<_> = of_both.states.iter().map(<[u8]>::to_vec).collect();
        assert_eq!(states, [vec![1, 1], vec![1]]);
        assert_eq!(of_both.rows, [0, 1]);
    }
}
