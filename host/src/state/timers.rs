//! What is due when: windows to fire and to clean up, and the timers that
//! operators set.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::state::table::EntryId;

/// Timers of one kind of time, at most one for an entry and time.
#[derive(Debug, Default)]
pub struct Timers {
    due: BTreeSet<(i64, EntryId)>,
    /// The same, so that an entry's are found among everybody's.
    by_entry: BTreeSet<(EntryId, i64)>,
}

impl Timers {
    /// Sets a timer; says whether it was not set before.
    pub fn set(&mut self, at: i64, entry: EntryId) -> bool {
        self.by_entry.insert((entry, at));
        self.due.insert((at, entry))
    }

    /// Deletes a timer; says whether it was set.
    pub fn delete(&mut self, at: i64, entry: EntryId) -> bool {
        self.by_entry.remove(&(entry, at));
        self.due.remove(&(at, entry))
    }

    /// Deletes every timer of an entry.
    pub fn delete_all(&mut self, entry: EntryId) {
        while let Some(&first) = self.by_entry.range((entry, i64::MIN)..=(entry, i64::MAX)).next() {
            self.by_entry.remove(&first);
            self.due.remove(&(first.1, entry));
        }
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first timer if it is due at `now`.
    pub fn pop(&mut self, now: i64) -> Option<(i64, EntryId)> {
        if self.next()? > now {
            return None;
        }
        let first = self.due.pop_first();
        if let Some((at, entry)) = first {
            self.by_entry.remove(&(entry, at));
        }
        first
    }

    /// The times of an entry's timers, in order.
    pub fn of(&self, entry: EntryId) -> impl Iterator<Item = i64> + '_ {
        self.by_entry.range((entry, i64::MIN)..=(entry, i64::MAX)).map(|(_, at)| *at)
    }

    /// Number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// Entries by a time that many share, such as the end of their window.
#[derive(Debug, Default)]
pub struct Deadlines {
    due: BTreeMap<i64, VecDeque<EntryId>>,
    /// Entries of all times.
    len: usize,
}

impl Deadlines {
    /// Adds an entry.
    pub fn add(&mut self, at: i64, entry: EntryId) {
        self.due.entry(at).or_default().push_back(entry);
        self.len += 1;
    }

    /// Bytes that it takes, near enough to be held to a limit.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// A time with its list, and the room in the tree that stays empty.
        const TIME_BYTES: usize = 64;
        self.len * size_of::<EntryId>() + self.due.len() * TIME_BYTES
    }

    /// Removes an entry that was added for this time.
    pub fn remove(&mut self, at: i64, entry: EntryId) {
        if let Some(entries) = self.due.get_mut(&at) {
            if let Some(i) = entries.iter().position(|e| *e == entry) {
                entries.swap_remove_back(i);
                self.len -= 1;
            }
            if entries.is_empty() {
                self.due.remove(&at);
            }
        }
    }

    /// Takes up to `limit` entries of the first time, if it is due at `now`.
    pub fn pop(&mut self, now: i64, limit: usize) -> Option<(i64, Vec<EntryId>)> {
        let mut first = self.due.first_entry()?;
        let at = *first.key();
        if at > now {
            return None;
        }
        let entries = first.get_mut();
        self.len -= entries.len().min(limit);
        if entries.len() <= limit {
            return Some((at, first.remove().into()));
        }
        // The rest stays in place: portions of a large window cost what they hold.
        Some((at, entries.drain(..limit).collect()))
    }

    /// The first time.
    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.due.first_key_value().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_fires_once_at_its_time_in_order() {
        let mut timers = Timers::default();
        assert!(timers.set(20, EntryId(1)));
        assert!(timers.set(10, EntryId(2)));
        assert!(!timers.set(10, EntryId(2)), "the same timer again");
        assert_eq!(timers.pop(9), None);
        assert_eq!(timers.pop(20), Some((10, EntryId(2))));
        assert_eq!(timers.pop(20), Some((20, EntryId(1))));
        assert_eq!(timers.pop(i64::MAX), None);
    }

    #[test]
    fn forgetting_a_key_costs_what_it_has_however_many_timers_others_have() {
        let mut timers = Timers::default();
        for at in 0..200_000 {
            timers.set(at, EntryId(0));
        }
        let clock = crate::clock::Stopwatch::start();
        for entry in 1..20_000 {
            timers.set(7, EntryId(entry));
            timers.set(9, EntryId(entry));
            timers.delete_all(EntryId(entry));
        }
        // Going through everybody's would be 4,000,000,000 steps.
        assert!(clock.elapsed() < std::time::Duration::from_secs(2), "{:?}", clock.elapsed());
        assert_eq!((timers.len(), timers.by_entry.len()), (200_000, 200_000));
        timers.delete_all(EntryId(0));
        assert!(timers.is_empty() && timers.by_entry.is_empty());
    }

    #[test]
    fn deadlines_come_in_bounded_portions() {
        let mut deadlines = Deadlines::default();
        for i in 0..5 {
            deadlines.add(7, EntryId(i));
        }
        deadlines.remove(7, EntryId(0));
        let mut got = Vec::new();
        while let Some((at, entries)) = deadlines.pop(7, 3) {
            assert!(at == 7 && entries.len() <= 3);
            got.extend(entries.iter().map(|e| e.0));
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3, 4]);
    }

    #[test]
    fn deadlines_count_what_they_hold_and_nothing_once_they_are_empty() {
        let mut deadlines = Deadlines::default();
        for i in 0..10 {
            deadlines.add(i64::from(i % 2), EntryId(i));
        }
        assert_eq!(deadlines.bytes(), 10 * size_of::<EntryId>() + 2 * 64);
        deadlines.remove(1, EntryId(3));
        deadlines.remove(1, EntryId(3));
        deadlines.pop(9, 2);
        assert_eq!(deadlines.bytes(), 7 * size_of::<EntryId>() + 2 * 64);
        while deadlines.pop(9, 2).is_some() {}
        assert_eq!(deadlines.bytes(), 0);
    }
}
