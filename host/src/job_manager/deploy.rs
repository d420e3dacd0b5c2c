//! Puts a plan into slots: connects channels, opens connectors, makes
//! instances, gives all of them what a checkpoint holds, and lets them run.
//!
//! Everything is made before anything runs, and dropping what was made gives
//! the slots back: a deployment that fails halfway leaves nothing behind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;

use crate::{
    checkpoint::Manifest,
    clock::Clock,
    config::job::JobSpec,
    failure::{Failure, FailureKind},
    ids::{JobId, OperatorName, SlotId, SubtaskIndex, TenantId},
    intake::Intakes,
    job_manager::{
        crashes::CrashBook,
        deployment::{DeployedRegion, Deployment, Member, Shared},
        instances::{self, Accounts},
        job_trace,
        plan::{Plan, Role},
        regions::{RegionId, Regions},
        restored::counters_for,
        subtasks::{Builder, Ready},
        writer::SharedStore,
    },
    memory::{AdmittedJob, SlotMeter},
    metrics::{SharedMetrics, SubtaskMetrics},
    sandbox::{Artifact, CpuMeter, GuestMetrics, LogBudget},
    task_manager::{
        SubtaskId, TaskManager,
        chain::{Chain, ChainEnd, Run},
        gate::{Pass, turn::breathe},
        guest::Guest,
        operator_task::out_of_memory,
        source_task::{EmittedRecords, RejectedLimit},
        traces::{InSlot, SubtaskTrace},
    },
    watching::Watching,
};

/// How many commands may wait for a subtask. One checkpoint at a time needs two.
const COMMANDS: usize = 16;
/// What deploying needs, and does not change from attempt to attempt.
#[derive(Debug)]
pub struct Deployer {
    /// Whose job it is.
    pub tenant: TenantId,
    /// What it is called by in logs, beside others of the same name.
    pub id: Option<JobId>,
    /// The job file.
    pub spec: JobSpec,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Which of its subtasks restart together.
    pub regions: Arc<Regions>,
    /// The operators' artifacts.
    pub artifacts: HashMap<OperatorName, Artifact>,
    /// Where instances go, whose cores they use, and whose memory.
    pub task_manager: TaskManager,
    /// Who counts the time of each slot, over all attempts.
    pub meters: BTreeMap<SubtaskId, CpuMeter>,
    /// What each slot may log, over all attempts.
    pub logs: BTreeMap<SubtaskId, LogBudget>,
    /// Where each operator's subtask is, for those who tell of it.
    pub in_slots: BTreeMap<SubtaskId, InSlot>,
    /// Where chunks of a checkpoint are read.
    pub store: SharedStore,
    /// What was posted to its sources.
    pub intakes: Intakes,
    /// What there is to see of it while it runs.
    pub watching: Watching,
    /// Who crashed since the last checkpoint.
    pub crashes: Mutex<CrashBook>,
    /// Whether crashes are kept, to be replayed.
    pub keeps_capsules: bool,
    /// What time it is.
    pub clock: Clock,
}

impl Deployer {
    /// Deploys the whole job into the slots that it holds, from a checkpoint if one is
    /// given.
    ///
    /// # Errors
    /// The first failure; then nothing runs.
    pub async fn deploy(
        self: &Arc<Self>,
        memory: &Arc<AdmittedJob>,
        from: Option<&Arc<Manifest>>,
    ) -> Result<Deployment, Failure> {
        let emitted = EmittedRecords::new(self.spec.checkpoints.every_records);
        let rejected = RejectedLimit::new(self.spec.job.max_rejected);
        let mut deployment = Deployment::new(self.regions.clone(), emitted, rejected);
        let regions = self.regions.ids().map(|region| (region, 1)).collect();
        let shared = deployment.shared.clone();
        for region in self.deploy_regions(regions, shared, memory.clone(), from.cloned()).await? {
            deployment.add(region);
        }
        Ok(deployment)
    }

    /// Deploys regions, each as the given incarnation. All the work of that is done in
    /// turns of the tenant's: who crashes again and again does so in its own time.
    ///
    /// # Errors
    /// The first failure; then none of them runs.
    pub async fn deploy_regions(
        self: &Arc<Self>,
        regions: Vec<(RegionId, u32)>,
        shared: Shared,
        memory: Arc<AdmittedJob>,
        from: Option<Arc<Manifest>>,
    ) -> Result<Vec<DeployedRegion>, Failure> {
        let own = self.clone();
        self.in_turns(async move { own.build(&regions, &shared, &memory, from.as_deref()).await })
            .await
    }

    /// Does some work of this job's where guests run, in turns of its tenant's.
    ///
    /// # Errors
    /// As the work, and if it panics.
    pub async fn in_turns<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut working = JoinSet::new();
        let turns = self.pass().turns(Box::pin(work.in_current_span()));
        self.task_manager.workers.spawn(&mut working, turns);
        match working.join_next().await {
            Some(Ok(done)) => done,
            ended => Err(Failure::new(
                FailureKind::HostBug,
                format!("work for the job ended without a word: {:?}", ended.map(|e| e.err())),
            )),
        }
    }

    /// Makes everything before anything runs.
    async fn build(
        &self,
        regions: &[(RegionId, u32)],
        shared: &Shared,
        memory: &AdmittedJob,
        from: Option<&Manifest>,
    ) -> Result<Vec<DeployedRegion>, Failure> {
        let mut wiring = self.wire();
        let mut built = Vec::new();
        for (region, incarnation) in regions {
            let (mut members, mut ready) = (BTreeMap::new(), BTreeMap::new());
            for id in self.regions.members(*region) {
                let vertex = &self.plan.vertices[id.vertex];
                let saved = from.and_then(|m| m.operators.get(&vertex.name));
                let counted_before = counters_for(saved, id.index.0, vertex.parallelism);
                let metrics: SharedMetrics = Arc::new(SubtaskMetrics::restored(&counted_before));
                let (commands, obeyed) = mpsc::channel(COMMANDS);
                let (operator_commands, obeyed_by_operator) = mpsc::channel(COMMANDS);
                let mut builder = Builder {
                    deployer: self,
                    memory,
                    vertex,
                    id,
                    saved,
                    from,
                    wiring: wiring.remove(&id).unwrap_or_default(),
                    metrics: metrics.clone(),
                    reporter: shared.reporter(id, *incarnation, metrics.clone()),
                    commands: obeyed,
                    operator_commands: obeyed_by_operator,
                    guest_metrics: Arc::default(),
                    emitted: &shared.emitted,
                    job_rejected: &shared.rejected,
                };
                let (part, task) = builder.build().await?;
                breathe().await;
                let guest_metrics = builder.guest_metrics;
                let member = Member {
                    part,
                    commands,
                    operator_commands,
                    metrics,
                    counted_before,
                    guest_metrics,
                };
                members.insert(id, member);
                ready.insert(id, task);
            }
            built.push((*region, *incarnation, members, ready));
        }
        let run = |(region, incarnation, members, ready)| {
            let tasks = self.run(ready);
            DeployedRegion { region, incarnation, members, tasks }
        };
        Ok(built.into_iter().map(run).collect())
    }

    /// Lets subtasks run, each chain as one task.
    fn run(&self, mut ready: BTreeMap<SubtaskId, Ready>) -> JoinSet<ChainEnd> {
        let mut tasks = JoinSet::new();
        for vertices in self.plan.chains() {
            for index in 0..self.plan.vertices[vertices[0]].parallelism {
                let ids =
                    vertices.iter().map(|v| SubtaskId { vertex: *v, index: SubtaskIndex(index) });
                let members: Vec<_> = ids
                    .filter_map(|id| Some((id, self.told_apart(id, ready.remove(&id)?.run()))))
                    .collect();
                if !members.is_empty() {
                    let chain = self.pass().turns(Chain::new(members));
                    self.task_manager.workers.spawn(&mut tasks, chain);
                }
            }
        }
        tasks
    }

    /// A subtask whose lines in the log say which it is.
    fn told_apart(&self, id: SubtaskId, run: Run) -> Run {
        let operator = self.plan.vertices[id.vertex].name.as_str();
        Box::pin(run.instrument(tracing::error_span!("subtask", operator, subtask = id.index.0)))
    }

    /// Makes and opens an instance for a subtask in a slot of its own, in turns of the
    /// tenant's, while its present one runs on.
    ///
    /// # Errors
    /// If that cannot be had.
    pub async fn spare(
        self: &Arc<Self>,
        id: SubtaskId,
        memory: Arc<AdmittedJob>,
        metrics: Arc<Mutex<GuestMetrics>>,
    ) -> Result<(Guest, Arc<SlotMeter>), Failure> {
        let own = self.clone();
        self.in_turns(async move {
            let vertex = &own.plan.vertices[id.vertex];
            let Role::Operator(spec, _) = &vertex.role else {
                return Err(Failure::new(FailureKind::HostBug, "only operators are in slots"));
            };
            let set_aside = own.wire().remove(&id).map_or(0, |wiring| wiring.set_aside);
            let slot = memory
                .open_slot(&spec.name, id.index, set_aside)
                .map_err(|refused| out_of_memory("opening another slot", &refused))?;
            let accounts = own.accounts(id, &spec.name, slot.clone(), metrics);
            let artifact = &own.artifacts[&spec.name];
            let maker = instances::maker(artifact, spec, id.index, vertex.parallelism, accounts);
            let instance = maker.open().await?;
            Ok((Guest::new(maker, instance), slot))
        })
        .await
    }

    /// Who counts what the instance of a subtask uses.
    pub(super) fn accounts(
        &self,
        id: SubtaskId,
        operator: &OperatorName,
        memory: Arc<SlotMeter>,
        metrics: Arc<Mutex<GuestMetrics>>,
    ) -> Accounts {
        Accounts {
            tenant: self.tenant.clone(),
            memory,
            cpu: self.meters.get(&id).cloned().unwrap_or_default(),
            metrics,
            log: self.log_budget(operator, id),
        }
    }

    /// Who tells what a subtask does with sampled batches.
    pub(super) fn trace(&self, id: SubtaskId) -> SubtaskTrace {
        let of_job = job_trace::of_job(&self.tenant, self.id, &self.spec.job.name);
        SubtaskTrace {
            tracer: self.task_manager.tracer.clone(),
            name: self.plan.vertices[id.vertex].name.as_str().into(),
            shared: job_trace::of_subtask(&of_job, &self.plan, id),
            slot: self.in_slots.get(&id).cloned().unwrap_or_default(),
        }
    }

    /// Subtasks are in these slots now.
    pub fn note_slots(&self, slots: &BTreeMap<SubtaskId, SlotId>) {
        for (id, slot) in slots {
            if let Some(of_subtask) = self.in_slots.get(id) {
                of_subtask.set(*slot);
            }
        }
    }

    /// What a slot may log: what it has left.
    pub(super) fn log_budget(&self, operator: &OperatorName, id: SubtaskId) -> LogBudget {
        self.logs.get(&id).cloned().unwrap_or_else(|| {
            LogBudget::new(Arc::from(operator.as_str()), id.index.0, self.clock.clone())
        })
    }

    /// The right to a turn for something of this job's.
    fn pass(&self) -> Pass {
        self.task_manager.gate.enter(&self.tenant, self.spec.job.priority)
    }
}
