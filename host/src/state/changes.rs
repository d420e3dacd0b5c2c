//! What of a subtask's keyed state changed since its last snapshot: which
//! entries, each once, and which saved ones are gone. Both are bounded by what
//! the table holds or held at the last snapshot, however long there is none.

use crate::{
    state::{chunks, table::EntryId, windows::Window},
    stream::keys::KeyGroup,
};

/// The changes of all key groups.
#[derive(Debug)]
pub(super) struct Changes {
    /// Entries that changed. It is the entry's number that is listed: when the number
    /// is used again, it is not listed again.
    pub(super) listed: Vec<EntryId>,
    pub(super) groups: Vec<GroupChanges>,
    tombstone_bytes: usize,
}

/// The changes of a key group.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupChanges {
    /// Entries that it has now.
    pub(super) live: u32,
    /// Those of them that are listed as changed.
    pub(super) listed: u32,
    /// Entries in deltas since it was last given whole.
    pub(super) since_whole: u32,
    /// How long it was when it was last given whole.
    pub(super) whole_bytes: usize,
    /// Saved entries that are gone.
    pub(super) removed: u32,
    /// Their keys and windows, as a delta has them.
    pub(super) tombstones: Vec<u8>,
}

impl Changes {
    pub(super) fn new(key_groups: u32) -> Self {
        let groups = vec![GroupChanges::default(); key_groups as usize];
        Self { listed: Vec::new(), groups, tombstone_bytes: 0 }
    }

    pub(super) fn of(&mut self, key_group: KeyGroup) -> &mut GroupChanges {
        &mut self.groups[usize::from(key_group.0)]
    }

    /// An entry that the last snapshot or an earlier one held is gone.
    pub(super) fn removed(&mut self, key_group: KeyGroup, key: &[u8], window: Window) {
        let group = &mut self.groups[usize::from(key_group.0)];
        let before = group.tombstones.len();
        chunks::put_tombstone(&mut group.tombstones, key, window);
        group.removed += 1;
        self.tombstone_bytes += group.tombstones.len() - before;
    }

    /// Takes the tombstones of a key group, and how many they are.
    pub(super) fn take_tombstones(&mut self, key_group: usize) -> (u32, Vec<u8>) {
        let group = &mut self.groups[key_group];
        self.tombstone_bytes -= group.tombstones.len();
        (std::mem::take(&mut group.removed), std::mem::take(&mut group.tombstones))
    }

    /// Heap bytes in use, about.
    pub(super) fn bytes(&self) -> usize {
        self.listed.capacity() * size_of::<EntryId>() + self.tombstone_bytes
    }
}
