//! What of a subtask's keyed state goes into a checkpoint: for each key group
//! that changed either the whole of it, a *base*, or what changed since the last
//! snapshot, a *delta*, so that a checkpoint costs what changed. A key group is
//! the unit in which state is divided anew when the parallelism changes.
//!
//! A base is a list of entries. A delta is a list of the keys (and windows) that
//! are gone, then a list of the entries that are new or changed, each in full.
//! Restoring reads the latest first, so that every entry is put in once.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use serde::{Deserialize, Serialize};

use crate::{
    state::{
        buffer::Buffer,
        call::TimerKind,
        changes::GroupChanges,
        keyed::KeyedState,
        table::{Entry, EntryId},
        timers::Timers,
        windows::Window,
    },
    stream::keys::KeyGroup,
};

/// One key (and window) in a chunk.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedEntry<'a> {
    #[serde(with = "serde_bytes", borrow)]
    pub(super) key: Cow<'a, [u8]>,
    pub(super) window: Option<Window>,
    /// Whether the window has fired already.
    pub(super) fired: bool,
    #[serde(with = "serde_bytes", borrow)]
    pub(super) state: Cow<'a, [u8]>,
    pub(super) event_timers: Vec<i64>,
    pub(super) processing_timers: Vec<i64>,
}

/// A key (and window) that is gone, in a delta.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tombstone<'a> {
    #[serde(with = "serde_bytes", borrow)]
    pub(super) key: Cow<'a, [u8]>,
    pub(super) window: Option<Window>,
}

/// A key and its window, in a chunk's bytes.
pub(super) type KeyWindow<'a> = (&'a [u8], Option<Window>);

/// What a snapshot gives of a key group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChunk {
    /// All of it; empty if nothing is left.
    Base(Buffer),
    /// What changed since the snapshot before, which gave the base or a delta.
    Delta(Buffer),
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

/// Going through the whole table is as much work as finding one in so many of its
/// entries by their numbers, which lie anywhere in it.
const SCAN_WORTH: usize = 8;

/// How a key group is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Unchanged,
    Whole,
    Delta,
}

/// About: what an entry without state or timers takes, with a usual key.
const ENTRY: usize = 24;

impl KeyedState {
    /// What changed since the last snapshot, by key group.
    pub fn snapshot(&mut self) -> Vec<(KeyGroup, GroupChunk)> {
        let (ways, by_scan) = self.ways(self.changes.listed.len());
        self.take_snapshot(ways, by_scan)
    }

    /// All of it, by key group, whether or not it has changed.
    pub fn snapshot_whole(&mut self) -> Vec<(KeyGroup, GroupChunk)> {
        let way = |group: &GroupChanges| match group.live > 0 || group.removed > 0 {
            true => Way::Whole,
            false => Way::Unchanged,
        };
        self.take_snapshot(self.changes.groups.iter().map(way).collect(), true)
    }

    fn take_snapshot(&mut self, ways: Vec<Way>, by_scan: bool) -> Vec<(KeyGroup, GroupChunk)> {
        let mut listed = std::mem::take(&mut self.changes.listed);
        let groups = (0..).zip(&ways).map(|(group, way)| self.begin_chunk(group, *way));
        let mut chunks: Vec<Vec<u8>> = groups.collect();
        self.spare.clear();
        let mut put = |id: EntryId, entry: &Entry| {
            let group = usize::from(entry.key_group.0);
            if ways[group] == Way::Whole || self.table.is_listed(entry) {
                self.put_entry(&mut chunks[group], id, entry);
            }
        };
        if by_scan {
            self.table.iter().for_each(|(id, entry)| put(id, entry));
        } else {
            let live = listed.iter().filter(|id| self.table.is_live(**id));
            live.for_each(|id| put(*id, self.table.get(*id)));
        }
        self.table.begin_period();
        // Its memory is used again, unless there is much more of it than is of use.
        if listed.capacity() <= 4 * listed.len() {
            listed.clear();
            self.changes.listed = listed;
        }
        let groups = (0_u16..).map(KeyGroup).zip(chunks).zip(ways);
        groups
            .filter_map(|((key_group, bytes), way)| {
                let group = self.changes.of(key_group);
                let listed = std::mem::take(&mut group.listed);
                match way {
                    Way::Unchanged => None,
                    Way::Delta => {
                        group.since_whole = group.since_whole.saturating_add(listed);
                        Some((key_group, GroupChunk::Delta(self.spare.lend(bytes))))
                    }
                    Way::Whole => {
                        (group.since_whole, group.whole_bytes) = (0, bytes.len());
                        Some((key_group, GroupChunk::Base(self.spare.lend(bytes))))
                    }
                }
            })
            .collect()
    }

    /// What comes before the entries of a key group that is written in this way.
    fn begin_chunk(&mut self, group: usize, way: Way) -> Vec<u8> {
        if way == Way::Unchanged {
            return Vec::new();
        }
        let (removed, tombstones) = self.changes.take_tombstones(group);
        let GroupChanges { live, listed, whole_bytes, .. } = self.changes.groups[group];
        if way == Way::Whole {
            if live == 0 {
                return Vec::new();
            }
            // Somewhat more than the last time.
            let before = whole_bytes + whole_bytes / 8;
            let mut out = self.spare.take((live as usize * ENTRY).max(before) + 64);
            put_varint(&mut out, live.into());
            return out;
        }
        let mut out = self.spare.take(tombstones.len() + listed as usize * ENTRY + 16);
        put_varint(&mut out, removed.into());
        out.extend_from_slice(&tombstones);
        put_varint(&mut out, listed.into());
        out
    }

    /// How each key group is written, if so many entries are listed; and whether their
    /// entries are to be found by going through the table.
    ///
    /// A key group of which more than half has changed is written whole. So it is with
    /// one that no snapshot has given yet: all of it is listed. If the table is gone
    /// through anyway, what has changed since it was last written whole counts too: that
    /// costs less than to merge it with its deltas later.
    fn ways(&self, listed: usize) -> (Vec<Way>, bool) {
        let way = |group: &GroupChanges, before: u32| {
            let touched = u64::from(group.listed) + u64::from(group.removed);
            if touched == 0 {
                Way::Unchanged
            } else if (touched + u64::from(before)) * 2 > u64::from(group.live) {
                Way::Whole
            } else {
                Way::Delta
            }
        };
        let groups = &self.changes.groups;
        // Of those that are to be whole the list may not say all.
        let more = |group: &&GroupChanges| group.listed < group.live && way(group, 0) == Way::Whole;
        let found: usize = groups.iter().filter(more).map(|group| group.live as usize).sum();
        let by_scan = listed.max(found) * SCAN_WORTH >= self.table.places().max(1);
        let ways = groups.iter().map(|group| {
            if by_scan {
                way(group, group.since_whole)
            } else if more(&group) {
                Way::Delta
            } else {
                way(group, 0)
            }
        });
        (ways.collect(), by_scan)
    }

    /// A base of the keys that are wanted, by key group, whether or not they have changed.
    #[must_use]
    pub fn chunks_of(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<(KeyGroup, Vec<u8>)> {
        let mut by_group: BTreeMap<KeyGroup, (u64, Vec<u8>)> = BTreeMap::new();
        for (id, entry) in self.table.iter().filter(|(_, entry)| wanted(&entry.key)) {
            let (count, entries) = by_group.entry(entry.key_group).or_default();
            *count += 1;
            self.put_entry(entries, id, entry);
        }
        let base = |(group, (count, entries)): (KeyGroup, (u64, Vec<u8>))| {
            let mut base = Vec::with_capacity(entries.len() + 8);
            put_varint(&mut base, count);
            base.extend_from_slice(&entries);
            (group, base)
        };
        by_group.into_iter().map(base).collect()
    }

    fn put_entry(&self, out: &mut Vec<u8>, id: EntryId, entry: &Entry) {
        put_bytes(out, &entry.key);
        put_window(out, entry.window);
        out.push(entry.fired.into());
        put_bytes(out, &entry.state);
        if entry.timers == 0 {
            out.extend_from_slice(&[0, 0]);
        } else {
            put_times(out, &self.event_timers, id);
            put_times(out, &self.processing_timers, id);
        }
    }

    /// Takes in a key group as it was saved: a base, and deltas in the order of
    /// their snapshots.
    ///
    /// # Errors
    /// If a chunk cannot be decoded, or does not fit the operator's windows.
    pub fn restore(
        &mut self,
        key_group: KeyGroup,
        chunks: &[impl AsRef<[u8]>],
    ) -> Result<(), BadChunk> {
        let undecodable = |reason: String| BadChunk::Undecodable { key_group: key_group.0, reason };
        let mut gone: HashSet<KeyWindow<'_>> = HashSet::new();
        for (i, chunk) in chunks.iter().enumerate().rev() {
            let chunk = Chunk::of(chunk.as_ref(), i > 0);
            let mut read = chunk.read().map_err(undecodable)?;
            while let Some((entry, _)) = read.entry().map_err(undecodable)? {
                if entry.window.is_some() != self.windows.is_some() {
                    return Err(BadChunk::WindowsChanged { saved_with: entry.window.is_some() });
                }
                let window = entry.window.unwrap_or(Window::NONE);
                let hash = self.table.hash(&entry.key, window);
                if self.table.find(hash, &entry.key, window).is_some() {
                    if chunks.len() == 1 {
                        return Err(undecodable("a key stands in it twice".into()));
                    }
                } else if gone.is_empty() || !gone.contains(&(&*entry.key, entry.window)) {
                    self.take_in(&entry, window);
                }
            }
            // Of no use once nothing earlier follows.
            for tombstone in chunk.tombstones().map_err(undecodable)? {
                gone.insert(tombstone);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, entry: &SavedEntry<'_>, window: Window) {
        let id = self.put(&entry.key, window, &entry.state, entry.fired);
        for at in &entry.event_timers {
            self.set_timer(TimerKind::Event, *at, id);
        }
        for at in &entry.processing_timers {
            self.set_timer(TimerKind::Processing, *at, id);
        }
    }
}

/// A chunk as it is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    bytes: &'a [u8],
    delta: bool,
}

impl<'a> Chunk<'a> {
    pub(super) fn of(bytes: &'a [u8], delta: bool) -> Self {
        Self { bytes, delta }
    }

    /// What a delta says is gone.
    pub(super) fn tombstones(self) -> Result<Vec<KeyWindow<'a>>, String> {
        if !self.delta {
            return Ok(Vec::new());
        }
        let (list, _) = self.split()?;
        Ok(list)
    }

    /// The tombstones, and what follows them.
    fn split(self) -> Result<(Vec<KeyWindow<'a>>, &'a [u8]), String> {
        let (count, mut rest) = take::<u64>(self.bytes)?;
        let mut list = Vec::new();
        for _ in 0..count {
            let (tombstone, after) = take::<Tombstone<'a>>(rest)?;
            let Cow::Borrowed(key) = tombstone.key else {
                return Err("a key is not within the chunk".into());
            };
            list.push((key, tombstone.window));
            rest = after;
        }
        Ok((list, rest))
    }

    /// Its entries.
    pub(super) fn read(self) -> Result<Entries<'a>, String> {
        if self.bytes.is_empty() && !self.delta {
            return Ok(Entries { left: 0, rest: &[] });
        }
        let rest = if self.delta { self.split()?.1 } else { self.bytes };
        let (left, rest) = take::<u64>(rest)?;
        Ok(Entries { left, rest })
    }
}

/// The entries of a chunk, one after the other.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    left: u64,
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The next entry, and its bytes.
    pub(super) fn entry(&mut self) -> Result<Option<(SavedEntry<'a>, &'a [u8])>, String> {
        if self.left == 0 {
            return match self.rest {
                [] => Ok(None),
                rest => Err(format!("{} bytes follow its last entry", rest.len())),
            };
        }
        let (entry, after) = take::<SavedEntry<'a>>(self.rest)?;
        let bytes = &self.rest[..self.rest.len() - after.len()];
        (self.left, self.rest) = (self.left - 1, after);
        Ok(Some((entry, bytes)))
    }
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), String> {
    postcard::take_from_bytes(bytes).map_err(|e| e.to_string())
}

// What follows writes what postcard would, in one pass and without a copy of the
// entries: this is what a subtask is held up by.

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_zigzag(out: &mut Vec<u8>, n: i64) {
    put_varint(out, ((n << 1) ^ (n >> 63)).cast_unsigned());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_window(out: &mut Vec<u8>, window: Window) {
    if window == Window::NONE {
        out.push(0);
    } else {
        out.push(1);
        put_zigzag(out, window.start);
        put_zigzag(out, window.end);
    }
}

/// Says in a delta that a key (and window) is gone.
pub(super) fn put_tombstone(out: &mut Vec<u8>, key: &[u8], window: Window) {
    put_bytes(out, key);
    put_window(out, window);
}

fn put_times(out: &mut Vec<u8>, timers: &Timers, id: EntryId) {
    put_varint(out, timers.of(id).count() as u64);
    timers.of(id).for_each(|at| put_zigzag(out, at));
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
