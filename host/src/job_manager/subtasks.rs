//! Makes one subtask: its connector or instance, its input and outputs, and what a
//! checkpoint holds of it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::{
    checkpoint::{GuestState, Manifest, OperatorState, StoreError, SubtaskState, verify::way_out},
    config::job::{OperatorSpec, SinkSpec, SourceSpec, StateKeeping},
    connectors::{self, ConnectorContext, SplitPositions},
    failure::{Failure, FailureKind},
    job_manager::{
        coordinator::Part,
        deploy::Deployer,
        images, instances,
        plan::{Role, Vertex},
        restored::{common_watermark, least},
        wiring::Wiring,
    },
    memory::{self, AdmittedJob, SlotMeter},
    metrics::SharedMetrics,
    sandbox::{GuestMetrics, Instance, OperatorKind},
    state::{KeyedState, windows::Windows},
    stream::{keys::KeyGroups, watermark::BoundedOutOfOrderness},
    task_manager::{
        Command, Reporter, SubtaskId,
        chain::Run,
        folding::Folding,
        gate::turn::breathe,
        guest::{Guest, Maker},
        input::Input,
        keyed_task::KeyedOperator,
        operator_task::{Idleness, Operator, OperatorContext, OperatorTask, out_of_memory},
        output::Outputs,
        poison::Watch,
        processing::Processing,
        processor_task::ProcessorOperator,
        recorder::Recorder,
        relocation::OperatorCommand,
        sink_task::SinkTask,
        source_task::{EmittedRecords, RejectedLimit, SourceTask, failure},
        traces::{CallTrace, SourceTrace},
    },
    tenancy::ingest::Ticket,
};

/// How much state another version of an operator is asked about in one call.
const CHECKED_STATES: usize = 1024;
const CHECKED_BYTES: usize = 1 << 20;

/// A subtask that is ready to run.
pub(super) enum Ready {
    Source(Box<SourceTask>),
    Operator(Box<OperatorTask>),
    Sink(Box<SinkTask>),
}

impl Ready {
    pub(super) fn run(self) -> Run {
        match self {
            Ready::Source(task) => Box::pin(task.run()),
            Ready::Operator(task) => Box::pin(task.run()),
            Ready::Sink(task) => Box::pin(task.run()),
        }
    }
}

/// Builds one subtask.
pub(super) struct Builder<'a> {
    pub(super) deployer: &'a Deployer,
    pub(super) memory: &'a AdmittedJob,
    pub(super) vertex: &'a Vertex,
    pub(super) id: SubtaskId,
    pub(super) saved: Option<&'a OperatorState>,
    pub(super) from: Option<&'a Manifest>,
    pub(super) wiring: Wiring,
    pub(super) metrics: SharedMetrics,
    pub(super) reporter: Reporter,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) operator_commands: mpsc::Receiver<OperatorCommand>,
    pub(super) guest_metrics: Arc<Mutex<GuestMetrics>>,
    pub(super) emitted: &'a Arc<EmittedRecords>,
    pub(super) job_rejected: &'a Arc<RejectedLimit>,
}

impl Builder<'_> {
    pub(super) async fn build(&mut self) -> Result<(Part, Ready), Failure> {
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
        let tap = self.deployer.watching.taps.of(&self.vertex.name);
        Outputs::new(edges, self.metrics.clone(), self.vertex.name.as_str(), tap)
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
        let log = self.deployer.intakes.get(&spec.name);
        let (context, positions) = (self.context(), positions.as_ref());
        let source = connectors::open_source(&spec.connector, context, clock, log, positions)
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
            trace: SourceTrace::new(self.deployer.trace(self.id)),
        })
    }

    fn sink(&mut self, spec: &SinkSpec) -> Result<SinkTask, Failure> {
        let states: Option<Vec<Vec<u8>>> =
            self.saved.map(|saved| saved.subtasks.iter().filter_map(|s| s.sink.clone()).collect());
        let around = (&self.deployer.clock, self.emitted.due.clone());
        let (context, states) = (self.context(), states.as_deref());
        let sink = connectors::open_sink(&spec.connector, &spec.name, context, around, states)
            .map_err(|e| failure(&e))?;
        Ok(SinkTask {
            sink,
            input: self.input()?,
            commands: self.commands(),
            reporter: self.reporter.clone(),
            metrics: self.metrics.clone(),
            trace: self.deployer.trace(self.id),
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
        let recorded = keeps_state || suspect || spec.state == Some(StateKeeping::Memory);
        let recorder = Recorder::new(capsules && recorded, since, spec.memory / 16);
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
        let work = self.deployer.meters.get(&self.id).and_then(|meter| meter.work.clone());
        Ok(OperatorTask {
            operator,
            input: self.input()?,
            commands: std::mem::replace(&mut self.operator_commands, mpsc::channel(1).1),
            idleness: Idleness::after(self.deployer.task_manager.idle_after),
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
                trace: CallTrace::new(
                    self.deployer.trace(self.id),
                    work,
                    self.deployer.log_budget(&spec.name, self.id),
                ),
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
        store.chunk(manifest.id, digest).map_err(|e| {
            let what_to_do = match &e {
                StoreError::DamagedChunk { id, .. } => format!("; {}", way_out(&**store, *id)),
                _ => String::new(),
            };
            Failure::new(FailureKind::CheckpointFailure, format!("{e}{what_to_do}"))
        })
    }
}
