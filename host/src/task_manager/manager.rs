//! What jobs that run side by side share: slots, cores, memory, and the engine that
//! their operators are compiled for.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    ids::SlotId,
    memory::{Admission, TaskManagerMemory},
    sandbox::{self, Compiler, Metering, PageWatch, Sandbox, SandboxConfig},
    task_manager::{
        gate::{Gate, GateSettings, policy::Policy},
        restarts::Restarts,
        slots::{Slots, Spread},
        workers::Workers,
    },
    tenancy::{book::Book, disk::DiskBook, ingest::IngestLimits},
    trace::Tracer,
};

/// How a TaskManager is set up.
#[derive(Debug, Clone)]
pub struct TaskManagerSettings {
    /// How many slots there are. A TaskManager that is made for one job has as many as
    /// it needs if not given; one that is shared, as many as there are cores.
    pub slots: Option<u32>,
    /// Which jobs get slots first when there are too few.
    pub placement: Policy,
    /// Which slots they get.
    pub spread: Spread,
    /// Bytes that all slots may hold; a share of this machine's memory if not given.
    pub memory: Option<usize>,
    /// By which rule jobs are let in.
    pub admission: Admission,
    /// Who may use the cores.
    pub gate: GateSettings,
    /// What guests' work is counted in, besides time.
    pub metering: Metering,
    /// After how long without work a slot gives the memory of its guest back; never if none.
    pub idle_after: Option<Duration>,
    /// Where compiled code is kept; nowhere if none.
    pub cache_dir: Option<PathBuf>,
    /// Where operators are compiled; in this process if not given.
    pub compiler: Compiler,
    /// How what guests wrote to their memories is found, where those are saved; they are
    /// compared with copies if not given.
    pub page_watch: Option<Arc<PageWatch>>,
    /// Whom spans are told; nobody if it is off.
    pub tracer: Tracer,
}

impl Default for TaskManagerSettings {
    fn default() -> Self {
        Self {
            slots: None,
            placement: Policy::default(),
            spread: Spread::default(),
            memory: None,
            admission: Admission::default(),
            gate: GateSettings::default(),
            metering: Metering::default(),
            idle_after: None,
            cache_dir: sandbox::default_cache_dir(),
            compiler: Compiler::default(),
            page_watch: None,
            tracer: Tracer::default(),
        }
    }
}

/// A TaskManager. Clones are the same one.
#[derive(Debug, Clone)]
pub struct TaskManager {
    /// How many sandboxes there may be, and whose they are.
    pub slots: Slots,
    /// Who may use the cores.
    pub gate: Arc<Gate>,
    /// Who holds how much memory.
    pub memory: TaskManagerMemory,
    /// Where guests are compiled and live.
    pub sandbox: Arc<Sandbox>,
    /// The threads that they run on.
    pub workers: Arc<Workers>,
    /// How fast tenants' jobs may restart.
    pub restarts: Arc<Restarts>,
    /// Which artifacts the jobs of each tenant use.
    pub book: Book,
    /// What the jobs of each tenant keep on disk.
    pub disk: DiskBook,
    /// How fast the sources of each tenant may read.
    pub ingest: IngestLimits,
    /// After how long without work a slot gives the memory of its guest back.
    pub idle_after: Option<Duration>,
    /// Whom spans are told.
    pub tracer: Tracer,
}

/// How many instances there may be beyond one a slot: as many as there are slots, within
/// these bounds.
const SPARE: u32 = 16;
const MOST_SPARE: u32 = 1024;

/// For how long a slot rests before a probe is made in it, at first; twice as long each
/// time after that.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// For how long at most.
const LAST_PROBE: Duration = Duration::from_secs(60);

impl TaskManager {
    /// Probes a slot that is in quarantine until it passes; then it can be used again. To
    /// be called on a runtime of the host's.
    pub fn probe_later(&self, slot: SlotId) {
        let (slots, sandbox) = (self.slots.clone(), self.sandbox.clone());
        tokio::spawn(async move {
            let mut rest = FIRST_PROBE;
            loop {
                tokio::time::sleep(rest).await;
                match sandbox.probe(rand::random()).await {
                    Ok(()) => {
                        tracing::info!("slot {slot} passed a probe, and is used again");
                        return slots.passed(slot);
                    }
                    Err(error) => tracing::warn!("slot {slot} stays in quarantine: {error}"),
                }
                rest = (rest * 2).min(LAST_PROBE);
            }
        });
    }

    /// Starts one.
    ///
    /// # Errors
    /// If the WebAssembly engine or the threads of guests do not start on this machine, in
    /// words.
    pub fn start(settings: &TaskManagerSettings) -> Result<Self, String> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let total = settings.slots.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(u32::MAX));
        let config = SandboxConfig {
            // An instance may be made in another slot before the one before it is gone, and
            // a job may be given more slots than it began with.
            instances: total.saturating_add(total.clamp(SPARE, MOST_SPARE)),
            cache_dir: settings.cache_dir.clone(),
            metering: settings.metering,
        };
        let sandbox = Sandbox::new(&config)
            .map_err(|e| format!("the WebAssembly engine does not start: {e:#}"))?;
        let memory = match settings.memory {
            Some(bytes) => TaskManagerMemory::new(bytes, settings.admission),
            None => TaskManagerMemory::of_this_machine(settings.admission),
        };
        let gate = Gate::new(settings.gate.clone());
        let workers = Workers::start(gate.permits())
            .map_err(|e| format!("the threads of operators do not start: {e}"))?;
        Ok(Self {
            slots: Slots::new(total, settings.placement, settings.spread),
            gate,
            memory,
            sandbox: Arc::new(
                sandbox
                    .compiling_in(settings.compiler.clone())
                    .watching(settings.page_watch.clone()),
            ),
            workers: Arc::new(workers),
            restarts: Arc::default(),
            book: Book::default(),
            disk: DiskBook::default(),
            ingest: IngestLimits::default(),
            idle_after: settings.idle_after,
            tracer: settings.tracer.clone(),
        })
    }
}
