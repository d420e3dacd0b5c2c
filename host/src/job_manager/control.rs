//! What a job is told from outside, and how it ends. The words between whoever
//! starts a job (the CLI, later the HTTP API) and the job manager.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    capsule::compare::Comparison,
    checkpoint::summary::Summary,
    ids::{CheckpointId, JobId, OperatorName, SlotId, TenantId},
    intake::Intakes,
    job_manager::status::JobStatus,
    task_manager::{TaskManager, TaskManagerSettings, slots::health::SlotCondition},
    tenancy::usage::ledger::Ledger,
    trace::{SpanRef, Tracer},
    watching::Watching,
};

/// What each slot of an operator may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLimits {
    /// Bytes of memory.
    pub memory: usize,
    /// How long a call may take, in milliseconds.
    pub deadline_millis: u64,
    /// Of one core, in thousandths; no limit if not given.
    pub cpu_cap: Option<u32>,
}

/// How to run a job, beyond what its file says.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Whose job it is.
    pub tenant: TenantId,
    /// Where it runs, beside other jobs; without it, in a TaskManager of its own.
    pub task_manager: Option<TaskManager>,
    /// How its own TaskManager is set up.
    pub settings: TaskManagerSettings,
    /// Where checkpoints are kept, and where a job that was stopped or killed
    /// is resumed from. Without it checkpoints last as long as the process.
    pub state: Option<PathBuf>,
    /// A savepoint to begin with, unless `state` has a checkpoint already.
    pub from_savepoint: Option<PathBuf>,
    /// Whether state of what the job file does not have any more is left out, and not
    /// refused.
    pub allow_non_restored_state: bool,
    /// Where crash capsules go; below `state`, if there is one, if not given.
    pub capsules: Option<PathBuf>,
    /// Where operators are looked up by name, before the usual places.
    pub artifacts: Option<PathBuf>,
    /// Where the job's usage is recorded; nowhere if not given.
    pub usage: Option<Ledger>,
    /// What it is called by in logs, beside others of the same name; nothing if not given.
    pub id: Option<JobId>,
    /// What was posted to its sources `http`.
    pub intakes: Intakes,
    /// Where what there is to see of it goes.
    pub watching: Watching,
    /// The span of the request that had it started, if that is traced.
    pub asked_by: Option<SpanRef>,
}

impl RunOptions {
    /// Whom spans of the job are told.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        let shared = self.task_manager.as_ref().map(|shared| &shared.tracer);
        shared.unwrap_or(&self.settings.tracer).clone()
    }
}

/// What a running job is asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    #[default]
    Run,
    /// Take a final checkpoint and stop.
    Stop,
}

/// Something that a running job is asked to do, and goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// What is there to see of it?
    Status,
    /// Take a checkpoint now.
    Checkpoint,
    /// What is one of its checkpoints made of?
    CheckpointDetails {
        /// Its number.
        id: CheckpointId,
    },
    /// Take a savepoint.
    Savepoint {
        /// What the file in the state directory is called; made of the checkpoint's
        /// number if not given.
        name: Option<String>,
        /// Whether the job stops at it.
        stop: bool,
    },
    /// Go on with another parallelism.
    Rescale {
        /// Of this operator only; of all that have none of their own if not given.
        operator: Option<OperatorName>,
        /// How many subtasks.
        parallelism: u32,
    },
    /// Go on with other limits of an operator.
    Limit {
        /// Which.
        operator: OperatorName,
        /// All of them, those too that stay.
        limits: SlotLimits,
    },
    /// Record what a subtask of an operator is given, from the next checkpoint on.
    Record {
        /// Which operator.
        operator: OperatorName,
        /// Which subtask, from 0.
        subtask: u32,
        /// How many batches.
        batches: u32,
    },
    /// Try another version of an operator beside the one that runs, and go on with it if it
    /// does the same.
    Upgrade {
        /// Which operator.
        operator: OperatorName,
        /// The component, where the job can read it.
        component: PathBuf,
        /// How many batches each subtask is tried with.
        batches: u32,
        /// Whether it is only tried.
        dry_run: bool,
        /// Whether it takes over although its outcomes differ.
        accept_differences: bool,
    },
    /// How are the slots?
    Slots,
    /// Move whatever is in a slot to another one, and leave it empty.
    DrainSlot {
        /// Which.
        slot: SlotId,
    },
    /// Use a slot again that was drained or is in quarantine.
    RestoreSlot {
        /// Which.
        slot: SlotId,
    },
}

/// What a job answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// As it is.
    Status(Box<JobStatus>),
    /// A checkpoint was taken.
    Checkpoint {
        /// Its number.
        id: CheckpointId,
        /// From its start to its completion.
        duration_millis: u64,
        /// Bytes that were written for it.
        bytes: u64,
    },
    /// What a checkpoint is made of.
    CheckpointDetails {
        /// None if the job keeps no such checkpoint.
        checkpoint: Option<Box<Summary>>,
    },
    /// A savepoint was taken.
    Savepoint {
        /// Of which checkpoint.
        id: CheckpointId,
        /// Where it is.
        path: PathBuf,
        /// How long the file is.
        bytes: u64,
        /// Whether the job has stopped.
        stopped: bool,
    },
    /// It runs with another parallelism, or with other limits.
    Rescaled {
        /// The checkpoint that it went on from.
        from: Option<CheckpointId>,
        /// From when its sources stopped to when it ran again.
        pause_millis: u64,
    },
    /// A recording was made.
    Recorded {
        /// Where it is.
        path: PathBuf,
        /// How long the file is.
        bytes: u64,
        /// The checkpoint that it begins at.
        since: CheckpointId,
        /// How many events are in it.
        events: usize,
        /// Whether all batches that were asked for are in it.
        whole: bool,
    },
    /// A version was tried.
    Upgraded {
        /// What came of it, for each subtask.
        comparisons: Vec<Comparison>,
        /// Why it does not run, if it does not.
        not_promoted: Option<String>,
        /// The checkpoint that it went on from.
        from: Option<CheckpointId>,
        /// From when the job was asked to stop for it to when it ran again.
        pause_millis: u64,
    },
    /// The slots of its TaskManager.
    Slots {
        /// Each of them.
        slots: Vec<SlotView>,
    },
    /// A slot was emptied.
    Drained {
        /// Which.
        slot: SlotId,
        /// What was in it, and where it is now.
        moved: Option<Moved>,
    },
    /// A slot is used again.
    Restored {
        /// Which.
        slot: SlotId,
    },
}

/// A slot as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotView {
    /// Its number.
    pub slot: SlotId,
    /// How it is.
    pub condition: SlotCondition,
    /// Which subtask of the job is in it.
    pub subtask: Option<String>,
}

/// An instance that went to another slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The operator and its subtask.
    pub subtask: String,
    /// To which slot.
    pub to: SlotId,
    /// How long its input waited, in microseconds.
    pub pause_micros: u64,
}

/// A question, and where its answer goes. An error is in words, for who asked.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Answer, String>>,
}

/// How a job is told what to do from outside.
#[derive(Debug)]
pub struct Controls {
    /// Whether to go on.
    pub control: watch::Receiver<Control>,
    /// What else is asked; nobody asks if its other end is gone.
    pub requests: mpsc::Receiver<Request>,
}

impl From<watch::Receiver<Control>> for Controls {
    /// Nothing is asked but to stop.
    fn from(control: watch::Receiver<Control>) -> Self {
        Self { control, requests: mpsc::channel(1).1 }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every input was read to its end.
    Finished,
    /// Stopped on request.
    Stopped {
        /// The final checkpoint; none if the job keeps no state.
        checkpoint: Option<CheckpointId>,
    },
    /// It failed, and its restart strategy gave up.
    Failed {
        /// The last failure, and why there is no further restart.
        error: String,
    },
    /// It cannot be started as it is: an operator is missing or does not fit.
    CannotStart {
        /// Why, and what to do.
        error: String,
    },
    /// The state directory cannot be used: it is locked, broken or another job's.
    StateUnusable {
        /// Why, and what to do.
        error: String,
    },
}
