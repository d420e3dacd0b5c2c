//! What has to be there before a job can run: engine, artifacts, plan, slots,
//! the store, and the checkpoint to go on from.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    catalog::{self, Catalog, CatalogError},
    checkpoint::{CheckpointStore, Manifest, memory_store::MemoryStore, sled_store::SledStore},
    clock::Clock,
    config::{OperatorFault, job::JobSpec},
    ids::{OperatorName, SubtaskIndex, TenantId},
    job_manager::{
        control::{Outcome, RunOptions},
        deploy::Deployer,
        plan::{Plan, Role},
        writer::{SharedStore, Writer},
    },
    memory::{Admission, AdmittedJob, TaskManagerMemory},
    sandbox::{Artifact, CpuMeter, LoadError, Sandbox, SandboxConfig},
    task_manager::{
        SubtaskId, TaskManager,
        gate::{Gate, GateSettings},
        slots::Slots,
    },
};

/// A job that is ready to be deployed.
#[derive(Debug)]
pub struct Prepared {
    /// Puts it into slots.
    pub deployer: Deployer,
    /// Writes its checkpoints.
    pub writer: Writer,
    /// The checkpoint to go on from.
    pub resumed: Option<Manifest>,
    // Stops the engine's ticker when the job is over.
    _sandbox: Arc<Sandbox>,
}

/// Loads, plans and opens.
///
/// # Errors
/// As an outcome that says why the job cannot start.
pub fn prepare(spec: JobSpec, options: &RunOptions, clock: Clock) -> Result<Prepared, Outcome> {
    let cannot = |error: String| Outcome::CannotStart { error };
    let loaded = load(&spec, options).map_err(cannot)?;
    let plan = loaded.plan(&spec).map_err(cannot)?;
    let Loaded { sandbox, artifacts, .. } = loaded;
    let needed = plan.slots();
    if let Some(shared) = &options.task_manager
        && shared.slots.free() < needed as usize
    {
        return Err(cannot(format!(
            "the job needs {needed} slots, one for each subtask of an operator, but only {} are \
             free; wait until other jobs have ended, or lower the parallelism",
            shared.slots.free()
        )));
    }
    let total = options.slots.unwrap_or(needed);
    if options.task_manager.is_none() && total < needed {
        return Err(cannot(format!(
            "the job needs {needed} slots, one for each subtask of an operator, but there are \
             {total}; raise --slots or lower the parallelism"
        )));
    }
    let memory = admit(&spec, &plan, options).map_err(cannot)?;
    let store = open_store(options.state.as_deref())?;
    let resumed = find_checkpoint(&*store, &spec, &plan)?;
    let store: SharedStore = Arc::new(Mutex::new(store));
    let plan = Arc::new(plan);
    let writer = Writer {
        store: store.clone(),
        job: spec.job.name.clone(),
        plan: plan.clone(),
        retain: spec.checkpoints.retain,
    };
    let task_manager = options.task_manager.clone().unwrap_or_else(|| TaskManager {
        slots: Slots::new(total),
        gate: Gate::new(GateSettings::default()),
    });
    let meters = meters(&plan, &options.tenant, &task_manager.gate);
    let deployer = Deployer {
        tenant: options.tenant.clone(),
        spec,
        plan,
        artifacts,
        memory,
        task_manager,
        meters,
        store,
        clock,
    };
    Ok(Prepared { deployer, writer, resumed, _sandbox: sandbox })
}

/// Has the TaskManager promise memory to each slot of the job.
fn admit(spec: &JobSpec, plan: &Plan, options: &RunOptions) -> Result<AdmittedJob, String> {
    let memory = match &options.memory {
        Some(memory) => memory.clone(),
        None => TaskManagerMemory::of_this_machine(Admission::default()),
    };
    let operators = plan.vertices.iter().filter_map(|vertex| match &vertex.role {
        Role::Operator(spec, _) => Some((spec.name.clone(), spec.memory, vertex.parallelism)),
        Role::Source(_) | Role::Sink(_) => None,
    });
    memory
        .admit(&options.tenant, &spec.job.name, operators)
        .map_err(|e| format!("there is not enough memory for the job: {e}"))
}

/// A meter for each slot of a job, which it keeps over restarts.
fn meters(plan: &Plan, tenant: &TenantId, gate: &Gate) -> BTreeMap<SubtaskId, CpuMeter> {
    let mut meters = BTreeMap::new();
    for (i, vertex) in plan.vertices.iter().enumerate() {
        if let Role::Operator(spec, _) = &vertex.role {
            for index in 0..vertex.parallelism {
                let id = SubtaskId { vertex: i, index: SubtaskIndex(index) };
                meters.insert(id, gate.meter(tenant, spec.cpu_cap));
            }
        }
    }
    meters
}

/// A job's operators, in an engine that can run them.
#[derive(Debug)]
pub struct Loaded {
    /// The engine.
    pub sandbox: Arc<Sandbox>,
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
    let subtasks: u32 = spec
        .operators
        .iter()
        .map(|o| o.parallelism.unwrap_or(spec.job.parallelism))
        .fold(0, u32::saturating_add);
    let config = SandboxConfig { instances: subtasks.max(1), cache_dir: cache_dir() };
    let sandbox = Sandbox::new(&config)
        .map_err(|e| format!("the WebAssembly engine does not start: {e:#}"))?;
    let sandbox = Arc::new(sandbox.compiling_in(options.compiler.clone()));
    let dirs = catalog::search_path(options.artifacts.as_deref());
    let mut catalog = Catalog::new(sandbox.clone(), dirs);
    let (mut artifacts, mut faults) = (HashMap::new(), Vec::new());
    for operator in &spec.operators {
        match catalog.load(&operator.artifact, &operator.grants) {
            Ok(artifact) => {
                artifacts.insert(operator.name.clone(), artifact);
            }
            Err(error) => faults.push(OperatorFault {
                operator: operator.name.clone(),
                key: key_for(&error),
                message: error.to_string(),
            }),
        }
    }
    Ok(Loaded { sandbox, artifacts, faults })
}

/// What of `[[operator]]` has to be changed.
fn key_for(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::Refused { source: LoadError::NotGranted { .. }, .. } => "grants",
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
        let kinds = self.artifacts.iter().map(|(name, a)| (name.clone(), a.kind())).collect();
        Plan::new(spec, &kinds).map_err(|e| e.to_string())
    }
}

/// Where compiled code is kept: `$XDG_CACHE_HOME/cofferdam/compiled`, or the
/// same below `~/.cache`. Nowhere if there is no home.
fn cache_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("cofferdam").join("compiled"))
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
    let manifest = store.manifest(newest).map_err(|e| unusable(e.to_string()))?;
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
    let gone =
        manifest.operators.keys().find(|name| !plan.vertices.iter().any(|v| v.name == **name));
    if let Some(name) = gone {
        return Err(unusable(format!(
            "checkpoint {newest} holds the state of `{name}`, which the job file does not have any \
             more; put it back, or begin anew with another state directory"
        )));
    }
    Ok(Some(manifest))
}
