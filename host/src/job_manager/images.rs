//! Guests' memories in checkpoints (`state = "memory"`): changed pages become blocks,
//! blocks become an image, and an image becomes an instance again. And whether a
//! checkpoint's memories fit the job that is to go on from it: a memory means nothing to
//! other code, and cannot be divided.

use std::collections::{BTreeMap, HashMap};

use crate::{
    checkpoint::{
        CheckpointStore, ChunkDigest, GuestState, ImageMemory, Manifest, MemoryImage, StoreError,
        image::{BLOCK, BLOCK_BYTES},
    },
    config::job::{OperatorSpec, StateKeeping},
    failure::{Failure, FailureKind},
    ids::{CheckpointId, OperatorName},
    job_manager::plan::{Plan, Role},
    sandbox::{
        Artifact, Instance, MemoryDelta, MemoryPages, OperatorKind,
        memory_snapshot::{PAGE, PAGE_BYTES, Restoring},
    },
    task_manager::gate::turn::breathe,
};

/// Pages of a block.
const PAGES: u32 = BLOCK_BYTES / PAGE_BYTES;

/// Writes what changed in a memory since `before`, and says what it is made of now, and
/// how many bytes that took. Nothing, if no memory is saved.
///
/// # Errors
/// If the store fails, or does not have what the changes build on.
pub fn write(
    store: &mut dyn CheckpointStore,
    id: CheckpointId,
    before: Option<&MemoryImage>,
    delta: Option<&MemoryDelta>,
) -> Result<Option<(MemoryImage, u64)>, StoreError> {
    let Some(delta) = delta else {
        // It has said its last, or nothing.
        return Ok(before.map(|image| (image.clone(), 0)));
    };
    let mut image = match before {
        Some(before) if !delta.complete => before.clone(),
        _ => MemoryImage::default(),
    };
    if !delta.complete && image.memories.len() != delta.memories.len() {
        return Err(StoreError::NoBase { id });
    }
    image.memories.resize(delta.memories.len(), ImageMemory::default());
    image.globals.clone_from(&delta.globals);
    let mut written = 0;
    for (memory, changed) in image.memories.iter_mut().zip(&delta.memories) {
        memory.pages = changed.wasm_pages;
        for (number, pages) in by_block(changed) {
            let known = memory.blocks.get(&number).filter(|_| pages.len() < PAGES as usize);
            let mut block = match known {
                Some(digest) => store.chunk(id, *digest)?,
                None => vec![0; BLOCK],
            };
            for (page, bytes) in pages {
                let from = (page % PAGES) as usize * PAGE;
                block[from..from + PAGE].copy_from_slice(bytes);
            }
            let (stored, bytes) = store.put_chunk(&block)?;
            memory.blocks.insert(number, stored.digest);
            written += bytes as u64;
        }
    }
    Ok(Some((image, written)))
}

/// The pages of each block.
fn by_block(changed: &MemoryPages) -> BTreeMap<u32, Vec<(u32, &[u8])>> {
    let mut blocks: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (page, bytes) in changed.iter() {
        blocks.entry(page / PAGES).or_default().push((page, bytes));
    }
    blocks
}

/// Fills a fresh instance with an image.
///
/// # Errors
/// If a block cannot be read, or the image is not one of this component.
pub async fn restore(
    mut fresh: Restoring,
    image: &MemoryImage,
    read: impl Fn(ChunkDigest) -> Result<Vec<u8>, Failure>,
) -> Result<Instance, Failure> {
    let sizes: Vec<u32> = image.memories.iter().map(|memory| memory.pages).collect();
    fresh.grow(&sizes).await?;
    for (i, memory) in image.memories.iter().enumerate() {
        for (number, digest) in &memory.blocks {
            breathe().await;
            let at = number.saturating_mul(BLOCK_BYTES);
            fresh.write(i, at, &read(*digest)?).await?;
        }
    }
    fresh.finish(&image.globals).await
}

/// All of an image at once, as a snapshot of it was.
///
/// # Errors
/// That of `read`.
pub fn whole<E>(
    image: &MemoryImage,
    read: impl Fn(ChunkDigest) -> Result<Vec<u8>, E>,
) -> Result<MemoryDelta, E> {
    let mut memories = Vec::with_capacity(image.memories.len());
    for memory in &image.memories {
        let mut pages = MemoryPages { wasm_pages: memory.pages, ..MemoryPages::default() };
        for (number, digest) in &memory.blocks {
            let block = read(*digest)?;
            let numbers = (number.saturating_mul(PAGES)..).zip(block.chunks_exact(PAGE));
            for (page, bytes) in numbers.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)) {
                pages.numbers.push(page);
                pages.bytes.extend_from_slice(bytes);
            }
        }
        memories.push(pages);
    }
    Ok(MemoryDelta::new(true, memories, image.globals.clone()))
}

/// What an operator has to be for a checkpoint's guest state.
///
/// # Errors
/// In words, if it is something else.
pub fn check(
    manifest: &Manifest,
    plan: &Plan,
    artifacts: &HashMap<OperatorName, Artifact>,
) -> Result<(), String> {
    for vertex in &plan.vertices {
        let Role::Operator(spec, _) = &vertex.role else { continue };
        let Some(saved) = manifest.operators.get(&vertex.name) else { continue };
        let states = saved.subtasks.iter().filter_map(|subtask| subtask.guest.as_ref());
        let refuse =
            |why: String| Err(format!("checkpoint {}: `{}`: {why}", manifest.id, spec.name));
        for state in states {
            if let Err(why) = matches(state, spec) {
                return refuse(why);
            }
            let GuestState::Memory(_) = state else { continue };
            if saved.subtasks.len() != vertex.parallelism as usize {
                return refuse(format!(
                    "its memory was saved (`state = \"memory\"`) by {} subtasks, and cannot be \
                     divided among {}: set its parallelism back, or begin anew with another state \
                     directory",
                    saved.subtasks.len(),
                    vertex.parallelism
                ));
            }
            let now = artifacts.get(&vertex.name).and_then(|a| a.digest().parse().ok());
            if let (Some(then), Some(now)) = (saved.artifact, now)
                && then != now
            {
                return refuse(format!(
                    "its memory was saved (`state = \"memory\"`) of the component {then}, and means \
                     nothing to {now}, which it runs now: put the old one back, or begin anew with \
                     another state directory"
                ));
            }
        }
    }
    Ok(())
}

/// Whether an operator keeps state that cannot be divided.
#[must_use]
pub fn keeps_own_state(spec: &OperatorSpec, kind: OperatorKind) -> bool {
    kind == OperatorKind::Processor { snapshot: true } || spec.state == Some(StateKeeping::Memory)
}

/// Whether an operator can go on from such a state.
///
/// # Errors
/// In words, if it cannot.
pub fn matches(state: &GuestState, spec: &OperatorSpec) -> Result<(), String> {
    let memory = spec.state == Some(StateKeeping::Memory);
    match state {
        GuestState::Memory(_) if !memory => {
            Err("the checkpoint holds its memory as it was, which \
            only `state = \"memory\"` goes on from: set it back, or begin anew with another state \
            directory"
                .to_owned())
        }
        GuestState::Exported(_) if memory => Err("the checkpoint holds what it exported as its \
            state, which `state = \"memory\"` does not go on from: set `state = \"export\"`, or \
            begin anew with another state directory"
            .to_owned()),
        _ => Ok(()),
    }
}

/// The same as a failure, where it was not found out before.
pub fn mismatch(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadArtifact, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::memory_store::MemoryStore;

    fn delta(complete: bool, pages: &[(u32, u8)]) -> MemoryDelta {
        let numbers = pages.iter().map(|(number, _)| *number).collect();
        let bytes = pages.iter().flat_map(|(_, byte)| [*byte; PAGE]).collect();
        let memories = vec![MemoryPages { wasm_pages: 3, numbers, bytes }];
        MemoryDelta::new(complete, memories, vec![9])
    }

    fn bytes_of(store: &MemoryStore, image: &MemoryImage) -> BTreeMap<u32, u8> {
        let blocks = &image.memories[0].blocks;
        let mut pages = BTreeMap::new();
        for (number, digest) in blocks {
            let block = store.chunk(CheckpointId(1), *digest).unwrap();
            for (page, bytes) in block.chunks(PAGE).enumerate() {
                assert!(bytes.iter().all(|byte| *byte == bytes[0]));
                pages.insert(number * PAGES + u32::try_from(page).unwrap(), bytes[0]);
            }
        }
        pages.retain(|_, byte| *byte != 0);
        pages
    }

    #[test]
    fn a_block_of_which_some_pages_changed_keeps_the_others() {
        let mut store = MemoryStore::default();
        let id = CheckpointId(1);
        let first = delta(true, &[(0, 1), (1, 2), (9, 3)]);
        let (image, written) = write(&mut store, id, None, Some(&first)).unwrap().unwrap();
        assert_eq!((image.memories[0].pages, written), (3, 2 * BLOCK as u64));
        let second = delta(false, &[(1, 7), (9, 0), (20, 4)]);
        let (image, _) = write(&mut store, id, Some(&image), Some(&second)).unwrap().unwrap();
        assert_eq!(bytes_of(&store, &image), BTreeMap::from([(0, 1), (1, 7), (20, 4)]));
        let all = whole(&image, |digest| store.chunk(id, digest)).unwrap();
        let wanted = delta(true, &[(0, 1), (1, 7), (20, 4)]);
        assert_eq!((all.complete, all.memories, all.globals), (true, wanted.memories, vec![9]));
        // Nothing was said: nothing changed.
        let again = write(&mut store, id, Some(&image), None).unwrap();
        assert_eq!(again, Some((image.clone(), 0)));
        // What two instances have in common is there once.
        let same = delta(true, &[(0, 1), (1, 7), (20, 4)]);
        let (_, written) = write(&mut store, id, None, Some(&same)).unwrap().unwrap();
        assert_eq!(written, 0);
        assert_eq!(write(&mut store, id, None, None).unwrap(), None);
    }

    #[test]
    fn changes_of_nothing_are_no_image() {
        let mut store = MemoryStore::default();
        let error = write(&mut store, CheckpointId(4), None, Some(&delta(false, &[]))).unwrap_err();
        assert!(error.to_string().contains("checkpoint 4"), "{error}");
    }
}
