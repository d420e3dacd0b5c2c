//! The elements of a stream: batches, and the control elements between them.

use crate::{ids::CheckpointId, stream::Batch};

/// Asks every subtask that it passes for a snapshot of its state
/// (Chandy and Lamport 1985, as aligned barriers in Carbone et al. 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint that the snapshot belongs to.
    pub checkpoint: CheckpointId,
    /// Whether the job stops at this barrier: nothing follows it.
    pub stop: bool,
    /// Whether sinks make visible what they have with it: somebody may take the
    /// checkpoint to where their unfinished files are not.
    pub seal: bool,
    /// Whether operators give all of their state, and not what changed: what was stored
    /// before cannot be read any more.
    pub whole: bool,
}

/// One element of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// Records.
    Batch(Batch),
    /// No record with this event time or an earlier one is expected any more.
    Watermark(i64),
    /// Nothing is coming for now: do not wait for this stream's watermark. Any
    /// batch or watermark ends it.
    Idle,
    /// A checkpoint's barrier.
    Barrier(Barrier),
    /// The stream has ended: nothing follows.
    End,
}

/// What a control element is taken to weigh in a channel, in bytes.
const CONTROL_BYTES: usize = 64;

impl Element {
    /// What the element weighs in a channel, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Element::Batch(batch) => CONTROL_BYTES + batch.bytes(),
            _ => CONTROL_BYTES,
        }
    }
}
