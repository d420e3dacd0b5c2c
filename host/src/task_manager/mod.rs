//! Slots, and the subtasks that run: each is one task that reads its gate, calls
//! its operator or connector, and writes its outputs. Carries out, never
//! decides: when to take a checkpoint, to restart or to stop is the job
//! manager's, which sends commands and gets events.
//!
//! ```text
//!   commands ─▶ source ──▶ operator (slot) ──▶ operator (slot) ──▶ sink ◀─ commands
//!                  │             │                   │              │
//!                  └─────────────┴──── events ───────┴──────────────┘
//! ```
//!
//! A subtask's life, as its events tell it:
//!
//! ```text
//!           ┌── Snapshot(n)  at every aligned barrier
//! running ──┤
//!           ├── Finished     its input has ended (a sink then waits for
//!           │                its last commit)
//!           ├── Stopped      it passed the barrier of a stopping checkpoint
//!           └── Failed       classified; whoever reads or writes its channels
//!                            ends silently, and the job manager decides
//! ```

pub mod chain;
pub mod folding;
pub mod gate;
pub mod guest;
pub mod input;
pub mod keyed_task;
pub mod manager;
pub mod operator_task;
pub mod output;
pub mod poison;
pub mod processing;
pub mod processor_task;
pub mod recorder;
pub mod relocation;
pub mod restarts;
pub mod sink_task;
pub mod slots;
pub mod source_task;
pub mod tenants;
pub mod traces;
pub mod work;
pub mod workers;

use tokio::sync::mpsc;

use crate::{
    checkpoint::{SubtaskDetails, SubtaskState},
    clock::Moment,
    failure::Failure,
    ids::{CheckpointId, SubtaskIndex},
    metrics::SharedMetrics,
    sandbox::MemoryDelta,
    state::{GroupChunk, chunks::BadChunk},
    stream::{Barrier, channel::Closed, keys::KeyGroup},
    trace::SpanContext,
};

use recorder::Crash;

pub use manager::{TaskManager, TaskManagerSettings};
pub use workers::runtime;

/// A subtask of a job: which vertex of its plan, which parallel instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubtaskId {
    /// The vertex's place in the plan.
    pub vertex: usize,
    /// The parallel instance.
    pub index: SubtaskIndex,
}

/// What a subtask gives to a checkpoint.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Key groups that changed since its last snapshot: all of them, or what changed.
    pub key_groups: Vec<(KeyGroup, GroupChunk)>,
    /// What a guest that keeps its own state said.
    pub guest: Option<Vec<u8>>,
    /// What changed in the memory of a guest whose memory is saved.
    pub memory: Option<Box<MemoryDelta>>,
    /// The rest. Its `guest` is not set.
    pub state: SubtaskState,
    /// How long it took.
    pub took: SubtaskDetails,
    /// When it was taken, in nanoseconds since 1970; 0 if that is not known.
    pub taken_at: u64,
}

/// What a subtask is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// To a source: put this barrier into the stream.
    Trigger(Barrier),
    /// To a sink whose input has ended: prepare to commit, as no barrier will
    /// ask any more. `last`: no record will follow, ever.
    Prepare {
        /// For this checkpoint.
        checkpoint: CheckpointId,
        /// Whether this is the end.
        last: bool,
    },
    /// To a sink: the checkpoint is complete.
    Commit {
        /// Which one.
        checkpoint: CheckpointId,
        /// Whether the sink can go after that.
        last: bool,
        /// The checkpoint's span, if it is traced.
        traced: Option<SpanContext>,
    },
}

/// What a subtask tells.
#[derive(Debug)]
pub enum TaskEvent {
    /// An operator has seen the first records since it was deployed.
    Began(SubtaskId),
    /// Its part of a checkpoint.
    Snapshot(SubtaskId, CheckpointId, Box<Snapshot>),
    /// Its input has ended and its output is complete. A sink says this
    /// without its state, for which it will be asked.
    Finished(SubtaskId, Box<Snapshot>),
    /// A sink has committed for the last time.
    Committed(SubtaskId),
    /// It stopped at a barrier.
    Stopped(SubtaskId),
    /// Its guest crashed: all that is known of it. What follows is told apart.
    Crashed(SubtaskId, Box<Crash>),
    /// It failed.
    Failed(SubtaskId, Failure),
}

impl TaskEvent {
    /// Which subtask tells it.
    #[must_use]
    pub fn subtask(&self) -> SubtaskId {
        match self {
            Self::Began(id)
            | Self::Snapshot(id, ..)
            | Self::Finished(id, _)
            | Self::Committed(id)
            | Self::Stopped(id)
            | Self::Crashed(id, _)
            | Self::Failed(id, _) => *id,
        }
    }
}

/// How a subtask came to its end without failure of its own.
#[derive(Debug)]
pub enum TaskEnd {
    /// Its input has ended.
    Finished(Box<Snapshot>),
    /// It stopped at a barrier.
    Stopped,
    /// A sink has committed for the last time.
    Committed,
}

/// Why a subtask cannot go on.
#[derive(Debug)]
pub enum TaskError {
    /// It failed itself.
    Failed(Failure),
    /// A neighbour is gone, whose own event says why.
    NeighbourGone,
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        TaskError::Failed(failure)
    }
}

impl From<Closed> for TaskError {
    fn from(_: Closed) -> Self {
        TaskError::NeighbourGone
    }
}

impl From<BadChunk> for Failure {
    fn from(error: BadChunk) -> Self {
        Failure::new(crate::failure::FailureKind::CheckpointFailure, error.to_string())
    }
}

/// What every subtask has: who it is and whom it tells.
#[derive(Debug, Clone)]
pub struct Reporter {
    id: SubtaskId,
    /// How often its region had been deployed: what an earlier one still says is not heard.
    incarnation: u32,
    events: mpsc::Sender<(u32, TaskEvent)>,
    metrics: SharedMetrics,
}

impl Reporter {
    /// For a subtask.
    #[must_use]
    pub fn new(
        id: SubtaskId,
        incarnation: u32,
        events: mpsc::Sender<(u32, TaskEvent)>,
        metrics: SharedMetrics,
    ) -> Self {
        Self { id, incarnation, events, metrics }
    }

    /// Gives the subtask's part of a checkpoint.
    pub async fn snapshot(&self, checkpoint: CheckpointId, mut snapshot: Snapshot) {
        snapshot.state.counters = self.metrics.counters();
        snapshot.taken_at = Moment::now().nanos();
        self.tell(TaskEvent::Snapshot(self.id, checkpoint, Box::new(snapshot))).await;
    }

    /// Says that it works.
    pub async fn began(&self) {
        self.tell(TaskEvent::Began(self.id)).await;
    }

    /// Gives the subtask's end.
    pub async fn ended(&self, end: Result<TaskEnd, TaskError>) {
        let event = match end {
            Ok(TaskEnd::Finished(mut snapshot)) => {
                snapshot.state.counters = self.metrics.counters();
                TaskEvent::Finished(self.id, snapshot)
            }
            Ok(TaskEnd::Stopped) => TaskEvent::Stopped(self.id),
            Ok(TaskEnd::Committed) => TaskEvent::Committed(self.id),
            Err(TaskError::Failed(failure)) => TaskEvent::Failed(self.id, failure),
            Err(TaskError::NeighbourGone) => return,
        };
        self.tell(event).await;
    }

    /// Tells of a crash.
    pub async fn crashed(&self, crash: Crash) {
        self.tell(TaskEvent::Crashed(self.id, Box::new(crash))).await;
    }

    async fn tell(&self, event: TaskEvent) {
        // Nobody listens only when the job is being torn down.
        let _ = self.events.send((self.incarnation, event)).await;
    }
}
