//! The job's master: the one task that owns a job's state. It hears what the
//! subtasks, the writer, the clock and the user say, asks the pure parts what
//! to do, and does it.
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | a job from its slots to its outcome, over all attempts |
//! | `attempt` | one attempt: what wakes the master, and what it does then |
//! | `checkpoints` | the checkpoints of an attempt, from trigger to commit |
//! | `recovery` | a failed region's way back, while the others go on |
//! | `requests` | what people ask of a running job |
//! | `upgrade` | another version of an operator, tried before it takes over |
//! | `savepoints` | savepoints as files, and going on with another parallelism |

mod attempt;
mod checkpoints;
mod recordings;
mod recovery;
mod requests;
mod savepoints;
mod upgrade;

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use self::{attempt::Attempt, savepoints::Rescaling};
use crate::{
    checkpoint::{Manifest, Trigger},
    clock::{Clock, Moment, Stopwatch},
    config::job::JobSpec,
    failure::{Failure, FailureKind},
    ids::CheckpointId,
    job_manager::{
        capsules::Capsules,
        control::{Ask, Control, Controls, Outcome, Request, RunOptions},
        coordinator::Coordinator,
        deploy::Deployer,
        deployment::Deployment,
        failures::KeptFailures,
        job_trace::{JobTrace, of_job},
        placement::{Holding, Queued},
        prepare::{Prepared, prepare},
        progress::Progress,
        status::{JobState, JobStatus, PastFailure},
        usage::JobUsage,
        writer::{Begun, LiveChunks, Written},
    },
    restart::{Decision, RestartStrategy},
    task_manager::{SubtaskId, recorder::Crash, slots::AskedBackFor},
    threads,
};

/// Runs a job to its end, in this process.
///
/// `status` gets what there is to see, `control` is looked at for a request to
/// stop.
pub async fn run(
    spec: JobSpec,
    options: RunOptions,
    control: impl Into<Controls>,
    status: watch::Sender<Arc<JobStatus>>,
) -> Outcome {
    run_with_clock(spec, options, control, status, Clock::System).await
}

/// As [`run`], with a clock of the caller's.
pub async fn run_with_clock(
    spec: JobSpec,
    options: RunOptions,
    control: impl Into<Controls>,
    status: watch::Sender<Arc<JobStatus>>,
    clock: Clock,
) -> Outcome {
    let controls = control.into();
    let began = Moment::now();
    let shared = of_job(&options.tenant, options.id, &spec.job.name).into();
    let mut trace = JobTrace::begin(options.tracer(), shared, began, options.asked_by.clone());
    // Loading compiles, and opening a store reads: neither belongs on a thread
    // that others wait for.
    let preparing = threads::blocking({
        let clock = clock.clone();
        move || prepare(spec, &options, clock)
    });
    let prepared = match preparing.await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(outcome)) => {
            if let Outcome::CannotStart { error } | Outcome::StateUnusable { error } = &outcome {
                trace.step("prepare", began, Some(error));
                trace.started(Some(error));
            }
            return outcome;
        }
        Err(error) => {
            return Outcome::CannotStart { error: format!("preparing the job failed: {error}") };
        }
    };
    trace.step("prepare", began, None);
    Master::new(prepared, clock, controls, status, trace).run().await
}

struct Master {
    prepared: Prepared,
    clock: Clock,
    control: watch::Receiver<Control>,
    requests: mpsc::Receiver<Request>,
    publisher: watch::Sender<Arc<JobStatus>>,
    progress: Progress,
    strategy: RestartStrategy,
    /// The last completed checkpoint.
    last: Option<Arc<Manifest>>,
    next_checkpoint: CheckpointId,
    /// Whether it ever ran: what goes wrong before that is no failure of the job's.
    ran: bool,
    /// Records what it uses, if that is wanted.
    usage: Option<JobUsage>,
    /// Who waits for a checkpoint or savepoint.
    asked: Vec<Request>,
    /// Savepoints that are being written.
    saving: Vec<JoinHandle<()>>,
    /// Another parallelism, to go on with when the job has stopped for it.
    rescaling: Option<Rescaling>,
    /// When each subtask failed that has not seen records since.
    failed: BTreeMap<SubtaskId, Stopwatch>,
    /// Keeps what is known of crashes.
    capsules: Capsules,
    /// Keeps which failures there were.
    failures: KeptFailures,
    /// Tells of what is traced.
    trace: JobTrace,
}

/// What becomes of a job that failed.
enum AfterFailure {
    Restart,
    Requeue,
    End(Outcome),
}

/// Why an attempt stops with a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// Somebody asked the job to stop.
    Asked,
    /// Its slots were asked back.
    Preempted,
    /// It goes on with another parallelism.
    Rescaled,
}

/// How an attempt to run the job ended.
enum AttemptEnd {
    Finished,
    Stopped(Option<CheckpointId>),
    /// Its slots were asked back; it stopped with a checkpoint to go on from.
    Preempted,
    /// It stopped with a checkpoint to go on from with another parallelism.
    Rescaled,
    Failed(Option<SubtaskId>, Failure),
    /// A region failed, and the restart strategy gave up.
    GivenUp(Outcome),
}

impl Master {
    fn new(
        prepared: Prepared,
        clock: Clock,
        controls: Controls,
        publisher: watch::Sender<Arc<JobStatus>>,
        trace: JobTrace,
    ) -> Self {
        let spec = &prepared.deployer.spec;
        let mut progress = Progress::new(spec.job.name.clone(), &prepared.deployer.plan);
        let last = prepared.resumed.clone().map(Arc::new);
        progress.status.checkpoints.resumed_from = last.as_ref().map(|m| m.id);
        let usage = prepared.usage.clone().map(|ledger| {
            let Deployer { tenant, plan, .. } = &*prepared.deployer;
            let (tenant, job) = (tenant.clone(), spec.job.name.clone());
            JobUsage::new(ledger, tenant, job, plan.clone(), clock.clone())
        });
        let capsules = Capsules::new(prepared.capsules.clone());
        let failures = KeptFailures::below(prepared.state.as_deref());
        progress.status.restarts.failures = prepared.failures.clone();
        Self {
            capsules,
            failures,
            trace,
            strategy: RestartStrategy::new(&spec.restart),
            next_checkpoint: CheckpointId(last.as_ref().map_or(1, |m| m.id.0 + 1)),
            prepared,
            clock,
            control: controls.control,
            requests: controls.requests,
            publisher,
            progress,
            last,
            ran: false,
            usage,
            asked: Vec::new(),
            saving: Vec::new(),
            rescaling: None,
            failed: BTreeMap::new(),
        }
    }

    async fn run(mut self) -> Outcome {
        let outcome = self.run_to_its_end().await;
        for saving in self.saving.drain(..) {
            // It has told who asked how it went.
            let _ = saving.await;
        }
        if let Some(usage) = self.usage.take() {
            usage.finish().await;
        }
        self.capsules.finish().await;
        self.failures.finish().await;
        outcome
    }

    async fn run_to_its_end(&mut self) -> Outcome {
        loop {
            let ended = match self.queue().await {
                Ok(mut holding) => self.hold(&mut holding).await,
                Err(outcome) => (!self.scale_back(&outcome)).then_some(outcome),
            };
            if let Some(outcome) = ended {
                return outcome;
            }
        }
    }

    /// Waits for slots.
    async fn queue(&mut self) -> Result<Holding, Outcome> {
        let cannot = |error: String| Outcome::CannotStart { error };
        let deployer = self.prepared.deployer.clone();
        let began = Moment::now();
        let mut queued = Queued::begin(&deployer).map_err(|e| cannot(e.to_string()))?;
        while let Some(waiting) = queued.waiting() {
            tracing::info!("the job waits for {waiting}");
            self.progress.status.placement.waiting = Some(waiting);
            self.progress.enter(JobState::Queued);
            self.publish();
            tokio::select! {
                () = queued.changed() => {}
                () = stop_requested(&mut self.control) => {
                    self.conclude(JobState::Stopped);
                    return Err(Outcome::Stopped { checkpoint: self.last_id() });
                }
            }
        }
        let holding = queued.admit(&deployer);
        let holding =
            holding.map_err(|e| cannot(format!("there is not enough memory for the job: {e}")))?;
        let placement = &mut self.progress.status.placement;
        (placement.slots, placement.waiting) = (holding.slots.values().copied().collect(), None);
        if let Some(usage) = &mut self.usage {
            usage.begin_slots();
        }
        self.trace.step("wait for slots", began, None);
        Ok(holding)
    }

    /// Runs the job in its slots until it ends, or they are asked back (then there is
    /// no outcome).
    async fn hold(&mut self, holding: &mut Holding) -> Option<Outcome> {
        loop {
            self.leave_bad_slots(holding, |_| true);
            tracing::debug!("deploying from {}", self.goes_on_from());
            let began = Moment::now();
            let deployed = self.prepared.deployer.deploy(&holding.memory, self.last.as_ref()).await;
            let failed = deployed.as_ref().err().map(ToString::to_string);
            self.trace.step("deploy", began, failed.as_deref());
            let end = match deployed {
                Ok(deployment) => self.attempt(deployment, holding).await,
                Err(failure) if self.rescaling.is_some() => {
                    let error = failure.to_string();
                    self.scale_back(&Outcome::CannotStart { error });
                    return None;
                }
                Err(failure) if !self.ran => {
                    return Some(match failure.kind {
                        FailureKind::CheckpointFailure => {
                            Outcome::StateUnusable { error: failure.message }
                        }
                        _ => Outcome::CannotStart { error: failure.to_string() },
                    });
                }
                Err(failure) => AttemptEnd::Failed(None, failure),
            };
            self.ran = true;
            if !matches!(end, AttemptEnd::Rescaled) {
                self.forget_rescaling();
            }
            match end {
                AttemptEnd::Finished => {
                    self.conclude(JobState::Finished);
                    return Some(Outcome::Finished);
                }
                AttemptEnd::Stopped(checkpoint) => {
                    self.conclude(JobState::Stopped);
                    return Some(Outcome::Stopped { checkpoint });
                }
                AttemptEnd::Preempted => return None,
                AttemptEnd::Rescaled => {
                    self.rescale();
                    return None;
                }
                AttemptEnd::GivenUp(outcome) => {
                    self.conclude(JobState::Failed);
                    return Some(outcome);
                }
                AttemptEnd::Failed(subtask, failure) => {
                    self.note_crash(holding, subtask, &failure);
                    match self.after_failure(subtask, &failure, holding).await {
                        AfterFailure::Restart => {}
                        AfterFailure::Requeue => return None,
                        AfterFailure::End(outcome) => return Some(outcome),
                    }
                }
            }
        }
    }

    /// Gives other slots to subtasks that are not running, and whose own are not to be used.
    fn leave_bad_slots(&mut self, holding: &mut Holding, gone: impl Fn(SubtaskId) -> bool) {
        let deployer = self.prepared.deployer.clone();
        for made in holding.leave_bad_slots(&deployer.task_manager.slots, gone) {
            let subtask = deployer.plan.subtask(made.subtask);
            tracing::warn!("`{subtask}` goes from slot {} to slot {}", made.from, made.to);
            self.progress.status.placement.relocations += 1;
        }
        self.progress.status.placement.slots = holding.slots.values().copied().collect();
        deployer.note_slots(&holding.slots);
    }

    /// A slot whose instance crashed may be at fault itself.
    fn note_crash(&self, holding: &Holding, subtask: Option<SubtaskId>, failure: &Failure) {
        let Some(slot) = subtask.and_then(|id| holding.slots.get(&id)) else { return };
        if failure.kind.is_crash() {
            let task_manager = &self.prepared.deployer.task_manager;
            if task_manager.slots.crashed(*slot, self.clock.now_millis()) {
                tracing::warn!("slot {slot} is in quarantine: its instances crash");
                task_manager.probe_later(*slot);
            }
        }
    }

    /// What the job goes on from, in words.
    fn goes_on_from(&self) -> String {
        match &self.last {
            Some(manifest) => format!("checkpoint {}", manifest.id),
            None => "the beginning".to_owned(),
        }
    }

    fn last_id(&self) -> Option<CheckpointId> {
        self.last.as_ref().map(|manifest| manifest.id)
    }

    /// Somebody more important needs the slots.
    fn on_preempted(&mut self, by: &AskedBackFor) {
        let AskedBackFor { tenant, job, priority } = by;
        tracing::warn!(
            "the job's slots are asked back for job `{job}` of tenant `{tenant}`, which has \
             priority {priority}; it stops with a checkpoint and waits for slots again"
        );
        self.progress.status.placement.preemptions += 1;
    }

    fn conclude(&mut self, state: JobState) {
        self.progress.enter(state);
        self.publish();
    }

    fn publish(&mut self) {
        self.progress.status.generation += 1;
        self.publisher.send_replace(Arc::new(self.progress.status.clone()));
    }

    /// Waits as the restart strategy says, or gives the job up.
    async fn after_failure(
        &mut self,
        subtask: Option<SubtaskId>,
        failure: &Failure,
        holding: &mut Holding,
    ) -> AfterFailure {
        match self.decide(subtask, failure) {
            Err(outcome) => {
                self.conclude(JobState::Failed);
                AfterFailure::End(outcome)
            }
            Ok(delay) => {
                self.progress.enter(JobState::Restarting);
                self.publish();
                tokio::select! {
                    () = tokio::time::sleep(delay) => AfterFailure::Restart,
                    () = stop_requested(&mut self.control) => {
                        self.conclude(JobState::Stopped);
                        AfterFailure::End(Outcome::Stopped { checkpoint: self.last_id() })
                    }
                    by = holding.place.asked_back() => {
                        self.on_preempted(&by);
                        AfterFailure::Requeue
                    }
                }
            }
        }
    }

    /// After how long to restart, as the restart strategy says; or the end of the job.
    fn decide(
        &mut self,
        subtask: Option<SubtaskId>,
        failure: &Failure,
    ) -> Result<Duration, Outcome> {
        let what = self.describe(subtask, failure);
        if let Some(id) = subtask {
            self.failed.entry(id).or_insert_with(Stopwatch::start);
        }
        let now = self.clock.now_millis();
        if let Some(id) = subtask {
            let crashes = &self.prepared.deployer.crashes;
            crashes.lock().unwrap_or_else(PoisonError::into_inner).failed(id, failure.kind);
        }
        let mut past = self.past_failure(subtask, failure, now);
        match self.strategy.decide(failure.kind, now, rand::random::<f64>()) {
            Decision::GiveUp { reason } => {
                self.remember(past);
                Err(Outcome::Failed { error: format!("{what}\nno restart: {reason}") })
            }
            Decision::RestartAfter(delay) => {
                let deployer = &self.prepared.deployer;
                let pace = &deployer.task_manager.restarts;
                let delay = delay.max(pace.take(&deployer.tenant, now));
                let from = self.goes_on_from();
                let (operator, index) = self.named(subtask);
                tracing::warn!(
                    operator,
                    subtask = index,
                    "{what}\nrestarting from {from} in {delay:?}"
                );
                past.restart_after_millis = Some(millis_of(delay));
                self.remember(past);
                self.progress.status.restarts.count += 1;
                self.progress.status.restarts.last_failure = Some(what);
                if let Some(id) = subtask {
                    self.progress.status.vertices[id.vertex].restarts += 1;
                }
                Ok(delay)
            }
        }
    }

    fn remember(&mut self, past: PastFailure) {
        let restarts = &mut self.progress.status.restarts;
        restarts.remember(past);
        self.failures.keep(&restarts.failures);
    }

    /// Operator and subtask, for the log.
    fn named(&self, subtask: Option<SubtaskId>) -> (Option<&str>, Option<u32>) {
        let vertices = &self.prepared.deployer.plan.vertices;
        subtask.map(|id| (vertices[id.vertex].name.as_str(), id.index.0)).unzip()
    }

    fn past_failure(&self, subtask: Option<SubtaskId>, failure: &Failure, now: i64) -> PastFailure {
        let past = PastFailure::of(now, failure);
        let Some(id) = subtask else { return past };
        let capsule = self.capsules.of(id).filter(|_| failure.kind.breaks_call());
        let name = capsule.and_then(|path| path.file_name());
        PastFailure {
            operator: Some(self.prepared.deployer.plan.vertices[id.vertex].name.clone()),
            subtask: Some(id.index),
            capsule: name.map(|name| name.to_string_lossy().into_owned()),
            ..past
        }
    }

    /// Has the next checkpoint taken as soon as can be, for nobody in particular.
    fn ask_checkpoint(&mut self) {
        let (answer, _) = oneshot::channel();
        self.asked.push(Request { ask: Ask::Checkpoint, answer });
    }

    /// A subtask sees records.
    fn note_began(&mut self, subtask: SubtaskId) {
        self.trace.started(None);
        if let Some(failed) = self.failed.remove(&subtask) {
            let micros = u64::try_from(failed.elapsed().as_micros()).unwrap_or(u64::MAX);
            let (operator, index) = self.named(Some(subtask));
            tracing::info!(operator, subtask = index, "it works again after {micros} µs");
            self.progress.status.restarts.last_recovery_micros = Some(micros);
        }
    }

    /// A guest crashed; what becomes of its job is told apart.
    fn on_crash(&mut self, id: SubtaskId, crash: Crash) {
        let (deployer, writer) = (&self.prepared.deployer, &self.prepared.writer);
        self.capsules.take(id, crash, deployer, writer);
        if let Some(path) = self.capsules.of(id) {
            self.progress.status.restarts.last_capsule = Some(path.to_owned());
        }
    }

    fn describe(&self, subtask: Option<SubtaskId>, failure: &Failure) -> String {
        match subtask {
            Some(id) => {
                let vertex = &self.prepared.deployer.plan.vertices[id.vertex];
                let what = format!("`{}` (subtask {}) failed: {failure}", vertex.name, id.index);
                match self.capsules.of(id) {
                    Some(path) if failure.kind.breaks_call() => {
                        format!("{what}\nto see it again: cofferdam replay {}", path.display())
                    }
                    _ => what,
                }
            }
            None => failure.to_string(),
        }
    }

    async fn attempt(&mut self, deployment: Deployment, holding: &mut Holding) -> AttemptEnd {
        let coordinator = Coordinator::new(deployment.parts(), self.next_checkpoint);
        let chunks = self.last.as_ref().map(|m| self.live_chunks(m)).unwrap_or_default();
        self.progress.enter(JobState::Running);
        tracing::debug!("the job runs");
        // Who asked for something finds it in the status.
        self.publish();
        self.answer_rescaled();
        if self.prepared.deployer.plan.slots() == 0 {
            // No operator will say that it works.
            self.trace.started(None);
        }
        if let Some(usage) = &mut self.usage {
            usage.begin_attempt(&deployment);
        }
        let mut attempt = Attempt {
            master: self,
            holding,
            deployment,
            coordinator,
            chunks,
            writing: None,
            stopping: None,
            committing: None,
            last_started: Instant::now(),
            last_ended: Instant::now(),
            begun: Begun { trigger: Trigger::Interval, clock: Stopwatch::start() },
            tidying: None,
            untidied: false,
            failed_checkpoints: 0,
            healing: false,
            recovering: BTreeMap::new(),
            moving: Vec::new(),
            relieved: BTreeMap::new(),
            trial: None,
        };
        let end = attempt.run().await;
        attempt.settle().await;
        let next = attempt.coordinator.next_id();
        attempt.refresh();
        self.trace.give_up_checkpoint("the job stopped before it was complete");
        self.next_checkpoint = next;
        end
    }

    fn count_checkpoint(&mut self, written: &Written) {
        if let Some(usage) = &mut self.usage {
            usage.add_checkpoint(written);
        }
    }

    fn live_chunks(&self, manifest: &Manifest) -> LiveChunks {
        let mut chunks = LiveChunks::new();
        for (i, vertex) in self.prepared.deployer.plan.vertices.iter().enumerate() {
            if let Some(state) = manifest.operators.get(&vertex.name) {
                let groups = state.key_groups.iter();
                chunks.extend(groups.map(|(group, stored)| ((i, *group), stored.clone())));
            }
        }
        chunks
    }
}

fn millis_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until somebody asks the job to stop.
async fn stop_requested(control: &mut watch::Receiver<Control>) {
    // When nobody can ask any more, nobody will.
    if control.wait_for(|c| *c == Control::Stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
