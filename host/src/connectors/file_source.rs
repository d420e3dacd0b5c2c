//! What the file sources have in common: files as splits, one after the other;
//! batches; positions; resuming. How a record looks is the business of a
//! [`Format`], in the file of the connector.
//!
//! Reading happens on the task's own thread, one batch at a time: local files
//! come from the page cache or are read ahead by the kernel, and nothing is lost
//! when a wait is cancelled, since there is none.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    config::job::FileInput,
    stream::{
        BatchBuilder, DeadLetter,
        batch::{TARGET_BYTES, TARGET_RECORDS},
    },
};

use super::{
    ConnectorContext, ConnectorError, Source, SourceEvent, SplitPositions,
    files::{Fingerprint, Lines},
};

/// How records are made from lines.
pub(crate) trait Format: Send {
    /// Reads what comes before the records of a file.
    fn begin(&mut self, lines: &mut Lines) -> Result<(), ConnectorError>;

    /// Makes the next record or dead letter; false if there is none left.
    fn read(&mut self, lines: &mut Lines, out: &mut Output) -> Result<bool, ConnectorError>;
}

/// What a format has made since the last batch.
#[derive(Default)]
pub(crate) struct Output {
    /// Records.
    pub(crate) batch: BatchBuilder,
    /// Malformed input.
    rejected: Vec<DeadLetter>,
    rejected_bytes: usize,
}

impl Output {
    /// Adds a dead letter; `raw` is the input it stands for.
    pub(crate) fn reject(&mut self, reason: String, raw: &[u8]) {
        self.rejected_bytes += reason.len() + raw.len();
        let value = raw.to_vec();
        self.rejected.push(DeadLetter { reason, key: Vec::new(), value, timestamp: None });
    }

    /// Adds a dead letter for a line that is too long.
    pub(crate) fn reject_overlong(&mut self, place: &str, len: u64, max_line: usize, head: &[u8]) {
        let reason = format!(
            "{place}: the line is {len} bytes long, more than max_line = {max_line}; \
             only its beginning is shown"
        );
        self.reject(reason, head);
    }

    /// Nothing in it?
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.rejected.is_empty()
    }

    /// Has the target size?
    pub(crate) fn is_full(&self) -> bool {
        self.batch.is_full()
            || self.rejected.len() >= TARGET_RECORDS
            || self.rejected_bytes >= TARGET_BYTES
    }

    /// All of it, as an event.
    pub(crate) fn take(&mut self) -> SourceEvent {
        self.rejected_bytes = 0;
        SourceEvent::Batch {
            batch: self.batch.take(),
            rejected: std::mem::take(&mut self.rejected),
        }
    }
}

/// Where a job stands in a file. What it saves in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Bytes read, after decompression.
    offset: u64,
    /// Lines read.
    line: u64,
    /// Whether there is nothing left.
    done: bool,
    /// Which file it was.
    print: Fingerprint,
}

/// Reads files in a format.
pub(crate) struct FileSource<F> {
    format: F,
    max_line: usize,
    /// Files of this subtask that are not yet begun, the next one last.
    waiting: Vec<PathBuf>,
    /// The file that is being read.
    current: Option<Lines>,
    /// Where each file stands that was begun.
    positions: BTreeMap<PathBuf, Position>,
    out: Output,
    /// Came up while there were records to deliver first.
    failed: Option<ConnectorError>,
}

impl<F: Format> FileSource<F> {
    /// Takes this subtask's share of the files, and checks that they can be read.
    pub(crate) fn open(
        format: F,
        files: &FileInput,
        context: ConnectorContext,
        restore: Option<&SplitPositions>,
    ) -> Result<Self, ConnectorError> {
        let mut source = Self {
            format,
            max_line: files.max_line,
            waiting: Vec::new(),
            current: None,
            positions: BTreeMap::new(),
            out: Output::default(),
            failed: None,
        };
        for (i, path) in files.paths.iter().enumerate() {
            if i % context.parallelism as usize != context.subtask as usize {
                continue;
            }
            if let Some(saved) = restore.and_then(|r| r.get(&split_name(path))) {
                let position = postcard::from_bytes(saved).map_err(|error| {
                    let reason = format!("its saved position cannot be read: {error}");
                    ConnectorError::CannotResume { path: path.clone(), reason }
                })?;
                source.positions.insert(path.clone(), position);
            }
            if source.positions.get(path).is_none_or(|p| !p.done) {
                // Fails now rather than hours later, when its turn comes.
                source.format.begin(&mut Lines::open(path, source.max_line)?.0)?;
                source.waiting.push(path.clone());
            }
        }
        source.waiting.reverse();
        Ok(source)
    }

    /// Begins the next file; false if there is none.
    fn begin_next(&mut self) -> Result<bool, ConnectorError> {
        let Some(path) = self.waiting.pop() else { return Ok(false) };
        let (mut lines, print) = Lines::open(&path, self.max_line)?;
        self.format.begin(&mut lines)?;
        if let Some(saved) = self.positions.get(&path) {
            if saved.print != print {
                let reason = "it has changed since the checkpoint; bring the old file back, \
                              or start the job afresh"
                    .to_owned();
                return Err(ConnectorError::CannotResume { path, reason });
            }
            lines.seek(saved.offset, saved.line)?;
        }
        let (offset, line) = lines.position();
        self.positions.insert(path, Position { offset, line, done: false, print });
        self.current = Some(lines);
        Ok(true)
    }

    /// Fills a batch; false if there is nothing left to read.
    fn fill(&mut self) -> Result<bool, ConnectorError> {
        loop {
            if self.current.is_none() && !self.begin_next()? {
                return Ok(false);
            }
            let Some(lines) = &mut self.current else { return Ok(false) };
            let Some(position) = self.positions.get_mut(lines.path()) else { return Ok(false) };
            loop {
                let more = self.format.read(lines, &mut self.out)?;
                (position.offset, position.line) = lines.position();
                if !more {
                    position.done = true;
                    self.current = None;
                    break;
                }
                if self.out.is_full() {
                    return Ok(true);
                }
            }
        }
    }

    /// What `next` does, without waiting.
    pub(crate) fn advance(&mut self) -> Result<SourceEvent, ConnectorError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.fill() {
            Ok(false) if self.out.is_empty() => Ok(SourceEvent::End),
            Ok(_) => Ok(self.out.take()),
            Err(error) if self.out.is_empty() => Err(error),
            Err(error) => {
                self.failed = Some(error);
                Ok(self.out.take())
            }
        }
    }
}

/// A file's name as a split.
fn split_name(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[async_trait]
impl<F: Format> Source for FileSource<F> {
    async fn next(&mut self) -> Result<SourceEvent, ConnectorError> {
        self.advance()
    }

    fn positions(&self) -> SplitPositions {
        let encode = |position| postcard::to_stdvec(position).expect("positions have no maps");
        self.positions.iter().map(|(path, p)| (split_name(path), encode(p))).collect()
    }
}

/// Where a line stands, as dead letters say it.
pub(crate) fn place(lines: &Lines, line: u64) -> String {
    format!("{}, line {line}", lines.path().display())
}

/// Why a text is not UTF-8.
pub(crate) fn bad_utf8(error: std::str::Utf8Error) -> String {
    format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Drives sources in tests.

    use super::*;
    use crate::stream::Batch;

    /// A record as (key, value, timestamp).
    pub(crate) type Record = (Vec<u8>, Vec<u8>, Option<i64>);

    pub(crate) fn records(batch: &Batch) -> Vec<Record> {
        (0..batch.len())
            .map(|i| (batch.key(i).to_vec(), batch.value(i).to_vec(), batch.timestamp(i)))
            .collect()
    }

    /// Everything up to the end or an error.
    pub(crate) fn drain(
        source: &mut dyn Source,
    ) -> (Vec<Record>, Vec<DeadLetter>, Option<ConnectorError>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        runtime.unwrap().block_on(async {
            loop {
                match source.next().await {
                    Ok(SourceEvent::Batch { batch, rejected }) => {
                        good.extend(records(&batch));
                        bad.extend(rejected);
                    }
                    Ok(SourceEvent::End) => return (good, bad, None),
                    Err(error) => return (good, bad, Some(error)),
                }
            }
        })
    }

    pub(crate) fn alone() -> ConnectorContext {
        ConnectorContext { subtask: 0, parallelism: 1 }
    }

    pub(crate) fn input(paths: Vec<PathBuf>) -> FileInput {
        FileInput { paths, max_line: 1 << 20 }
    }
}
