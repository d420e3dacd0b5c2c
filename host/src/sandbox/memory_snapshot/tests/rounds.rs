//! Random rounds: an instance that is saved and restored again and again does what one
//! does that is left alone. And controls: without a part of it, it does not.

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{
    sandbox::PageWatch,
    stream::{Batch, BatchBuilder},
};

const MEMORY: usize = 64 << 20;

/// The kernel tells what was written, where it can.
fn watching(sandbox: Sandbox) -> Sandbox {
    let watch = PageWatch::open().ok();
    if watch.is_none() {
        tracing::warn!("no userfaultfd here: memories are compared");
    }
    sandbox.watching(watch)
}

/// A record with a number as its value.
fn number(n: u64) -> Batch {
    let mut builder = BatchBuilder::new();
    builder.push(None, &n.to_le_bytes(), None);
    builder.take()
}

/// Records with keys of a few thousand.
fn keyed(rng: &mut StdRng) -> Batch {
    let mut builder = BatchBuilder::new();
    for _ in 0..rng.random_range(1..40) {
        let key = format!("key-{}", rng.random_range(0..3000));
        builder.push(Some(key.as_bytes()), b"", None);
    }
    builder.take()
}

async fn said(instance: &mut Instance, batch: &Batch) -> String {
    format!("{:?}", instance.process(0, batch).await.unwrap())
}

fn artifact(sandbox: &Sandbox, rust: bool) -> Artifact {
    let bytes = if rust {
        let path = "../tests/fixtures/contract-0.1.0/stateful-count.wasm";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        std::fs::read(path).unwrap()
    } else {
        wat::parse_str(NASTY).unwrap()
    };
    sandbox.load_saving_memory(&bytes, &GRANTS).unwrap()
}

/// Runs so many rounds; how often it was restored.
async fn rounds(sandbox: &Sandbox, rust: bool, seed: u64, rounds: u32) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let artifact = artifact(sandbox, rust);
    let slot = settings(MEMORY);
    let mut alone = artifact.instantiate(&settings(MEMORY)).await.unwrap();
    let mut moved = artifact.instantiate(&slot).await.unwrap();
    let (mut image, mut restored) = (Image::default(), 0);
    for round in 0..rounds {
        for _ in 0..rng.random_range(0..5) {
            let batch = if rust { keyed(&mut rng) } else { number(rng.next_u64()) };
            let expected = said(&mut alone, &batch).await;
            assert_eq!(said(&mut moved, &batch).await, expected, "round {round}, seed {seed}");
        }
        if rng.random_ratio(1, 10) {
            // Into another slot: what comes next builds on nothing.
            let whole = moved.whole_memory().await.unwrap();
            drop(moved);
            let fresh = artifact.restore_memory(&slot).await.unwrap();
            moved = fresh.fill(&whole).await.unwrap();
            let delta = moved.memory_delta().await.unwrap();
            assert!(delta.complete);
            image.take(&delta);
        }
        if rng.random_ratio(2, 3) {
            image.take(&moved.memory_delta().await.unwrap());
            if rng.random_ratio(1, 3) {
                drop(moved);
                moved = image.restore(&artifact, &slot).await.unwrap();
                restored += 1;
            }
        }
    }
    let mut whole = Image::default();
    let mut expected = Image::default();
    whole.take(&image.restore(&artifact, &slot).await.unwrap().memory_delta().await.unwrap());
    expected.take(&image.restore(&artifact, &slot).await.unwrap().memory_delta().await.unwrap());
    assert_eq!(whole, expected, "two restores of one snapshot are the same");
    restored
}

#[tokio::test]
async fn a_thousand_rounds_of_a_component_of_many_modules_are_as_if_left_alone() {
    assert!(rounds(&Sandbox::of_many_memories(false), false, 1, 1000).await > 100);
}

#[tokio::test]
async fn a_thousand_rounds_of_a_rust_guest_are_as_if_left_alone() {
    assert!(rounds(&sandbox(), true, 2, 1000).await > 100);
}

#[tokio::test]
async fn a_thousand_rounds_in_which_the_kernel_tells_what_was_written() {
    let one_by_one = watching(Sandbox::of_many_memories(false));
    assert!(rounds(&one_by_one, false, 4, 1000).await > 100);
    assert!(rounds(&watching(sandbox()), true, 5, 1000).await > 100);
    let pooled = watching(Sandbox::of_many_memories(true));
    assert!(rounds(&pooled, false, 6, 300).await > 30);
}

#[tokio::test]
async fn a_slot_of_a_pool_that_another_one_had_is_as_good_as_a_new_one() {
    let sandbox = Sandbox::of_many_memories(true);
    assert!(rounds(&sandbox, false, 3, 300).await > 30);
}

/// What an instance says after ten numbers, a snapshot, and `restore`.
async fn after<F>(restore: impl Fn(Artifact, Image) -> F) -> (String, String)
where
    F: Future<Output = Instance>,
{
    let sandbox = Sandbox::of_many_memories(false);
    let artifact = artifact(&sandbox, false);
    let mut alone = artifact.instantiate(&settings(MEMORY)).await.unwrap();
    let mut image = Image::default();
    for n in 0_u64..10 {
        said(&mut alone, &number(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).await;
    }
    image.take(&alone.memory_delta().await.unwrap());
    let mut moved = restore(artifact, image).await;
    let (mut expected, mut found) = (String::new(), String::new());
    // Twice: some parts have their turn every other time.
    for n in [77, 78] {
        expected += &said(&mut alone, &number(n)).await;
        found += &said(&mut moved, &number(n)).await;
    }
    (expected, found)
}

#[tokio::test]
async fn controls_differ_without_a_restore_without_globals_and_without_a_page() {
    let whole = |artifact: Artifact, image: Image| async move {
        image.restore(&artifact, &settings(MEMORY)).await.unwrap()
    };
    let (expected, found) = after(whole).await;
    assert_eq!(found, expected);

    let fresh = |artifact: Artifact, _| async move {
        artifact.instantiate(&settings(MEMORY)).await.unwrap()
    };
    let (expected, found) = after(fresh).await;
    assert_ne!(found, expected, "nothing was restored");

    let without_globals = |artifact: Artifact, image: Image| async move {
        let mut fresh = artifact.instantiate(&settings(MEMORY)).await.unwrap();
        let globals = fresh.memory_delta().await.unwrap().globals;
        assert_ne!(globals, image.globals);
        image.restore_with(&artifact, &settings(MEMORY), &globals).await.unwrap()
    };
    let (expected, found) = after(without_globals).await;
    assert_ne!(found, expected, "globals were not restored");

    for memory in 0..MEMORIES {
        let without_pages = |artifact: Artifact, mut image: Image| async move {
            image.memories[memory].1.clear();
            image.restore(&artifact, &settings(MEMORY)).await.unwrap()
        };
        let (expected, found) = after(without_pages).await;
        // The memory of no pages has none to lose.
        let empty = memory == EMPTY_MEMORY;
        assert_eq!(found == expected, empty, "memory {memory} was not restored");
    }
}

/// The memories of the nasty component: two of each `$outer`; of `$operator`, one each
/// of `$one` and `$two`, three of `$three`, and that of `$main`.
const MEMORIES: usize = 2 * 2 + 1 + 1 + 3 + 1;

/// The last one of `$three`.
const EMPTY_MEMORY: usize = 2 * 2 + 1 + 1 + 2;

#[tokio::test]
async fn a_snapshot_after_nothing_happened_holds_next_to_nothing() {
    let sandbox = sandbox();
    let artifact = artifact(&sandbox, true);
    let mut instance = artifact.instantiate(&settings(MEMORY)).await.unwrap();
    let first = instance.memory_delta().await.unwrap();
    assert!(first.complete && first.bytes() > 0);
    let second = instance.memory_delta().await.unwrap();
    // The last page of each memory is passed through by the view.
    assert!(!second.complete && second.bytes() <= PAGE, "{}", second.bytes());
}

#[tokio::test]
async fn copies_are_charged_to_the_slot_and_given_back() {
    let sandbox = sandbox();
    let artifact = artifact(&sandbox, true);
    let slot = settings(MEMORY);
    let mut instance = artifact.instantiate(&slot).await.unwrap();
    let delta = instance.memory_delta().await.unwrap();
    assert!(slot.memory.usage().copies >= delta.bytes());
    let charged = slot.memory.usage().copies;
    let bytes = delta.bytes();
    drop(delta);
    assert_eq!(slot.memory.usage().copies, charged - bytes);
    drop(instance);
    assert_eq!(slot.memory.usage().total(), 0);

    let small = settings(2 << 20);
    let mut instance = artifact.instantiate(&small).await.unwrap();
    // As much as the guest has is too much twice.
    small.memory.grow_guest((2 << 20) - small.memory.usage().total() - 4096).unwrap();
    let failure = instance.whole_memory().await.unwrap_err();
    assert_eq!(failure.kind, crate::failure::FailureKind::OutOfMemory);
    assert!(instance.saves_memory(), "it goes on as it was");
    let failure = instance.memory_delta().await.unwrap_err();
    assert_eq!(failure.kind, crate::failure::FailureKind::OutOfMemory);
    assert!(failure.message.contains("state = \"memory\""), "{failure}");
}

#[tokio::test]
async fn a_snapshot_of_another_component_is_refused() {
    let sandbox = Sandbox::of_many_memories(true);
    let (nasty, rust) = (artifact(&sandbox, false), artifact(&sandbox, true));
    let mut image = Image::default();
    let mut instance = rust.instantiate(&settings(MEMORY)).await.unwrap();
    image.take(&instance.memory_delta().await.unwrap());
    let failure = image.restore(&nasty, &settings(MEMORY)).await.unwrap_err();
    assert!(failure.message.contains("another shape"), "{failure}");
}
