//! Which pages of a memory changed since the last snapshot. Either the kernel tells which
//! were written to ([`written`](super::written)); or the memory is compared with a copy
//! that is kept, which works with every kernel, and is paid with as much memory again.

use std::{io, sync::Arc};

use super::{
    PAGE, huge,
    written::{PageWatch, Watched},
};

/// What is known of one memory's last snapshot.
#[derive(Debug, Default)]
pub(super) enum Changes {
    /// Nothing: there was none.
    #[default]
    Unknown,
    /// The memory as it was.
    Compared(Vec<u8>),
    /// The kernel notices writes.
    Watched(Watched),
}

impl Changes {
    /// From now on, if the kernel notices writes: what was written since is found the
    /// next time. Whether it does.
    pub(super) fn begin(&mut self, memory: &[u8], watch: Option<&Arc<PageWatch>>) -> bool {
        let watched = watch.map(|watch| Watched::start(watch, memory));
        match watched {
            Some(Ok(watched)) => *self = Self::Watched(watched),
            Some(Err(error)) => tracing::debug!("memories are compared: {error}"),
            None => {}
        }
        matches!(self, Self::Watched(_))
    }

    /// The numbers of the pages that are not as they were, and some that are; all that
    /// hold anything, the first time. [`saved`](Self::saved) has to follow.
    pub(super) fn find(
        &mut self,
        memory: &[u8],
        watch: Option<&Arc<PageWatch>>,
    ) -> io::Result<Vec<u32>> {
        match self {
            Self::Unknown => {
                if !self.begin(memory, watch) {
                    *self = Self::Compared(Vec::new());
                }
                Ok(not_empty(memory, 0))
            }
            Self::Compared(previous) => {
                let common = memory.chunks(PAGE).zip(previous.chunks(PAGE)).zip(0..);
                let changed = common.filter(|((now, then), _)| now != then);
                let mut numbers: Vec<u32> = changed.map(|(_, number)| number).collect();
                numbers.extend(not_empty(memory, previous.len()));
                Ok(numbers)
            }
            Self::Watched(watched) => {
                let known = watched.len();
                let mut numbers = watched.written(memory)?;
                numbers.extend(not_empty(memory, known));
                Ok(numbers)
            }
        }
    }

    /// How many bytes more will be held when the changes are saved.
    pub(super) fn grows_by(&self, memory: &[u8]) -> usize {
        match self {
            Self::Compared(previous) => memory.len().saturating_sub(previous.len()),
            Self::Unknown | Self::Watched(_) => 0,
        }
    }

    /// These pages are saved.
    pub(super) fn saved(&mut self, memory: &[u8], numbers: &[u32]) {
        let Self::Compared(previous) = self else { return };
        if previous.is_empty() {
            // Zeroed by the system, and not touched where it stays so.
            *previous = vec![0; memory.len()];
            huge::ask_for(previous);
        }
        previous.resize(memory.len(), 0);
        for number in numbers {
            let page = *number as usize * PAGE..(*number as usize + 1) * PAGE;
            previous[page.clone()].copy_from_slice(&memory[page]);
        }
    }
}

/// The numbers of the pages from an address on that hold anything.
pub(super) fn not_empty(memory: &[u8], from: usize) -> Vec<u32> {
    static EMPTY: [u8; PAGE] = [0; PAGE];
    let pages = memory.chunks(PAGE).zip(0..).skip(from / PAGE);
    pages.filter(|(page, _)| **page != EMPTY).map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_as_it_was_is_not_found() {
        let mut changes = Changes::default();
        let mut memory = vec![0; 8 * PAGE];
        memory[3 * PAGE + 7] = 1;
        assert_eq!(changes.find(&memory, None).unwrap(), [3]);
        changes.saved(&memory, &[3]);
        memory[0] = 1;
        memory[3 * PAGE + 7] = 0;
        memory.resize(16 * PAGE, 0);
        memory[15 * PAGE] = 1;
        assert_eq!(changes.find(&memory, None).unwrap(), [0, 3, 15]);
        changes.saved(&memory, &[0, 3, 15]);
        assert!(changes.find(&memory, None).unwrap().is_empty());
    }

    #[test]
    fn the_kernel_finds_what_was_written_and_nothing_else() {
        let watch = match PageWatch::open() {
            Ok(watch) => watch,
            // Containers may refuse it, and old kernels do not have it.
            Err(error) => return assert!(error.raw_os_error().is_some(), "{error}"),
        };
        // Page for page as the memory of a guest is.
        let mut room = vec![0_u8; 17 * PAGE];
        let at = room.as_ptr().align_offset(PAGE);
        let memory = &mut room[at..at + 16 * PAGE];
        let mut changes = Changes::default();
        memory[3 * PAGE] = 1;
        assert_eq!(changes.find(&memory[..8 * PAGE], Some(&watch)).unwrap(), [3]);
        assert!(matches!(changes, Changes::Watched(_)));
        assert!(changes.find(&memory[..8 * PAGE], Some(&watch)).unwrap().is_empty());
        memory[0] = 1;
        memory[3 * PAGE] = 0;
        memory[7 * PAGE + 9] = 1;
        // What it grows by, too.
        memory[15 * PAGE] = 1;
        assert_eq!(changes.find(memory, Some(&watch)).unwrap(), [0, 3, 7, 15]);
        assert!(changes.find(memory, Some(&watch)).unwrap().is_empty());
        memory[15 * PAGE] = 2;
        assert_eq!(changes.find(memory, Some(&watch)).unwrap(), [15]);
    }
}
