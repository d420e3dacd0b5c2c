//! A guest's memory in a capsule (`state = "memory"`), as plain data. How a memory is
//! read and written is the sandbox's business.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::sandbox::{MemoryDelta, MemoryPages, memory_snapshot::PAGE};

/// The largest memory that is saved, in pages of WebAssembly.
const MOST_WASM_PAGES: u32 = 65_535;
/// Pages of [`PAGE`] bytes in one of WebAssembly.
const SMALL_PAGES: u32 = 16;

/// What a capsule knows of its guest's memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum GuestMemory {
    /// It is no state of the operator's.
    #[default]
    NotSaved,
    /// It is that of an instance that has just been opened.
    Fresh,
    /// It is all of this.
    Then(MemoryThen),
}

/// A guest's memories and mutable globals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryThen {
    memories: Vec<SavedPages>,
    globals: Vec<u64>,
}

/// One memory: the pages that are not empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedPages {
    wasm_pages: u32,
    numbers: Vec<u32>,
    bytes: ByteBuf,
}

impl MemoryThen {
    /// Of all of an instance's memory.
    #[must_use]
    pub fn of(whole: &MemoryDelta) -> Self {
        let memories = whole.memories.iter().map(|memory| SavedPages {
            wasm_pages: memory.wasm_pages,
            numbers: memory.numbers.clone(),
            bytes: ByteBuf::from(memory.bytes.as_slice()),
        });
        Self { memories: memories.collect(), globals: whole.globals.clone() }
    }

    /// All of it, for an instance. No slot is charged for that.
    #[must_use]
    pub fn whole(&self) -> MemoryDelta {
        let memories = self.memories.iter().map(|memory| MemoryPages {
            wasm_pages: memory.wasm_pages,
            numbers: memory.numbers.clone(),
            bytes: memory.bytes.to_vec(),
        });
        MemoryDelta::new(true, memories.collect(), self.globals.clone())
    }

    /// How many bytes of pages there are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memories.iter().map(|memory| memory.bytes.len()).sum()
    }

    /// Whether the pages lie within their memories, each once, in order.
    pub(super) fn check(&self) -> Result<(), String> {
        for memory in &self.memories {
            let SavedPages { wasm_pages, numbers, bytes } = memory;
            if *wasm_pages > MOST_WASM_PAGES {
                return Err(format!("a memory has {wasm_pages} pages, more than there can be"));
            }
            if bytes.len() != numbers.len() * PAGE {
                return Err(format!(
                    "{} pages of memory have {} bytes",
                    numbers.len(),
                    bytes.len()
                ));
            }
            let within = numbers.last().is_none_or(|last| *last < wasm_pages * SMALL_PAGES);
            if !within || !numbers.is_sorted_by(|a, b| a < b) {
                return Err("pages of a memory are not in order, or not within it".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A memory of two pages of WebAssembly, of which two small ones are not empty.
    pub(in crate::capsule) fn memory() -> MemoryThen {
        let bytes = [[1; PAGE], [2; PAGE]].concat();
        let pages = MemoryPages { wasm_pages: 2, numbers: vec![3, 31], bytes };
        MemoryThen::of(&MemoryDelta::new(true, vec![pages], vec![7]))
    }

    #[test]
    fn a_memory_is_given_back_as_it_was() {
        let (memory, whole) = (memory(), memory().whole());
        assert!(whole.complete);
        assert_eq!(
            (whole.memories[0].numbers.as_slice(), &whole.globals[..]),
            (&[3, 31][..], &[7][..])
        );
        assert_eq!((whole.bytes(), MemoryThen::of(&whole) == memory), (2 * PAGE, true));
        assert_eq!(memory.check(), Ok(()));
    }

    #[test]
    fn pages_that_no_memory_can_have_are_refused() {
        let refused = |change: fn(&mut SavedPages)| {
            let mut memory = memory();
            change(&mut memory.memories[0]);
            memory.check().unwrap_err()
        };
        assert!(refused(|pages| pages.wasm_pages = u32::MAX).contains("more than there can be"));
        assert!(refused(|pages| pages.bytes.truncate(PAGE)).contains("2 pages of memory have"));
        assert!(refused(|pages| pages.numbers[1] = 32).contains("not within it"));
        assert!(refused(|pages| pages.numbers[1] = 3).contains("not in order"));
    }
}
