//! Turns what subtasks count into the status that is published.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use crate::{
    clock::{Clock, Stopwatch},
    ids::JobName,
    job_manager::{
        coordinator::Part,
        deploy::Deployer,
        deployment::Deployment,
        placement::Holding,
        plan::{Plan, Role},
        status::{JobState, JobStatus, SubtaskStatus, TenantStatus, VertexKind, VertexStatus},
    },
    metrics::{SubtaskMetrics, get},
    stream::watermark,
    task_manager::SubtaskId,
    tenancy::ingest::SlowedBy,
};

/// Makes statuses.
#[derive(Debug)]
pub struct Progress {
    /// The last status, which the job's master changes as things happen.
    pub status: JobStatus,
    started: Stopwatch,
    /// Each subtask's time at work, and held back, when the last status was made.
    before: BTreeMap<SubtaskId, [u64; 2]>,
    last: Duration,
}

impl Progress {
    /// For a job that begins now.
    #[must_use]
    pub fn new(job: JobName, plan: &Plan) -> Self {
        let mut status = JobStatus::created(job);
        status.vertices = plan
            .vertices
            .iter()
            .map(|v| VertexStatus::new(v.name.clone(), kind(&v.role), v.parallelism))
            .collect();
        Self { status, started: Stopwatch::start(), before: BTreeMap::new(), last: Duration::ZERO }
    }

    /// A new state; what is shown with it follows with the next refresh.
    pub fn enter(&mut self, state: JobState) {
        self.status.state = state;
    }

    /// Brings the status up to date.
    pub fn refresh(
        &mut self,
        deployment: &Deployment,
        deployer: &Deployer,
        holding: &Holding,
        clock: &Clock,
    ) {
        let elapsed = self.started.elapsed();
        let since = elapsed.saturating_sub(self.last).as_nanos().max(1);
        self.last = elapsed;
        self.status.generation += 1;
        self.status.memory = holding.memory.report();
        self.status.elapsed_millis = millis(elapsed);
        let now = clock.now_millis();
        let before = &mut self.before;
        for (i, vertex) in self.status.vertices.iter_mut().enumerate() {
            let restarts = vertex.restarts;
            let mut fresh = VertexStatus::new(vertex.name.clone(), vertex.kind, vertex.parallelism);
            fresh.restarts = restarts;
            let mut least = i64::MAX;
            for (id, member) in deployment.members.iter().filter(|(id, _)| id.vertex == i) {
                let metrics = &member.metrics;
                let subtask = subtask(*id, metrics, before.entry(*id).or_default(), since);
                least = least.min(metrics.watermark.load(Ordering::Relaxed));
                fresh.add(subtask);
            }
            let own = deployment.members.iter().filter(|(id, _)| id.vertex == i);
            fresh.guest_metrics = own
                .filter(|(_, member)| member.part == Part::Operator)
                .map(|(_, m)| {
                    m.guest_metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()
                })
                .collect();
            fresh.watermark = known(least);
            fresh.lag_millis = fresh.watermark.map(|watermark| now.saturating_sub(watermark));
            let meters = deployer.meters.iter().filter(|(id, _)| id.vertex == i);
            (fresh.guest_millis, fresh.guest_fuel) =
                meters.map(|(_, m)| (m.total_millis(), m.total_fuel())).unzip();
            *vertex = fresh;
        }
        if let Some(used) = deployer.task_manager.gate.usage_of(&deployer.tenant) {
            let slowed = deployer.task_manager.ingest.of(&deployer.tenant).slowed();
            self.status.tenant = TenantStatus {
                name: used.tenant,
                guest_millis: millis(used.guest),
                core_millis: millis(used.core),
                slowed_by: slowed.by.map(SlowedBy::key),
                slowed_millis: millis(slowed.waited),
            };
        }
    }
}

/// What a subtask does, and did since the status before, when it was so long at work and held
/// back. `since` are nanoseconds.
fn subtask(
    id: SubtaskId,
    metrics: &SubtaskMetrics,
    before: &mut [u64; 2],
    since: u128,
) -> SubtaskStatus {
    let now = [get(&metrics.busy_nanos), get(&metrics.blocked_nanos)];
    let before = std::mem::replace(before, now);
    #[expect(clippy::cast_precision_loss, reason = "a share, not a sum")]
    let share = |i: usize| (now[i].saturating_sub(before[i]) as f64 / since as f64).min(1.0);
    let (busy, backpressured) = (share(0), share(1));
    SubtaskStatus {
        subtask: id.index,
        counters: metrics.counters(),
        watermark: known(metrics.watermark.load(Ordering::Relaxed)),
        busy,
        backpressured,
        idle: (1.0 - busy - backpressured).max(0.0),
        slot_memory: get(&metrics.memory),
    }
}

/// A watermark that is neither none yet nor the end.
fn known(watermark: i64) -> Option<i64> {
    (watermark != watermark::NONE && watermark != watermark::END).then_some(watermark)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn kind(role: &Role) -> VertexKind {
    match role {
        Role::Source(_) => VertexKind::Source,
        Role::Operator(..) => VertexKind::Operator,
        Role::Sink(_) => VertexKind::Sink,
    }
}
