//! A fresh instance that is given the state of another one: its memories grown, its pages
//! written, what is left of a fresh instance's own emptied, and last its globals.

use std::collections::BTreeSet;

use super::{
    PAGE, PAGE_BYTES,
    access::{MemoryAccess, MemoryCalls, NOT_GROWN, bug},
    delta::MemoryDelta,
    huge,
};
use crate::{
    failure::{Failure, FailureKind},
    sandbox::instance::Instance,
};

/// A fresh instance, into whose memory a snapshot is written.
#[derive(Debug)]
pub struct Restoring {
    /// Dropped before the memory is.
    access: Box<MemoryAccess>,
    instance: Instance,
    /// Pages of each memory that are not empty in a fresh instance, and were not written
    /// yet.
    fresh: Vec<BTreeSet<u32>>,
}

impl Restoring {
    pub(in crate::sandbox) fn new(mut instance: Instance) -> Result<Self, Failure> {
        let access = instance.memory_access.take();
        let access = access.ok_or_else(|| bug("a memory was to be restored without access"))?;
        Ok(Self { instance, access, fresh: Vec::new() })
    }

    /// Grows the memories to what they were: `wasm_pages` of each.
    ///
    /// # Errors
    /// If there are not as many, or one is larger already, which is another component's
    /// snapshot; if the slot has no room for them.
    pub async fn grow(&mut self, wasm_pages: &[u32]) -> Result<(), Failure> {
        let memories = self.access.levels.iter().flat_map(|level| &level.memories);
        let calls: Vec<MemoryCalls> = memories.map(|memory| memory.calls).collect();
        if calls.len() != wasm_pages.len() {
            return Err(other_shape());
        }
        for (calls, pages) in calls.iter().zip(wasm_pages) {
            let now = self.instance.size(calls).await?;
            let not_empty = self.instance.pages_not_empty(calls, now).await?;
            self.fresh.push(not_empty);
            let more = pages.checked_sub(now).ok_or_else(other_shape)?;
            if more == 0 {
                continue;
            }
            let (before,) = self.instance.access(&calls.grow, (more,)).await?;
            if before == NOT_GROWN {
                let state = self.instance.store.data();
                let what = match &state.limits.refused {
                    Some(refused) => format!("restoring its memory asked for {refused}"),
                    None => format!("its memory cannot grow to {pages} pages again"),
                };
                return Err(Failure::new(FailureKind::OutOfMemory, what));
            }
            let list = self.instance.view(calls).await?;
            huge::ask_for(list.as_le_slice(&self.instance.store));
        }
        Ok(())
    }

    /// Writes bytes to an address of a memory, counted in the order of the component.
    ///
    /// # Errors
    /// If they do not fit into it.
    pub async fn write(&mut self, memory: usize, at: u32, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(fresh) = self.fresh.get_mut(memory).filter(|fresh| !fresh.is_empty()) {
            let (first, end) = (at as usize / PAGE, (at as usize + bytes.len()) / PAGE);
            for page in first..end {
                fresh.remove(&u32::try_from(page).unwrap_or(u32::MAX));
            }
        }
        let (mut levels, mut memory) = (self.access.levels.iter(), memory);
        let (seek, calls) = loop {
            let level = levels.next().ok_or_else(other_shape)?;
            match level.memories.get(memory) {
                Some(found) => break (level.seek, found.calls),
                None => memory -= level.memories.len(),
            }
        };
        self.instance.access(&seek, (at,)).await?;
        self.instance.access(&calls.write, (bytes,)).await
    }

    /// Sets all mutable globals: then the instance is what it was.
    ///
    /// # Errors
    /// If there are not as many.
    pub async fn finish(mut self, globals: &[u64]) -> Result<Instance, Failure> {
        self.complete(globals).await?;
        self.access.known = self.watch().await?;
        self.instance.memory_access = Some(self.access);
        Ok(self.instance)
    }

    /// Takes over the memory of another instance. Its next snapshot will be complete.
    ///
    /// # Errors
    /// As the steps of it.
    pub async fn fill(mut self, whole: &MemoryDelta) -> Result<Instance, Failure> {
        let sizes: Vec<u32> = whole.memories.iter().map(|memory| memory.wasm_pages).collect();
        self.grow(&sizes).await?;
        for (i, memory) in whole.memories.iter().enumerate() {
            for (first, bytes) in memory.runs() {
                self.write(i, first * PAGE_BYTES, bytes).await?;
            }
        }
        self.complete(&whole.globals).await?;
        for memory in self.access.levels.iter().flat_map(|level| &level.memories) {
            if self.instance.size(&memory.calls).await? > 0 {
                let list = self.instance.view(&memory.calls).await?;
                huge::no_more(list.as_le_slice(&self.instance.store));
            }
        }
        self.instance.memory_access = Some(self.access);
        Ok(self.instance)
    }

    async fn complete(&mut self, globals: &[u64]) -> Result<(), Failure> {
        for (memory, pages) in std::mem::take(&mut self.fresh).into_iter().enumerate() {
            for page in pages {
                let at = page * PAGE_BYTES;
                self.write(memory, at, &[0; PAGE]).await?;
            }
        }
        let mut values = globals.iter();
        for level in &self.access.levels {
            for slot in 0..level.slots {
                let value = *values.next().ok_or_else(other_shape)?;
                self.instance.access(&level.set, (slot, value)).await?;
            }
        }
        if values.next().is_some() {
            return Err(other_shape());
        }
        // A start function may have left something.
        self.instance.check_handles()
    }
}

impl Restoring {
    /// What is written from now on is all that changes. Whether that will be known.
    async fn watch(&mut self) -> Result<bool, Failure> {
        let (watch, mut known) = (self.access.watch.clone(), true);
        for memory in self.access.levels.iter_mut().flat_map(|level| &mut level.memories) {
            if self.instance.size(&memory.calls).await? == 0 {
                continue;
            }
            let list = self.instance.view(&memory.calls).await?;
            let bytes = list.as_le_slice(&self.instance.store);
            huge::no_more(bytes);
            known &= memory.changes.begin(bytes, watch.as_ref());
        }
        Ok(known)
    }
}

fn other_shape() -> Failure {
    Failure::new(
        FailureKind::CheckpointFailure,
        "the checkpoint's snapshot of its memory has another shape than this component: it was \
         not taken of it",
    )
}
