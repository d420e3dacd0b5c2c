//! Checkpoints in memory: for a job without `--state`, which can recover from a
//! failed operator but not from the end of the process.

use std::collections::{BTreeMap, HashSet};

use crate::{
    checkpoint::{
        manifest::{ChunkDigest, Manifest, StoredChunk},
        store::{CheckpointStore, ChunkDamage, StoreError},
    },
    ids::CheckpointId,
};

/// A store that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    manifests: BTreeMap<CheckpointId, Manifest>,
    chunks: BTreeMap<ChunkDigest, Vec<u8>>,
}

impl CheckpointStore for MemoryStore {
    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError> {
        let chunk = StoredChunk::of(content);
        let mut written = 0;
        self.chunks.entry(chunk.digest).or_insert_with(|| {
            written = content.len();
            content.to_vec()
        });
        Ok((chunk, written))
    }

    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError> {
        self.manifests.insert(manifest.id, manifest.clone());
        Ok(0)
    }

    fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        Ok(self.manifests.keys().copied().collect())
    }

    fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError> {
        self.manifests
            .get(&id)
            .cloned()
            .ok_or(StoreError::DamagedChunk { id, reason: ChunkDamage::Missing })
    }

    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError> {
        let missing = StoreError::DamagedChunk { id, reason: ChunkDamage::Missing };
        self.chunks.get(&digest).cloned().ok_or(missing)
    }

    fn discard(&mut self, ids: &[CheckpointId], keep: &[ChunkDigest]) -> Result<(), StoreError> {
        for id in ids {
            self.manifests.remove(id);
        }
        let mut live: HashSet<_> = keep.iter().copied().collect();
        live.extend(self.manifests.values().flat_map(Manifest::chunks).map(|c| c.digest));
        self.chunks.retain(|digest, _| live.contains(digest));
        Ok(())
    }
}
