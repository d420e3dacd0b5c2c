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

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::sandbox::cache::CompiledCache;

/// How often a guest that runs on is interrupted to let others run: the longest
/// turn that it can have, and how late its deadline can be noticed.
pub const EPOCH: Duration = Duration::from_millis(5);

/// How the engine is set up.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// How many instances may live at once in the pool. Address space is
    /// reserved for them; where that is refused, instances are allocated one by
    /// one, which takes some microseconds longer.
    pub instances: u32,
    /// Where compiled code is kept; nowhere if none.
    pub cache_dir: Option<PathBuf>,
}

/// The engine and what belongs to it.
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) cache: Option<CompiledCache>,
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
        let (engine, pooling) = match Engine::new(&engine_config(Some(config.instances))) {
            Ok(engine) => (engine, true),
            Err(error) => {
                tracing::info!("no pool of {} instances: {error:#}", config.instances);
                (Engine::new(&engine_config(None))?, false)
            }
        };
        let cache = config.cache_dir.as_deref().map(|dir| CompiledCache::new(dir, &engine));
        let stop = Arc::new(AtomicBool::new(false));
        start_ticker(engine.clone(), stop.clone())?;
        Ok(Self { engine, cache, pooling, stop })
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

fn engine_config(pool: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        // A guest's recursion ends here, well within the stack that it gets.
        .max_wasm_stack(512 * 1024)
        .async_stack_size(1024 * 1024);
    if let Some(instances) = pool {
        let mut pooling = PoolingAllocationConfig::new();
        // A component that needs help from the host to start has a module or
        // two of its own for that, which have no memory.
        pooling
            .total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(4))
            .total_memories(instances)
            .total_tables(instances.saturating_mul(2))
            .total_stacks(instances)
            .max_memories_per_component(4)
            .max_tables_per_component(8)
            .max_core_instances_per_component(32)
            .table_elements(100_000)
            .max_unused_warm_slots(16);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    }
    config
}

/// The ticker is a thread of its own: whatever the guests do, it comes round.
fn start_ticker(engine: Engine, stop: Arc<AtomicBool>) -> std::io::Result<()> {
    std::thread::Builder::new().name("epoch-ticker".into()).spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(EPOCH);
            engine.increment_epoch();
        }
    })?;
    Ok(())
}
