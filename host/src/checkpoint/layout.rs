//! How a database of sled is laid out: in segments of which size, and its values in
//! pieces of which size. The first is chosen when it is made and stays; sled says in its
//! file `conf` which it is. A piece is read whatever its size is.
//!
//! sled puts up to 17 values into a node, rewrites whole nodes again and again, and puts
//! a node of more than a quarter of a segment into a file of its own, which it never
//! syncs: a power cut would take what was durable with it. So pieces are as large as
//! they can be without that. The larger they are, the fewer nodes are looked for, split
//! and put together again.

use std::{fs, path::Path};

/// The layout of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of a segment: what is written, and synced, as one.
    pub(super) segment: usize,
    /// Bytes of a piece at most.
    pub(super) piece: usize,
}

/// What stands beside a piece in a node: its key, and what sled notes of it.
const KEY: usize = 128;
const VALUES_IN_A_NODE: usize = 17;
const SEGMENTS_FOR_A_NODE: usize = 4;
/// From here on much is written at a time.
const MUCH: u64 = 4 << 20;

impl Layout {
    /// For little state, sled's own: it holds some segments in memory for each database
    /// that is open.
    pub(super) const SMALL: Self = Self::with(512 << 10, 7 << 10);
    /// For much. With 8 MiB chunks are written no faster, and the database takes more room;
    /// with the small ones it takes 2.7 times as long.
    pub(super) const LARGE: Self = Self::with(2 << 20, 28 << 10);

    /// For a database that is made for so many bytes.
    pub(super) fn for_bytes(live: u64) -> Self {
        if live < MUCH { Self::SMALL } else { Self::LARGE }
    }

    const fn with(segment: usize, piece: usize) -> Self {
        assert!(
            VALUES_IN_A_NODE * (piece + KEY) < segment / SEGMENTS_FOR_A_NODE,
            "no node is put into a file of its own"
        );
        Self { segment, piece }
    }

    /// The layout of the database in a directory; none if there is none. If it cannot be told,
    /// sled will say why.
    pub(super) fn of(database: &Path) -> Option<Self> {
        let said = fs::read(database.join("conf")).ok()?;
        let large = format!("segment_size: {}\n", Self::LARGE.segment);
        let is_large = said.windows(large.len()).any(|part| part == large.as_bytes());
        Some(if is_large { Self::LARGE } else { Self::SMALL })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_opened_as_it_was_made() {
        for layout in [Layout::for_bytes(1), Layout::for_bytes(1 << 30)] {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(Layout::of(dir.path()), None);
            drop(sled::Config::new().path(dir.path()).segment_size(layout.segment).open().unwrap());
            assert_eq!(Layout::of(dir.path()), Some(layout));
        }
    }
}
