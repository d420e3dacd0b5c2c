//! Puts a plan into slots: connects channels, opens connectors, makes
//! instances, gives all of them what a checkpoint holds, and lets them run.
//!
//! Everything is made before anything runs, and dropping what was made gives
//! the slots back: a deployment that fails halfway leaves nothing behind.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    checkpoint::{GuestState, Manifest, OperatorState, SubtaskState},
    clock::Clock,
    config::job::{JobSpec, OperatorSpec, SinkSpec, SourceSpec},
    connectors::{self, ConnectorContext, SplitPositions},
    failure::{Failure, FailureKind},
    ids::{OperatorName, SubtaskIndex, TenantId},
    job_manager::{
        coordinator::Part,
        crashes::CrashBook,
        deployment::{DeployedRegion, Deployment, Member, Shared},
        images,
        instances::{self, Accounts},
        plan::{Edge, Plan, Role, Vertex},
        regions::{RegionId, Regions},
        restored::{common_watermark, counters_for, least},
        writer::SharedStore,
    },
    memory::{self, AdmittedJob, SlotMeter},
    metrics::{SharedMetrics, SubtaskMetrics},
    sandbox::{Artifact, CpuMeter, GuestMetrics, Instance, LogBudget, OperatorKind},
    state::{KeyedState, windows::Windows},
    stream::{
        channel::{self, Gate, Sender},
        exchange::{EdgeOutput, Exchange},
        keys::KeyGroups,
        watermark::BoundedOutOfOrderness,
    },
    task_manager::{
        Command, Reporter, SubtaskId, TaskManager,
        chain::{Chain, ChainEnd, Run},
        folding::Folding,
        gate::{Pass, turn::breathe},
        guest::{Guest, Maker},
        input::Input,
        keyed_task::KeyedOperator,
        operator_task::{Operator, OperatorContext, OperatorTask, out_of_memory},
        output::{OutputPort, Outputs},
        poison::Watch,
        processing::Processing,
        processor_task::ProcessorOperator,
        recorder::Recorder,
        relocation::OperatorCommand,
        sink_task::SinkTask,
        source_task::{EmittedRecords, RejectedLimit, SourceTask, failure},
    },
    tenancy::ingest::Ticket,
};

/// How many commands may wait for a subtask. One checkpoint at a time needs two.
const COMMANDS: usize = 16;
/// How much state another version of an operator is asked about in one call.
const CHECKED_STATES: usize = 1024;
const CHECKED_BYTES: usize = 1 << 20;
/// How many bytes may wait between two subtasks of a chain: so little that a
/// batch is still in the core's cache when the next subtask reads it.
const CHAINED_CAPACITY: usize = 64 << 10;

/// What a batch takes in a channel that is not out of the ordinary: what a source
/// makes of 64 KiB, with offsets and event times.
const ORDINARY_BATCH: usize = 96 << 10;

/// What deploying needs, and does not change from attempt to attempt.
#[derive(Debug)]
pub struct Deployer {
    /// Whose job it is.
    pub tenant: TenantId,
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
    /// Where chunks of a checkpoint are read.
    pub store: SharedStore,
    /// Who crashed since the last checkpoint.
    pub crashes: Mutex<CrashBook>,
    /// Whether crashes are kept, to be replayed.
    pub keeps_capsules: bool,
    /// What time it is.
    pub clock: Clock,
}

/// The channels of one subtask.
#[derive(Default)]
struct Wiring {
    gate: Option<Gate>,
    /// The input port of each channel of the gate.
    ports: Vec<u32>,
    /// How much of the slot's memory is set aside for all channels of the gate.
    set_aside: usize,
    outputs: Vec<(OutputPort, EdgeOutput)>,
}

/// A subtask that is ready to run.
enum Ready {
    Source(Box<SourceTask>),
    Operator(Box<OperatorTask>),
    Sink(Box<SinkTask>),
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
        let turns = self.pass().turns(Box::pin(work));
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
                let members: Vec<_> =
                    ids.filter_map(|id| Some((id, ready.remove(&id)?.run()))).collect();
                if !members.is_empty() {
                    let chain = self.pass().turns(Chain::new(members));
                    self.task_manager.workers.spawn(&mut tasks, chain);
                }
            }
        }
        tasks
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
    fn accounts(
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

    /// What a slot may log: what it has left.
    fn log_budget(&self, operator: &OperatorName, id: SubtaskId) -> LogBudget {
        self.logs.get(&id).cloned().unwrap_or_else(|| {
            LogBudget::new(Arc::from(operator.as_str()), id.index.0, self.clock.clone())
        })
    }

    /// The right to a turn for something of this job's.
    fn pass(&self) -> Pass {
        self.task_manager.gate.enter(&self.tenant, self.spec.job.priority)
    }

    /// Makes every channel of the plan.
    fn wire(&self) -> BTreeMap<SubtaskId, Wiring> {
        let mut wiring: BTreeMap<SubtaskId, Wiring> = BTreeMap::new();
        // Senders of each edge, by sending subtask, in the order of receivers.
        let mut senders: HashMap<(usize, u32), Vec<Sender>> = HashMap::new();
        for (i, vertex) in self.plan.vertices.iter().enumerate() {
            for index in 0..vertex.parallelism {
                let mut sources = Vec::new();
                for (e, edge) in self.plan.edges.iter().enumerate().filter(|(_, e)| e.to == i) {
                    sources.extend(self.senders_to(edge, index).map(|from| (e, from, edge.input)));
                }
                let chained = self.plan.edges.iter().any(|e| e.to == i && e.chained);
                let most = if chained { CHAINED_CAPACITY } else { usize::MAX };
                let share = match &vertex.role {
                    Role::Operator(spec, _) => AdmittedJob::queue_share(spec.memory, sources.len()),
                    Role::Source(_) | Role::Sink(_) => usize::MAX,
                };
                let capacity = self.spec.job.channel_capacity.min(most).min(share);
                let (gate, made) = channel::gate(sources.len(), capacity);
                let entry =
                    wiring.entry(SubtaskId { vertex: i, index: SubtaskIndex(index) }).or_default();
                entry.gate = Some(gate);
                // Each takes one batch more than its capacity.
                let most = capacity.saturating_add(ORDINARY_BATCH).min(share.max(capacity));
                entry.set_aside = most.saturating_mul(sources.len());
                entry.ports = sources.iter().map(|(_, _, port)| *port).collect();
                for ((e, from, _), sender) in sources.into_iter().zip(made) {
                    senders.entry((e, from)).or_default().push(sender);
                }
            }
        }
        for (e, edge) in self.plan.edges.iter().enumerate() {
            for from in 0..self.plan.vertices[edge.from].parallelism {
                let made = senders.remove(&(e, from)).unwrap_or_default();
                let id = SubtaskId { vertex: edge.from, index: SubtaskIndex(from) };
                let output = EdgeOutput::new(edge.exchange, made);
                wiring.entry(id).or_default().outputs.push((edge.port, output));
            }
        }
        wiring
    }

    /// The sending subtasks of an edge that subtask `to` hears.
    fn senders_to(&self, edge: &Edge, to: u32) -> std::ops::Range<u32> {
        match edge.exchange {
            Exchange::Forward => to..to + 1,
            Exchange::Hash(_) | Exchange::Rebalance => 0..self.plan.vertices[edge.from].parallelism,
        }
    }
}

impl Ready {
    fn run(self) -> Run {
        match self {
            Ready::Source(task) => Box::pin(task.run()),
            Ready::Operator(task) => Box::pin(task.run()),
            Ready::Sink(task) => Box::pin(task.run()),
        }
    }
}

/// Builds one subtask.
struct Builder<'a> {
    deployer: &'a Deployer,
    memory: &'a AdmittedJob,
    vertex: &'a Vertex,
    id: SubtaskId,
    saved: Option<&'a OperatorState>,
    from: Option<&'a Manifest>,
    wiring: Wiring,
    metrics: SharedMetrics,
    reporter: Reporter,
    commands: mpsc::Receiver<Command>,
    operator_commands: mpsc::Receiver<OperatorCommand>,
    guest_metrics: Arc<Mutex<GuestMetrics>>,
    emitted: &'a Arc<EmittedRecords>,
    job_rejected: &'a Arc<RejectedLimit>,
}

impl Builder<'_> {
    async fn build(&mut self) -> Result<(Part, Ready), Failure> {
        let vertex = self.vertex;
        let built = match &vertex.role {
            Role::Source(spec) => {
                self.source(spec).map(|t| (Part::Source, Ready::Source(Box::new(t))))
            }
            Role::Operator(spec, kind) => self
                .operator(spec, *kind)
                .await
                .map(|t| (Part::Operator, Ready::Operator(Box::new(t)))),
            Role::Sink(spec) => self.sink(spec).map(|t| (Part::Sink, Ready::Sink(Box::new(t)))),
        };
        built.map_err(|mut failure| {
            failure.message = format!("`{}`: {}", vertex.name, failure.message);
            failure
        })
    }

    fn context(&self) -> ConnectorContext {
        ConnectorContext { subtask: self.id.index.0, parallelism: self.vertex.parallelism }
    }

    fn outputs(&mut self) -> Outputs {
        let edges = std::mem::take(&mut self.wiring.outputs);
        Outputs::new(edges, self.metrics.clone(), self.vertex.name.as_str())
    }

    fn input(&mut self) -> Result<Input, Failure> {
        let gate = self.wiring.gate.take();
        let gate =
            gate.ok_or_else(|| Failure::new(FailureKind::HostBug, "a subtask has no gate"))?;
        let ports = std::mem::take(&mut self.wiring.ports);
        Ok(Input::new(gate, ports, self.restored_watermark()))
    }

    /// How far event time had come.
    fn restored_watermark(&self) -> i64 {
        common_watermark(self.saved.map_or(&[], |saved| &saved.subtasks))
    }

    fn commands(&mut self) -> mpsc::Receiver<Command> {
        std::mem::replace(&mut self.commands, mpsc::channel(1).1)
    }

    /// The saved state of this very subtask, if there were as many then.
    fn own_state(&self) -> Option<&SubtaskState> {
        let saved = self.saved?;
        let same = saved.subtasks.len() == self.vertex.parallelism as usize;
        if same { saved.subtasks.get(self.id.index.0 as usize) } else { None }
    }

    fn source(&mut self, spec: &SourceSpec) -> Result<SourceTask, Failure> {
        let positions: Option<SplitPositions> = self.saved.map(|saved| {
            let all = saved.subtasks.iter().flat_map(|s| &s.positions);
            all.map(|(split, at)| (split.clone(), at.clone())).collect()
        });
        let clock = &self.deployer.clock;
        let source =
            connectors::open_source(&spec.connector, self.context(), clock, positions.as_ref())
                .map_err(|e| failure(&e))?;
        let bound = i64::try_from(spec.max_out_of_orderness.as_millis()).unwrap_or(i64::MAX);
        let newest = match (self.own_state(), self.saved) {
            (Some(own), _) => own.newest,
            // Splits were divided anew: only what all had seen is sure.
            (None, Some(saved)) => {
                least(saved.subtasks.iter().filter(|s| !s.finished).map(|s| s.newest))
            }
            (None, None) => None,
        };
        Ok(SourceTask {
            source,
            outputs: self.outputs(),
            commands: self.commands(),
            reporter: self.reporter.clone(),
            metrics: self.metrics.clone(),
            watermarks: BoundedOutOfOrderness::restored(bound, newest),
            idle_timeout: spec.idle_timeout,
            emitted: self.emitted.clone(),
            own_rejected: RejectedLimit::new(spec.max_rejected),
            job_rejected: self.job_rejected.clone(),
            ingest: self.deployer.task_manager.ingest.of(&self.deployer.tenant),
            ticket: Ticket::default(),
        })
    }

    fn sink(&mut self, spec: &SinkSpec) -> Result<SinkTask, Failure> {
        let states: Option<Vec<Vec<u8>>> =
            self.saved.map(|saved| saved.subtasks.iter().filter_map(|s| s.sink.clone()).collect());
        let sink = connectors::open_sink(&spec.connector, self.context(), states.as_deref())
            .map_err(|e| failure(&e))?;
        Ok(SinkTask {
            sink,
            input: self.input()?,
            commands: self.commands(),
            reporter: self.reporter.clone(),
            metrics: self.metrics.clone(),
        })
    }

    async fn operator(
        &mut self,
        spec: &OperatorSpec,
        kind: OperatorKind,
    ) -> Result<OperatorTask, Failure> {
        let memory = self
            .memory
            .open_slot(&spec.name, self.id.index, self.wiring.set_aside)
            .map_err(|refused| out_of_memory("opening its slot", &refused))?;
        let suspect = self.is_suspect();
        let watch = Watch::new(spec.poison, suspect);
        let keeps_state = matches!(kind, OperatorKind::Processor { snapshot: true });
        let capsules = self.deployer.keeps_capsules;
        let since = self.from.map(|manifest| manifest.id);
        let recorder = Recorder::new(capsules && (keeps_state || suspect), since, spec.memory / 16);
        let operator = match kind {
            OperatorKind::Processor { .. } => {
                let (guest, restored) = self.processor(spec, memory.clone()).await?;
                let saves_memory = guest.saves_memory();
                let (keeps, on) = (keeps_state || saves_memory, watch.is_on());
                let watched = on && !saves_memory;
                let mut calls = Processing::new(guest, memory.clone(), keeps, watched, restored);
                if saves_memory {
                    calls.watch_memory(on).await?;
                }
                Operator::Processor(Box::new(ProcessorOperator { calls }))
            }
            OperatorKind::Keyed { .. } => {
                let maker = self.maker(spec, memory.clone());
                let instance = maker.open().await?;
                let mut guest = Guest::new(maker, instance);
                let state = self.keyed_state(spec, &memory).await?;
                self.check_states(&state, guest.instance()?).await?;
                let calls = Folding { guest, state, memory: memory.clone() };
                Operator::Keyed(Box::new(KeyedOperator::new(calls)))
            }
        };
        let was_finished = match (self.own_state(), self.saved) {
            (Some(own), _) => own.finished,
            (None, Some(saved)) => saved.subtasks.iter().all(|s| s.finished),
            (None, None) => false,
        };
        Ok(OperatorTask {
            operator,
            input: self.input()?,
            commands: std::mem::replace(&mut self.operator_commands, mpsc::channel(1).1),
            context: OperatorContext {
                name: format!("`{}` (subtask {})", self.vertex.name, self.id.index),
                memory,
                watch,
                recorder,
                capsules,
                outputs: self.outputs(),
                reporter: self.reporter.clone(),
                metrics: self.metrics.clone(),
                job_rejected: self.job_rejected.clone(),
                clock: self.deployer.clock.clone(),
                watermark: self.restored_watermark(),
                was_finished,
            },
        })
    }

    /// Whether this subtask crashed after the checkpoint that it starts from.
    fn is_suspect(&self) -> bool {
        let mut book = self.deployer.crashes.lock().unwrap_or_else(PoisonError::into_inner);
        book.deploy(self.id, self.from.map(|manifest| manifest.id))
    }

    fn maker(&self, spec: &OperatorSpec, memory: Arc<SlotMeter>) -> Maker {
        let deployer = self.deployer;
        let artifact = &deployer.artifacts[&spec.name];
        let (subtask, parallelism) = (self.id.index, self.vertex.parallelism);
        let accounts = deployer.accounts(self.id, &spec.name, memory, self.guest_metrics.clone());
        instances::maker(artifact, spec, subtask, parallelism, accounts)
    }

    /// The instance of an operator that may keep its own state, as it was at the
    /// checkpoint; and what it had exported there.
    async fn processor(
        &self,
        spec: &OperatorSpec,
        memory: Arc<SlotMeter>,
    ) -> Result<(Guest, Option<Vec<u8>>), Failure> {
        let maker = self.maker(spec, memory);
        let saved = self.guest_state()?;
        if let Some((state, _)) = saved {
            images::matches(state, spec).map_err(images::mismatch)?;
        }
        let (instance, restored) = match saved {
            Some((GuestState::Memory(image), manifest)) => {
                let fresh = maker.begin_restore().await?;
                let read = |digest| self.chunk(manifest, digest);
                (images::restore(fresh, image, read).await?, None)
            }
            Some((GuestState::Exported(chunk), manifest)) => {
                let mut instance = maker.open().await?;
                let snapshot = self.chunk(manifest, chunk.digest)?;
                instance.restore(&snapshot).await?;
                (instance, Some(snapshot))
            }
            None => (maker.open().await?, None),
        };
        Ok((Guest::new(maker, instance), restored))
    }

    /// Has another version of an operator say whether it can go on from the states that are
    /// there.
    async fn check_states(
        &self,
        state: &KeyedState,
        instance: &mut Instance,
    ) -> Result<(), Failure> {
        let artifact = &self.deployer.artifacts[&self.vertex.name];
        let saved = self.saved.and_then(|saved| saved.artifact);
        if saved.is_none() || saved == artifact.digest().parse().ok() {
            return Ok(());
        }
        for (keys, states) in state.columns(CHECKED_BYTES, CHECKED_STATES) {
            breathe().await;
            instance.check_states(&keys, &states).await.map_err(|mut failure| {
                if failure.kind == FailureKind::GuestError {
                    failure.kind = FailureKind::CheckpointFailure;
                    failure.message = format!(
                        "this version of the operator does not accept the state of another one: {}; \
                         nothing is changed: go on with that one ({}), or give the operator \
                         another name to begin without state",
                        failure.message,
                        saved.map_or_else(String::new, |digest| digest.to_string()),
                    );
                }
                failure
            })?;
        }
        Ok(())
    }

    /// What the guest left at the checkpoint.
    fn guest_state(&self) -> Result<Option<(&GuestState, &Manifest)>, Failure> {
        let Some(saved) = self.saved else { return Ok(None) };
        let with_state = saved.subtasks.iter().any(|s| s.guest.is_some());
        if with_state && self.own_state().is_none() {
            return Err(Failure::new(
                FailureKind::CheckpointFailure,
                format!(
                    "it keeps its own state, which cannot be divided: it had {} subtasks at the \
                     checkpoint and has {} now; set its parallelism back",
                    saved.subtasks.len(),
                    self.vertex.parallelism
                ),
            ));
        }
        Ok(self.own_state().and_then(|s| s.guest.as_ref()).zip(self.from))
    }

    async fn keyed_state(
        &self,
        spec: &OperatorSpec,
        memory: &SlotMeter,
    ) -> Result<KeyedState, Failure> {
        let groups = KeyGroups::new(self.deployer.plan.max_parallelism, self.vertex.parallelism);
        let windows = spec.window.as_ref().map(Windows::new);
        let mut state = KeyedState::new(windows, groups);
        if let (Some(saved), Some(manifest)) = (self.saved, self.from) {
            let own = groups.range_of(self.id.index.0);
            for (group, chunks) in &saved.key_groups {
                if !own.contains(&u32::from(group.0)) {
                    continue;
                }
                let mut contents = Vec::with_capacity(chunks.len());
                for chunk in chunks {
                    breathe().await;
                    contents.push(self.chunk(manifest, chunk.digest)?);
                }
                state.restore(*group, &contents)?;
                memory
                    .set(memory::Part::State, state.bytes())
                    .map_err(|refused| out_of_memory("restoring its state", &refused))?;
            }
        }
        Ok(state)
    }

    fn chunk(
        &self,
        manifest: &Manifest,
        digest: crate::checkpoint::ChunkDigest,
    ) -> Result<Vec<u8>, Failure> {
        let store = self.deployer.store.lock().unwrap_or_else(PoisonError::into_inner);
        store
            .chunk(manifest.id, digest)
            .map_err(|e| Failure::new(FailureKind::CheckpointFailure, e.to_string()))
    }
}
