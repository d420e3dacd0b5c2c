//! The slot of a trial: asked for as a job's is, of its tenant's quotas, but behind all jobs; and
//! given back whatever becomes of the trial.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    config::job::OperatorSpec,
    ids::{JobName, OperatorName, SubtaskIndex, TenantId},
    memory::{AdmittedJob, SlotMeter},
    sandbox::{Artifact, CpuMeter, LogBudget, SlotSettings},
    task_manager::{
        TaskManager,
        slots::{Place, Request, Standing},
    },
    tenancy::book::EnteredJob,
};

/// What trials are called where jobs are: in reports of memory, and in usage.
pub const JOB: &str = "playground";
/// Behind every job: a job file's priorities begin at -1000.
pub(super) const PRIORITY: i32 = -1001;

/// Why a trial does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// There is no room at the moment.
    #[error("{0}")]
    Busy(String),
    /// Its tenant's quotas, or the server's size, never allow it as they are.
    #[error("{0}")]
    OverQuota(String),
}

/// A slot. Dropping it gives everything back.
#[derive(Debug)]
pub(super) struct Held {
    // The guest's memory first, then what it was promised, then the slot.
    pub(super) meter: Arc<SlotMeter>,
    _memory: AdmittedJob,
    _entered: EnteredJob,
    pub(super) place: Place,
}

/// What an operator is told, and may do, that is tried with the settings of a job file: it is alone,
/// and sees no folder and no host.
pub(super) fn settings(
    (tenant, spec): (&TenantId, &OperatorSpec),
    (memory, cpu): (Arc<SlotMeter>, CpuMeter),
    log: LogBudget,
) -> SlotSettings {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    SlotSettings {
        tenant: tenant.clone(),
        memory,
        deadline: spec.deadline,
        operator: Arc::from(spec.name.as_str()),
        subtask: 0,
        parallelism: 1,
        inputs: count(spec.inputs.len()),
        outputs: count(spec.ports.len()).max(1),
        config: Arc::new(spec.config.clone()),
        metrics: Arc::default(),
        cpu,
        log,
        folders: Arc::from([]),
        http_hosts: Arc::from([]),
        http_roots: Arc::from([]),
    }
}

/// What trials are called, as a name.
///
/// # Panics
/// Never: it is one.
#[must_use]
pub fn job() -> JobName {
    JobName::new(JOB).expect("it is a name")
}

impl Held {
    /// Gets a slot for an operator with so many bytes, waiting no longer than told.
    pub(super) async fn take(
        task_manager: &TaskManager,
        tenant: &TenantId,
        operator: &OperatorName,
        artifact: &Artifact,
        (memory, patience): (usize, Duration),
    ) -> Result<Self, NotRun> {
        let over = |error: &dyn std::fmt::Display| NotRun::OverQuota(error.to_string());
        let uses = [(artifact.digest().to_owned(), artifact.size() as u64)].into_iter().collect();
        let entered = task_manager.book.enter(tenant, uses).map_err(|e| over(&e))?;
        let request = Request {
            tenant: tenant.clone(),
            job: job(),
            priority: PRIORITY,
            slots: 1,
            preempts: false,
        };
        let mut place = task_manager.slots.ask(request).map_err(|e| over(&e))?;
        if timeout(patience, granted(&mut place)).await.is_err() {
            let free = task_manager.slots.free();
            return Err(NotRun::Busy(format!(
                "no slot became free within {patience:?} ({free} of {} are free, and jobs that \
                 wait go first): try again later, or end a job",
                task_manager.slots.total()
            )));
        }
        let promise = [(operator.clone(), memory, 1)];
        let admitted = task_manager.memory.admit(tenant, &job(), promise).map_err(|e| over(&e))?;
        let meter = admitted.open_slot(operator, SubtaskIndex(0), 0).map_err(|refused| {
            NotRun::Busy(format!(
                "there is no memory for a slot at the moment: it asked for {refused}"
            ))
        })?;
        Ok(Self { meter, _memory: admitted, _entered: entered, place })
    }
}

async fn granted(place: &mut Place) {
    while let Standing::Waiting(_) = place.standing() {
        place.changed().await;
    }
}
