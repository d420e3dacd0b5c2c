//! What there is to see of the whole service at one moment, for those who watch it: numbers that
//! are there already, read together. Nothing is counted here.

use std::sync::Arc;

use super::{Service, access::Caller, conditions::MachineSeen, jobs::JobWord, running::Entry};
use crate::{
    job_manager::status::JobStatus, memory::MemoryReport, registry::records::JobRecord,
    task_manager::slots::health::SlotCondition, trace::TraceCounts,
};

/// The service at one moment, as a caller may see it.
#[derive(Debug)]
pub struct Seen {
    /// Jobs that have not ended, and those that have and are remembered.
    pub jobs: Vec<JobSeen>,
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
    pub status: Option<JobStatus>,
}

impl JobSeen {
    fn of(entry: Entry) -> Self {
        let state = JobWord::of(&entry);
        let status = entry.live.map(|live| live.status.borrow().clone());
        Self { record: entry.record, state, status }
    }
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
        Seen { jobs: jobs.into_iter().map(JobSeen::of).collect(), task_manager }
    }
}
