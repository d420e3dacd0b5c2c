//! Checkpoints in memory: for a job without `--state`, which can recover from a
//! failed operator but not from the end of the process.

use std::collections::BTreeMap;

use crate::{
    checkpoint::{
        details::Details,
        manifest::{ChunkDigest, Manifest, StoredChunk},
        refs::Refs,
        store::{CheckpointStore, ChunkDamage, Owner, StoreError, StoreSize, admit},
    },
    ids::CheckpointId,
};

/// A store that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    owner: Option<Owner>,
    manifests: BTreeMap<CheckpointId, Manifest>,
    details: BTreeMap<CheckpointId, Details>,
    chunks: BTreeMap<ChunkDigest, Vec<u8>>,
    refs: Refs,
}

impl CheckpointStore for MemoryStore {
    fn own(&mut self, name: &str) -> Result<Owner, StoreError> {
        let owner = Owner::after(self.owner.as_ref(), name);
        self.owner = Some(owner.clone());
        Ok(owner)
    }

    fn owner(&self) -> Result<Option<Owner>, StoreError> {
        Ok(self.owner.clone())
    }

    fn put_chunk(&mut self, content: &[u8]) -> Result<(StoredChunk, usize), StoreError> {
        let chunk = StoredChunk::of(content);
        let mut written = 0;
        self.chunks.entry(chunk.digest).or_insert_with(|| {
            written = content.len();
            content.to_vec()
        });
        self.refs.put(chunk);
        Ok((chunk, written))
    }

    fn commit(&mut self, manifest: &Manifest) -> Result<usize, StoreError> {
        admit(manifest, self.owner.as_ref(), |digest| self.refs.has(digest))?;
        self.manifests.insert(manifest.id, manifest.clone());
        self.refs.name(manifest.id, manifest.chunks());
        for digest in self.refs.unnamed() {
            self.chunks.remove(&digest);
            self.refs.forget(digest);
        }
        Ok(0)
    }

    fn put_details(&mut self, id: CheckpointId, details: &Details) -> Result<(), StoreError> {
        self.details.insert(id, details.clone());
        Ok(())
    }

    fn details(&self, id: CheckpointId) -> Result<Option<Details>, StoreError> {
        Ok(self.details.get(&id).cloned())
    }

    fn list(&self) -> Result<Vec<CheckpointId>, StoreError> {
        Ok(self.manifests.keys().copied().collect())
    }

    fn manifest(&self, id: CheckpointId) -> Result<Manifest, StoreError> {
        self.manifests.get(&id).cloned().ok_or(StoreError::NoSuchCheckpoint(id))
    }

    fn chunk(&self, id: CheckpointId, digest: ChunkDigest) -> Result<Vec<u8>, StoreError> {
        let missing = StoreError::DamagedChunk { id, reason: ChunkDamage::Missing };
        self.chunks.get(&digest).cloned().ok_or(missing)
    }

    fn discard(&mut self, ids: &[CheckpointId]) -> Result<(), StoreError> {
        for id in ids {
            self.manifests.remove(id);
            self.details.remove(id);
            self.refs.release(*id);
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        let disk = self.chunks.values().map(|content| content.len() as u64).sum();
        Ok(StoreSize { live: self.refs.live(), disk })
    }
}
