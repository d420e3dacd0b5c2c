//! Finds the entry of a key and window.
//!
//! Open addressing with linear probing over 8-byte slots (half hash, half entry
//! number), and the entries in one vector with short keys and states inline. A
//! batch first loads the slots of all its keys and then the entries, so that
//! the cache misses of a large table overlap instead of following one another.

use std::hash::BuildHasher;

use smallvec::SmallVec;

use crate::{state::windows::Window, stream::keys::KeyGroup};

/// Bytes that lie within the entry up to 16, which most keys and counters do.
pub type ShortBytes = SmallVec<[u8; 16]>;

/// Number of an entry in its table. Numbers of removed entries are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u32);

/// The state of a key and window.
///
/// Two cache lines: the first has what looking an entry up needs, the second
/// what a call changes.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Entry {
    hash: u64,
    /// The call that last touched the entry, and its group there.
    pub(super) call: u32,
    pub(super) group: u32,
    /// The key.
    pub key: ShortBytes,
    /// The window, or [`Window::NONE`].
    pub window: Window,
    /// The state; empty: none.
    pub state: ShortBytes,
    /// The key's group.
    pub key_group: KeyGroup,
    /// Timers that are set, of both kinds.
    pub(super) timers: u32,
    /// Whether the ends of the window have been noted.
    pub(super) registered: bool,
    /// Whether the window has fired.
    pub(super) fired: bool,
    live: bool,
    /// The period between two snapshots in which it was put in.
    born: u32,
    /// The period in which its number was last listed as changed.
    listed: u32,
}

/// The entries of a subtask.
#[derive(Debug)]
pub struct Table {
    /// `0` is empty; else the hash's upper half and the entry's number + 1.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    live: usize,
    /// Which period between two snapshots it is. So a snapshot leaves the entries alone.
    period: u32,
    hasher: foldhash::fast::RandomState,
}

const MIN_SLOTS: usize = 64;

const _: () = assert!(size_of::<Entry>() == 128, "two cache lines");

impl Default for Table {
    fn default() -> Self {
        Self {
            slots: vec![0; MIN_SLOTS],
            entries: Vec::new(),
            free: Vec::new(),
            live: 0,
            period: 1,
            // Seeded by chance: keys come from people who may wish us ill.
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

/// What a slot keeps of a hash.
fn tag(hash: u64) -> u64 {
    hash & 0xffff_ffff_0000_0000
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn number(slot: u64) -> u32 {
    (slot as u32).wrapping_sub(1)
}

impl Table {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Heap bytes in use, short keys and states included; long ones not.
    #[must_use]
    pub fn base_bytes(&self) -> usize {
        self.slots.capacity() * 8 + self.entries.capacity() * size_of::<Entry>()
    }

    /// Hashes a key and window.
    #[must_use]
    pub fn hash(&self, key: &[u8], window: Window) -> u64 {
        let hash = self.hasher.hash_one(key);
        if window == Window::NONE {
            hash
        } else {
            // Windows of a key differ in their start, by multiples of something.
            let mixed = (hash ^ window.start.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ (mixed >> 29)
        }
    }

    fn home(&self, hash: u64) -> usize {
        // The upper half, which the slot keeps, so that entries can be moved
        // without looking at them.
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    /// Brings what a look-up of this hash will need into the cache.
    #[must_use]
    pub fn touch(&self, hash: u64) -> u64 {
        self.slots[self.home(hash)]
    }

    /// Brings the entry that [`touch`](Self::touch) hinted at into the cache.
    #[must_use]
    pub fn touch_entry(&self, hint: u64) -> u32 {
        self.entries.get(number(hint) as usize).map_or(0, |e| e.call.wrapping_add(e.timers))
    }

    /// The entry of a key and window, if there is one.
    #[must_use]
    pub fn find(&self, hash: u64, key: &[u8], window: Window) -> Option<EntryId> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if tag(slot) == tag(hash) {
                let entry = &self.entries[number(slot) as usize];
                if entry.window == window && entry.key.as_slice() == key {
                    return Some(EntryId(number(slot)));
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an entry without state; there must be none with this key and window.
    pub fn insert(
        &mut self,
        hash: u64,
        key: &[u8],
        window: Window,
        key_group: KeyGroup,
    ) -> EntryId {
        if (self.live + 1) * 8 > self.slots.len() * 5 {
            self.grow();
        }
        let mut entry = Entry {
            hash,
            call: 0,
            group: 0,
            key: ShortBytes::from_slice(key),
            window,
            state: ShortBytes::new(),
            key_group,
            timers: 0,
            registered: false,
            fired: false,
            live: true,
            born: self.period,
            listed: self.period.wrapping_sub(1),
        };
        let id = if let Some(id) = self.free.pop() {
            let place = &mut self.entries[id as usize];
            // The number stays listed.
            entry.listed = place.listed;
            *place = entry;
            id
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("a subtask holds fewer than 2^32 keys")
        };
        self.place(hash, id);
        self.live += 1;
        EntryId(id)
    }

    fn place(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = tag(hash) | (u64::from(id) + 1);
    }

    #[expect(clippy::cast_possible_truncation, reason = "entry ids have 32 bits")]
    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        self.slots = vec![0; slots];
        for id in 0..self.entries.len() {
            let (hash, live) = (self.entries[id].hash, self.entries[id].live);
            if live {
                self.place(hash, id as u32);
            }
        }
    }

    /// Removes an entry and gives it back.
    pub fn remove(&mut self, id: EntryId) -> Entry {
        let entry = &mut self.entries[id.0 as usize];
        debug_assert!(entry.live, "an entry is removed once");
        entry.live = false;
        let removed = Entry {
            key: std::mem::take(&mut entry.key),
            state: std::mem::take(&mut entry.state),
            ..*entry
        };
        self.live -= 1;
        self.free.push(id.0);
        self.unplace(removed.hash, id.0);
        removed
    }

    /// Empties the entry's slot and moves later ones of the run back, so that
    /// no tombstone is needed.
    fn unplace(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len() - 1;
        let mut hole = self.home(hash);
        while self.slots[hole] == 0 || number(self.slots[hole]) != id {
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let distance_from_home = at.wrapping_sub(self.home(slot)) & mask;
            let distance_from_hole = at.wrapping_sub(hole) & mask;
            if distance_from_home >= distance_from_hole {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
    }

    /// An entry.
    #[must_use]
    pub fn get(&self, id: EntryId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    /// An entry, to change. Its key and window must stay.
    #[must_use]
    pub fn get_mut(&mut self, id: EntryId) -> &mut Entry {
        &mut self.entries[id.0 as usize]
    }

    /// Lists an entry as changed in this period; says whether it was not.
    pub(super) fn list(&mut self, id: EntryId) -> bool {
        let period = self.period;
        std::mem::replace(&mut self.get_mut(id).listed, period) != period
    }

    /// Whether an entry's number is listed as changed in this period.
    pub(super) fn is_listed(&self, entry: &Entry) -> bool {
        entry.listed == self.period
    }

    /// Whether an entry may be in a snapshot: it is from an earlier period.
    pub(super) fn is_saved(&self, entry: &Entry) -> bool {
        entry.born != self.period
    }

    /// An entry was put in that a snapshot held.
    pub(super) fn set_saved(&mut self, id: EntryId) {
        self.get_mut(id).born = self.period.wrapping_sub(1);
    }

    /// A snapshot was taken.
    pub(super) fn begin_period(&mut self) {
        self.period = self.period.wrapping_add(1);
    }

    /// How many numbers of entries there are, those of removed ones too.
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is an entry of this number.
    pub(super) fn is_live(&self, id: EntryId) -> bool {
        self.get(id).live
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        (0_u32..).zip(&self.entries).filter(|(_, e)| e.live).map(|(id, e)| (EntryId(id), e))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_behaves_like_a_map(ops in prop::collection::vec((0_u8..3, 0_u8..40, 0_i64..3), 0..600)) {
            let mut table = Table::default();
            let mut model: HashMap<(Vec<u8>, Window), u8> = HashMap::new();
            for (op, key, start) in ops {
                let window = if start == 0 { Window::NONE } else { Window { start, end: start + 1 } };
                let bytes = vec![key; usize::from(key) + 1];
                let hash = table.hash(&bytes, window);
                let found = table.find(hash, &bytes, window);
                prop_assert_eq!(found.is_some(), model.contains_key(&(bytes.clone(), window)));
                match (op, found) {
                    (0 | 1, None) => {
                        let id = table.insert(hash, &bytes, window, KeyGroup(0));
                        table.get_mut(id).state.push(key);
                        model.insert((bytes, window), key);
                    }
                    (2, Some(id)) => {
                        let removed = table.remove(id);
                        prop_assert_eq!(removed.key.as_slice(), &bytes[..]);
                        prop_assert_eq!(Some(removed.state[0]), model.remove(&(bytes, window)));
                    }
                    (_, Some(id)) => prop_assert_eq!(table.get(id).state[0], key),
                    (_, None) => {}
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.iter().count(), model.len());
            }
        }
    }
}
