//! Memory snapshots of guests whose language has a runtime of its own, with a collector
//! and a heap that nobody here knows: 1,000 random rounds of snapshots and restores are as
//! if the guest had been left alone.
//!
//! Their tools are not part of this repository. `tests/languages/README.md` says how the
//! guests are built; without them, which is said, nothing is tested here.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::print_stderr, reason = "that a test was left out is to be seen")]

use std::{path::PathBuf, time::Duration};

use cofferdam::{
    config::job::Grant,
    memory::SlotMeter,
    sandbox::{
        Artifact, Instance, MemoryDelta, PageWatch, Sandbox, SandboxConfig, SlotSettings,
        memory_snapshot::PAGE_BYTES,
    },
    stream::{Batch, BatchBuilder},
};
use cofferdam_tests::zoo::settings;

/// Where the guests are that `tests/languages/build.sh` made.
const VARIABLE: &str = "COFFERDAM_LANGUAGE_GUESTS";
/// What their runtimes import, and hold nothing of.
const GRANTS: [Grant; 5] =
    [Grant::Log, Grant::Config, Grant::Metrics, Grant::Wasi, Grant::WasiFilesystem];
const ROUNDS: u32 = 1000;

/// The component of a language; none if it was not built.
fn guest(language: &str) -> Option<Vec<u8>> {
    let file = format!("count-{language}.wasm");
    let dir = std::env::var_os(VARIABLE).map(PathBuf::from);
    let bytes = dir.and_then(|dir| std::fs::read(dir.join(&file)).ok());
    if bytes.is_none() {
        eprintln!(
            "LEFT OUT: there is no {file} in ${VARIABLE}; tests/languages/README.md says how it \
             is built"
        );
    }
    bytes
}

/// Numbers that look random, the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn slot() -> SlotSettings {
    let memory = SlotMeter::alone(1 << 30);
    SlotSettings { memory, deadline: Duration::from_secs(30), ..settings("languages") }
}

fn keyed(numbers: &mut Numbers) -> Batch {
    let mut builder = BatchBuilder::new();
    for _ in 0..=numbers.below(12) {
        let key = format!("key-{}", numbers.below(800));
        builder.push(Some(key.as_bytes()), b"", None);
    }
    builder.take()
}

async fn said(instance: &mut Instance, batch: &Batch) -> String {
    let outcome = instance.process(0, batch).await.unwrap();
    let (_, records) = &outcome.emissions[0];
    String::from_utf8(records.value(0).to_vec()).unwrap()
}

async fn restore(artifact: &Artifact, slot: &SlotSettings, image: &MemoryDelta) -> Instance {
    let mut fresh = artifact.restore_memory(slot).await.unwrap();
    let sizes: Vec<u32> = image.memories.iter().map(|memory| memory.wasm_pages).collect();
    fresh.grow(&sizes).await.unwrap();
    for (i, memory) in image.memories.iter().enumerate() {
        for (first, bytes) in memory.runs() {
            fresh.write(i, first * PAGE_BYTES, bytes).await.unwrap();
        }
    }
    fresh.finish(&image.globals).await.unwrap()
}

async fn rounds(language: &str, seed: u64) {
    let Some(bytes) = guest(language) else { return };
    let sandbox = Sandbox::new(&SandboxConfig::uncached(4)).unwrap();
    let sandbox = sandbox.watching(PageWatch::open().ok());
    let artifact = sandbox.load_saving_memory(&bytes, &GRANTS).unwrap_or_else(|e| panic!("{e}"));
    let (slot, mut numbers) = (slot(), Numbers(seed));
    let mut alone = artifact.instantiate(&self::slot()).await.unwrap();
    let mut moved = artifact.instantiate(&slot).await.unwrap();
    let mut image = moved.memory_delta().await.unwrap();
    let mut restored = 0;
    for round in 0..ROUNDS {
        for _ in 0..numbers.below(4) {
            let batch = keyed(&mut numbers);
            let expected = said(&mut alone, &batch).await;
            assert_eq!(said(&mut moved, &batch).await, expected, "{language}, round {round}");
        }
        image = image.then(moved.memory_delta().await.unwrap());
        if numbers.below(4) == 0 {
            drop(moved);
            moved = restore(&artifact, &slot, &image).await;
            restored += 1;
        }
    }
    assert!(restored > 150, "{restored}");
    // The control: an instance that was not restored says something else.
    let mut fresh = artifact.instantiate(&slot).await.unwrap();
    let batch = keyed(&mut numbers);
    assert_ne!(said(&mut fresh, &batch).await, said(&mut alone, &batch).await);
    eprintln!("{language}: {ROUNDS} rounds, {restored} restores, {} bytes", image.bytes());
}

#[tokio::test]
async fn a_thousand_rounds_of_a_javascript_guest_are_as_if_left_alone() {
    rounds("js", 1).await;
}

#[tokio::test]
async fn a_thousand_rounds_of_a_python_guest_are_as_if_left_alone() {
    rounds("py", 2).await;
}
