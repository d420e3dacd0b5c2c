//! What of a subtask's keyed state goes into a checkpoint: one chunk for each
//! key group, so that state can be divided anew when the parallelism changes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    state::{call::TimerKind, keyed::KeyedState, table::EntryId, windows::Window},
    stream::keys::KeyGroup,
};

/// One key (and window) in a chunk.
#[derive(Debug, Serialize, Deserialize)]
struct SavedEntry<'a> {
    #[serde(with = "serde_bytes", borrow)]
    key: Cow<'a, [u8]>,
    window: Option<Window>,
    /// Whether the window has fired already.
    fired: bool,
    #[serde(with = "serde_bytes", borrow)]
    state: Cow<'a, [u8]>,
    event_timers: Vec<i64>,
    processing_timers: Vec<i64>,
}

/// A chunk that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    /// It cannot be decoded.
    #[error("the state of key group {key_group} cannot be decoded: {reason}")]
    Undecodable {
        /// Which key group.
        key_group: u16,
        /// What the decoder said.
        reason: String,
    },
    /// It was written by an operator with windows and is read by one without,
    /// or the other way round.
    #[error(
        "the checkpoint was taken {} windows, but the operator now has {}: \
         give the operator another name, or set its `window` back",
        if *.saved_with { "with" } else { "without" }, if *.saved_with { "none" } else { "some" }
    )]
    WindowsChanged {
        /// Whether the saved state has windows.
        saved_with: bool,
    },
}

impl KeyedState {
    /// The chunks of the key groups that changed since the last snapshot. A
    /// chunk without entries is empty.
    pub fn snapshot(&mut self) -> Vec<(KeyGroup, Vec<u8>)> {
        let dirty =
            std::mem::replace(&mut self.dirty, vec![false; self.key_groups.count() as usize]);
        let mut by_group: Vec<Vec<EntryId>> = vec![Vec::new(); dirty.len()];
        for (id, entry) in self.table.iter() {
            let group = usize::from(entry.key_group.0);
            if dirty[group] {
                by_group[group].push(id);
            }
        }
        let mut timers = self.saved_timers(&dirty);
        let mut chunks = Vec::new();
        for (group, ids) in by_group.into_iter().enumerate().filter(|(group, _)| dirty[*group]) {
            let saved: Vec<SavedEntry<'_>> =
                ids.iter().map(|id| self.save(*id, &mut timers)).collect();
            let bytes = if saved.is_empty() {
                Vec::new()
            } else {
                postcard::to_stdvec(&saved).expect("plain data in memory can be encoded")
            };
            chunks.push((KeyGroup(u16::try_from(group).unwrap_or(u16::MAX)), bytes));
        }
        chunks
    }

    /// The timers of entries in the given key groups, sorted by entry.
    fn saved_timers(&self, dirty: &[bool]) -> SavedTimers {
        let of = |timers: &crate::state::timers::Timers| {
            let mut list: Vec<(EntryId, i64)> = timers
                .iter()
                .filter(|(_, id)| dirty[usize::from(self.table.get(*id).key_group.0)])
                .map(|(at, id)| (id, at))
                .collect();
            list.sort_unstable();
            list
        };
        SavedTimers { event: of(&self.event_timers), processing: of(&self.processing_timers) }
    }

    fn save(&self, id: EntryId, timers: &mut SavedTimers) -> SavedEntry<'_> {
        let entry = self.table.get(id);
        let windowed = entry.window != Window::NONE;
        SavedEntry {
            key: Cow::Borrowed(&entry.key),
            window: windowed.then_some(entry.window),
            fired: entry.fired,
            state: Cow::Borrowed(&entry.state),
            event_timers: times_of(&timers.event, id),
            processing_timers: times_of(&timers.processing, id),
        }
    }

    /// Takes in the chunk of a key group, as it was saved.
    ///
    /// # Errors
    /// If the chunk cannot be decoded, or does not fit the operator's windows.
    pub fn restore(&mut self, key_group: KeyGroup, chunk: &[u8]) -> Result<(), BadChunk> {
        if chunk.is_empty() {
            return Ok(());
        }
        let undecodable = |reason: String| BadChunk::Undecodable { key_group: key_group.0, reason };
        let saved: Vec<SavedEntry<'_>> =
            postcard::from_bytes(chunk).map_err(|e| undecodable(e.to_string()))?;
        for entry in saved {
            if entry.window.is_some() != self.windows.is_some() {
                return Err(BadChunk::WindowsChanged { saved_with: entry.window.is_some() });
            }
            let window = entry.window.unwrap_or(Window::NONE);
            if self.table.find(self.table.hash(&entry.key, window), &entry.key, window).is_some() {
                return Err(undecodable("a key stands in it twice".into()));
            }
            let id = self.put(&entry.key, window, &entry.state, entry.fired);
            for at in entry.event_timers {
                self.set_timer(TimerKind::Event, at, id);
            }
            for at in entry.processing_timers {
                self.set_timer(TimerKind::Processing, at, id);
            }
        }
        Ok(())
    }
}

struct SavedTimers {
    event: Vec<(EntryId, i64)>,
    processing: Vec<(EntryId, i64)>,
}

fn times_of(timers: &[(EntryId, i64)], id: EntryId) -> Vec<i64> {
    let start = timers.partition_point(|(e, _)| *e < id);
    timers[start..].iter().take_while(|(e, _)| *e == id).map(|(_, at)| *at).collect()
}
