//! The process's one engine: how code is compiled, where instances live, and
//! the ticker that takes guests off a thread that they hold for too long.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::ValueEnum;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::{
    sandbox::{cache::CompiledCache, compile::Compiler, memory_snapshot::PageWatch},
    threads::ask_for_short_slices,
};

/// How often a guest that runs on is interrupted to let others run: the longest
/// turn that it can have, and how late its deadline can be noticed.
pub const EPOCH: Duration = Duration::from_millis(5);

/// How many memories have room in the address space, each with its 4 GiB and
/// guard. With more than a quarter as many slots, a component has fewer of them.
const MOST_MEMORIES: u32 = 16 * 1024;

/// What a guest's work is counted in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum Metering {
    /// In the time that it ran, which depends on the machine and its neighbours.
    #[default]
    Time,
    /// In fuel, too: about one for each instruction, the same for the same input on
    /// every machine. Guests run slower for it.
    Fuel,
}

impl Metering {
    /// As it is written on a command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Fuel => "fuel",
        }
    }
}

/// How the engine is set up.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// How many instances may live at once in the pool. Address space is
    /// reserved for them; where that is refused, instances are allocated one by
    /// one, which takes some microseconds longer.
    pub instances: u32,
    /// Where compiled code is kept; nowhere if none.
    pub cache_dir: Option<PathBuf>,
    /// What guests' work is counted in.
    pub metering: Metering,
}

impl SandboxConfig {
    /// A pool of so many instances, without a cache, metered by time.
    #[must_use]
    pub fn uncached(instances: u32) -> Self {
        Self { instances, cache_dir: None, metering: Metering::Time }
    }
}

/// The engine and what belongs to it.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) cache: Option<CompiledCache>,
    pub(super) compiler: Compiler,
    pub(super) metering: Metering,
    /// How what changed of guests' memories is found; they are compared if not given.
    pub(super) watch: Option<Arc<PageWatch>>,
    pooling: bool,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("pooling", &self.pooling).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Sets the engine up and starts its ticker.
    ///
    /// # Errors
    /// If wasmtime refuses the settings on this machine.
    pub fn new(config: &SandboxConfig) -> anyhow::Result<Self> {
        let (engine, pooling) =
            match Engine::new(&engine_config(Some(config.instances), config.metering)) {
                Ok(engine) => (engine, true),
                Err(error) => {
                    tracing::info!("no pool of {} instances: {error:#}", config.instances);
                    (Engine::new(&engine_config(None, config.metering))?, false)
                }
            };
        let cache = config.cache_dir.as_deref().map(|dir| CompiledCache::new(dir, &engine));
        let stop = Arc::new(AtomicBool::new(false));
        start_ticker(engine.clone(), stop.clone())?;
        let (compiler, metering) = (Compiler::Here, config.metering);
        Ok(Self { engine, cache, compiler, metering, watch: None, pooling, stop })
    }

    /// One for components with many memories, from a pool or one by one.
    #[cfg(test)]
    pub(super) fn of_many_memories(pool: bool) -> Self {
        let mut config = engine_config(None, Metering::Time);
        if pool {
            let mut pooling = PoolingAllocationConfig::new();
            pooling.total_memories(64).max_memories_per_component(16).max_memories_per_module(16);
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        }
        let engine = Engine::new(&config).expect("an engine starts");
        let stop = Arc::new(AtomicBool::new(false));
        start_ticker(engine.clone(), stop.clone()).expect("a thread starts");
        let (compiler, metering) = (Compiler::Here, Metering::Time);
        Self { engine, cache: None, compiler, metering, watch: None, pooling: pool, stop }
    }

    /// Compiles components there, and no longer in this process.
    #[must_use]
    pub fn compiling_in(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Has the kernel tell what guests have written to their memories, where those are
    /// saved.
    #[must_use]
    pub fn watching(mut self, watch: Option<Arc<PageWatch>>) -> Self {
        self.watch = watch;
        self
    }

    /// What guests' work is counted in.
    #[must_use]
    pub fn metering(&self) -> Metering {
        self.metering
    }

    /// Whether instances come from a pool.
    #[must_use]
    pub fn is_pooling(&self) -> bool {
        self.pooling
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub(super) fn engine_config(pool: Option<u32>, metering: Metering) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // A guest's recursion ends here, well within the stack that it gets.
        .max_wasm_stack(512 * 1024)
        .async_stack_size(1024 * 1024);
    if let Some(instances) = pool {
        let mut pooling = PoolingAllocationConfig::new();
        // Whatever one component takes is left for every other: no slot is empty
        // only because its neighbour has four memories.
        let memories = (MOST_MEMORIES / instances.max(1)).clamp(1, 4);
        let (tables, core_instances) = (8, 64);
        pooling
            .total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(core_instances))
            .total_memories(instances.saturating_mul(memories))
            .total_tables(instances.saturating_mul(tables))
            .total_stacks(instances)
            .max_memories_per_module(memories)
            .max_memories_per_component(memories)
            .max_tables_per_module(tables)
            .max_tables_per_component(tables)
            .max_core_instances_per_component(core_instances)
            .table_elements(100_000)
            .max_unused_warm_slots(16);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    }
    config
}

/// The ticker is a thread of its own: whatever the guests do, it comes round.
fn start_ticker(engine: Engine, stop: Arc<AtomicBool>) -> std::io::Result<()> {
    std::thread::Builder::new().name("epoch-ticker".into()).spawn(move || {
        // It has to come round in time beside guests that use every core.
        ask_for_short_slices();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(EPOCH);
            engine.increment_epoch();
        }
    })?;
    Ok(())
}
