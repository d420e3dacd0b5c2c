//! Writes checkpoints beside the job: on a thread that may block.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    checkpoint::{
        CheckpointStore, ChunkDigest, GuestState, Manifest, OperatorState, StoreError, StoredChunk,
        store::{ChunkDamage, superseded},
    },
    ids::{ArtifactDigest, CheckpointId, JobName},
    job_manager::{
        coordinator::{Purpose, Ready},
        pieces::Pieces,
        plan::Plan,
    },
    state::merge::{merge, merge_from},
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
        let mut merges = MergeBudget::of(ready);
        for (key, pieces) in in_turn(ready) {
            let chain = chunks.entry(*key).or_default();
            let written = extend(&mut **store, ready.id, chain, pieces, &mut merges)?;
            *by_vertex.entry(key.0).or_default() += written as u64;
            if chain.is_empty() {
                chunks.remove(key);
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

/// How many bytes may be read to merge, so that no checkpoint takes much longer than
/// its changes: what is left over is merged with a later one. One key group may
/// always be, or a large one never would.
struct MergeBudget {
    bytes: u64,
    none_yet: bool,
}

impl MergeBudget {
    /// Below this, merging takes no time that anybody would notice.
    const LEAST: u64 = 1 << 20;
    /// In the long run merging reads and writes about four times what changes.
    const FOR_EACH_CHANGED: u64 = 6;

    fn of(ready: &Ready) -> Self {
        let changed: usize = ready.changed.values().map(Pieces::bytes).sum();
        let bytes = Self::LEAST.max(changed as u64 * Self::FOR_EACH_CHANGED);
        Self { bytes, none_yet: true }
    }

    fn take(&mut self, bytes: u64) -> bool {
        let enough = self.none_yet || bytes <= self.bytes;
        if enough {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.none_yet = false;
        }
        enough
    }
}

/// The key groups that changed, another one first in each checkpoint, so that all
/// come to be merged.
fn in_turn(ready: &Ready) -> impl Iterator<Item = (&(usize, KeyGroup), &Pieces)> {
    let first = usize::try_from(ready.id.0).unwrap_or(0) % ready.changed.len().max(1);
    ready.changed.iter().skip(first).chain(ready.changed.iter().take(first))
}

/// Adds what changed to the chunks of a key group, and merges them if that is due.
/// Says how many bytes were written.
fn extend(
    store: &mut dyn CheckpointStore,
    id: CheckpointId,
    chain: &mut Vec<StoredChunk>,
    pieces: &Pieces,
    merges: &mut MergeBudget,
) -> Result<usize, StoreError> {
    let (new, anew) = pieces.in_order();
    debug_assert!(anew || !chain.is_empty(), "a delta follows something");
    if anew {
        chain.clear();
    }
    let lengths = new.iter().map(|piece| piece.len() as u64);
    let sizes: Vec<u64> = chain.iter().map(|chunk| chunk.bytes).chain(lengths).collect();
    let due = merge_from(&sizes).filter(|from| merges.take(sizes[*from..].iter().sum()));
    let mut written = 0;
    let mut put = |store: &mut dyn CheckpointStore, content: &[u8]| {
        let (chunk, bytes) = store.put_chunk(content)?;
        written += bytes;
        Ok::<_, StoreError>(chunk)
    };
    let Some(from) = due else {
        // A base of which nothing is left needs no chunk.
        for piece in new.iter().filter(|piece| !(anew && new.len() == 1 && piece.is_empty())) {
            chain.push(put(store, piece)?);
        }
        return Ok(written);
    };
    let mut stored = Vec::new();
    for chunk in chain.iter().skip(from) {
        stored.push(store.chunk(id, chunk.digest)?);
    }
    // If all that is merged is new, there may be new pieces before it.
    let before = from.saturating_sub(chain.len());
    let stored = stored.iter().map(Vec::as_slice);
    let all: Vec<&[u8]> = stored.chain(new.iter().skip(before).copied()).collect();
    let merged = merge(&all, from == 0).map_err(|reason| {
        let reason = ChunkDamage::Undecodable(reason);
        StoreError::DamagedChunk { id, reason }
    })?;
    chain.truncate(from);
    for piece in new.iter().take(before) {
        chain.push(put(store, piece)?);
    }
    if !merged.is_empty() {
        chain.push(put(store, &merged)?);
    }
    Ok(written)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
