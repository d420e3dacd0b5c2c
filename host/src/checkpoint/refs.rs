//! Which chunks a store has, and how many checkpoints name each: what nobody names
//! any more is found without looking through the store. Pure; made anew when a
//! store is opened.

use std::collections::{BTreeMap, HashMap};

use crate::{
    checkpoint::manifest::{ChunkDigest, StoredChunk},
    ids::CheckpointId,
};

/// The chunks of a store.
#[derive(Debug, Default)]
pub(super) struct Refs {
    chunks: HashMap<ChunkDigest, Chunk>,
    /// The chunks that each checkpoint names, each once.
    named: BTreeMap<CheckpointId, Vec<StoredChunk>>,
    live: u64,
}

#[derive(Debug, Default)]
struct Chunk {
    bytes: u64,
    names: u32,
}

impl Refs {
    /// A chunk is there.
    pub(super) fn put(&mut self, chunk: StoredChunk) {
        self.chunks.entry(chunk.digest).or_default().bytes = chunk.bytes;
    }

    /// Whether a chunk is there.
    pub(super) fn has(&self, digest: ChunkDigest) -> bool {
        self.chunks.contains_key(&digest)
    }

    /// A checkpoint names these.
    pub(super) fn name(&mut self, id: CheckpointId, chunks: impl Iterator<Item = StoredChunk>) {
        self.release(id);
        let mut all: Vec<StoredChunk> = chunks.collect();
        all.sort_unstable();
        all.dedup_by_key(|chunk| chunk.digest);
        for chunk in &all {
            let known = self.chunks.entry(chunk.digest).or_default();
            known.bytes = chunk.bytes;
            if known.names == 0 {
                self.live += chunk.bytes;
            }
            known.names += 1;
        }
        self.named.insert(id, all);
    }

    /// A checkpoint is gone.
    pub(super) fn release(&mut self, id: CheckpointId) {
        for chunk in self.named.remove(&id).unwrap_or_default() {
            if let Some(known) = self.chunks.get_mut(&chunk.digest) {
                known.names -= 1;
                if known.names == 0 {
                    self.live -= known.bytes;
                }
            }
        }
    }

    /// The chunks that no checkpoint names.
    pub(super) fn unnamed(&self) -> Vec<ChunkDigest> {
        let unnamed = self.chunks.iter().filter(|(_, chunk)| chunk.names == 0);
        unnamed.map(|(digest, _)| *digest).collect()
    }

    /// The chunks that checkpoints name.
    pub(super) fn named(&self) -> impl Iterator<Item = StoredChunk> + '_ {
        let named = self.chunks.iter().filter(|(_, chunk)| chunk.names > 0);
        named.map(|(digest, chunk)| StoredChunk { digest: *digest, bytes: chunk.bytes })
    }

    /// A chunk that nobody names is there no more.
    pub(super) fn forget(&mut self, digest: ChunkDigest) {
        self.chunks.remove(&digest);
    }

    /// Bytes of all chunks that checkpoints name, each counted once.
    pub(super) fn live(&self) -> u64 {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn chunk(n: u8) -> StoredChunk {
        StoredChunk { digest: ChunkDigest([n; 32]), bytes: u64::from(n) }
    }

    proptest! {
        #[test]
        fn what_is_unnamed_and_what_is_live_is_what_a_scan_would_find(
            acts in prop::collection::vec((0_u8..3, 0_u64..5, prop::collection::vec(1_u8..9, 0..6)), 0..60),
        ) {
            let mut refs = Refs::default();
            let mut present: BTreeSet<u8> = BTreeSet::new();
            let mut manifests: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            for (act, id, chunks) in acts {
                match act {
                    0 => {
                        chunks.iter().for_each(|n| refs.put(chunk(*n)));
                        present.extend(chunks);
                    }
                    1 => {
                        refs.name(CheckpointId(id), chunks.iter().map(|n| chunk(*n)));
                        present.extend(&chunks);
                        manifests.insert(id, chunks);
                    }
                    _ => {
                        refs.release(CheckpointId(id));
                        manifests.remove(&id);
                    }
                }
                let named: BTreeSet<u8> = manifests.values().flatten().copied().collect();
                let unnamed: BTreeSet<u8> = refs.unnamed().iter().map(|d| d.0[0]).collect();
                prop_assert_eq!(&unnamed, &(&present - &named));
                prop_assert_eq!(refs.live(), named.iter().map(|n| u64::from(*n)).sum::<u64>());
                prop_assert_eq!(refs.named().count(), named.len());
                if act == 2 {
                    unnamed.iter().for_each(|n| refs.forget(chunk(*n).digest));
                    present = named;
                }
            }
        }
    }
}
