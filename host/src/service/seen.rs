//! What there is to see of the whole service at one moment, for those who watch it: numbers that
//! are there already, read together. Nothing is counted here.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;

use super::{
    Service, access::Caller, conditions::MachineSeen, disk::TenantDisk, jobs::JobWord,
    running::Entry,
};
use crate::{
    ids::TenantId,
    job_manager::status::{FailureCount, JobStatus},
    memory::MemoryReport,
    registry::records::{Ended, JobRecord},
    task_manager::slots::health::SlotCondition,
    tenancy::disk::is_over,
    trace::TraceCounts,
};

/// For how long the failures of a job that has ended are told, in milliseconds: an hour.
const ENDED_LATELY: i64 = 3_600_000;

/// The service at one moment, as a caller may see it.
#[derive(Debug)]
pub struct Seen {
    /// Jobs that have not ended, and those that have and are remembered.
    pub jobs: Vec<JobSeen>,
    /// What tenants keep on disk.
    pub disks: Vec<DiskSeen>,
    /// What the tenants share; only for those who see all of them.
    pub task_manager: Option<TaskManagerSeen>,
}

/// A job at one moment.
#[derive(Debug)]
pub struct JobSeen {
    /// What is remembered of it.
    pub record: Arc<JobRecord>,
    /// What it is doing.
    pub state: JobWord,
    /// What there is to see of it, if it runs.
    pub status: Option<Arc<JobStatus>>,
    /// How it failed, if it has ended lately.
    pub failures: Vec<FailureCount>,
}

impl JobSeen {
    fn of(entry: Entry, now: i64) -> Self {
        let state = JobWord::of(&entry);
        let failures = failures_of_ended(&entry.record, now);
        let status = entry.live.map(|live| Arc::clone(&live.status.borrow()));
        Self { record: entry.record, state, status, failures }
    }

    /// Whether its checkpoints fail since its tenant may keep no more on disk.
    fn fails_for_quota(&self) -> bool {
        let failing = self.status.as_ref().and_then(|s| s.checkpoints.failing.as_ref());
        failing.is_some_and(|failing| is_over(&failing.reason))
    }
}

/// How a job failed that has ended lately: what it failed with for good would else be told to nobody.
fn failures_of_ended(record: &JobRecord, now: i64) -> Vec<FailureCount> {
    let lately = |ended: &&Ended| now.saturating_sub(ended.at) < ENDED_LATELY;
    let ended = record.ended.as_ref().filter(lately);
    let by_cause = ended.and_then(|ended| ended.status.as_ref()?.pointer("/restarts/by_cause"));
    by_cause.and_then(|all| Deserialize::deserialize(all).ok()).unwrap_or_default()
}

/// What a tenant keeps on disk at one moment.
#[derive(Debug)]
pub struct DiskSeen {
    /// Who, and how much.
    pub disk: TenantDisk,
    /// Whether it is refused more.
    pub exceeded: bool,
}

/// A TaskManager at one moment.
#[derive(Debug)]
pub struct TaskManagerSeen {
    /// How each slot is.
    pub slots: Vec<SlotCondition>,
    /// How many of them hold nothing, and may be used.
    pub slots_free: u32,
    /// Its memory.
    pub memory: MemoryReport,
    /// Since the service was started, in seconds.
    pub uptime_seconds: f64,
    /// The machine's disk and clock.
    pub machine: MachineSeen,
    /// What became of spans, if something is traced.
    pub traces: Option<TraceCounts>,
}

impl Service {
    /// What the caller may see.
    #[must_use]
    pub fn seen(self: &Arc<Self>, caller: &Caller) -> Seen {
        let jobs = self.jobs.all(|record| caller.sees(&record.tenant));
        let task_manager = caller.tenant.is_none().then(|| TaskManagerSeen {
            slots: self.task_manager.slots.conditions(),
            slots_free: self.task_manager.slots.free(),
            memory: self.task_manager.memory.report(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            machine: self.machine_seen(),
            traces: self.tracer().counts(),
        });
        let now = self.clock.now_millis();
        let jobs: Vec<JobSeen> = jobs.into_iter().map(|entry| JobSeen::of(entry, now)).collect();
        let failing = jobs.iter().filter(|job| job.fails_for_quota());
        let failing: BTreeSet<&TenantId> = failing.map(|job| &job.record.tenant).collect();
        let disks = self.disks(caller, None).into_iter().map(|disk| {
            let exceeded =
                failing.contains(&disk.tenant) || self.disk_condition(&disk.tenant).is_some();
            DiskSeen { disk, exceeded }
        });
        let disks = disks.collect();
        Seen { disks, jobs, task_manager }
    }
}
