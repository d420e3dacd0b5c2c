//! Sources and sinks: native, trusted, one file each. They know nothing of
//! operators or jobs; the task manager drives them.

//!
//! | connector | file |
//! | --- | --- |
//! | sources | `csv_source`, `jsonl_source`, `lines_source` (all on `file_source`), `generator`, `stdin`, `http_source` |
//! | sinks | `csv_sink`, `jsonl_sink`, `lines_sink` (all on `file_sink`), `stdout`, `discard`, `http_sink` |
//! | what they share | `files` (reading), `part` (writing), `json`, `timestamps` |

mod csv_sink;
mod csv_source;
mod discard;
mod file_sink;
mod file_source;
mod files;
mod generator;
mod generator_values;
mod http_sink;
pub mod http_source;
mod json;
mod jsonl_sink;
mod jsonl_source;
mod lines_sink;
mod lines_source;
mod part;
mod stdin;
mod stdout;
mod timestamps;

pub use self::jsonl_source::{KeyAndTime, read_line};

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Notify;

use self::{
    csv_sink::CsvEncoder, csv_source::CsvFormat, discard::DiscardSink, file_sink::FileSink,
    file_source::FileSource, generator::Generator, http_sink::HttpSink, http_source::HttpSource,
    jsonl_sink::JsonLinesEncoder, jsonl_source::JsonLinesFormat, lines_sink::LinesEncoder,
    lines_source::LinesFormat, stdin::StdinSource, stdout::StdoutSink,
};
use crate::{
    clock::Clock,
    config::job::{SinkConnector, SourceConnector},
    ids::OperatorName,
    intake::log::Log,
    stream::{Batch, DeadLetter},
    trace::SpanRef,
};

/// Where a source stands in each of its splits (a file, a range of generated
/// records, of requests), in a form that only the source understands.
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

    /// The spans of what posted the records of the batch that `next` returned last, if those are
    /// traced; some of them, if they are many.
    fn posted_by(&self) -> Vec<SpanRef> {
        Vec::new()
    }
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

/// Into how many splits a source's input is divided: more parallel instances than
/// that have nothing to do. `None` if there is no limit.
#[must_use]
pub fn splits(spec: &SourceConnector) -> Option<usize> {
    match spec {
        SourceConnector::Csv(csv) => Some(csv.files.paths.len()),
        SourceConnector::JsonLines(jsonl) => Some(jsonl.files.paths.len()),
        SourceConnector::Lines(files) => Some(files.paths.len()),
        SourceConnector::Generator(_) => usize::try_from(generator::SPLITS).ok(),
        SourceConnector::Stdin => Some(1),
        SourceConnector::Http(_) => usize::try_from(http_source::SPLITS).ok(),
    }
}

/// Opens one parallel instance of a source. `restore` is where *all* instances
/// stood at a checkpoint, merged; the parallelism may have been another then. `log` is where what
/// is posted to it stands, if it is such a source.
///
/// # Errors
/// If a file cannot be read or lacks a column, or if the source is not what it
/// was at the checkpoint. Some of that shows only as the source goes on.
pub fn open_source(
    spec: &SourceConnector,
    context: ConnectorContext,
    clock: &Clock,
    log: Option<&Arc<Log>>,
    restore: Option<&SplitPositions>,
) -> Result<Box<dyn Source>, ConnectorError> {
    Ok(match spec {
        SourceConnector::Csv(csv) => {
            Box::new(FileSource::open(CsvFormat::new(csv), &csv.files, context, restore)?)
        }
        SourceConnector::JsonLines(jsonl) => {
            Box::new(FileSource::open(JsonLinesFormat::new(jsonl), &jsonl.files, context, restore)?)
        }
        SourceConnector::Lines(files) => {
            Box::new(FileSource::open(LinesFormat, files, context, restore)?)
        }
        SourceConnector::Generator(spec) => Box::new(Generator::open(spec, context, restore)?),
        SourceConnector::Stdin => {
            Box::new(StdinSource::open(stdin::Shared::stdin(clock), context, restore)?)
        }
        SourceConnector::Http(spec) => Box::new(HttpSource::open(spec, log, context, restore)?),
    })
}

/// Opens one parallel instance of a sink. `restore` is what *each* instance
/// returned from [`Sink::prepare_commit`] for a checkpoint, in the order of their
/// subtasks; the parallelism may have been another then. What that checkpoint
/// covers is committed, and what was written after it is deleted. `None` starts
/// afresh: what an earlier run left unfinished is deleted, and its output is
/// replaced as this one's is committed. `around` is the time, and whom to tell that a checkpoint
/// would be welcome.
///
/// # Errors
/// If files cannot be written, or are not what the checkpoint left.
pub fn open_sink(
    spec: &SinkConnector,
    name: &OperatorName,
    context: ConnectorContext,
    around: (&Clock, Arc<Notify>),
    restore: Option<&[Vec<u8>]>,
) -> Result<Box<dyn Sink>, ConnectorError> {
    Ok(match spec {
        SinkConnector::Csv { file, columns, delimiter } => {
            let encoder = CsvEncoder::new(columns, *delimiter);
            Box::new(FileSink::open(encoder, file, context, restore)?)
        }
        SinkConnector::JsonLines(file) => {
            Box::new(FileSink::open(JsonLinesEncoder, file, context, restore)?)
        }
        SinkConnector::Lines(file) => {
            Box::new(FileSink::open(LinesEncoder, file, context, restore)?)
        }
        SinkConnector::Stdout { key } => Box::new(StdoutSink::open(*key)),
        SinkConnector::Discard => Box::new(DiscardSink),
        SinkConnector::Http(spec) => {
            Box::new(HttpSink::open(spec, name.as_str(), context, around, restore)?)
        }
    })
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
    /// Whoever is to receive something does not want it.
    #[error("{by} refuses request {id} for good: {why}")]
    Refused {
        /// Who.
        by: String,
        /// Which request.
        id: String,
        /// What was said.
        why: String,
    },
    /// A sink holds more than it may until the next checkpoint.
    #[error(
        "{waiting} bytes wait for a checkpoint, and {most} may: take checkpoints more often, or \
         lower `channel_capacity`"
    )]
    TooMuchWaits {
        /// How many bytes.
        waiting: usize,
        /// How many there may be.
        most: usize,
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
