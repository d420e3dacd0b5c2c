//! One store with one operator instance, and the calls into it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use wasmtime::{
    Store, UpdateDeadline,
    component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, TypedFunc},
};

use crate::{
    config::job::{FolderGrant, HttpHost},
    failure::{Failure, FailureKind},
    ids::TenantId,
    memory::SlotMeter,
    sandbox::{
        Artifact, LogBudget, abi,
        capabilities::{GuestMetrics, SlotState},
        memory_snapshot::{MemoryAccess, Restoring},
        meter::{self, CallClock, CpuMeter},
        outcome, trap,
    },
    state::{Change, Firing, FiringKind, Groups, sessions::MergePairs},
    stream::{Batch, Column},
};

/// What a slot gives to the instance in it.
#[derive(Debug, Clone)]
pub struct SlotSettings {
    /// Whose operator it is.
    pub tenant: TenantId,
    /// What linear memories and tables are charged to.
    pub memory: Arc<SlotMeter>,
    /// How long the guest may take for one call: the time that it runs, and that it
    /// waits for something that it asked for; not the time that others make it wait.
    pub deadline: Duration,
    /// The operator's name in the job.
    pub operator: Arc<str>,
    /// Which parallel instance, from 0.
    pub subtask: u32,
    /// How many there are.
    pub parallelism: u32,
    /// How many inputs are connected.
    pub inputs: u32,
    /// How many output ports have names.
    pub outputs: u32,
    /// The operator's configuration.
    pub config: Arc<serde_json::Map<String, serde_json::Value>>,
    /// Where the operator's own metrics are kept.
    pub metrics: Arc<Mutex<GuestMetrics>>,
    /// Who counts the time that the guest runs.
    pub cpu: CpuMeter,
    /// What it may log.
    pub log: LogBudget,
    /// What it may read of this machine's files, if it was granted to see any.
    pub folders: Arc<[FolderGrant]>,
    /// Where it may send HTTP requests to, if it was granted to send any.
    pub http_hosts: Arc<[HttpHost]>,
    /// Certificates that it trusts there, besides those that everybody trusts.
    pub http_roots: Arc<[CertificateDer<'static>]>,
}

/// What an operator made of a call, checked.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Records by output port, in the order in which they were emitted.
    pub emissions: Vec<(u32, Batch)>,
    /// Indexes of rejected records, each once, and why.
    pub rejected: Vec<(u32, String)>,
}

/// What a keyed operator made of a call. The change is not checked yet.
#[derive(Debug, Default)]
pub struct FoldOutcome {
    /// Emissions and rejections.
    pub outcome: Outcome,
    /// What to change in the state.
    pub change: Change,
}

impl Outcome {
    /// Bytes that it takes; columns of the call's records that were passed on
    /// count again.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let emitted: usize = self.emissions.iter().map(|(_, batch)| batch.bytes()).sum();
        let reasons = self.rejected.iter().map(|(_, reason)| reason.len());
        emitted + self.rejected.len() * size_of::<(u32, String)>() + reasons.sum::<usize>()
    }
}

impl FoldOutcome {
    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.outcome.bytes() + self.change.bytes()
    }
}

/// What time it is for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The watermark, once there is one.
    pub watermark: Option<i64>,
    /// Milliseconds since 1970.
    pub processing: i64,
}

type Answer<T> = (Result<T, String>,);
type Open = TypedFunc<(abi::Context<'static>,), Answer<()>>;

/// An operator instance in its sandbox. After a failure that was not the
/// guest's own `err`, it is done for: drop it.
pub struct Instance {
    /// Access to its memory, if that is saved. Dropped before the memory is.
    pub(super) memory_access: Option<Box<MemoryAccess>>,
    pub(super) store: Store<SlotState>,
    calls: Calls,
    pub(super) clock: Arc<CallClock>,
    pub(super) cpu: CpuMeter,
    /// Whether fuel is counted.
    pub(super) fuel: bool,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("memory", &self.memory()).finish_non_exhaustive()
    }
}

enum Calls {
    Processor {
        process: TypedFunc<(u32, abi::BatchIn<'static>), Answer<abi::OutcomeOut>>,
        finish: TypedFunc<(), Answer<abi::OutcomeOut>>,
        #[expect(clippy::type_complexity, reason = "the two go together")]
        snapshot: Option<(TypedFunc<(), Answer<Vec<u8>>>, TypedFunc<(&'static [u8],), Answer<()>>)>,
    },
    Keyed {
        fold: TypedFunc<
            (abi::Time, u32, abi::BatchIn<'static>, abi::GroupsIn<'static>),
            Answer<abi::FoldOutcomeOut>,
        >,
        fire: TypedFunc<
            (abi::Time, abi::FiringsIn<'static>, abi::GroupsIn<'static>),
            Answer<abi::FoldOutcomeOut>,
        >,
        merge: Option<
            TypedFunc<
                (abi::ColumnIn<'static>, abi::ColumnIn<'static>, abi::ColumnIn<'static>),
                Answer<abi::ColumnOut>,
            >,
        >,
        check: Option<TypedFunc<(abi::ColumnIn<'static>, abi::ColumnIn<'static>), Answer<()>>>,
    },
}

impl Artifact {
    /// Makes an instance and opens it.
    ///
    /// # Errors
    /// If the component's start fails, its functions have wrong types, its `open`
    /// refuses, usually because of the configuration, or a folder cannot be opened.
    pub async fn instantiate(&self, settings: &SlotSettings) -> Result<Instance, Failure> {
        let (mut instance, open) = self.start(settings).await?;
        let context = abi::Context {
            operator: &settings.operator,
            subtask: settings.subtask,
            parallelism: settings.parallelism,
            inputs: settings.inputs,
            outputs: settings.outputs,
        };
        instance.call(&open, (context,), "open").await?;
        Ok(instance)
    }

    /// Makes an instance whose memory will be what it was in another one, which was
    /// opened: this one is not.
    ///
    /// # Errors
    /// If the component's start fails, or its memory cannot be reached.
    pub async fn restore_memory(&self, settings: &SlotSettings) -> Result<Restoring, Failure> {
        let (instance, _) = self.start(settings).await?;
        Restoring::new(instance)
    }

    async fn start(&self, settings: &SlotSettings) -> Result<(Instance, Open), Failure> {
        let mut store = Store::new(self.pre.engine(), SlotState::new(settings)?);
        store.limiter(|state| &mut state.limits);
        let clock = Arc::new(CallClock::new(settings.cpu.is_measured()));
        let (of_callback, deadline) = (clock.clone(), settings.deadline);
        store.epoch_deadline_callback(move |_| {
            if of_callback.epoch(deadline) {
                return Err(trap::DeadlineReached.into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        begin_call(&mut store, &clock);
        if self.fuel {
            // Refused only where fuel is not counted.
            let _ = store.set_fuel(FUEL);
        }
        let started = self.pre.instantiate_async(&mut store);
        let started = meter::metered(started, &clock, &settings.cpu, deadline).await;
        if self.fuel {
            count_fuel(&mut store, &settings.cpu);
        }
        let instance = started.map_err(|e| trap::classify(&e, store.data(), "instantiate"))?;
        let wrong_type = |e: wasmtime::Error| {
            Failure::new(
                FailureKind::BadArtifact,
                format!("a function has another type than the contract says: {e:#}"),
            )
        };
        let memory_access = self.memory.as_ref().map(|exports| {
            let (meter, watch) = (settings.memory.clone(), self.watch.clone());
            MemoryAccess::new(exports, &mut store, instance, meter, watch).map(Box::new)
        });
        let memory_access = memory_access.transpose().map_err(wrong_type)?;
        let mut find = Finder { store: &mut store, instance };
        let (open, calls) = find.calls(self.exports).map_err(wrong_type)?;
        let (cpu, fuel) = (settings.cpu.clone(), self.fuel);
        Ok((Instance { memory_access, store, calls, clock, cpu, fuel }, open))
    }
}

struct Finder<'a> {
    store: &'a mut Store<SlotState>,
    instance: wasmtime::component::Instance,
}

impl Finder<'_> {
    fn func<P, R>(&mut self, index: ComponentExportIndex) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.instance.get_typed_func(&mut *self.store, index)
    }

    fn calls(&mut self, exports: super::artifact::Exports) -> wasmtime::Result<(Open, Calls)> {
        use super::artifact::Exports;
        Ok(match exports {
            Exports::Processor { open, process, finish, snapshot } => {
                let snapshot = match snapshot {
                    Some((take, restore)) => Some((self.func(take)?, self.func(restore)?)),
                    None => None,
                };
                let calls = Calls::Processor {
                    process: self.func(process)?,
                    finish: self.func(finish)?,
                    snapshot,
                };
                (self.func(open)?, calls)
            }
            Exports::Keyed { open, fold, fire, merge, check } => {
                let merge = merge.map(|index| self.func(index)).transpose()?;
                let check = check.map(|index| self.func(index)).transpose()?;
                let (fold, fire) = (self.func(fold)?, self.func(fire)?);
                let calls = Calls::Keyed { fold, fire, merge, check };
                (self.func(open)?, calls)
            }
        })
    }
}

pub(super) fn begin_call(store: &mut Store<SlotState>, clock: &CallClock) {
    store.data_mut().begin_call();
    clock.begin();
    store.set_epoch_deadline(1);
}

/// More fuel than an instance can use in its life: it is counted, and never runs out.
const FUEL: u64 = 1 << 62;

/// Counts the fuel that an instance has used since it was last looked at. There is
/// none where the engine does not count it.
pub(super) fn count_fuel(store: &mut Store<SlotState>, cpu: &CpuMeter) {
    if let Ok(left) = store.get_fuel() {
        cpu.count_fuel(FUEL.saturating_sub(left));
    }
    // Refused for the same reason.
    let _ = store.set_fuel(FUEL);
}

impl Instance {
    /// Bytes of linear memory and tables.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.store.data().limits.held()
    }

    async fn call<P, T>(
        &mut self,
        function: &TypedFunc<P, Answer<T>>,
        params: P,
        name: &str,
    ) -> Result<T, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        T: Send + Sync + 'static,
        Answer<T>: ComponentNamedList + Lift + Send + Sync,
    {
        begin_call(&mut self.store, &self.clock);
        let deadline = self.store.data().deadline;
        let called = function.call_async(&mut self.store, params);
        let ended = meter::metered(called, &self.clock, &self.cpu, deadline).await;
        if self.fuel {
            count_fuel(&mut self.store, &self.cpu);
        }
        match ended {
            Ok((Ok(answer),)) => Ok(answer),
            Ok((Err(said),)) => Err(trap::classify_said(&said, self.store.data(), name)),
            Err(error) => Err(trap::classify(&error, self.store.data(), name)),
        }
    }

    /// Processes a batch.
    ///
    /// # Errors
    /// As classified. After any but [`FailureKind::GuestError`] the instance is
    /// done for.
    pub async fn process(&mut self, input: u32, batch: &Batch) -> Result<Outcome, Failure> {
        let Calls::Processor { process, .. } = self.calls else {
            return Err(wrong_kind("process"));
        };
        let raw = self.call(&process, (input, batch_in(batch)), "process").await?;
        outcome::decode(raw, batch)
    }

    /// The input has ended.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn finish(&mut self) -> Result<Outcome, Failure> {
        let Calls::Processor { finish, .. } = self.calls else { return Err(wrong_kind("finish")) };
        let raw = self.call(&finish, (), "finish").await?;
        outcome::decode(raw, &Batch::default())
    }

    /// What a later instance needs to go on from here; nothing if the operator
    /// cannot say.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Calls::Processor { snapshot: Some((take, _)), .. } = self.calls else {
            return Ok(None);
        };
        self.call(&take, (), "snapshot").await.map(Some)
    }

    /// Goes on from a snapshot; to be called before the first batch.
    ///
    /// # Errors
    /// As [`process`](Self::process); if the operator has no `restore`.
    pub async fn restore(&mut self, snapshot: &[u8]) -> Result<(), Failure> {
        let Calls::Processor { snapshot: Some((_, restore)), .. } = self.calls else {
            return Err(Failure::new(
                FailureKind::BadArtifact,
                "the checkpoint holds state of this operator, but it exports no `restore` any more",
            ));
        };
        self.call(&restore, (snapshot,), "restore").await
    }

    /// Folds a batch into the states of its groups.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn fold(
        &mut self,
        now: Now,
        input: u32,
        batch: &Batch,
        groups: &Groups,
    ) -> Result<FoldOutcome, Failure> {
        let Calls::Keyed { fold, .. } = self.calls else { return Err(wrong_kind("fold")) };
        let params = (time(now), input, batch_in(batch), groups_in(groups));
        let raw = self.call(&fold, params, "fold").await?;
        outcome::decode_fold(raw, batch)
    }

    /// Hands over what is due. `records` are the firings as records, which
    /// emissions refer to.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn fire(
        &mut self,
        now: Now,
        due: &[Firing],
        groups: &Groups,
        records: &Batch,
    ) -> Result<FoldOutcome, Failure> {
        let Calls::Keyed { fire, .. } = self.calls else { return Err(wrong_kind("fire")) };
        let kinds: Vec<_> = due.iter().map(|f| firing_kind(f.kind)).collect();
        let times: Vec<_> = due.iter().map(|f| f.at).collect();
        let firings = abi::FiringsIn { kinds: &kinds, times: &times };
        let raw = self.call(&fire, (time(now), firings, groups_in(groups)), "fire").await?;
        outcome::decode_fold(raw, records)
    }

    /// Merges states of sessions.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub async fn merge(&mut self, pairs: &MergePairs) -> Result<Column, Failure> {
        let Calls::Keyed { merge: Some(merge), .. } = self.calls else {
            return Err(wrong_kind("merge"));
        };
        let params = (column_in(&pairs.keys), column_in(&pairs.left), column_in(&pairs.right));
        let raw = self.call(&merge, params, "merge").await?;
        outcome::required_column("merged states", raw)
    }

    /// Has the operator check states that another version of it left, by key. One that
    /// cannot accepts them all.
    ///
    /// # Errors
    /// [`FailureKind::GuestError`] if it refuses them; else as [`process`](Self::process).
    pub async fn check_states(&mut self, keys: &Column, states: &Column) -> Result<(), Failure> {
        let Calls::Keyed { check: Some(check), .. } = self.calls else { return Ok(()) };
        self.call(&check, (column_in(keys), column_in(states)), "check").await
    }
}

/// The driver calls only what the artifact's kind has.
fn wrong_kind(function: &str) -> Failure {
    Failure::new(
        FailureKind::HostBug,
        format!("`{function}` was called on the wrong kind of operator"),
    )
}

fn column_in(column: &Column) -> abi::ColumnIn<'_> {
    abi::ColumnIn { data: column.data(), offsets: column.offsets() }
}

const ABSENT: abi::ColumnIn<'static> = abi::ColumnIn { data: &[], offsets: &[] };

fn batch_in(batch: &Batch) -> abi::BatchIn<'_> {
    abi::BatchIn {
        // Offsets are 32 bits, so a batch that has any column has fewer records.
        len: u32::try_from(batch.len()).unwrap_or(u32::MAX),
        keys: batch.keys().map_or(ABSENT, |c| column_in(c)),
        values: batch.values().map_or(ABSENT, |c| column_in(c)),
        timestamps: batch.timestamps().map_or(&[], |t| t.as_slice()),
    }
}

fn groups_in(groups: &Groups) -> abi::GroupsIn<'_> {
    abi::GroupsIn {
        keys: column_in(&groups.keys),
        states: column_in(&groups.states),
        window_starts: &groups.window_starts,
        window_ends: &groups.window_ends,
        rows: &groups.rows,
        row_offsets: &groups.row_offsets,
    }
}

fn time(now: Now) -> abi::Time {
    abi::Time { watermark: now.watermark, processing: now.processing }
}

fn firing_kind(kind: FiringKind) -> abi::FiringKind {
    match kind {
        FiringKind::Window => abi::FiringKind::Window,
        FiringKind::Event => abi::FiringKind::Event,
        FiringKind::Processing => abi::FiringKind::Processing,
    }
}
