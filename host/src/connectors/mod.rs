//! Sources and sinks: native, trusted, one file each. They know nothing of
//! operators or jobs; the task manager drives them.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;

use crate::stream::{Batch, DeadLetter};

/// Where a source stands in each of its splits (a file, a range of generated
/// records), in a form that only the source understands.
pub type SplitPositions = BTreeMap<String, Vec<u8>>;

/// What a source came up with.
#[derive(Debug)]
pub enum SourceEvent {
    /// Records, and input that could not be made into records. Either may be
    /// empty.
    Batch {
        /// The records.
        batch: Batch,
        /// Malformed input, for the dead-letter output.
        rejected: Vec<DeadLetter>,
    },
    /// There is no more and there will never be.
    End,
}

/// One parallel instance of a source. It owns the splits whose number, modulo
/// the parallelism, is its subtask index.
#[async_trait]
pub trait Source: Send {
    /// The next batch: of the target size (`stream::batch`), or what there is
    /// after a few milliseconds of waiting.
    ///
    /// Must be safe to cancel: dropping the future loses no record, since a
    /// checkpoint may interrupt the wait.
    async fn next(&mut self) -> Result<SourceEvent, ConnectorError>;

    /// Where to go on after everything that `next` has returned so far, for
    /// each split that this instance owns.
    fn positions(&self) -> SplitPositions;
}

/// One parallel instance of a sink.
///
/// A sink is exactly-once by two phases: [`prepare_commit`](Self::prepare_commit)
/// at a barrier makes what was written durable but not visible, and
/// [`commit`](Self::commit) makes it visible once the checkpoint is complete.
#[async_trait]
pub trait Sink: Send {
    /// Writes a batch.
    async fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;

    /// Ends what the checkpoint will cover: flushes and syncs it, and returns
    /// what a later instance needs to commit it, or to go on after it. `last`
    /// says that no record will follow, ever.
    async fn prepare_commit(
        &mut self,
        checkpoint: u64,
        last: bool,
    ) -> Result<Vec<u8>, ConnectorError>;

    /// The checkpoint is complete: makes everything up to it visible. May be
    /// called again after a restart, for the same checkpoint.
    async fn commit(&mut self, checkpoint: u64) -> Result<(), ConnectorError>;
}

/// What a connector is told about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorContext {
    /// Which parallel instance, from 0.
    pub subtask: u32,
    /// How many there are.
    pub parallelism: u32,
}

/// Why a source or sink cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "create", "rename", ...
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be (a truncated gzip, a missing column).
    #[error("{}: {reason}", place(path, *line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u64>,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A saved position or transaction does not fit what is there now.
    #[error("cannot resume {}: {reason}", path.display())]
    CannotResume {
        /// The file.
        path: PathBuf,
        /// What changed and what to do.
        reason: String,
    },
    /// More records were refused than the job allows.
    #[error("{rejected} malformed records, more than max_rejected = {limit}; the last: {last}")]
    TooManyRejected {
        /// How many so far.
        rejected: u64,
        /// The limit.
        limit: u64,
        /// The last reason.
        last: String,
    },
    /// A record cannot be written in the sink's format.
    #[error("record {record} cannot be written: {reason}")]
    BadRecord {
        /// Which, counted from 1 since the sink was opened.
        record: u64,
        /// Why, and what to do.
        reason: String,
    },
}

fn place(path: &std::path::Path, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("{}, line {line}", path.display()),
        None => path.display().to_string(),
    }
}
