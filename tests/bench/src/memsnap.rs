//! Memories of guests, saved without their help (`state = "memory"`): how long a guest
//! stands still for it, what restoring takes, what being ready for it costs, and what the
//! store adds.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cofferdam::{
    checkpoint::{
        CheckpointStore, GuestState, Manifest, MemoryImage, OperatorState, SubtaskState,
        image::BLOCK, sled_store::SledStore,
    },
    config::job::Grant,
    failure::{Failure, FailureKind},
    ids::{CheckpointId, JobName, OperatorName},
    job_manager::images,
    memory::SlotMeter,
    sandbox::{Artifact, Instance, MemoryDelta, PageWatch, Sandbox, SandboxConfig, SlotSettings},
    stream::Batch,
};

use crate::{
    Places,
    machine::{median_and_p99, per},
    native::{self, RECORDS},
    report::{Bar, Report},
    slots,
};

const GRANTS: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];
/// Pages of 4 KiB in a MiB.
const PAGES: usize = 256;
/// How often a delta is taken.
const DELTAS: usize = 40;
/// How often something is done that takes long.
const ROUNDS: usize = 5;

pub(crate) async fn measure(places: &Places, report: &mut Report) -> anyhow::Result<()> {
    let bytes = std::fs::read(places.guests.join("memory-count.wasm"))?;
    let compared = Sandbox::new(&SandboxConfig::uncached(4))?;
    let watch = PageWatch::open();
    let known = watch.as_ref().map_or_else(|e| format!("refused: {e}"), |_| "there".to_owned());
    println!("userfaultfd: {known}\n");
    let watched = Sandbox::new(&SandboxConfig::uncached(4))?.watching(watch.ok());
    let (compared, watched) = (
        compared.load_saving_memory(&bytes, &GRANTS)?,
        watched.load_saving_memory(&bytes, &GRANTS)?,
    );
    for size in [Size::SMALL, Size::LARGE] {
        full(&watched, &size, report).await?;
        deltas(&watched, &size, "", Bar::AtMost(size.delta), report).await?;
        deltas(&compared, &size, ", by comparing", Bar::Free, report).await?;
        store(&watched, &size, report).await?;
    }
    ready(places, &bytes, report).await
}

/// How much state, and what may be taken for it, in ms.
struct Size {
    mib: usize,
    full: f64,
    restore: f64,
    delta: f64,
}

impl Size {
    const SMALL: Self = Self { mib: 64, full: 25.0, restore: 25.0, delta: 1.0 };
    const LARGE: Self = Self { mib: 256, full: 120.0, restore: 100.0, delta: 3.0 };

    /// A slot of a guest that holds so much, and writes to a hundredth of it in a call.
    fn slot(&self) -> SlotSettings {
        let config = serde_json::json!({"ballast": self.mib, "touch": self.mib * PAGES / 100});
        let config = config.as_object().cloned().unwrap_or_default();
        let memory = SlotMeter::alone(3 << 30);
        SlotSettings { memory, config: Arc::new(config), ..slots::settings() }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median_millis(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().map_or(0.0, millis)
}

async fn timed_delta(instance: &mut Instance) -> anyhow::Result<(Duration, MemoryDelta)> {
    let start = Instant::now();
    let delta = instance.memory_delta().await?;
    Ok((start.elapsed(), delta))
}

/// Everything, and back into a fresh instance.
async fn full(artifact: &Artifact, size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let (mut saved, mut restored) = (Vec::new(), Vec::new());
    let batch = native::batches(1, 10).remove(0);
    for _ in 0..ROUNDS {
        let mut instance = artifact.instantiate(&size.slot()).await?;
        let (took, delta) = timed_delta(&mut instance).await?;
        saved.push(took);
        drop(instance);
        let start = Instant::now();
        let mut instance = from_delta(artifact, size, &delta).await?;
        restored.push(start.elapsed());
        instance.process(0, &batch).await?;
    }
    let mib = size.mib;
    report.add(
        format!("memory snapshot: everything, {mib} MiB, median"),
        median_millis(saved),
        "ms",
        Bar::AtMost(size.full),
        "the guest stands still",
    );
    report.add(
        format!("memory snapshot: restore, {mib} MiB, median"),
        median_millis(restored),
        "ms",
        Bar::AtMost(size.restore),
        "from memory, in blocks of 16 KiB; with a fresh instance",
    );
    Ok(())
}

/// An instance with what a complete delta holds.
async fn from_delta(
    artifact: &Artifact,
    size: &Size,
    delta: &MemoryDelta,
) -> Result<Instance, Failure> {
    let mut fresh = artifact.restore_memory(&size.slot()).await?;
    let sizes: Vec<u32> = delta.memories.iter().map(|memory| memory.wasm_pages).collect();
    fresh.grow(&sizes).await?;
    for (i, memory) in delta.memories.iter().enumerate() {
        let mut pages = memory.numbers.iter().zip(memory.bytes.chunks(4096)).peekable();
        let mut block = Vec::with_capacity(BLOCK);
        while let Some((first, page)) = pages.next() {
            block.clear();
            block.extend_from_slice(page);
            let mut last = *first;
            while block.len() < BLOCK
                && let Some((number, page)) = pages.next_if(|(number, _)| **number == last + 1)
            {
                block.extend_from_slice(page);
                last = *number;
            }
            fresh.write(i, first * 4096, &block).await?;
        }
    }
    fresh.finish(&delta.globals).await
}

/// What a hundredth of the pages takes, written here and there.
async fn deltas(
    artifact: &Artifact,
    size: &Size,
    how: &str,
    bar: Bar,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut instance = artifact.instantiate(&size.slot()).await?;
    let batch = native::batches(1, 10).remove(0);
    timed_delta(&mut instance).await?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..DELTAS {
        instance.process(0, &batch).await?;
        let (took, delta) = timed_delta(&mut instance).await?;
        times.push(took);
        bytes = delta.bytes();
    }
    let (median, p99) = median_and_p99(times);
    let what = format!("memory snapshot: 1 % of {} MiB{how}", size.mib);
    let copied = format!("{} KiB copied", bytes / 1024);
    report.add(format!("{what}, median"), median / 1e3, "ms", bar, copied);
    report.add(format!("{what}, p99"), p99 / 1e3, "ms", Bar::Free, "");
    Ok(())
}

/// What the store adds, beside the job: blocks and a manifest, flushed.
async fn store(artifact: &Artifact, size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut store = SledStore::open(dir.path())?;
    let mut instance = artifact.instantiate(&size.slot()).await?;
    let batch = native::batches(1, 10).remove(0);
    let mut image = None;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for id in (1..=ROUNDS as u64 + 1).map(CheckpointId) {
        instance.process(0, &batch).await?;
        let delta = instance.memory_delta().await?;
        let start = Instant::now();
        let written = images::write(&mut store, id, image.as_ref(), Some(&delta))?;
        let (now, blocks) = written.ok_or_else(|| anyhow::anyhow!("a delta makes an image"))?;
        let manifest = store.commit(&manifest(id, &now)?)?;
        times.push(start.elapsed());
        bytes = blocks + manifest as u64;
        image = Some(now);
    }
    let first = times.remove(0);
    let (what, note) = (format!("memory snapshot: sled, {} MiB", size.mib), "beside the job");
    report.add(format!("{what}, everything"), millis(first), "ms", Bar::Free, note);
    let note = format!("{} KiB written; beside the job", bytes / 1024);
    report.add(format!("{what}, 1 %, median"), median_millis(times), "ms", Bar::Free, note);
    let image = image.unwrap_or_default();
    let id = CheckpointId(ROUNDS as u64 + 1);
    let start = Instant::now();
    let fresh = artifact.restore_memory(&size.slot()).await?;
    let read = |digest| {
        let failed = |e: cofferdam::checkpoint::StoreError| {
            Failure::new(FailureKind::CheckpointFailure, e.to_string())
        };
        store.chunk(id, digest).map_err(failed)
    };
    let mut restored = images::restore(fresh, &image, read).await?;
    let took = start.elapsed();
    restored.process(0, &batch).await?;
    report.add(format!("{what}, restore"), millis(took), "ms", Bar::Free, "digests compared");
    Ok(())
}

fn manifest(id: CheckpointId, image: &MemoryImage) -> anyhow::Result<Manifest> {
    let guest = Some(GuestState::Memory(image.clone()));
    let subtasks = vec![SubtaskState { guest, ..SubtaskState::default() }];
    let operator = OperatorState { subtasks, ..OperatorState::default() };
    Ok(Manifest {
        id,
        job: JobName::new("bench")?,
        triggered_at: 0,
        epoch: 1,
        max_parallelism: 128,
        finished: false,
        operators: BTreeMap::from([(OperatorName::new("op")?, operator)]),
    })
}

/// What it costs a guest that its memory can be saved, whether or not it is.
async fn ready(places: &Places, bytes: &[u8], report: &mut Report) -> anyhow::Result<()> {
    let sandbox = Sandbox::new(&SandboxConfig::uncached(8))?.watching(PageWatch::open().ok());
    let identity = std::fs::read(places.guests.join("identity.wasm"))?;
    for (name, component, rounds, records) in
        [("counting", bytes, 40, RECORDS), ("an empty call", &*identity, 20_000, 1)]
    {
        let mut plain = sandbox.load(component, &GRANTS)?.instantiate(&slots::settings()).await?;
        let ready = sandbox.load_saving_memory(component, &GRANTS)?;
        let mut ready = ready.instantiate(&slots::settings()).await?;
        // Watched, as between two checkpoints that are far apart.
        ready.memory_delta().await?;
        let batches =
            if records == 1 { vec![Batch::default()] } else { native::batches(16, 5_000) };
        let calls = (batches.len() * rounds * records) as u64;
        let (mut best, mut ratios) = ([f64::MAX; 2], Vec::new());
        for _ in 0..2 * ROUNDS + 1 {
            let mut pair = [0.0; 2];
            for (i, instance) in [&mut plain, &mut ready].into_iter().enumerate() {
                let start = Instant::now();
                for batch in batches.iter().cycle().take(batches.len() * rounds) {
                    std::hint::black_box(instance.process(0, batch).await?);
                }
                pair[i] = per(start.elapsed(), calls);
                best[i] = best[i].min(pair[i]);
            }
            ratios.push(pair[1] / pair[0]);
        }
        ratios.sort_unstable_by(f64::total_cmp);
        let note = format!(
            "{:.1} against {:.1} ns; median of pairs {:.3}",
            best[1], best[0], ratios[ROUNDS]
        );
        let what = format!("memory snapshot: being ready for it, {name}");
        report.add(what, best[1] / best[0], "ratio", Bar::AtMost(1.03), note);
    }
    Ok(())
}
