//! Session windows: which sessions each key has, and what a batch does to them.

use std::collections::HashMap;

use crate::{
    state::windows::Window,
    stream::{Batch, Column},
};

/// The open sessions of each key, in order of time. They never overlap or touch.
#[derive(Debug, Default)]
pub struct Sessions {
    by_key: HashMap<Vec<u8>, Vec<Window>>,
    bytes: usize,
}

/// What a key takes beside its bytes: both lists' heads, two allocations, and the room in
/// the map that stays empty.
const KEY_BYTES: usize = 96;

/// What a batch does to the sessions of a subtask. Sessions whose states have
/// to be merged come in rounds: [`pairs`](Self::pairs) says what to merge next,
/// and [`merged`](Self::merged) takes the answer, until there is none.
#[derive(Debug, Default)]
pub struct SessionPlan {
    pub(super) sessions: Vec<PlannedSession>,
    /// Records that came after their session was closed.
    pub late: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct PlannedSession {
    pub(super) key: Vec<u8>,
    pub(super) window: Window,
    /// The sessions from before the batch that it takes in.
    pub(super) absorbed: Vec<Window>,
    pub(super) rows: Vec<u32>,
    pub(super) state: Vec<u8>,
    /// States that are still to be merged into `state`, the latest first.
    rest: Vec<Vec<u8>>,
}

/// States to merge pairwise.
#[derive(Debug)]
pub struct MergePairs {
    /// The sessions' keys.
    pub keys: Column,
    /// The earlier sessions' states.
    pub left: Column,
    /// The later sessions' states.
    pub right: Column,
}

impl SessionPlan {
    /// What the operator must merge next.
    pub fn pairs(&mut self) -> Option<MergePairs> {
        let mut pairs = MergePairs {
            keys: Column::default(),
            left: Column::default(),
            right: Column::default(),
        };
        for session in &self.sessions {
            if let Some(right) = session.rest.last() {
                pairs.keys.push(&session.key);
                pairs.left.push(&session.state);
                pairs.right.push(right);
            }
        }
        (!pairs.keys.is_empty()).then_some(pairs)
    }

    /// The answer to the last [`pairs`](Self::pairs). Says whether it has as
    /// many entries as were asked for; if not, nothing is taken.
    #[must_use]
    pub fn merged(&mut self, states: &Column) -> bool {
        let waiting = self.sessions.iter_mut().filter(|s| !s.rest.is_empty());
        let waiting: Vec<_> = waiting.collect();
        if waiting.len() != states.len() {
            return false;
        }
        for (session, state) in waiting.into_iter().zip(states.iter()) {
            session.rest.pop();
            session.state = state.to_vec();
        }
        true
    }
}

impl Sessions {
    /// Bytes that they take, near enough to be held to a limit.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a session, which must not touch another one of the key.
    pub(super) fn add(&mut self, key: &[u8], window: Window) {
        let sessions = self.by_key.entry(key.to_vec()).or_insert_with(|| {
            self.bytes += key.len() + KEY_BYTES;
            Vec::new()
        });
        self.bytes += size_of::<Window>();
        let at = sessions.partition_point(|w| w.start < window.start);
        sessions.insert(at, window);
    }

    /// Removes a session.
    pub(super) fn remove(&mut self, key: &[u8], window: Window) {
        if let Some(sessions) = self.by_key.get_mut(key) {
            let before = sessions.len();
            sessions.retain(|w| *w != window);
            self.bytes -= (before - sessions.len()) * size_of::<Window>();
            if sessions.is_empty() {
                self.by_key.remove(key);
                self.bytes -= key.len() + KEY_BYTES;
            }
        }
    }

    /// What a batch does to the sessions. A record opens the session
    /// `[t, t + gap)`, which joins those that it touches; if the whole is
    /// `closed`, the record is late.
    pub(super) fn plan(
        &self,
        batch: &Batch,
        gap: i64,
        closed: impl Fn(&Window) -> bool,
        state_of: impl Fn(&[u8], Window) -> Vec<u8>,
    ) -> SessionPlan {
        let mut plan = SessionPlan::default();
        let mut drafts: Vec<(&[u8], Vec<Draft>)> = Vec::new();
        let mut by_key: HashMap<&[u8], usize> = HashMap::new();
        for i in 0..batch.len() {
            let key = batch.key(i);
            let at = *by_key.entry(key).or_insert_with(|| {
                let old = self.by_key.get(key).into_iter().flatten();
                drafts.push((key, old.map(|w| Draft::existing(*w)).collect()));
                drafts.len() - 1
            });
            let time = batch.timestamp(i).unwrap_or(i64::MIN);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a batch has fewer than 2^32 records"
            )]
            let row = i as u32;
            if !add_record(&mut drafts[at].1, time, gap, row, &closed) {
                plan.late.push(row);
            }
        }
        for (key, drafts) in drafts {
            for draft in drafts.into_iter().filter(|d| !d.rows.is_empty()) {
                plan.sessions.push(draft.finish(key, &state_of));
            }
        }
        plan
    }
}

struct Draft {
    window: Window,
    absorbed: Vec<Window>,
    rows: Vec<u32>,
}

impl Draft {
    fn existing(window: Window) -> Self {
        Self { window, absorbed: vec![window], rows: Vec::new() }
    }

    fn finish(mut self, key: &[u8], state_of: impl Fn(&[u8], Window) -> Vec<u8>) -> PlannedSession {
        self.absorbed.sort_unstable();
        self.rows.sort_unstable();
        let states = self.absorbed.iter().map(|w| state_of(key, *w)).filter(|s| !s.is_empty());
        let mut rest: Vec<Vec<u8>> = states.collect();
        rest.reverse();
        PlannedSession {
            key: key.to_vec(),
            window: self.window,
            absorbed: self.absorbed,
            rows: self.rows,
            state: rest.pop().unwrap_or_default(),
            rest,
        }
    }
}

/// Adds a record to a key's sessions; false if it is late.
fn add_record(
    drafts: &mut Vec<Draft>,
    time: i64,
    gap: i64,
    row: u32,
    closed: impl Fn(&Window) -> bool,
) -> bool {
    let own = Window { start: time, end: time.saturating_add(gap) };
    let whole = drafts.iter().filter(|d| d.window.joins(&own)).fold(own, |w, d| w.cover(&d.window));
    if closed(&whole) {
        return false;
    }
    let mut joined = Draft { window: whole, absorbed: Vec::new(), rows: vec![row] };
    drafts.retain_mut(|draft| {
        let joins = draft.window.joins(&own);
        if joins {
            joined.absorbed.append(&mut draft.absorbed);
            joined.rows.append(&mut draft.rows);
        }
        !joins
    });
    drafts.push(joined);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_count_what_they_hold_and_nothing_once_they_are_gone() {
        let mut sessions = Sessions::default();
        let [one, two] = [0, 100].map(|start| Window { start, end: start + 10 });
        sessions.add(b"key", one);
        sessions.add(b"key", two);
        assert_eq!(sessions.bytes(), 3 + KEY_BYTES + 2 * size_of::<Window>());
        sessions.remove(b"key", one);
        sessions.remove(b"key", one);
        assert_eq!(sessions.bytes(), 3 + KEY_BYTES + size_of::<Window>());
        sessions.remove(b"key", two);
        assert_eq!(sessions.bytes(), 0);
    }
}
