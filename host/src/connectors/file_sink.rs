//! The file sinks: batches are encoded and appended to a part file, and parts
//! are committed in two phases, which makes the output exactly-once:
//!
//! ```text
//!  write ─► .out.jsonl.0.pending ─ prepare_commit ─► synced; length and tail in the checkpoint
//!                 ▲                                       │ last, or `roll` reached: sealed
//!                 └── restore: cut to that length         ▼
//!                                           commit ─► renamed to out.jsonl
//! ```
//!
//! Without `roll` a subtask has one part, which is sealed at the end of the job.
//! What a restored checkpoint sealed is committed again, which changes nothing
//! where it was already; whatever was written after it is cut off or deleted. A
//! job that starts afresh deletes the pending parts of earlier runs, and
//! replaces their output as its own parts are committed.
//!
//! How a record looks is the business of an [`Encode`]; files and their names
//! are in `part`.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{config::job::FileOutput, stream::Batch};

use super::{
    ConnectorContext, ConnectorError, Sink,
    part::{Directory, Part, Writer},
};

/// How much is encoded before it is written.
const BUFFER: usize = 128 * 1024;

/// How a record becomes a line of a file.
pub(crate) trait Encode: Send {
    /// What each file begins with.
    fn header(&self, out: &mut Vec<u8>);

    /// Appends a record, with its line's end; says why not, and what to do.
    fn encode(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String>;
}

/// What a subtask gives to a checkpoint.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    /// The name that the job file gave, to notice when it gives another.
    file: String,
    /// Parts that are complete and become visible with this checkpoint.
    sealed: Vec<Part>,
    /// Parts that go on after it. More than one if the parallelism was higher once.
    open: Vec<Part>,
    /// For each subtask that there ever was: the number of its next part.
    next: BTreeMap<u32, u64>,
}

/// Writes files.
pub(crate) struct FileSink<E> {
    encode: E,
    directory: Directory,
    roll: Option<u64>,
    context: ConnectorContext,
    /// Encoded, but not yet written.
    buffer: Vec<u8>,
    /// The part that is being written.
    writer: Option<Writer>,
    /// Open parts of subtasks that are no more; sealed with the last checkpoint.
    carried: Vec<Part>,
    /// Complete parts that are not yet renamed, and the checkpoint that seals them.
    sealed: Vec<(u64, Part)>,
    next: BTreeMap<u32, u64>,
    /// The last checkpoint was prepared.
    ended: bool,
    /// Records written since the sink was opened.
    records: u64,
}

impl<E: Encode> FileSink<E> {
    /// Opens the sink; `restore` is what each subtask saved in a checkpoint.
    pub(crate) fn open(
        encode: E,
        output: &FileOutput,
        context: ConnectorContext,
        restore: Option<&[Vec<u8>]>,
    ) -> Result<Self, ConnectorError> {
        let directory = Directory::open(output, context)?;
        let mut sink = Self {
            encode,
            directory,
            roll: output.roll,
            context,
            buffer: Vec::with_capacity(BUFFER),
            writer: None,
            carried: Vec::new(),
            sealed: Vec::new(),
            next: BTreeMap::new(),
            ended: false,
            records: 0,
        };
        match restore {
            None => sink.directory.remove_pending(&[])?,
            Some(saved) => sink.restore(saved)?,
        }
        // A directory that cannot be written should fail the job now, not at a checkpoint.
        if sink.roll.is_some() {
            sink.directory.probe()?;
        } else if sink.writer.is_none() && !sink.next.contains_key(&context.subtask) {
            // Even a job without results makes its file.
            sink.begin_part()?;
        }
        Ok(sink)
    }

    /// Goes on from a checkpoint. Every subtask sees all that was saved and takes
    /// its share, so that each part has one owner whatever the parallelism is now.
    fn restore(&mut self, saved: &[Vec<u8>]) -> Result<(), ConnectorError> {
        let decode = |bytes: &Vec<u8>| postcard::from_bytes::<Saved>(bytes);
        let saved: Vec<Saved> =
            saved.iter().map(decode).collect::<Result<_, _>>().map_err(|error| {
                self.directory
                    .cannot_resume(format!("the saved transaction cannot be read: {error}"))
            })?;
        if let Some(other) = saved.iter().find(|s| s.file != self.directory.file_name()) {
            return Err(self.directory.cannot_resume(format!(
                "the checkpoint was writing `{}`; give the old path, or start the job afresh",
                other.file
            )));
        }
        for (subtask, number) in saved.iter().flat_map(|s| &s.next) {
            let next = self.next.entry(*subtask).or_default();
            *next = (*next).max(*number);
        }
        let known: Vec<&Part> = saved.iter().flat_map(|s| s.open.iter().chain(&s.sealed)).collect();
        self.directory.remove_pending(&known)?;
        let context = self.context;
        let owned = |part: &&Part| owns(context, part.subtask);
        for part in saved.iter().flat_map(|s| &s.sealed).filter(owned) {
            self.directory.commit(part)?;
        }
        for part in saved.iter().flat_map(|s| &s.open).filter(owned) {
            let file = self.directory.reopen(part)?;
            if part.subtask == self.context.subtask {
                self.writer = Some(Writer::resume(file, part.clone(), &self.directory));
            } else if self.roll.is_some() {
                // Renamed with the next checkpoint, so that until then this one can be restored.
                self.sealed.push((0, part.clone()));
            } else {
                self.carried.push(part.clone());
            }
        }
        if self.roll.is_some() {
            self.remove_stale()?;
        }
        Ok(())
    }

    /// Deletes numbered parts that follow on ours, left by an earlier run or from
    /// after the checkpoint that was restored.
    fn remove_stale(&self) -> Result<(), ConnectorError> {
        let mut subtask = self.context.subtask;
        loop {
            let next = self.next.get(&subtask).copied().unwrap_or(0);
            let removed = self.directory.remove_parts_from(subtask, next)?;
            subtask += self.context.parallelism;
            if removed == 0 && !self.next.range(subtask..).any(|(s, _)| owns(self.context, *s)) {
                return Ok(());
            }
        }
    }

    fn begin_part(&mut self) -> Result<&mut Writer, ConnectorError> {
        let next = self.next.entry(self.context.subtask).or_default();
        let number = *next;
        *next += 1;
        // Without `roll` there is a second part only if records come after the last
        // checkpoint was restored with another parallelism.
        let number = (self.roll.is_some() || number > 0).then_some(number);
        let writer = Writer::create(&self.directory, number)?;
        let mut header = Vec::new();
        self.encode.header(&mut header);
        let writer = self.writer.insert(writer);
        writer.write(&header)?;
        Ok(writer)
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.writer.is_none() {
            self.begin_part()?;
        }
        if let Some(writer) = &mut self.writer {
            writer.write(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    fn saved(&self) -> Saved {
        let open = self.writer.iter().map(|w| w.part().clone()).chain(self.carried.iter().cloned());
        Saved {
            file: self.directory.file_name().to_owned(),
            sealed: self.sealed.iter().map(|(_, part)| part.clone()).collect(),
            open: open.collect(),
            next: self.next.clone(),
        }
    }
}

#[async_trait]
impl<E: Encode> Sink for FileSink<E> {
    async fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        for i in 0..batch.len() {
            self.records += 1;
            let (record, before) = (self.records, self.buffer.len());
            self.encode.encode(batch.value(i), &mut self.buffer).map_err(|reason| {
                self.buffer.truncate(before);
                ConnectorError::BadRecord { record, reason }
            })?;
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    async fn prepare_commit(
        &mut self,
        checkpoint: u64,
        last: bool,
    ) -> Result<Vec<u8>, ConnectorError> {
        self.flush()?;
        if let Some(mut writer) = self.writer.take() {
            wait_for_the_disk(|| writer.end_frame())?;
            if last || self.roll.is_some_and(|roll| writer.part().len >= roll) {
                self.sealed.push((checkpoint, writer.into_part()));
            } else {
                self.writer = Some(writer);
            }
        }
        if last {
            self.sealed.extend(self.carried.drain(..).map(|part| (checkpoint, part)));
            self.ended = true;
        }
        Ok(postcard::to_stdvec(&self.saved()).expect("names and numbers can be encoded"))
    }

    async fn commit(&mut self, checkpoint: u64) -> Result<(), ConnectorError> {
        for (_, part) in self.sealed.iter().filter(|(sealed, _)| *sealed <= checkpoint) {
            self.directory.commit(part)?;
        }
        self.sealed.retain(|(sealed, _)| *sealed > checkpoint);
        if self.ended && self.sealed.is_empty() && self.roll.is_some() {
            self.remove_stale()?;
        }
        Ok(())
    }
}

/// Whether what a subtask left is now this one's to look after.
pub(crate) fn owns(context: ConnectorContext, subtask: u32) -> bool {
    subtask % context.parallelism == context.subtask
}

/// The text of a value, if it is UTF-8.
pub(crate) fn utf8(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|error| {
        format!(
            "it is not UTF-8 from byte {} on; encode it in the operator before",
            error.valid_up_to() + 1
        )
    })
}

/// Whether a path's last part has an ending after its first character.
pub(crate) fn split_extension(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let packed = [".gz", ".zst"].iter().find(|e| name.len() > e.len() && name.ends_with(**e));
    let bare = packed.map_or(name.len(), |e| name.len() - e.len());
    let stem = name[..bare].rfind('.').filter(|&dot| dot > 0).unwrap_or(bare);
    (name[..stem].to_owned(), name[stem..].to_owned())
}

/// Waiting for the disk must not hold up other tasks. The work stays within its
/// own task all the same: were it on a thread of its own, it might outlive the
/// task and write into a file that the next attempt has taken back already.
fn wait_for_the_disk<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
#[path = "file_sink_tests.rs"]
mod tests;
