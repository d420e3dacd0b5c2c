//! What a job is told from outside, and how it ends. The words between whoever
//! starts a job (the CLI, later the HTTP API) and the job manager.

use std::path::PathBuf;

use crate::{
    ids::{CheckpointId, TenantId},
    task_manager::{TaskManager, TaskManagerSettings},
    tenancy::usage::ledger::Ledger,
};

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
    /// Where operators are looked up by name, before the usual places.
    pub artifacts: Option<PathBuf>,
    /// Where the job's usage is recorded; nowhere if not given.
    pub usage: Option<Ledger>,
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
