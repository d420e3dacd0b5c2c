//! Merges a base and deltas of a key group, or deltas that follow one another,
//! and says when that is worth it. Pure, and knows no entry's state.

use std::collections::HashSet;

use crate::state::{
    chunks::{Chunk, Tombstone, put_varint},
    windows::Window,
};

/// More deltas than this are merged: each is something to look up and to read
/// when the job is restored.
pub const MAX_DELTAS: usize = 8;

/// Where in a chain of chunks of these sizes (a base, then deltas) a merge of all
/// that follows should begin: at 0, with the base, if restoring would read half
/// as much again as the base alone; else, if the deltas are many, behind those
/// that are larger than all after them together, so that each byte is written
/// again only as often as the chain doubles.
#[must_use]
pub fn merge_from(sizes: &[u64]) -> Option<usize> {
    let (base, deltas) = sizes.split_first()?;
    let sum: u64 = deltas.iter().sum();
    if sum > base / 2 {
        return Some(0);
    }
    if deltas.len() <= MAX_DELTAS {
        return None;
    }
    let mut after = sum;
    for (i, size) in deltas.iter().enumerate() {
        after -= size;
        if *size <= after {
            return Some(i + 1);
        }
    }
    None
}

/// One chunk that says what these say, the later ones prevailing. If `whole`, the
/// first is a base, and so is the result (empty, if nothing is left); else all
/// are deltas.
///
/// # Errors
/// In words, if one of them cannot be decoded.
pub fn merge(chunks: &[impl AsRef<[u8]>], whole: bool) -> Result<Vec<u8>, String> {
    let mut seen: HashSet<(Vec<u8>, Option<Window>), foldhash::fast::RandomState> =
        HashSet::default();
    let (mut entries, mut kept) = (Vec::new(), 0_u64);
    let (mut tombstones, mut gone) = (Vec::new(), 0_u64);
    for (i, chunk) in chunks.iter().enumerate().rev() {
        let chunk = Chunk::of(chunk.as_ref(), i > 0 || !whole);
        let mut read = chunk.read()?;
        while let Some((entry, bytes)) = read.entry()? {
            if seen.insert((entry.key.into_owned(), entry.window)) {
                entries.extend_from_slice(bytes);
                kept += 1;
            }
        }
        for (key, window) in chunk.tombstones()? {
            if seen.insert((key.to_vec(), window)) && !whole {
                let tombstone = Tombstone { key: key.into(), window };
                let bytes = postcard::to_stdvec(&tombstone).map_err(|e| e.to_string())?;
                tombstones.extend_from_slice(&bytes);
                gone += 1;
            }
        }
    }
    let mut out = Vec::with_capacity(entries.len() + tombstones.len() + 16);
    if !whole {
        put_varint(&mut out, gone);
        out.extend_from_slice(&tombstones);
    } else if kept == 0 {
        return Ok(out);
    }
    put_varint(&mut out, kept);
    out.extend_from_slice(&entries);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_merged_when_reading_it_would_cost_half_as_much_again() {
        assert_eq!(merge_from(&[]), None);
        assert_eq!(merge_from(&[100]), None);
        assert_eq!(merge_from(&[100, 25, 25]), None);
        assert_eq!(merge_from(&[100, 25, 26]), Some(0));
        assert_eq!(merge_from(&[0, 1]), Some(0));
    }

    #[test]
    fn many_small_deltas_become_one_and_large_ones_wait_until_as_much_has_come() {
        let mut sizes = vec![1000];
        sizes.extend([1; MAX_DELTAS]);
        assert_eq!(merge_from(&sizes), None);
        sizes.push(1);
        assert_eq!(merge_from(&sizes), Some(1));
        let mut sizes = vec![1000, 100];
        sizes.extend([1; MAX_DELTAS]);
        assert_eq!(merge_from(&sizes), Some(2), "the large one stays as it is");
    }

    /// What a byte costs until it stands in a base: its own write, and one for
    /// each time that the chain behind it has grown to as much again.
    #[test]
    fn a_byte_is_written_a_few_times_however_small_the_deltas_are() {
        let (mut sizes, mut written, mut longest) = (vec![100_000_u64], 0, 0);
        for _ in 0..10_000 {
            sizes.push(20);
            written += 20;
            if let Some(from) = merge_from(&sizes) {
                let merged: u64 = if from == 0 { 100_000 } else { sizes[from..].iter().sum() };
                sizes.truncate(from);
                sizes.push(merged);
                written += merged;
            }
            longest = longest.max(sizes.len());
        }
        assert!(longest <= MAX_DELTAS + 2, "{longest} chunks to read");
        assert!(written < 10_000 * 20 * 12, "{written} bytes for 200,000");
    }
}
