//! What has to be there before a job can ask for slots: its TaskManager, artifacts,
//! plan, the store, and the checkpoint to go on from.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex},
};

use crate::{
    catalog::{self, Catalog, CatalogError},
    checkpoint::{CheckpointStore, Manifest, memory_store::MemoryStore, sled_store::SledStore},
    clock::Clock,
    config::{
        OperatorFault,
        job::{JobSpec, OperatorSpec},
    },
    ids::{ArtifactDigest, OperatorName, SubtaskIndex, TenantId},
    job_manager::{
        control::{Outcome, RunOptions},
        deploy::Deployer,
        plan::{Plan, Role},
        regions::Regions,
        writer::{SharedStore, Writer},
    },
    sandbox::{Artifact, LoadError, LogBudget},
    task_manager::{SubtaskId, TaskManager, TaskManagerSettings},
    tenancy::{book::EnteredJob, usage::ledger::Ledger},
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
    let store = open_store(options.state.as_deref())?;
    let resumed = find_checkpoint(&*store, &spec, &plan)?;
    let store: SharedStore = Arc::new(Mutex::new(store));
    let plan = Arc::new(plan);
    let writer = Writer {
        store: store.clone(),
        job: spec.job.name.clone(),
        plan: plan.clone(),
        artifacts: digests(&plan, &artifacts),
        epoch: resumed.as_ref().map_or(1, |manifest| manifest.epoch + 1),
        retain: spec.checkpoints.retain,
    };
    let gate = &task_manager.gate;
    let meters = of_each_slot(&plan, |spec, _| gate.meter(&options.tenant, spec.cpu_cap));
    // Crashing gives no more of what may be logged.
    let logs = of_each_slot(&plan, |spec, index| {
        LogBudget::new(Arc::from(spec.name.as_str()), index.0, clock.clone())
    });
    let deployer = Arc::new(Deployer {
        tenant: options.tenant.clone(),
        spec,
        regions: Arc::new(Regions::of(&plan)),
        plan,
        artifacts,
        task_manager,
        meters,
        logs,
        store,
        clock,
    });
    Ok(Prepared { deployer, writer, resumed, usage: options.usage.clone(), _entered: entered })
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
    Ok(Loaded { task_manager, artifacts, faults })
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
