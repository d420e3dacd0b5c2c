//! The Dispatcher: one process that takes jobs of many tenants, keeps them, runs them in one
//! TaskManager, and starts them again from their last checkpoints when it is started again itself.
//! Whatever it must remember is in its data directory; whatever it decides, it decides here, for
//! every way in.
//!
//! ```text
//!  DIR/tenants.toml, usage/           as for `cofferdam run --tenant`
//!  DIR/registry/                      artifacts, tags, jobs, tokens: records in sled
//!  DIR/artifacts/sha256-DIGEST.wasm   what was uploaded, each once
//!  DIR/jobs/ID/state/                 a job's checkpoints, savepoints, capsules and last failures
//!  DIR/jobs/ID/sources/NAME/          what was posted to a source of it
//!  DIR/files/TENANT/                  what that tenant's job files read and write
//!  DIR/compiled/                      compiled code
//!  DIR/admin-token                    the first token, if nobody has removed it
//! ```
//!
//! | file | what lives there |
//! | --- | --- |
//! | here | the service: opening it, its tenants, its end |
//! | [`audit`] | who changed what |
//! | [`limits`] | how often somebody may ask |
//! | [`access`] | who may do what: tokens, roles |
//! | [`sessions`] | who brought a token to a browser |
//! | [`artifacts`], `blobs` | uploads, versions and tags; the files of their bytes |
//! | `built_in` | the operators that come with the program |
//! | [`trial`](mod@trial) | the playground: an operator fed some records |
//! | `places` | how much of something a tenant may have under way |
//! | [`submission`] | what has to be right before a job is taken |
//! | [`keys`] | the keys that tenants trust, and signatures of artifacts |
//! | [`jobs`] | taking, showing and ending jobs |
//! | [`conditions`] | what is not as it should be, and what to do |
//! | [`disk`] | what tenants keep on disk: measured at the start, asked about, shown |
//! | `running` | the jobs that run: starting, watching, bringing back |
//! | [`seen`] | what there is to see of all of it, for those who watch it |
//! | [`precondition`] | on what condition something is changed |
//! | [`intake`] | what is posted to sources of jobs |
//! | [`control`] | what a job that runs is asked: another parallelism, checkpoints |
//! | [`savepoints`] | taking, showing and disposing of savepoints; stopping with one |
//! | `watching` | logs and tails of jobs that run |
//! | [`look`] | why jobs failed, capsules, vertices |
//! | [`overview`] | the server as a whole: slots, memory, cores, configuration |
//! | [`tenants`](mod@tenants), [`quotas`] | tenants and their quotas, and what they have used |
//! | `shown` | what of a job is shown: not the server's paths, nor other tenants |
//! | [`needs`] | the files and ports that the process goes on needing |
//! | [`error`](mod@error) | why something is not done |

pub mod access;
pub mod artifacts;
pub mod audit;
mod blobs;
mod built_in;
pub mod conditions;
pub mod control;
pub mod disk;
pub mod error;
pub mod intake;
pub mod jobs;
pub mod keys;
pub mod limits;
pub mod look;
pub mod needs;
pub mod overview;
mod places;
pub mod precondition;
pub mod quotas;
mod running;
pub mod savepoints;
pub mod seen;
pub mod sessions;
mod shown;
pub mod submission;
pub mod tenants;
pub mod trial;
pub mod watching;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use self::{
    access::{ADMIN_TOKEN, Tokens, no_tenant},
    audit::Audit,
    blobs::Blobs,
    built_in::BuiltIns,
    conditions::Watched,
    error::ServiceError,
    intake::Posts,
    limits::Limits,
    places::Places,
    running::Jobs,
    sessions::Sessions,
};
use crate::{
    catalog::shelf::Shelf,
    clock::{Clock, Stopwatch},
    config::{server::ServerSpec, tenant::TenantSpec},
    database::directory::sync,
    ids::TenantId,
    registry::Registry,
    task_manager::{TaskManager, TaskManagerSettings, tenants::Follower},
    tenancy::{
        registry::{Registry as Tenants, RegistryError as TenantsError},
        usage::ledger::Ledger,
        watch::Watch,
    },
    trace::Tracer,
};

/// How many operators are compiled, or opened to be checked, at a time, whoever asks: each takes
/// a core for as long as it lasts.
const CHECKS_AT_ONCE: usize = 4;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum CannotServe {
    /// Its data directory cannot be used.
    #[error("{0}")]
    Data(String),
    /// The TaskManager does not start.
    #[error("{0}")]
    TaskManager(String),
}

/// A service.
#[derive(Debug)]
pub struct Service {
    dir: PathBuf,
    /// The same, from the root.
    whole_dir: PathBuf,
    spec: ServerSpec,
    registry: Registry,
    tokens: Tokens,
    sessions: Sessions,
    audit: Audit,
    limits: Limits,
    tenants: Tenants,
    blobs: Blobs,
    built_in: BuiltIns,
    jobs: Jobs,
    posts: Posts,
    looking_on: Places,
    task_manager: TaskManager,
    ledger: Ledger,
    clock: Clock,
    checks: tokio::sync::Semaphore,
    trials: Places,
    watched: Watched,
    started: Stopwatch,
    ready: AtomicBool,
    /// Whether the service is ending.
    closing: watch::Sender<bool>,
    /// Where the first token was written, if it was made just now.
    first_token: Option<PathBuf>,
}

impl Service {
    /// Opens the service's data directory, and makes what is not there. Blocks. What runs is
    /// brought back by [`bring_back`](Self::bring_back). What is on the shelf every tenant has.
    ///
    /// # Errors
    /// If another process has the directory, it cannot be read or written, or the TaskManager
    /// does not start.
    pub fn open(
        dir: &Path,
        spec: ServerSpec,
        settings: TaskManagerSettings,
        clock: Clock,
        shelf: &Shelf,
    ) -> Result<(Arc<Self>, Follower), CannotServe> {
        let data = |error: &dyn std::fmt::Display| {
            CannotServe::Data(format!(
                "the data directory {} cannot be used: {error}",
                dir.display()
            ))
        };
        let registry = Registry::open(&dir.join("registry"), &format!("serving {}", spec.listen))
            .map_err(|error| CannotServe::Data(error.to_string()))?;
        let tokens = Tokens::load(&registry).map_err(|e| data(&e))?;
        let first = tokens.first(&registry, dir, &clock).map_err(|e| data(&e))?;
        let audit = Audit::load(&registry, spec.audited_calls).map_err(|e| data(&e))?;
        let tenants = Tenants::at(dir);
        let (watch, listed) = Watch::start(tenants.clone()).map_err(|e| data(&e))?;
        let blobs = Blobs::open(&dir.join("artifacts")).map_err(|e| data(&e))?;
        for below in ["jobs", "files"] {
            fs::create_dir_all(dir.join(below)).map_err(|e| data(&e))?;
        }
        sync(dir).map_err(|e| data(&e))?;
        let ledger = Ledger::begin(dir, &clock).map_err(|e| data(&e))?;
        let jobs = Jobs::load(&registry).map_err(|e| data(&e))?;
        let task_manager = TaskManager::start(&settings).map_err(CannotServe::TaskManager)?;
        let follower = Follower::start(task_manager.clone(), watch, &listed);
        let trials = Places::new(spec.playground.at_once as usize);
        let service = Self {
            dir: dir.to_owned(),
            whole_dir: fs::canonicalize(dir).map_err(|e| data(&e))?,
            spec,
            registry,
            tokens,
            sessions: Sessions::new(),
            audit,
            limits: Limits::new(),
            tenants,
            blobs,
            built_in: BuiltIns::new(shelf, clock.now_millis()),
            jobs,
            posts: Posts::new(),
            looking_on: Places::new(watching::MOST),
            task_manager,
            ledger,
            clock,
            checks: tokio::sync::Semaphore::new(CHECKS_AT_ONCE),
            trials,
            watched: Watched::default(),
            started: Stopwatch::start(),
            ready: AtomicBool::new(false),
            closing: watch::channel(false).0,
            first_token: first.then(|| dir.join(ADMIN_TOKEN)),
        };
        service.sweep().map_err(|e| data(&e))?;
        service.settle_savepoints().map_err(|e| data(&e))?;
        service.note_deleted(None).map_err(|e| data(&e))?;
        service.measure_disks().map_err(|e| data(&e))?;
        service.look_at_machine();
        Ok((Arc::new(service), follower))
    }

    /// How it is configured.
    #[must_use]
    pub fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    /// Whom spans are told.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.task_manager.tracer
    }

    /// How often somebody may ask.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Where the first token was written, if it was made by this start.
    #[must_use]
    pub fn first_token(&self) -> Option<&Path> {
        self.first_token.as_deref()
    }

    /// Whether every job that is to run was started again, and the service is not ending.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_closing()
    }

    /// What its clock shows: milliseconds since 1970.
    #[must_use]
    pub fn now_millis(&self) -> i64 {
        self.clock.now_millis()
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// A tenant, as the file of tenants has it now. Blocks.
    fn tenant(&self, name: &TenantId) -> Result<TenantSpec, ServiceError> {
        let listed = self.tenants.load().map_err(|error| {
            tracing::error!("{error}");
            ServiceError::Unavailable("the server's file of tenants has mistakes".to_owned())
        })?;
        match listed.get(name) {
            Ok(tenant) => Ok(tenant.clone()),
            Err(TenantsError::Unknown { .. }) => Err(no_tenant(name)),
            Err(error) => Err(ServiceError::Internal(error.to_string())),
        }
    }

    /// The directory of a tenant's files, which is made if it is not there. Blocks.
    fn home_of(&self, tenant: &TenantId) -> Result<PathBuf, ServiceError> {
        let home = self.dir.join("files").join(tenant.as_str());
        fs::create_dir_all(&home)
            .map_err(ServiceError::disk("making the directory of the tenant's files"))?;
        Ok(home)
    }

    /// Does something that blocks, beside the threads that others wait for.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let (service, span) = (self.clone(), tracing::Span::current());
        tokio::task::spawn_blocking(move || span.in_scope(|| work(&service))).await.unwrap_or_else(
            |error| {
                tracing::error!("a bug in cofferdam: {error}");
                Err(ServiceError::Internal(
                    "a bug in cofferdam: the server's log says more".to_owned(),
                ))
            },
        )
    }
}
