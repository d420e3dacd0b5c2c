//! What has to be there before a job can ask for slots: its TaskManager, artifacts,
//! plan, the store, and the checkpoint to go on from.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    catalog::{self, Catalog, CatalogError},
    checkpoint::{
        CheckpointStore, Manifest, file, memory_store::MemoryStore, sled_store::SledStore,
        verify::way_out,
    },
    clock::Clock,
    config::{
        OperatorFault,
        job::{CpuShare, JobSpec, OperatorSpec, StateKeeping},
    },
    ids::{ArtifactDigest, JobId, JobName, OperatorName, SubtaskIndex, TenantId},
    job_manager::{
        capsules,
        control::{Outcome, RunOptions, SlotLimits},
        deploy::Deployer,
        disk::JobDisk,
        failures::KeptFailures,
        images, placement,
        plan::{Plan, Role},
        regions::Regions,
        status::PastFailure,
        trimmer::Trimmer,
        writer::{SharedStore, Writer},
    },
    sandbox::{Artifact, CpuMeter, LoadError, LogBudget, OfJob, OperatorKind},
    task_manager::{SubtaskId, TaskManager, TaskManagerSettings, traces::InSlot},
    tenancy::{book::EnteredJob, usage::ledger::Ledger},
    watching::log_book::LogBook,
};

/// A job that is ready to be deployed.
#[derive(Debug)]
pub struct Prepared {
    /// Puts it into slots.
    pub deployer: Arc<Deployer>,
    /// Writes its checkpoints.
    pub writer: Writer,
    /// The checkpoint to go on from.
    pub resumed: Option<Manifest>,
    /// Where its usage is recorded.
    pub usage: Option<Ledger>,
    /// Where its state is kept, if it outlives the process.
    pub state: Option<PathBuf>,
    /// Where crash capsules go.
    pub capsules: Option<PathBuf>,
    /// How it failed in earlier processes.
    pub failures: VecDeque<PastFailure>,
    /// Whether its TaskManager is its own, with as many slots as it needs.
    own_slots: bool,
    /// What of its tenant's quotas it takes for as long as it lives.
    _entered: EnteredJob,
}

/// Loads, plans and opens.
///
/// # Errors
/// As an outcome that says why the job cannot start.
pub fn prepare(spec: JobSpec, options: &RunOptions, clock: Clock) -> Result<Prepared, Outcome> {
    let cannot = |error: String| Outcome::CannotStart { error };
    let loaded = load(&spec, options).map_err(cannot)?;
    let plan = loaded.plan(&spec).map_err(cannot)?;
    let Loaded { task_manager, artifacts, .. } = loaded;
    let entered = enter(&options.tenant, &artifacts, &task_manager).map_err(cannot)?;
    let mut store = open_store(options.state.as_deref())?;
    if let Some(path) = &options.from_savepoint {
        take_savepoint(&mut *store, path)?;
    }
    let mut resumed = find_checkpoint(&*store, &spec, &plan)?;
    if let Some(manifest) = &mut resumed {
        drop_non_restored(manifest, &plan, options.allow_non_restored_state)?;
        images::check(manifest, &plan, &artifacts)
            .map_err(|error| Outcome::StateUnusable { error })?;
    }
    let owner = store
        .own(&format!("running the job `{}`", spec.job.name))
        .map_err(|e| Outcome::StateUnusable { error: e.to_string() })?;
    let job = options.id.map_or_else(|| spec.job.name.to_string(), |id| id.to_string());
    let disk = options.state.as_ref();
    let disk = disk.map(|state| JobDisk::new(&task_manager.disk, &options.tenant, &job, state));
    if let Some(disk) = &disk {
        disk.measure_checkpoints(&*store);
        disk.measure_savepoints();
    }
    let store: SharedStore = Arc::new(Mutex::new(store));
    let plan = Arc::new(plan);
    let writer = Writer {
        store: store.clone(),
        job: spec.job.name.clone(),
        plan: plan.clone(),
        artifacts: digests(&plan, &artifacts),
        epoch: owner.epoch,
        retain: spec.checkpoints.retain,
        clock: clock.clone(),
        pinned: Arc::default(),
        trimmer: Arc::new(Trimmer::new(options.intakes.clone(), options.state.as_deref())),
        disk,
    };
    let capsules = capsules::directory(spec.job.capsules, options);
    let meters = meters(&plan, &options.tenant, &task_manager);
    let book = &options.watching.book;
    let logs = logs(&plan, &clock, (&options.tenant, options.id, &spec.job.name), book);
    let in_slots = of_each_slot(&plan, |_, _| InSlot::default());
    let deployer = Arc::new(Deployer {
        tenant: options.tenant.clone(),
        id: options.id,
        spec,
        regions: Arc::new(Regions::of(&plan)),
        plan,
        artifacts,
        task_manager,
        meters,
        logs,
        in_slots,
        store,
        intakes: options.intakes.clone(),
        watching: options.watching.clone(),
        crashes: Mutex::default(),
        keeps_capsules: capsules.is_some(),
        clock,
    });
    Ok(Prepared {
        deployer,
        writer,
        resumed,
        usage: options.usage.clone(),
        state: options.state.clone(),
        capsules,
        failures: KeptFailures::below(options.state.as_deref()).read(),
        own_slots: options.task_manager.is_none() && options.settings.slots.is_none(),
        _entered: entered,
    })
}

fn meters(
    plan: &Plan,
    tenant: &TenantId,
    task_manager: &TaskManager,
) -> BTreeMap<SubtaskId, CpuMeter> {
    of_each_slot(plan, |spec, _| task_manager.gate.meter(tenant, spec.cpu_cap))
}

/// Crashing gives no more of what may be logged.
fn logs(
    plan: &Plan,
    clock: &Clock,
    (tenant, id, name): (&TenantId, Option<JobId>, &JobName),
    book: &LogBook,
) -> BTreeMap<SubtaskId, LogBudget> {
    of_each_slot(plan, |spec, index| {
        let log = LogBudget::new(Arc::from(spec.name.as_str()), index.0, clock.clone());
        let log = match id {
            Some(id) => log.of_job(OfJob {
                tenant: tenant.as_str().into(),
                job: id.to_string().into(),
                job_name: name.as_str().into(),
            }),
            None => log,
        };
        log.with_book(book.clone())
    })
}

impl Prepared {
    /// The job with another parallelism: of one operator, or of all that have none of
    /// their own.
    ///
    /// # Errors
    /// In words, if it cannot run like that.
    pub fn rescaled(
        &self,
        operator: Option<&OperatorName>,
        parallelism: u32,
    ) -> Result<Deployer, String> {
        let now = &self.deployer;
        if parallelism == 0 {
            return Err("a parallelism is at least 1".to_owned());
        }
        let mut spec = now.spec.clone();
        match operator {
            None => spec.job.parallelism = parallelism,
            Some(name) => {
                let found = spec.operators.iter_mut().find(|o| o.name == *name);
                let found = found.ok_or_else(|| format!("the job has no operator `{name}`"))?;
                found.parallelism = Some(parallelism);
            }
        }
        let plan = plan_of(&spec, &now.artifacts)?;
        let changed = now.plan.vertices.iter().zip(&plan.vertices);
        for (_, vertex) in changed.filter(|(old, new)| old.parallelism != new.parallelism) {
            if let Role::Operator(spec, kind) = &vertex.role
                && images::keeps_own_state(spec, *kind)
            {
                return Err(format!(
                    "`{}` keeps its own state, which cannot be divided: its parallelism stays",
                    vertex.name
                ));
            }
        }
        if self.own_slots {
            now.task_manager.slots.grow(plan.slots());
        }
        let asked = placement::request(now, &plan);
        now.task_manager.slots.check(&asked).map_err(|refused| refused.to_string())?;
        Ok(self.changed(spec, plan, now.artifacts.clone()))
    }

    /// The job with other limits of each slot of an operator.
    ///
    /// # Errors
    /// In words, if it has no such operator.
    pub fn limited(&self, operator: &OperatorName, limits: SlotLimits) -> Result<Deployer, String> {
        let mut spec = self.deployer.spec.clone();
        let found = spec.operators.iter_mut().find(|o| o.name == *operator);
        let found = found.ok_or_else(|| format!("the job has no operator `{operator}`"))?;
        found.memory = limits.memory;
        found.deadline = Duration::from_millis(limits.deadline_millis);
        found.cpu_cap = limits.cpu_cap.map(CpuShare);
        let artifacts = self.deployer.artifacts.clone();
        let plan = plan_of(&spec, &artifacts)?;
        Ok(self.changed(spec, plan, artifacts))
    }

    /// The job with another version of an operator.
    ///
    /// # Errors
    /// In words, if it cannot run like that.
    pub fn upgraded(
        &self,
        operator: &OperatorName,
        artifact: Artifact,
    ) -> Result<Deployer, String> {
        let mut artifacts = self.deployer.artifacts.clone();
        artifacts.insert(operator.clone(), artifact);
        let spec = self.deployer.spec.clone();
        let plan = plan_of(&spec, &artifacts)?;
        Ok(self.changed(spec, plan, artifacts))
    }

    /// So many slots more than the job needs, if it has a TaskManager of its own.
    pub fn grow_slots(&self, more: u32) {
        if self.own_slots {
            let needed = self.deployer.plan.slots().saturating_add(more);
            self.deployer.task_manager.slots.grow(needed);
        }
    }

    fn changed(
        &self,
        spec: JobSpec,
        plan: Plan,
        artifacts: HashMap<OperatorName, Artifact>,
    ) -> Deployer {
        let now = &self.deployer;
        let mut meters = meters(&plan, &now.tenant, &now.task_manager);
        for (id, meter) in &now.meters {
            // What they have used goes on to be counted; what holds them back may be another.
            let caps = meters.get(id).map_or_else(|| meter.caps.clone(), |new| new.caps.clone());
            meters.insert(*id, CpuMeter { work: meter.work.clone(), caps });
        }
        let mut logs =
            logs(&plan, &now.clock, (&now.tenant, now.id, &now.spec.job.name), &now.watching.book);
        logs.extend(now.logs.iter().map(|(id, log)| (*id, log.clone())));
        let in_slots = of_each_slot(&plan, |_, _| InSlot::default());
        Deployer {
            tenant: now.tenant.clone(),
            id: now.id,
            spec,
            regions: Arc::new(Regions::of(&plan)),
            plan: Arc::new(plan),
            artifacts,
            task_manager: now.task_manager.clone(),
            meters,
            logs,
            in_slots,
            store: now.store.clone(),
            intakes: now.intakes.clone(),
            watching: now.watching.clone(),
            // Its subtasks are others.
            crashes: Mutex::default(),
            keeps_capsules: now.keeps_capsules,
            clock: now.clock.clone(),
        }
    }

    /// Runs it like that from now on. Returns how it was run before.
    pub fn use_deployer(&mut self, deployer: Arc<Deployer>) -> Arc<Deployer> {
        self.writer.plan = deployer.plan.clone();
        self.writer.artifacts = digests(&deployer.plan, &deployer.artifacts);
        std::mem::replace(&mut self.deployer, deployer)
    }
}

/// Which component each operator of the plan runs.
fn digests(
    plan: &Plan,
    artifacts: &HashMap<OperatorName, Artifact>,
) -> BTreeMap<usize, ArtifactDigest> {
    let vertices = plan.vertices.iter().enumerate();
    vertices
        .filter_map(|(i, v)| Some((i, artifacts.get(&v.name)?.digest().parse().ok()?)))
        .collect()
}

/// Enters the artifacts of a job into its tenant's account.
fn enter(
    tenant: &TenantId,
    artifacts: &HashMap<OperatorName, Artifact>,
    task_manager: &TaskManager,
) -> Result<EnteredJob, String> {
    let uses = artifacts.values().map(|a| (a.digest().to_owned(), a.size() as u64)).collect();
    task_manager.book.enter(tenant, uses).map_err(|e| e.to_string())
}

/// What each slot of a job has that it keeps over restarts.
fn of_each_slot<T>(
    plan: &Plan,
    mut make: impl FnMut(&OperatorSpec, SubtaskIndex) -> T,
) -> BTreeMap<SubtaskId, T> {
    let mut all = BTreeMap::new();
    for (i, vertex) in plan.vertices.iter().enumerate() {
        if let Role::Operator(spec, _) = &vertex.role {
            for index in (0..vertex.parallelism).map(SubtaskIndex) {
                all.insert(SubtaskId { vertex: i, index }, make(spec, index));
            }
        }
    }
    all
}

/// A job's operators, in a TaskManager that can run them.
#[derive(Debug)]
pub struct Loaded {
    /// Where they can run.
    pub task_manager: TaskManager,
    /// What each operator runs that could be loaded.
    pub artifacts: HashMap<OperatorName, Artifact>,
    /// Why others could not, in the job file's order.
    pub faults: Vec<OperatorFault>,
}

/// Loads a job's operators, as far as they can be.
///
/// # Errors
/// In words, if nothing can be loaded at all.
pub fn load(spec: &JobSpec, options: &RunOptions) -> Result<Loaded, String> {
    let task_manager = match &options.task_manager {
        Some(shared) => shared.clone(),
        None => {
            let slots = options.settings.slots.or(Some(slots_of(spec)));
            TaskManager::start(&TaskManagerSettings { slots, ..options.settings.clone() })?
        }
    };
    let dirs = catalog::search_path(options.artifacts.as_deref());
    let mut catalog = Catalog::new(task_manager.sandbox.clone(), dirs);
    let (mut artifacts, mut faults) = (HashMap::new(), Vec::new());
    for operator in &spec.operators {
        let saving_memory = operator.state == Some(StateKeeping::Memory);
        match catalog.load(&operator.artifact, &operator.grants, saving_memory) {
            Ok(artifact) => {
                if let Some(fault) = state_fault(operator, artifact.kind()) {
                    faults.push(fault);
                }
                artifacts.insert(operator.name.clone(), artifact);
            }
            Err(error) => faults.push(OperatorFault {
                operator: operator.name.clone(),
                key: key_for(&error),
                message: error.to_string(),
            }),
        }
    }
    Ok(Loaded { task_manager, artifacts, faults })
}

/// What is wrong with where an operator's state is said to be.
fn state_fault(spec: &OperatorSpec, kind: OperatorKind) -> Option<OperatorFault> {
    let state = spec.state?;
    let wrong = match (state, kind) {
        (StateKeeping::Fold, OperatorKind::Keyed { .. })
        | (StateKeeping::Export, OperatorKind::Processor { snapshot: true })
        | (StateKeeping::Memory, OperatorKind::Processor { .. }) => return None,
        (StateKeeping::Fold, OperatorKind::Processor { .. }) => {
            "is for operators that export `keyed-processor`, and this one exports `processor`"
        }
        (StateKeeping::Export, OperatorKind::Processor { snapshot: false }) => {
            "is for operators that export `snapshot`, and this one does not; what it keeps in its \
             memory can be saved with `state = \"memory\"`"
        }
        (StateKeeping::Export | StateKeeping::Memory, OperatorKind::Keyed { .. }) => {
            "is for operators that keep state themselves, and this one exports \
             `keyed-processor`: its state is kept by the host (`state = \"fold\"`)"
        }
    };
    let message = format!("`state = \"{}\"` {wrong}", state.word());
    Some(OperatorFault { operator: spec.name.clone(), key: "state", message })
}

/// A slot for each subtask of an operator: what a TaskManager needs that is made for
/// the job alone.
#[must_use]
pub fn slots_of(spec: &JobSpec) -> u32 {
    let each = spec.operators.iter().map(|o| o.parallelism.unwrap_or(spec.job.parallelism));
    each.fold(0, u32::saturating_add)
}

/// What of `[[operator]]` has to be changed.
fn key_for(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::Refused { source: LoadError::NotGranted { .. }, .. } => "grants",
        CatalogError::Refused { source: LoadError::MemoryNotSaved(_), .. } => "state",
        _ => "artifact",
    }
}

impl Loaded {
    /// Plans the job.
    ///
    /// # Errors
    /// In words, for the person who wrote the job file: if an operator could not
    /// be loaded, or the job does not hang together.
    pub fn plan(&self, spec: &JobSpec) -> Result<Plan, String> {
        if !self.faults.is_empty() {
            let say =
                |fault: &OperatorFault| format!("operator `{}`: {}", fault.operator, fault.message);
            return Err(self.faults.iter().map(say).collect::<Vec<_>>().join("\n"));
        }
        plan_of(spec, &self.artifacts)
    }
}

/// The plan of a job with these artifacts, or in words why there is none.
fn plan_of(spec: &JobSpec, artifacts: &HashMap<OperatorName, Artifact>) -> Result<Plan, String> {
    let kinds = artifacts.iter().map(|(name, a)| (name.clone(), a.kind())).collect();
    Plan::new(spec, &kinds).map_err(|e| e.to_string())
}

fn open_store(path: Option<&Path>) -> Result<Box<dyn CheckpointStore>, Outcome> {
    Ok(match path {
        None => Box::new(MemoryStore::default()),
        Some(path) => Box::new(
            SledStore::open(path).map_err(|e| Outcome::StateUnusable { error: e.to_string() })?,
        ),
    })
}

/// The newest checkpoint, if it is this job's and fits its plan.
fn find_checkpoint(
    store: &dyn CheckpointStore,
    spec: &JobSpec,
    plan: &Plan,
) -> Result<Option<Manifest>, Outcome> {
    let unusable = |error: String| Outcome::StateUnusable { error };
    let Some(newest) = store.list().map_err(|e| unusable(e.to_string()))?.into_iter().max() else {
        return Ok(None);
    };
    let manifest =
        store.manifest(newest).map_err(|e| unusable(format!("{e}; {}", way_out(store, newest))))?;
    if manifest.job != spec.job.name {
        return Err(unusable(format!(
            "the state directory belongs to the job `{}`, not to `{}`; choose another directory",
            manifest.job, spec.job.name
        )));
    }
    if manifest.max_parallelism != plan.max_parallelism {
        return Err(unusable(format!(
            "checkpoint {newest} was taken with max_parallelism = {}, and the job now has {}; \
             keyed state cannot be divided anew: set it back",
            manifest.max_parallelism, plan.max_parallelism
        )));
    }
    Ok(Some(manifest))
}

/// State of sources, operators and sinks that the plan does not have is refused, or left out
/// where that is wanted.
fn drop_non_restored(manifest: &mut Manifest, plan: &Plan, allowed: bool) -> Result<(), Outcome> {
    let id = manifest.id;
    let names = manifest.operators.keys();
    let gone: Vec<_> =
        names.filter(|name| plan.vertices.iter().all(|v| v.name != **name)).cloned().collect();
    for name in gone {
        if !allowed {
            let error = format!(
                "checkpoint {id} holds the state of `{name}`, which the job file does not have any \
                 more; put it back, leave its state out with --allow-non-restored-state, or begin \
                 anew with another state directory"
            );
            return Err(Outcome::StateUnusable { error });
        }
        tracing::warn!("the state of `{name}` in checkpoint {id} is left out");
        manifest.operators.remove(&name);
    }
    Ok(())
}

/// Puts a savepoint into a store that has no checkpoint yet.
fn take_savepoint(store: &mut dyn CheckpointStore, path: &Path) -> Result<(), Outcome> {
    let unusable = |error: String| Outcome::StateUnusable { error };
    if !store.list().map_err(|e| unusable(e.to_string()))?.is_empty() {
        tracing::info!("the state directory has checkpoints: the savepoint is not used");
        return Ok(());
    }
    let cannot = |error: &dyn std::fmt::Display| {
        unusable(format!("the savepoint {} cannot be used: {error}", path.display()))
    };
    let file = File::open(path).map_err(|e| cannot(&e))?;
    file::import(&mut BufReader::new(file), store).map_err(|e| cannot(&e))?;
    Ok(())
}
