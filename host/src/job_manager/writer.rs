//! Writes checkpoints beside the job: on a thread that may block.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    checkpoint::{
        CheckpointStore, ChunkDigest, GuestState, Manifest, OperatorState, StoreError, StoredChunk,
        store::superseded,
    },
    ids::{ArtifactDigest, CheckpointId, JobName},
    job_manager::{
        coordinator::{Purpose, Ready},
        plan::Plan,
    },
    stream::keys::KeyGroup,
};

/// A store that the job's master and its writer share.
pub type SharedStore = Arc<Mutex<Box<dyn CheckpointStore>>>;

/// The chunks that hold the job's keyed state, by vertex and key group: a base, then
/// what changed after it.
pub type LiveChunks = BTreeMap<(usize, KeyGroup), Vec<StoredChunk>>;

/// What does not change from one checkpoint to the next.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Where to.
    pub store: SharedStore,
    /// Whose.
    pub job: JobName,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Which component each operator runs, by vertex.
    pub artifacts: BTreeMap<usize, ArtifactDigest>,
    /// Which owner of the store this is.
    pub epoch: u64,
    /// How many checkpoints to keep.
    pub retain: u32,
}

/// A checkpoint that was written.
#[derive(Debug)]
pub struct Written {
    /// Its manifest.
    pub manifest: Manifest,
    /// Bytes that were written for it, all together.
    pub bytes: u64,
    /// Bytes of it that hold the state of each vertex; the rest is the manifest.
    pub by_vertex: BTreeMap<usize, u64>,
    /// Where the keyed state is now.
    pub chunks: LiveChunks,
}

impl Writer {
    /// Writes a checkpoint, and drops those that it supersedes. Blocks.
    ///
    /// # Errors
    /// If the store fails; then the checkpoint does not exist.
    pub fn write(&self, ready: &Ready, mut chunks: LiveChunks) -> Result<Written, StoreError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_vertex: BTreeMap<usize, u64> = BTreeMap::new();
        for (key, chunk) in &ready.changed {
            if chunk.is_empty() {
                chunks.remove(key);
            } else {
                let (base, written) = store.put_chunk(chunk)?;
                *by_vertex.entry(key.0).or_default() += written as u64;
                chunks.insert(*key, vec![base]);
            }
        }
        let mut manifest = self.empty_manifest(ready);
        for ((vertex, group), stored) in &chunks {
            self.operator(&mut manifest, *vertex).key_groups.insert(*group, stored.clone());
        }
        for (vertex, artifact) in &self.artifacts {
            self.operator(&mut manifest, *vertex).artifact = Some(*artifact);
        }
        for (subtask, (state, guest)) in &ready.subtasks {
            let mut state = state.clone();
            if let Some(guest) = guest {
                let (chunk, written) = store.put_chunk(guest)?;
                *by_vertex.entry(subtask.vertex).or_default() += written as u64;
                state.guest = Some(GuestState::Exported(chunk));
            }
            let subtasks = &mut self.operator(&mut manifest, subtask.vertex).subtasks;
            let index = subtask.index.0 as usize;
            if subtasks.len() <= index {
                subtasks.resize_with(index + 1, Default::default);
            }
            subtasks[index] = state;
        }
        let bytes = by_vertex.values().sum::<u64>() + store.commit(&manifest)? as u64;
        // The checkpoint exists: what cannot be cleaned up now does not undo it,
        // and is dropped with the next one.
        if let Err(error) = self.drop_superseded(&mut **store, &chunks) {
            tracing::warn!("checkpoints before {} cannot be dropped: {error}", ready.id);
        }
        Ok(Written { manifest, bytes, by_vertex, chunks })
    }

    fn drop_superseded(
        &self,
        store: &mut dyn CheckpointStore,
        chunks: &LiveChunks,
    ) -> Result<(), StoreError> {
        let dropped = superseded(&store.list()?, self.retain);
        if dropped.is_empty() {
            return Ok(());
        }
        let live: Vec<ChunkDigest> = chunks.values().flatten().map(|chunk| chunk.digest).collect();
        store.discard(&dropped, &live)
    }

    /// The checkpoint of this number, if it was made although its writing failed.
    #[must_use]
    pub fn find(&self, id: CheckpointId) -> Option<Manifest> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.manifest(id).ok()
    }

    fn empty_manifest(&self, ready: &Ready) -> Manifest {
        Manifest {
            id: ready.id,
            job: self.job.clone(),
            triggered_at: ready.triggered_at,
            epoch: self.epoch,
            max_parallelism: self.plan.max_parallelism,
            finished: ready.purpose == Purpose::Final,
            operators: BTreeMap::new(),
        }
    }

    fn operator<'a>(&self, manifest: &'a mut Manifest, vertex: usize) -> &'a mut OperatorState {
        manifest.operators.entry(self.plan.vertices[vertex].name.clone()).or_default()
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
