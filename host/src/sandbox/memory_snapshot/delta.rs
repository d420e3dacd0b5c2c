//! What a snapshot of a memory hands over: the pages that changed, and all globals.

use std::collections::BTreeMap;

use super::{PAGE, copies::Charged, huge};

/// What changed in an instance since its last snapshot.
#[derive(Debug, Default)]
pub struct MemoryDelta {
    /// Whether it is everything: pages that it does not have are empty. If not, they are
    /// as the snapshot before had them.
    pub complete: bool,
    /// Each memory, in the order of the component.
    pub memories: Vec<MemoryPages>,
    /// All mutable globals, as 64 bits each.
    pub globals: Vec<u64>,
    /// What of it is charged to the slot.
    pub(super) charged: Vec<Charged>,
}

/// Pages of one memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MemoryPages {
    /// How large the memory is, in pages of WebAssembly.
    pub wasm_pages: u32,
    /// Which pages of [`PAGE`] bytes these are, ascending.
    pub numbers: Vec<u32>,
    /// Their content, one after the other.
    pub bytes: Vec<u8>,
}

impl MemoryPages {
    /// The pages with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.numbers.iter().copied().zip(self.bytes.chunks(PAGE))
    }

    /// Copies these pages of a memory.
    pub(super) fn copy(&mut self, memory: &[u8], numbers: Vec<u32>) {
        self.bytes.reserve_exact(numbers.len() * PAGE);
        huge::ask_for_room(&mut self.bytes);
        for number in &numbers {
            let from = *number as usize * PAGE;
            self.bytes.extend_from_slice(&memory[from..from + PAGE]);
        }
        self.numbers = numbers;
    }

    /// Pages that follow one another, as one: the first one's number, and all their bytes.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut at = 0;
        self.numbers.chunk_by(|a, b| a + 1 == *b).map(move |run| {
            let from = at * PAGE;
            at += run.len();
            (run[0], &self.bytes[from..at * PAGE])
        })
    }

    /// The later of two contents of each page.
    fn overlay(&self, later: &Self) -> Self {
        let pages: BTreeMap<u32, &[u8]> = self.iter().chain(later.iter()).collect();
        let mut all = Self {
            wasm_pages: later.wasm_pages,
            numbers: Vec::with_capacity(pages.len()),
            bytes: Vec::with_capacity(pages.len() * PAGE),
        };
        for (number, page) in pages {
            all.numbers.push(number);
            all.bytes.extend_from_slice(page);
        }
        all
    }
}

impl MemoryDelta {
    /// One that is charged to nobody.
    #[must_use]
    pub fn new(complete: bool, memories: Vec<MemoryPages>, globals: Vec<u64>) -> Self {
        Self { complete, memories, globals, charged: Vec::new() }
    }

    /// How many bytes of pages there are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memories.iter().map(|memory| memory.bytes.len()).sum()
    }

    /// This and then what changed after it.
    #[must_use]
    pub fn then(mut self, mut later: Self) -> Self {
        if later.complete {
            return later;
        }
        let memories = self.memories.iter().zip(&later.memories);
        later.memories = memories.map(|(earlier, later)| earlier.overlay(later)).collect();
        later.complete = self.complete;
        later.charged.append(&mut self.charged);
        later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(complete: bool, pages: &[(u32, u8)]) -> MemoryDelta {
        let numbers = pages.iter().map(|(number, _)| *number).collect();
        let bytes = pages.iter().flat_map(|(_, byte)| [*byte; PAGE]).collect();
        let memories = vec![MemoryPages { wasm_pages: 1, numbers, bytes }];
        MemoryDelta::new(complete, memories, vec![7])
    }

    fn firsts(delta: &MemoryDelta) -> Vec<(u32, u8)> {
        delta.memories[0].iter().map(|(number, page)| (number, page[0])).collect()
    }

    #[test]
    fn of_two_changes_of_a_page_the_later_one_counts() {
        let both = delta(true, &[(1, 1), (3, 1)]).then(delta(false, &[(0, 2), (3, 2)]));
        assert!(both.complete, "nothing before the first one is needed");
        assert_eq!(firsts(&both), [(0, 2), (1, 1), (3, 2)]);
        let runs = both.memories[0].runs().map(|(first, bytes)| (first, bytes.len() / PAGE));
        assert_eq!(runs.collect::<Vec<_>>(), [(0, 2), (3, 1)]);
        let both = both.then(delta(true, &[(9, 3)]));
        assert_eq!(firsts(&both), [(9, 3)]);
    }
}
