//! What a job looks like at one moment: plain numbers, made by the job manager
//! and published with a growing generation. Rates are not here: who shows them
//! takes two of these and divides.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    checkpoint::Trigger,
    failure::{Failure, FailureKind, Fault},
    ids::{CheckpointId, JobName, OperatorName, SlotId, SubtaskIndex, TenantId},
    memory::MemoryReport,
    metrics::Counters,
    sandbox::GuestMetrics,
    task_manager::slots::Waiting,
};

/// A job at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// Grows with every publication.
    pub generation: u64,
    /// The job.
    pub job: JobName,
    /// What it is doing.
    pub state: JobState,
    /// Since the job was started, in milliseconds.
    pub elapsed_millis: u64,
    /// Sources, operators and sinks, in the plan's order.
    pub vertices: Vec<VertexStatus>,
    /// Checkpoints.
    pub checkpoints: CheckpointStatus,
    /// Restarts.
    pub restarts: RestartStatus,
    /// Slots.
    pub placement: PlacementStatus,
    /// The TaskManager's memory, with the slots of this job.
    pub memory: MemoryReport,
    /// Whose job it is, and what that tenant's jobs have used of the cores.
    pub tenant: TenantStatus,
}

/// A tenant's use of the cores, by all its jobs in this process, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TenantStatus {
    /// Who.
    pub name: TenantId,
    /// How long its guests ran.
    pub guest_millis: u64,
    /// How long it had a core: its guests, and the host's work for its jobs.
    pub core_millis: u64,
    /// The quota that its sources wait for, if they had to since it was set.
    pub slowed_by: Option<&'static str>,
    /// How long they waited for it, all together.
    pub slowed_millis: u64,
}

impl JobStatus {
    /// A job of which nothing has happened yet.
    #[must_use]
    pub fn created(job: JobName) -> Self {
        Self {
            generation: 0,
            job,
            state: JobState::Created,
            elapsed_millis: 0,
            vertices: Vec::new(),
            checkpoints: CheckpointStatus::default(),
            restarts: RestartStatus::default(),
            placement: PlacementStatus::default(),
            memory: MemoryReport::default(),
            tenant: TenantStatus::default(),
        }
    }

    /// Where such a job is to be told of, and where it is to be seen. Whoever looks shares what was
    /// told: a server's pages look at all jobs at once.
    #[must_use]
    pub fn watched(job: JobName) -> (watch::Sender<Arc<Self>>, watch::Receiver<Arc<Self>>) {
        watch::channel(Arc::new(Self::created(job)))
    }
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Loading operators, restoring state.
    Created,
    /// Waiting for slots.
    Queued,
    /// Moving records.
    Running,
    /// Waiting to restart after a failure.
    Restarting,
    /// Taking its final checkpoint.
    Stopping,
    /// At its end: every input was read.
    Finished,
    /// Stopped on request.
    Stopped,
    /// Given up.
    Failed,
}

impl JobState {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "starting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// What a vertex of the plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VertexKind {
    /// It brings records in.
    Source,
    /// It runs in slots.
    Operator,
    /// It takes records out.
    Sink,
}

impl VertexKind {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Operator => "operator",
            Self::Sink => "sink",
        }
    }
}

/// One source, operator or sink, all its subtasks together. Counts are since
/// the job was first started, whatever stopped it on the way; what is read again
/// after a restart counts once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VertexStatus {
    /// Its name.
    pub name: OperatorName,
    /// What it is.
    pub kind: VertexKind,
    /// How many subtasks it has.
    pub parallelism: u32,
    /// Records that came in; 0 for a source.
    pub records_in: u64,
    /// Records that went out, all ports together; 0 for a sink.
    pub records_out: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Event time: the lowest watermark of its subtasks, milliseconds since 1970.
    pub watermark: Option<i64>,
    /// How far the watermark is behind the host's clock, in milliseconds.
    /// Means something only for live data.
    pub lag_millis: Option<i64>,
    /// The part of the time that it was at work, 0 to 1, of the busiest subtask.
    pub busy: f64,
    /// The part of the time that it waited for room behind it (backpressure), 0 to 1, of the
    /// subtask that waited longest.
    pub backpressured: f64,
    /// The part of the time that it had nothing to do, 0 to 1, of the subtask that had the least
    /// of it.
    pub idle: f64,
    /// How often a subtask of it failed and was restarted.
    pub restarts: u32,
    /// Bytes that its slots hold; 0 where there are none.
    pub slot_memory: u64,
    /// How long its guests ran since the job was started in this process, in
    /// milliseconds, by subtask. What is run again after a restart counts again.
    pub guest_millis: Vec<u64>,
    /// How much fuel they used, by subtask; 0 where fuel is not counted.
    pub guest_fuel: Vec<u64>,
    /// Records that went to its dead letters.
    pub rejected: u64,
    /// Records that came after their windows were closed.
    pub late: u64,
    /// The operator's own metrics, by subtask, since its instance was made.
    pub guest_metrics: Vec<GuestMetrics>,
    /// The same of each subtask that runs.
    pub subtasks: Vec<SubtaskStatus>,
}

/// What one parallel instance of a source, an operator or a sink does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubtaskStatus {
    /// Which one.
    pub subtask: SubtaskIndex,
    /// Records and bytes, as of the vertex.
    #[serde(flatten)]
    pub counters: Counters,
    /// Its watermark, milliseconds since 1970.
    pub watermark: Option<i64>,
    /// The part of the time that it was at work, 0 to 1.
    pub busy: f64,
    /// The part of the time that it waited for room behind it, 0 to 1.
    pub backpressured: f64,
    /// The part of the time that it had nothing to do, 0 to 1.
    pub idle: f64,
    /// Bytes that its slot holds; 0 where there is none.
    pub slot_memory: u64,
}

impl VertexStatus {
    /// One that has done nothing yet.
    #[must_use]
    pub fn new(name: OperatorName, kind: VertexKind, parallelism: u32) -> Self {
        Self {
            name,
            kind,
            parallelism,
            records_in: 0,
            records_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            watermark: None,
            lag_millis: None,
            busy: 0.0,
            backpressured: 0.0,
            idle: 1.0,
            restarts: 0,
            slot_memory: 0,
            guest_millis: Vec::new(),
            guest_fuel: Vec::new(),
            rejected: 0,
            late: 0,
            guest_metrics: Vec::new(),
            subtasks: Vec::new(),
        }
    }

    /// Counts one of its subtasks in. Its watermark is not a sum: see [`Self::watermark`].
    pub fn add(&mut self, subtask: SubtaskStatus) {
        let counters = &subtask.counters;
        self.records_in += counters.records_in;
        self.records_out += counters.records_out;
        self.bytes_in += counters.bytes_in;
        self.bytes_out += counters.bytes_out;
        self.rejected += counters.rejected;
        self.late += counters.late;
        self.slot_memory += subtask.slot_memory;
        self.busy = self.busy.max(subtask.busy);
        self.backpressured = self.backpressured.max(subtask.backpressured);
        self.idle = self.idle.min(subtask.idle);
        self.subtasks.push(subtask);
    }
}

/// A job's checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStatus {
    /// How many were completed since the job was started.
    pub completed: u64,
    /// How many were given up.
    pub failed: u64,
    /// The last completed one.
    pub last: Option<CompletedCheckpoint>,
    /// The last [`HISTORY`], whatever became of them, the latest last.
    pub history: VecDeque<PastCheckpoint>,
    /// The checkpoint that the job was resumed from, if it was.
    pub resumed_from: Option<CheckpointId>,
    /// Since none is completed any more; none if the last one was.
    #[serde(default)]
    pub failing: Option<Failing>,
}

/// Checkpoints that fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// When the first of them did, milliseconds since 1970.
    pub since: i64,
    /// How many in a row.
    pub in_a_row: u32,
    /// Why the last one did.
    pub reason: String,
}

/// How many checkpoints a status tells of.
pub const HISTORY: usize = 10;

impl CheckpointStatus {
    /// One was completed.
    pub fn complete(&mut self, checkpoint: CompletedCheckpoint) {
        self.completed += 1;
        self.failing = None;
        self.last = Some(checkpoint.clone());
        self.remember(PastCheckpoint::Completed(checkpoint));
    }

    /// One was given up, at a moment in milliseconds since 1970.
    pub fn fail(&mut self, id: CheckpointId, reason: String, now: i64) {
        self.failed += 1;
        let before = self.failing.as_ref();
        self.failing = Some(Failing {
            since: before.map_or(now, |failing| failing.since),
            in_a_row: before.map_or(0, |failing| failing.in_a_row).saturating_add(1),
            reason: reason.clone(),
        });
        self.remember(PastCheckpoint::Failed { id, reason });
    }

    fn remember(&mut self, checkpoint: PastCheckpoint) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(checkpoint);
    }
}

/// What became of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum PastCheckpoint {
    /// It counts.
    Completed(CompletedCheckpoint),
    /// It was given up.
    Failed {
        /// Its number.
        id: CheckpointId,
        /// Why.
        reason: String,
    },
}

/// A completed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedCheckpoint {
    /// Its number.
    pub id: CheckpointId,
    /// What caused it.
    pub trigger: Trigger,
    /// When it began, milliseconds since 1970.
    pub triggered_at: i64,
    /// From its start to its completion, in milliseconds.
    pub duration_millis: u64,
    /// The longest time between a subtask's first barrier and its last, in microseconds.
    pub alignment_micros: u64,
    /// The longest time that a subtask was held up for its snapshot.
    pub sync_micros: u64,
    /// From the last subtask's answer until all was durable.
    pub async_micros: u64,
    /// From the start until all was durable.
    pub end_to_end_micros: u64,
    /// Bytes that were written for it.
    pub bytes: u64,
    /// Bytes of all state that it holds, that of earlier checkpoints included.
    pub full_bytes: u64,
}

/// A job's slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlacementStatus {
    /// The numbers of those that it holds.
    pub slots: Vec<SlotId>,
    /// What it waits for, if it is queued.
    pub waiting: Option<Waiting>,
    /// How often it was stopped so that a job of a higher priority could run.
    pub preemptions: u32,
    /// How often an instance went to another slot, since its own was suspect, drained or
    /// short of memory.
    pub relocations: u32,
}

/// A job's restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartStatus {
    /// How many.
    pub count: u32,
    /// How many regions are on their way back from a failure, while others run.
    pub regions_restarting: u32,
    /// How long it took the last time from the failure to the first records that the failed
    /// subtask saw again, in microseconds.
    pub last_recovery_micros: Option<u64>,
    /// Where what is known of the last crash of a guest is kept, to be replayed.
    pub last_capsule: Option<PathBuf>,
    /// Why the last one was: the subtask and its failure, in words.
    pub last_failure: Option<String>,
    /// The last [`FAILURES`] failures, of earlier processes too, the latest last.
    #[serde(default)]
    pub failures: VecDeque<PastFailure>,
    /// How many there were of each class, by operator, since the job was started in this process.
    #[serde(default)]
    pub by_cause: Vec<FailureCount>,
}

/// How often something failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The source, operator or sink; none for the job as a whole.
    pub operator: Option<OperatorName>,
    /// The class.
    pub kind: FailureKind,
    /// How often.
    pub count: u64,
}

/// How many failures a status tells of.
pub const FAILURES: usize = 20;
/// How much of a failure's message is kept, in bytes, and how many frames.
const LONGEST_MESSAGE: usize = 4 << 10;
const MOST_FRAMES: usize = 64;

impl RestartStatus {
    /// One more failure.
    pub fn remember(&mut self, failure: PastFailure) {
        let same = |known: &&mut FailureCount| {
            known.operator == failure.operator && known.kind == failure.kind
        };
        match self.by_cause.iter_mut().find(same) {
            Some(known) => known.count += 1,
            None => self.by_cause.push(FailureCount {
                operator: failure.operator.clone(),
                kind: failure.kind,
                count: 1,
            }),
        }
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(failure);
    }
}

/// A failure of a subtask, or of the job as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastFailure {
    /// When, milliseconds since 1970.
    pub at: i64,
    /// Its class.
    pub kind: FailureKind,
    /// Who has to do something about it.
    pub fault: Fault,
    /// The source, operator or sink; none if the job failed as a whole.
    pub operator: Option<OperatorName>,
    /// Which of its subtasks.
    pub subtask: Option<SubtaskIndex>,
    /// What happened, and what to do.
    pub message: String,
    /// Guest frames, innermost first, where there are any.
    pub backtrace: Vec<String>,
    /// The file of the crash capsule, if one is kept.
    pub capsule: Option<String>,
    /// After how long the restart strategy began again; none if it gave up.
    pub restart_after_millis: Option<u64>,
}

impl PastFailure {
    /// What is known of a failure of the job as a whole.
    #[must_use]
    pub fn of(at: i64, failure: &Failure) -> Self {
        let mut message = failure.message.clone();
        if message.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
            message.push('…');
        }
        Self {
            at,
            kind: failure.kind,
            fault: failure.kind.fault(),
            operator: None,
            subtask: None,
            message,
            backtrace: failure.backtrace.iter().take(MOST_FRAMES).cloned().collect(),
            capsule: None,
            restart_after_millis: None,
        }
    }
}
