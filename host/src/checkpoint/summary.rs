//! What a checkpoint is made of, in sums that people look at. Reads its manifest and what was
//! measured of it, and none of its chunks.

use serde::Serialize;

use crate::{
    checkpoint::{CheckpointStore, Details, GuestState, OperatorState, StoreError, SubtaskState},
    ids::{ArtifactDigest, CheckpointId, JobName, OperatorName},
};

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Its number.
    pub id: CheckpointId,
    /// Whose it is.
    pub job: JobName,
    /// When it was triggered, milliseconds since 1970.
    pub triggered_at: i64,
    /// The number of key groups that keyed state is divided into.
    pub max_parallelism: u32,
    /// Whether the job was at its end.
    pub finished: bool,
    /// Bytes of all chunks that it names, each counted once.
    pub full_bytes: u64,
    /// What was measured of it, as far as that is known.
    pub details: Option<Details>,
    /// Each source, operator and sink, by name.
    pub operators: Vec<OperatorSummary>,
}

/// What a source, operator or sink has in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperatorSummary {
    /// Its name.
    pub name: OperatorName,
    /// The digest of the component that an operator ran.
    pub artifact: Option<String>,
    /// How many key groups have state.
    pub key_groups: usize,
    /// How many chunks hold its state.
    pub chunks: usize,
    /// How many bytes these have.
    pub bytes: u64,
    /// Each of its subtasks.
    pub subtasks: Vec<SubtaskSummary>,
}

/// What a subtask has in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubtaskSummary {
    /// Bytes of the state that a guest keeps itself.
    pub guest_bytes: Option<u64>,
    /// In how many splits a source stands.
    pub splits: usize,
    /// The newest event time that a source has seen, milliseconds since 1970.
    pub newest: Option<i64>,
    /// The watermark that it had reached, milliseconds since 1970.
    pub watermark: Option<i64>,
    /// Whether its input had ended.
    pub finished: bool,
    /// Records that had come in.
    pub records_in: u64,
    /// Records that had gone out.
    pub records_out: u64,
}

/// A checkpoint of a store; none if it has no such.
///
/// # Errors
/// If it cannot be read.
pub fn find(store: &dyn CheckpointStore, id: CheckpointId) -> Result<Option<Summary>, StoreError> {
    if !store.list()?.contains(&id) {
        return Ok(None);
    }
    let manifest = store.manifest(id)?;
    Ok(Some(Summary {
        id,
        triggered_at: manifest.triggered_at,
        max_parallelism: manifest.max_parallelism,
        finished: manifest.finished,
        full_bytes: manifest.full_bytes(),
        details: store.details(id)?,
        operators: manifest.operators.iter().map(|(name, state)| operator(name, state)).collect(),
        job: manifest.job,
    }))
}

fn operator(name: &OperatorName, state: &OperatorState) -> OperatorSummary {
    let guests = state.subtasks.iter().filter_map(|subtask| subtask.guest.as_ref());
    let chunks = state.key_groups.values().flatten().copied();
    let chunks: Vec<_> = chunks.chain(guests.flat_map(GuestState::chunks)).collect();
    OperatorSummary {
        name: name.clone(),
        artifact: state.artifact.map(|digest: ArtifactDigest| digest.to_string()),
        key_groups: state.key_groups.len(),
        chunks: chunks.len(),
        bytes: chunks.iter().map(|chunk| chunk.bytes).sum(),
        subtasks: state.subtasks.iter().map(subtask).collect(),
    }
}

fn subtask(state: &SubtaskState) -> SubtaskSummary {
    let bytes = |guest: &GuestState| guest.chunks().map(|chunk| chunk.bytes).sum();
    SubtaskSummary {
        guest_bytes: state.guest.as_ref().map(bytes),
        splits: state.positions.len(),
        newest: state.newest,
        watermark: state.watermark,
        finished: state.finished,
        records_in: state.counters.records_in,
        records_out: state.counters.records_out,
    }
}
