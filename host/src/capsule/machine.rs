//! An operator with its state, outside of any job: takes what a subtask would take, and
//! gives what that would send on. The calls are the subtask's own
//! (`task_manager::processing` and `folding`). One begins where a capsule did, or with
//! nothing (`trial`).

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    capsule::{
        memory::GuestMemory,
        model::{Capsule, OperatorSettings},
    },
    catalog::{self, Located, shelf},
    clock::Clock,
    config::job::{ArtifactRef, Grant},
    failure::{Failure, FailureKind},
    ids::{OperatorName, TenantId},
    memory::SlotMeter,
    sandbox::{
        Artifact, CpuMeter, LoadError, LogBudget, Now, OperatorKind, Outcome, Sandbox,
        SlotSettings, artifact::digest_of,
    },
    state::{KeyedState, SeenState, windows::Windows},
    stream::{Batch, DeadLetter, keys::KeyGroups},
    task_manager::{
        folding::{Folding, records_of},
        gate::turn::breathe,
        guest::{Guest, Maker},
        poison::{Crashed as Found, Division},
        processing::Processing,
        recorder::Recorded,
        work::Work,
    },
};

/// How many key groups an operator has that is in no job; a job's default, too.
const DEFAULT_KEY_GROUPS: u32 = 128;
/// In what portions another version is asked whether it accepts the state.
const CHECKED_BYTES: usize = 1 << 20;
const CHECKED_STATES: usize = 10_000;

/// Why a component cannot be run by a capsule.
#[derive(Debug, thiserror::Error)]
pub enum NoComponent {
    /// The component that was run is nowhere.
    #[error(
        "the component that the capsule was taken of (`{artifact}`, SHA-256 {digest}) is neither \
         there nor among {searched}; name its directory with --artifacts DIR, or another build of it \
         with --with FILE"
    )]
    NotFound {
        /// As the job file had it.
        artifact: String,
        /// Its digest.
        digest: String,
        /// How many directories were searched, in words.
        searched: String,
    },
    /// A file cannot be read.
    #[error("cannot read {place}: {reason}")]
    Unreadable {
        /// Which.
        place: Located,
        /// What the system said.
        #[source]
        reason: std::io::Error,
    },
    /// It is refused.
    #[error("{place} is refused: {reason}")]
    Refused {
        /// Which.
        place: Located,
        /// Why.
        #[source]
        reason: LoadError,
    },
    /// It is another kind of operator.
    #[error("{place} is {found}, but the capsule is of {wanted}")]
    OtherKind {
        /// Which.
        place: Located,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

/// Finds the very component that was run, where the job file said, among the `.wasm` files of
/// `dirs`, and among what comes with the program.
///
/// # Errors
/// If it is not there.
pub fn find_component(
    settings: &OperatorSettings,
    dirs: &[PathBuf],
) -> Result<Located, NoComponent> {
    let named = if settings.artifact.contains('/') || settings.artifact.ends_with(".wasm") {
        Some(Located::File(PathBuf::from(&settings.artifact)))
    } else {
        let name = OperatorName::new(settings.artifact.clone()).ok();
        name.and_then(|name| catalog::locate(&ArtifactRef::Named(name), dirs))
    };
    let others = dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let others = others.map(|entry| entry.path());
    let wasm = others.filter(|path| path.extension().is_some_and(|e| e == "wasm"));
    let is_it = |place: &Located| {
        let known = match place {
            Located::File(path) => fs::metadata(path).ok().map(|metadata| metadata.len()),
            Located::Program(operator) => Some(operator.size),
        };
        known == Some(settings.size)
            && matches!(place.read(), Ok(Ok(bytes)) if digest_of(&bytes) == settings.digest)
    };
    let program = shelf::of_program().iter().map(|operator| Located::Program(operator.clone()));
    let found = named.into_iter().chain(wasm.map(Located::File)).chain(program).find(is_it);
    found.ok_or_else(|| NoComponent::NotFound {
        artifact: settings.artifact.clone(),
        digest: settings.digest.clone(),
        searched: match dirs.len() {
            1 => "the components of 1 directory".to_owned(),
            n => format!("the components of {n} directories"),
        },
    })
}

/// Loads a component that is to be run by a capsule.
///
/// # Errors
/// If it cannot be, or is another kind of operator than the capsule's.
pub fn load_component(
    sandbox: &Sandbox,
    place: Located,
    capsule: &Capsule,
) -> Result<Artifact, NoComponent> {
    let settings = &capsule.operator;
    let bytes = match place.read() {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(reason)) => return Err(NoComponent::Refused { place, reason }),
        Err(reason) => return Err(NoComponent::Unreadable { place, reason }),
    };
    let grants: Vec<Grant> = settings.grants.iter().filter_map(|g| Grant::named(g).ok()).collect();
    let loaded = match capsule.saves_memory() {
        true => sandbox.load_saving_memory(&bytes, &grants),
        false => sandbox.load(&bytes, &grants),
    };
    let artifact = match loaded {
        Ok(artifact) => artifact,
        Err(reason) => return Err(NoComponent::Refused { place, reason }),
    };
    let (found, wanted) = (kind(artifact.kind()), kind(settings.kind));
    if found == wanted {
        Ok(artifact)
    } else {
        Err(NoComponent::OtherKind { place, found, wanted })
    }
}

fn kind(kind: OperatorKind) -> &'static str {
    match kind {
        OperatorKind::Processor { .. } => "an operator without keyed state",
        OperatorKind::Keyed { .. } => "a keyed operator",
    }
}

/// An operator with its state.
#[derive(Debug)]
pub struct Machine {
    calls: Calls,
    memory: Arc<SlotMeter>,
    cpu: CpuMeter,
    most_memory: usize,
}

#[derive(Debug)]
enum Calls {
    Processor(Box<Processing>),
    Keyed(Box<Folding>),
}

/// What an event came to.
#[derive(Debug, Default, PartialEq)]
pub struct Step {
    /// Records by output port, in order.
    pub emissions: Vec<(u32, Batch)>,
    /// Rejected records, by their index in their call, and why.
    pub rejected: Vec<(u32, String)>,
    /// Records that were late, by their index in their call.
    pub late: Vec<u32>,
}

/// An event that crashed the guest.
#[derive(Debug)]
pub struct Crashed {
    /// How.
    pub failure: Failure,
    /// What the call was about, and when; none if it was about no record.
    pub work: Option<(Now, Work)>,
}

/// A record or timer that crashes the guest by itself.
#[derive(Debug)]
pub struct Culprit {
    /// Which of the call's, from 0.
    pub index: usize,
    /// The record, or what is left of the timer.
    pub letter: DeadLetter,
    /// How it crashes.
    pub failure: Failure,
}

impl From<Failure> for Crashed {
    fn from(failure: Failure) -> Self {
        Self { failure, work: None }
    }
}

impl Step {
    fn add(&mut self, outcome: Outcome) {
        self.emissions.extend(outcome.emissions);
        self.rejected.extend(outcome.rejected);
    }

    /// How many records were emitted.
    #[must_use]
    pub fn emitted(&self) -> usize {
        self.emissions.iter().map(|(_, batch)| batch.len()).sum()
    }
}

impl Machine {
    /// Opens an operator that has no state yet, in a slot that somebody made for it.
    ///
    /// # Errors
    /// As [`Artifact::instantiate`].
    pub async fn fresh(
        artifact: Artifact,
        slot: SlotSettings,
        windows: Option<Windows>,
    ) -> Result<Self, Failure> {
        let (kind, memory, cpu) = (artifact.kind(), slot.memory.clone(), slot.cpu.clone());
        let maker = Maker { artifact, settings: slot };
        let instance = maker.open().await?;
        let guest = Guest::new(maker, instance);
        let calls = match kind {
            OperatorKind::Processor { snapshot } => {
                let calls = Processing::new(guest, memory.clone(), snapshot, true, None);
                Calls::Processor(Box::new(calls))
            }
            OperatorKind::Keyed { .. } => {
                let state = KeyedState::new(windows, KeyGroups::new(DEFAULT_KEY_GROUPS, 1));
                Calls::Keyed(Box::new(Folding { guest, state, memory: memory.clone() }))
            }
        };
        let mut machine = Self { calls, memory, cpu, most_memory: 0 };
        machine.look_at_memory();
        Ok(machine)
    }

    /// Fires some of what is due: by the watermark, or by the clock. None if nothing is;
    /// else what came of it, and how many timers and windows were fired. An operator may
    /// set the next one for now again and again, so that there is no end to it.
    ///
    /// # Errors
    /// If it crashes the guest.
    pub async fn fire_some(
        &mut self,
        now: Now,
        by_clock: bool,
    ) -> Result<Option<(Step, usize)>, Crashed> {
        let Calls::Keyed(calls) = &mut self.calls else { return Ok(None) };
        let due = match (by_clock, now.watermark) {
            (true, _) => calls.state.due_processing(now.processing),
            (false, Some(watermark)) => calls.state.due(watermark),
            (false, None) => None,
        };
        let Some((due, groups)) = due else { return Ok(None) };
        let (mut step, fired) = (Step::default(), due.len());
        let result = fire(calls, &mut step, now, Work::Firings(due, Box::new(groups))).await;
        self.look_at_memory();
        result.map(|()| Some((step, fired)))
    }

    /// Charges the slot for the keyed state, which an event may have made larger.
    ///
    /// # Errors
    /// If that is more than it may hold.
    pub fn charge_state(&self) -> Result<(), Failure> {
        match &self.calls {
            Calls::Processor(_) => Ok(()),
            Calls::Keyed(calls) => calls.charge_state(),
        }
    }

    /// Bytes of its guest and of its state.
    #[must_use]
    pub fn memory(&self) -> usize {
        let state = match &self.calls {
            Calls::Processor(_) => 0,
            Calls::Keyed(calls) => calls.state.bytes(),
        };
        self.memory.usage().guest.saturating_add(state)
    }

    /// Opens the operator of a capsule, with its state. It gets the grants that it had,
    /// but no folder and no host.
    ///
    /// # Errors
    /// As [`Artifact::instantiate`]; if it does not take its state; if its state is the
    /// memory of another component.
    pub async fn start(artifact: Artifact, capsule: &Capsule) -> Result<Self, Failure> {
        let settings = &capsule.operator;
        let config = serde_json::from_str(&settings.config).map_err(|e| {
            Failure::new(FailureKind::HostBug, format!("the capsule's `config` is no JSON: {e}"))
        })?;
        let limit = usize::try_from(settings.memory).unwrap_or(usize::MAX);
        let memory = SlotMeter::alone(limit);
        let cpu = CpuMeter { work: Some(Arc::default()), caps: Vec::new() };
        let name: Arc<str> = Arc::from(settings.name.as_str());
        let slot = SlotSettings {
            tenant: TenantId::default(),
            memory: memory.clone(),
            deadline: Duration::from_millis(settings.deadline_millis),
            operator: name.clone(),
            subtask: settings.subtask,
            parallelism: settings.parallelism,
            inputs: settings.inputs,
            outputs: settings.outputs,
            config: Arc::new(config),
            metrics: Arc::default(),
            cpu: cpu.clone(),
            log: LogBudget::new(name, settings.subtask, Clock::default()),
            folders: Arc::from([]),
            http_hosts: Arc::from([]),
            http_roots: Arc::from([]),
        };
        let (kind, digest) = (artifact.kind(), artifact.digest().to_owned());
        let maker = Maker { artifact, settings: slot };
        let memory_then = match &capsule.memory {
            GuestMemory::Then(_) if digest != settings.digest => {
                return Err(other_memory(settings));
            }
            GuestMemory::Then(memory) => Some(memory.whole()),
            GuestMemory::Fresh | GuestMemory::NotSaved => None,
        };
        let mut instance = match &memory_then {
            Some(whole) => maker.begin_restore().await?.fill(whole).await?,
            None => maker.open().await?,
        };
        let calls = match kind {
            OperatorKind::Processor { .. } if capsule.saves_memory() => {
                let guest = Guest::new(maker, instance);
                Calls::Processor(Box::new(Processing::replaying(
                    guest,
                    memory.clone(),
                    memory_then,
                )))
            }
            OperatorKind::Processor { snapshot: keeps_state } => {
                let saved = capsule.state.guest.as_ref().map(|bytes| bytes.to_vec());
                if let Some(saved) = &saved {
                    instance.restore(saved).await?;
                }
                let guest = Guest::new(maker, instance);
                let calls = Processing::new(guest, memory.clone(), keeps_state, true, saved);
                Calls::Processor(Box::new(calls))
            }
            OperatorKind::Keyed { .. } => {
                let groups = KeyGroups::new(settings.max_parallelism, settings.parallelism);
                let mut state = KeyedState::new(settings.windows, groups);
                for (group, chunks) in &capsule.state.keyed {
                    state.restore(*group, chunks)?;
                }
                if digest != settings.digest {
                    // As a job would: another version may refuse the state.
                    for (keys, states) in state.columns(CHECKED_BYTES, CHECKED_STATES) {
                        instance.check_states(&keys, &states).await?;
                    }
                }
                let guest = Guest::new(maker, instance);
                Calls::Keyed(Box::new(Folding { guest, state, memory: memory.clone() }))
            }
        };
        let mut machine = Self { calls, memory, cpu, most_memory: 0 };
        machine.look_at_memory();
        Ok(machine)
    }

    /// Takes an event.
    ///
    /// # Errors
    /// If it crashes the guest.
    pub async fn step(&mut self, event: &Recorded) -> Result<Step, Crashed> {
        let stepped = match &mut self.calls {
            Calls::Processor(calls) => step_processor(calls, event).await,
            Calls::Keyed(calls) => step_keyed(calls, event).await,
        };
        self.look_at_memory();
        stepped
    }

    fn look_at_memory(&mut self) {
        self.most_memory = self.most_memory.max(self.memory());
    }

    /// Which records or timers of a call that crashed do so by themselves, each tried in
    /// a fresh sandbox with the state that it would have found. The rest is taken. Says
    /// too whether all were found.
    ///
    /// # Errors
    /// If the guest cannot be brought back to where it was before the call.
    pub async fn culprits(
        &mut self,
        now: Now,
        work: &Work,
    ) -> Result<(Vec<Culprit>, bool), Failure> {
        let mut division = Division::new(work.len());
        let mut culprits = Vec::new();
        self.renew().await?;
        while let Some(part) = division.next() {
            let tried = match (&mut self.calls, work) {
                (Calls::Processor(calls), Work::Batch(port, batch)) => {
                    let records = batch.slice(part);
                    let processed = calls.process(*port, &records).await;
                    if processed.is_ok() {
                        calls.came_on(*port, &records).await?;
                    }
                    processed.map(drop)
                }
                (Calls::Keyed(calls), Work::Batch(port, batch)) => {
                    calls.fold(now, *port, &batch.slice(part)).await.map(drop)
                }
                (Calls::Keyed(calls), Work::Firings(due, groups)) => {
                    let (due, groups) = calls.state.again(due, groups, part);
                    calls.fire(now, &due, &groups, &records_of(&due, &groups)).await.map(drop)
                }
                (Calls::Processor(_), Work::Firings(..)) => Ok(()),
            };
            let Err(failure) = tried else {
                division.passed();
                continue;
            };
            self.renew().await?;
            match division.crashed(&failure) {
                Ok(Found::Divided) => {}
                Ok(Found::Poison(index)) => {
                    let letter = work.letter(index, &failure);
                    culprits.push(Culprit { index, letter, failure });
                }
                Err(_) => return Ok((culprits, false)),
            }
        }
        Ok((culprits, true))
    }

    /// Has a fresh instance go on with the state of this one, as after a restart: keyed state is
    /// not the instance's; one without it says what it is to remember.
    ///
    /// # Errors
    /// If it cannot say that, or the fresh one does not take it.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        if let Calls::Processor(calls) = &mut self.calls {
            calls.snapshot(true).await?;
        }
        self.renew().await
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        match &mut self.calls {
            Calls::Processor(calls) => calls.renew().await,
            Calls::Keyed(calls) => calls.guest.renew().await,
        }
    }

    /// How long its guests have run, in nanoseconds.
    #[must_use]
    pub fn guest_nanos(&self) -> u64 {
        self.cpu.total_nanos()
    }

    /// How much fuel they used; 0 where fuel is not counted.
    #[must_use]
    pub fn guest_fuel(&self) -> u64 {
        self.cpu.total_fuel()
    }

    /// The most bytes that its guest and its state have taken together, looked at after
    /// each event.
    #[must_use]
    pub fn most_memory(&self) -> usize {
        self.most_memory
    }

    /// How many keys (and windows) its state has, and how many bytes; none if it is not
    /// keyed.
    #[must_use]
    pub fn state_size(&self) -> Option<(usize, usize)> {
        match &self.calls {
            Calls::Processor(_) => None,
            Calls::Keyed(calls) => Some((calls.state.len(), calls.state.bytes())),
        }
    }

    /// Its keyed state; none if it is not keyed.
    #[must_use]
    pub fn keyed_state(&self) -> Option<SeenState> {
        match &self.calls {
            Calls::Processor(_) => None,
            Calls::Keyed(calls) => Some(calls.state.look()),
        }
    }

    /// What a guest that keeps its own state says of it.
    ///
    /// # Errors
    /// As the call.
    pub async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match &mut self.calls {
            Calls::Processor(calls) => calls.snapshot(true).await,
            Calls::Keyed(_) => Ok(None),
        }
    }
}

fn other_memory(settings: &OperatorSettings) -> Failure {
    let what = format!(
        "the capsule holds what the component {} had in its memory (`state = \"memory\"`), which means \
         nothing to another one: replay it with that one",
        settings.digest
    );
    Failure::new(FailureKind::BadArtifact, what)
}

async fn step_processor(calls: &mut Processing, event: &Recorded) -> Result<Step, Crashed> {
    let mut step = Step::default();
    match event {
        Recorded::Batch { port, now, batch } => match calls.process(*port, batch).await {
            Ok(outcome) => {
                step.add(outcome);
                calls.came_on(*port, batch).await?;
            }
            Err(failure) => {
                let work = Some((*now, Work::Batch(*port, batch.clone())));
                return Err(Crashed { failure, work });
            }
        },
        Recorded::Finish => step.add(calls.finish().await?),
        Recorded::Watermark { .. } | Recorded::Clock { .. } => {}
    }
    Ok(step)
}

async fn step_keyed(calls: &mut Folding, event: &Recorded) -> Result<Step, Crashed> {
    let mut step = Step::default();
    match event {
        Recorded::Batch { port, now, batch } => match calls.fold(*now, *port, batch).await {
            Ok(folded) => {
                step.late = folded.late;
                step.add(folded.outcome);
                if let Some((due, groups)) = folded.again {
                    let work = Work::Firings(due, Box::new(groups));
                    fire(calls, &mut step, *now, work).await?;
                }
            }
            Err(failure) => {
                let work = Some((*now, Work::Batch(*port, batch.clone())));
                return Err(Crashed { failure, work });
            }
        },
        Recorded::Watermark { now } => {
            while let Some((due, groups)) = now.watermark.and_then(|w| calls.state.due(w)) {
                fire(calls, &mut step, *now, Work::Firings(due, Box::new(groups))).await?;
                breathe().await;
            }
        }
        Recorded::Clock { now } => {
            if let Some((due, groups)) = calls.state.due_processing(now.processing) {
                fire(calls, &mut step, *now, Work::Firings(due, Box::new(groups))).await?;
            }
        }
        Recorded::Finish => {}
    }
    Ok(step)
}

async fn fire(calls: &mut Folding, step: &mut Step, now: Now, work: Work) -> Result<(), Crashed> {
    let Work::Firings(due, groups) = &work else { return Ok(()) };
    match calls.fire(now, due, groups, &records_of(due, groups)).await {
        Ok(outcome) => {
            step.add(outcome);
            Ok(())
        }
        Err(failure) => Err(Crashed { failure, work: Some((now, work)) }),
    }
}
