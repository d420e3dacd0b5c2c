//! One slot: what the way into the sandbox and back costs a record, and what it
//! takes to make an instance.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cofferdam::{
    config::job::Grant,
    ids::TenantId,
    memory::SlotMeter,
    sandbox::{Artifact, CpuMeter, Instance, LogBudget, Now, Sandbox, SandboxConfig, SlotSettings},
    state::KeyedState,
    stream::{Batch, keys::KeyGroups, watermark},
};

use crate::{
    Places,
    machine::{median_and_p99, per, resident_kib, time},
    native::{self, RECORDS},
    report::{Bar, Report},
};

const GRANTS: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];
const LIVE: u32 = 10_000;

pub(crate) fn settings() -> SlotSettings {
    SlotSettings {
        tenant: TenantId::default(),
        memory: SlotMeter::alone(64 << 20),
        deadline: Duration::from_secs(10),
        operator: Arc::from("bench"),
        subtask: 0,
        parallelism: 1,
        inputs: 1,
        outputs: 1,
        config: Arc::new(serde_json::Map::new()),
        metrics: Arc::new(Mutex::default()),
        cpu: CpuMeter::default(),
        log: LogBudget::default(),
        folders: Arc::default(),
        http_hosts: Arc::default(),
        http_roots: Arc::default(),
    }
}

pub(crate) fn load(sandbox: &Sandbox, places: &Places, name: &str) -> anyhow::Result<Artifact> {
    let bytes = std::fs::read(places.guests.join(format!("{name}.wasm")))?;
    Ok(sandbox.load(&bytes, &GRANTS)?)
}

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let cache = tempfile::tempdir()?;
    let config =
        SandboxConfig { cache_dir: Some(cache.path().to_owned()), ..SandboxConfig::uncached(LIVE) };
    let sandbox = Sandbox::new(&config)?;
    through_a_slot(&sandbox, places, report).await?;
    keyed_count(&sandbox, places, report).await?;
    instances(&sandbox, places, report).await?;
    compile(places, report)?;
    live(&sandbox, places, report).await
}

async fn run(
    instance: &mut Instance,
    batches: &[Batch],
    rounds: usize,
) -> anyhow::Result<Duration> {
    let start = Instant::now();
    for _ in 0..rounds {
        for batch in batches {
            std::hint::black_box(instance.process(0, batch).await?);
        }
    }
    Ok(start.elapsed())
}

async fn through_a_slot(
    sandbox: &Sandbox,
    places: &Places,
    report: &mut Report,
) -> anyhow::Result<()> {
    let batches = native::batches(64, 5_000);
    let (rounds, repeats) = (50, 5);
    let records = (batches.len() * RECORDS * rounds) as u64;
    let mut best = [f64::MAX; 5];
    let mut guests = Vec::new();
    for name in ["identity", "copy", "keep-filter", "upper"] {
        guests.push(load(sandbox, places, name)?.instantiate(&settings()).await?);
    }
    // Interleaved, so that a noisy moment hits all of them.
    for _ in 0..repeats {
        for (i, guest) in guests.iter_mut().enumerate() {
            best[i] = best[i].min(per(run(guest, &batches, rounds).await?, records));
        }
        best[4] = best[4].min(per(native::filter(&batches, rounds), records));
    }
    let [identity, copy, filter, upper, native] = best;
    report.add("slot: pass-through (origin same)", identity, "ns/record", Bar::AtMost(15.0), "");
    report.add("slot: pass-through by copying every column", copy, "ns/record", Bar::Free, "");
    report.add("slot: map (values in upper case)", upper, "ns/record", Bar::Free, "");
    report.add("slot: keep-filter", filter, "ns/record", Bar::Free, "half of the records kept");
    report.add("native: the same filter", native, "ns/record", Bar::Free, "");
    report.add(
        "slot: keep-filter, speed beside native",
        native / filter,
        "ratio",
        Bar::AtLeast(0.4),
        "",
    );
    Ok(())
}

/// A running count by key: grouped by the host, folded in the slot, with a JSON
/// object written for each changed key, which the native loop does not do.
async fn keyed_count(
    sandbox: &Sandbox,
    places: &Places,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (rounds, repeats) = (20, 5);
    let batches = native::batches(64, 5_000);
    let records = (batches.len() * RECORDS * rounds) as u64;
    let mut instance = load(sandbox, places, "count")?.instantiate(&settings()).await?;
    let mut state = KeyedState::new(None, KeyGroups::new(128, 1));
    let now = Now { watermark: None, processing: 0 };
    let (mut slot, mut native) = (f64::MAX, f64::MAX);
    for _ in 0..repeats {
        let start = Instant::now();
        for batch in batches.iter().cycle().take(batches.len() * rounds) {
            let groups = state.group(batch, watermark::NONE);
            let answer = instance.fold(now, 0, batch, &groups).await?;
            state.apply(&groups, &answer.change)?;
            std::hint::black_box(answer.outcome);
        }
        slot = slot.min(per(start.elapsed(), records));
        native = native.min(per(native::count(&batches, rounds), records));
    }
    report.add("slot: keyed count, 5,000 keys", slot, "ns/record", Bar::Free, "");
    report.add("native: a hash map with 5,000 keys", native, "ns/record", Bar::Free, "");
    report.add("slot: keyed count, speed beside native", native / slot, "ratio", Bar::Free, "");
    Ok(())
}

async fn instances(sandbox: &Sandbox, places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let artifact =
        load(sandbox, places, "filter-like").or_else(|_| load(sandbox, places, "keep-filter"))?;
    let batch = native::batches(1, 10).remove(0);
    let mut timings = Vec::new();
    for _ in 0..2_000 {
        let start = Instant::now();
        let mut instance = artifact.instantiate(&settings()).await?;
        std::hint::black_box(instance.process(0, &batch).await?);
        timings.push(start.elapsed());
    }
    let (median, p99) = median_and_p99(timings);
    report.add(
        "instantiate to first call answered, median",
        median,
        "µs",
        Bar::AtMost(100.0),
        "compiled code loaded; 1,024 records",
    );
    report.add("instantiate to first call answered, p99", p99, "µs", Bar::Free, "");
    Ok(())
}

fn compile(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let bytes = std::fs::read(places.guests.join("filter.wasm"))?;
    let cache = tempfile::tempdir()?;
    let fresh = Sandbox::new(&SandboxConfig::uncached(1))?;
    let cached = Sandbox::new(&SandboxConfig {
        cache_dir: Some(cache.path().to_owned()),
        ..SandboxConfig::uncached(1)
    })?;
    cached.load(&bytes, &GRANTS)?;
    for (what, sandbox, rounds) in
        [("cold compile", &fresh, 10), ("load from the compiled cache", &cached, 200)]
    {
        let timings = (0..rounds)
            .map(|_| {
                let (took, loaded) = time(|| sandbox.load(&bytes, &GRANTS));
                loaded.map(|_| took)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (median, p99) = median_and_p99(timings);
        let size = format!("`filter`, {} KiB", bytes.len() / 1024);
        report.add(format!("{what}, median"), median, "µs", Bar::Free, size);
        report.add(format!("{what}, p99"), p99, "µs", Bar::Free, "");
    }
    Ok(())
}

async fn live(sandbox: &Sandbox, places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let artifact = load(sandbox, places, "identity")?;
    let before = resident_kib(std::process::id())?;
    let mut instances = Vec::new();
    for _ in 0..LIVE {
        instances.push(artifact.instantiate(&settings()).await?);
    }
    let after = resident_kib(std::process::id())?;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let each = after.saturating_sub(before) as f64 / f64::from(LIVE);
    let how = if sandbox.is_pooling() { "opened; from the pool" } else { "opened; no pool" };
    report.add("10,000 live idle instances, resident each", each, "KiB", Bar::AtMost(32.0), how);
    Ok(())
}
