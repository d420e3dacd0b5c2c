//! The two sides of one call of a keyed operator: the groups that it is handed,
//! and the change that it answers with. How groups are found and changes are
//! applied stands in [`keyed`](super::keyed).

use crate::{
    state::{
        table::{Entry, EntryId},
        windows::Window,
    },
    stream::Column,
};

/// The distinct keys (and windows) of a call, as columns for the operator.
#[derive(Debug, Default)]
pub struct Groups {
    /// The entry of each group.
    pub(super) entries: Vec<EntryId>,
    /// One key a group.
    pub keys: Column,
    /// The state of each group; empty: none.
    pub states: Column,
    /// The windows' starts; empty where the operator has no windows.
    pub window_starts: Vec<i64>,
    /// The windows' ends.
    pub window_ends: Vec<i64>,
    /// The rows of each group, group by group.
    pub rows: Vec<u32>,
    /// Where each group's rows begin: one more than there are groups.
    pub row_offsets: Vec<u32>,
    /// Records that came after all their windows were closed.
    pub late: Vec<u32>,
    /// Windows that have fired already and must fire again, as firings to come.
    pub(super) fire_again: Vec<EntryId>,
    /// Entries that were made for this call, sessions apart.
    pub(super) created: Vec<EntryId>,
    /// Sessions that were made for this call, each with those that it took in.
    pub(super) merged: Vec<(EntryId, Vec<Replaced>)>,
}

/// A session that another one took in.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) entry: Entry,
    pub(super) timers: Vec<(TimerKind, i64)>,
}

impl Groups {
    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of its columns and rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let windows = (self.window_starts.len() + self.window_ends.len()) * size_of::<i64>();
        let rows = (self.rows.len() + self.row_offsets.len()) * size_of::<u32>();
        let entries = self.entries.len() * size_of::<EntryId>();
        self.keys.bytes() + self.states.bytes() + windows + rows + entries
    }

    pub(super) fn add(&mut self, id: EntryId, entry: &Entry) {
        self.entries.push(id);
        self.keys.push(&entry.key);
        self.states.push(&entry.state);
        if entry.window != Window::NONE {
            self.window_starts.push(entry.window.start);
            self.window_ends.push(entry.window.end);
        }
    }

    /// Puts rows in the order of their groups: `pairs` are (group, row) in
    /// order of arrival.
    pub(super) fn order_rows(&mut self, pairs: &[(u32, u32)]) {
        let groups = self.entries.len();
        self.row_offsets.clear();
        self.row_offsets.resize(groups + 1, 0);
        for &(group, _) in pairs {
            self.row_offsets[group as usize + 1] += 1;
        }
        for g in 0..groups {
            self.row_offsets[g + 1] += self.row_offsets[g];
        }
        let mut next = self.row_offsets.clone();
        self.rows.clear();
        self.rows.resize(pairs.len(), 0);
        for &(group, row) in pairs {
            let at = &mut next[group as usize];
            self.rows[*at as usize] = row;
            *at += 1;
        }
    }
}

/// Which time a timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerKind {
    /// Event time.
    Event,
    /// Processing time.
    Processing,
}

/// A timer to set or delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerChange {
    /// The group's index in the call.
    pub group: u32,
    /// Which time.
    pub kind: TimerKind,
    /// Milliseconds since 1970.
    pub at: i64,
}

/// What an operator wants changed after a call.
#[derive(Debug, Default)]
pub struct Change {
    /// Groups whose state changed, each at most once.
    pub changed: Vec<u32>,
    /// Their new states; empty: none.
    pub states: Column,
    /// Timers to set.
    pub set_timers: Vec<TimerChange>,
    /// Timers to delete.
    pub delete_timers: Vec<TimerChange>,
}

impl Change {
    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let timers = self.set_timers.len() + self.delete_timers.len();
        self.changed.len() * size_of::<u32>()
            + self.states.bytes()
            + timers * size_of::<TimerChange>()
    }

    /// Whether this answers a call with these groups.
    ///
    /// # Errors
    /// If it does not fit them.
    pub(super) fn validate(&self, groups: &Groups) -> Result<(), InvalidChange> {
        let count = groups.len();
        if self.changed.len() != self.states.len() {
            return Err(InvalidChange::StateCount {
                changed: self.changed.len(),
                states: self.states.len(),
            });
        }
        let mut seen = vec![false; count];
        for &group in &self.changed {
            match seen.get_mut(group as usize) {
                None => {
                    return Err(InvalidChange::NoSuchGroup { what: "state", group, groups: count });
                }
                Some(true) => return Err(InvalidChange::Twice(group)),
                Some(once) => *once = true,
            }
        }
        for timer in self.set_timers.iter().chain(&self.delete_timers) {
            if timer.group as usize >= count {
                return Err(InvalidChange::NoSuchGroup {
                    what: "timer",
                    group: timer.group,
                    groups: count,
                });
            }
        }
        Ok(())
    }
}

/// A change that does not fit the call that it answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChange {
    /// As many states as changed groups are needed.
    #[error("{changed} groups are said to have changed, but {states} states came")]
    StateCount {
        /// Changed groups.
        changed: usize,
        /// States.
        states: usize,
    },
    /// There is no such group.
    #[error("a {what} is for group {group}, but the call had {groups} groups")]
    NoSuchGroup {
        /// "state" or "timer".
        what: &'static str,
        /// The group.
        group: u32,
        /// How many there were.
        groups: usize,
    },
    /// A group stands twice among the changed ones.
    #[error("group {0} is said to have changed twice")]
    Twice(u32),
}

/// Why a group is fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FiringKind {
    /// Its window ended, or changed after its end.
    Window,
    /// An event-time timer.
    Event,
    /// A processing-time timer.
    Processing,
}

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// Why.
    pub kind: FiringKind,
    /// The timer's time; a window's last millisecond.
    pub at: i64,
}
