//! How an instance of an operator is made: its settings, and opening it. A
//! deployment makes one for each subtask; [`open_each`] makes one of each
//! operator, to find out whether they can be had.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::{
    clock::Clock,
    config::{
        OperatorFault,
        job::{JobSpec, OperatorSpec},
    },
    failure::FailureKind,
    ids::{OperatorName, SubtaskIndex, TenantId},
    memory::SlotMeter,
    sandbox::{Artifact, CpuMeter, GuestMetrics, LogBudget, SlotSettings},
    task_manager::guest::Maker,
};

/// Whose slot an instance gets, and who counts what it uses.
#[derive(Debug)]
pub struct Accounts {
    /// Whose operator it is.
    pub tenant: TenantId,
    /// What it holds.
    pub memory: Arc<SlotMeter>,
    /// How long its guest runs.
    pub cpu: CpuMeter,
    /// What it counts itself.
    pub metrics: Arc<Mutex<GuestMetrics>>,
    /// What it may log.
    pub log: LogBudget,
}

/// What makes the instances of one subtask.
#[must_use]
pub fn maker(
    artifact: &Artifact,
    spec: &OperatorSpec,
    subtask: SubtaskIndex,
    parallelism: u32,
    accounts: Accounts,
) -> Maker {
    let settings = SlotSettings {
        tenant: accounts.tenant,
        memory: accounts.memory,
        deadline: spec.deadline,
        operator: Arc::from(spec.name.as_str()),
        subtask: subtask.0,
        parallelism,
        // A job file has no input port that nothing leads to.
        inputs: u32::try_from(spec.inputs.len()).unwrap_or(u32::MAX),
        outputs: u32::try_from(spec.ports.len()).unwrap_or(u32::MAX).max(1),
        config: Arc::new(spec.config.clone()),
        metrics: accounts.metrics,
        cpu: accounts.cpu,
        log: accounts.log,
        folders: spec.folders.as_slice().into(),
        http_hosts: spec.http_hosts.as_slice().into(),
        http_roots: spec.http_roots.as_slice().into(),
    };
    Maker { artifact: artifact.clone(), settings }
}

/// Opens one instance of each operator that has an artifact, one at a time, and
/// drops it. Returns what went wrong, in the job file's order.
pub async fn open_each(
    tenant: &TenantId,
    spec: &JobSpec,
    artifacts: &HashMap<OperatorName, Artifact>,
) -> Vec<OperatorFault> {
    let mut faults = Vec::new();
    for operator in &spec.operators {
        let Some(artifact) = artifacts.get(&operator.name) else { continue };
        let parallelism = operator.parallelism.unwrap_or(spec.job.parallelism);
        let accounts = Accounts {
            tenant: tenant.clone(),
            memory: SlotMeter::alone(operator.memory),
            cpu: CpuMeter::default(),
            metrics: Arc::default(),
            log: LogBudget::new(Arc::from(operator.name.as_str()), 0, Clock::default()),
        };
        let maker = maker(artifact, operator, SubtaskIndex(0), parallelism, accounts);
        let (key, failure) = match maker.open().await {
            Ok(mut instance) if instance.saves_memory() => {
                ("state", instance.memory_delta().await.err())
            }
            opened => ("", opened.err()),
        };
        if let Some(failure) = failure {
            faults.push(OperatorFault {
                operator: operator.name.clone(),
                key: if key.is_empty() { key_for(failure.kind) } else { key },
                message: failure.to_string(),
            });
        }
    }
    faults
}

/// What of `[[operator]]` is most likely to be changed after such a failure.
fn key_for(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::GuestError => "config",
        FailureKind::OutOfMemory => "memory",
        FailureKind::DeadlineExceeded => "deadline",
        _ => "artifact",
    }
}
