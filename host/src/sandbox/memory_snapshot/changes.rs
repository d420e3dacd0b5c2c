//! Which pages of a memory changed since the last snapshot.
//!
//! By comparing it with a copy that is kept: exact, with every kernel, and paid with as
//! much memory again.

use super::PAGE;

/// What is known of one memory's last snapshot.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The memory as it was.
    previous: Vec<u8>,
}

impl Changes {
    /// How many bytes more will be held after a snapshot of that memory.
    pub(super) fn grows_by(&self, memory: &[u8]) -> usize {
        memory.len().saturating_sub(self.previous.len())
    }

    /// The numbers of the pages that are not as they were; all that hold anything, the
    /// first time.
    pub(super) fn find(&self, memory: &[u8]) -> Vec<u32> {
        let pages = memory.chunks(PAGE).zip(0_u32..);
        let old = |number: u32| {
            let from = number as usize * PAGE;
            self.previous.get(from..from + PAGE).unwrap_or(&EMPTY)
        };
        pages.filter(|(page, number)| *page != old(*number)).map(|(_, number)| number).collect()
    }

    /// These pages are saved.
    pub(super) fn saved(&mut self, memory: &[u8], numbers: &[u32]) {
        if self.previous.is_empty() {
            // Zeroed by the system, and not touched where it stays so.
            self.previous = vec![0; memory.len()];
        }
        self.previous.resize(memory.len(), 0);
        for number in numbers {
            let page = *number as usize * PAGE..(*number as usize + 1) * PAGE;
            self.previous[page.clone()].copy_from_slice(&memory[page]);
        }
    }
}

static EMPTY: [u8; PAGE] = [0; PAGE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_as_it_was_is_not_found() {
        let mut changes = Changes::default();
        let mut memory = vec![0; 8 * PAGE];
        memory[3 * PAGE + 7] = 1;
        assert_eq!(changes.find(&memory), [3]);
        changes.saved(&memory, &[3]);
        memory[0] = 1;
        memory[3 * PAGE + 7] = 0;
        memory.resize(16 * PAGE, 0);
        memory[15 * PAGE] = 1;
        assert_eq!(changes.find(&memory), [0, 3, 15]);
        changes.saved(&memory, &[0, 3, 15]);
        assert!(changes.find(&memory).is_empty());
    }
}
