//! Writes checkpoints beside the job: on a thread that may block.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    checkpoint::{
        CheckpointStore, Details, GuestState, Manifest, MemoryImage, OperatorState, StoreError,
        StoredChunk, SubtaskDetails, Trigger,
        store::{ChunkDamage, superseded},
    },
    clock::{Clock, Stopwatch},
    ids::{ArtifactDigest, CheckpointId, JobName, OperatorName},
    job_manager::{
        coordinator::{Purpose, Ready},
        disk::JobDisk,
        images,
        pieces::Pieces,
        plan::Plan,
        trimmer::Trimmer,
    },
    state::merge::{merge, merge_from},
    stream::keys::KeyGroup,
    task_manager::SubtaskId,
    tenancy::disk::{Claim, Claimed},
};

/// About so many bytes of a manifest name a chunk.
const REFERENCE: u64 = 64;

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
    /// What time it is.
    pub clock: Clock,
    /// Checkpoints that somebody reads, and which are kept for so long.
    pub pinned: Arc<Mutex<Vec<CheckpointId>>>,
    /// Removes what was posted to sources and is covered.
    pub trimmer: Arc<Trimmer>,
    /// What the job may keep on disk; without bound if none.
    pub disk: Option<JobDisk>,
}

/// Keeps a checkpoint in its store for as long as it lives.
#[derive(Debug)]
pub struct Pin {
    id: CheckpointId,
    pinned: Arc<Mutex<Vec<CheckpointId>>>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = pinned.iter().position(|id| *id == self.id) {
            pinned.swap_remove(i);
        }
    }
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
    /// What was measured of it.
    pub details: Details,
}

/// How a checkpoint came to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// What caused it.
    pub trigger: Trigger,
    /// Runs since then.
    pub clock: Stopwatch,
}

impl Writer {
    /// Writes a checkpoint; `last` is the one that changes of memories are counted from.
    /// Blocks. Those that it supersedes go with
    /// [`tidy`](Self::tidy).
    ///
    /// # Errors
    /// If the store fails, or the tenant may keep no more on disk; then the checkpoint does not
    /// exist.
    pub fn write(
        &self,
        ready: &Ready,
        begun: Begun,
        chunks: LiveChunks,
        last: Option<&Manifest>,
    ) -> Result<Written, StoreError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = self.room_for(&mut **store, ready, &chunks)?;
        let written = self.write_to(&mut **store, ready, begun, chunks, last);
        self.measure(&**store);
        drop(claimed);
        written
    }

    /// Claims room for a checkpoint, and makes some if there is none. One that ends the job is
    /// taken in any case: what a job has done is not thrown away.
    fn room_for(
        &self,
        store: &mut dyn CheckpointStore,
        ready: &Ready,
        chunks: &LiveChunks,
    ) -> Result<Option<Claimed>, StoreError> {
        let Some(disk) = self.disk.as_ref().filter(|_| !ready.purpose.ends()) else {
            return Ok(None);
        };
        let bytes = ready.bytes() + REFERENCE * chunks.values().map(Vec::len).sum::<usize>() as u64;
        let claimed = disk.claim(bytes, Claim::Checkpoint).or_else(|_| {
            self.drop_superseded(store, true);
            disk.claim(bytes, Claim::Checkpoint)
        });
        claimed.map(Some).map_err(|over| StoreError::NoRoom(over.to_string()))
    }

    fn measure(&self, store: &dyn CheckpointStore) {
        if let Some(disk) = &self.disk {
            disk.measure_checkpoints(store);
        }
    }

    fn write_to(
        &self,
        store: &mut dyn CheckpointStore,
        ready: &Ready,
        begun: Begun,
        mut chunks: LiveChunks,
        last: Option<&Manifest>,
    ) -> Result<Written, StoreError> {
        let writing = Stopwatch::start();
        let mut by_vertex: BTreeMap<usize, u64> = BTreeMap::new();
        let mut merges = MergeBudget::of(ready);
        for (key, pieces) in in_turn(ready) {
            let chain = chunks.entry(*key).or_default();
            let written = extend(store, ready.id, chain, pieces, &mut merges)?;
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
            let before = last.and_then(|m| self.memory_in(m, *subtask));
            let image = images::write(store, ready.id, before, ready.memories.get(subtask))?;
            if let Some((image, written)) = image {
                *by_vertex.entry(subtask.vertex).or_default() += written;
                state.guest = Some(GuestState::Memory(image));
            }
            let subtasks = &mut self.operator(&mut manifest, subtask.vertex).subtasks;
            let index = subtask.index.0 as usize;
            if subtasks.len() <= index {
                subtasks.resize_with(index + 1, Default::default);
            }
            subtasks[index] = state;
        }
        let bytes = by_vertex.values().sum::<u64>() + store.commit(&manifest)? as u64;
        let details = self.measured(ready, begun, writing, bytes, &manifest);
        // The checkpoint exists, with or without them.
        if let Err(error) = store.put_details(ready.id, &details) {
            tracing::warn!("what was measured of checkpoint {} is lost: {error}", ready.id);
        }
        Ok(Written { manifest, bytes, by_vertex, chunks, details })
    }

    fn measured(
        &self,
        ready: &Ready,
        begun: Begun,
        writing: Stopwatch,
        written_bytes: u64,
        manifest: &Manifest,
    ) -> Details {
        let mut subtasks: BTreeMap<OperatorName, Vec<SubtaskDetails>> = BTreeMap::new();
        for (subtask, took) in &ready.took {
            let name = self.plan.vertices[subtask.vertex].name.clone();
            subtasks.entry(name).or_default().push(*took);
        }
        let longest = |of: fn(&SubtaskDetails) -> u64| ready.took.values().map(of).max();
        Details {
            trigger: begun.trigger,
            completed_at: self.clock.now_millis(),
            alignment_micros: longest(|took| took.alignment_micros).unwrap_or(0),
            sync_micros: longest(|took| took.sync_micros).unwrap_or(0),
            async_micros: writing.micros(),
            end_to_end_micros: begun.clock.micros(),
            written_bytes,
            full_bytes: manifest.full_bytes(),
            subtasks,
        }
    }

    /// Drops checkpoints that are superseded, and has the store give back room that is
    /// of no use. Blocks, beside the job. What fails is tried again after the next
    /// checkpoint.
    pub fn tidy(&self) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        self.drop_superseded(&mut **store, false);
    }

    /// Blocks; `short` if room is short.
    fn drop_superseded(&self, store: &mut dyn CheckpointStore, short: bool) {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dropped = store.list().map(|all| {
            let mut dropped = superseded(&all, self.retain);
            dropped.retain(|id| !pinned.contains(id));
            dropped
        });
        if let Err(error) = dropped.and_then(|dropped| store.discard(&dropped)) {
            tracing::warn!("checkpoints that are superseded cannot be dropped: {error}");
        }
        let tidied = if short { store.squeeze() } else { store.tidy() };
        if let Err(error) = tidied {
            tracing::warn!("the state directory takes more room than it needs: {error}");
        }
        self.trimmer.trim(store);
        self.measure(store);
    }

    /// Keeps a checkpoint, superseded or not, while the pin lives.
    #[must_use]
    pub fn pin(&self, id: CheckpointId) -> Pin {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Pin { id, pinned: self.pinned.clone() }
    }

    /// The checkpoint of this number, if it was made although its writing failed.
    #[must_use]
    pub fn find(&self, id: CheckpointId) -> Option<Manifest> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.manifest(id).ok()
    }

    /// The memory of a subtask's guest at an earlier checkpoint.
    fn memory_in<'a>(&self, manifest: &'a Manifest, of: SubtaskId) -> Option<&'a MemoryImage> {
        let operator = manifest.operators.get(&self.plan.vertices[of.vertex].name)?;
        match operator.subtasks.get(of.index.0 as usize)?.guest.as_ref()? {
            GuestState::Memory(image) => Some(image),
            GuestState::Exported(_) => None,
        }
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
