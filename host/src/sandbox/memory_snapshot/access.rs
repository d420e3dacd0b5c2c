//! Calls into the access that was added to a component: taking a snapshot of an
//! instance between two calls, and restoring a fresh one.

use std::{collections::BTreeSet, fmt, sync::Arc};

use wasmtime::{
    Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Lift, Lower, TypedFunc, WasmList,
    },
};

use super::{
    PAGE, PAGE_BYTES, Rewritten, WASM_PAGE,
    accessor::INTERFACE,
    changes::{Changes, not_empty},
    copies::{Charged, Copies},
    delta::{MemoryDelta, MemoryPages},
    huge,
    shape::Shape,
    written::PageWatch,
};
use crate::{
    failure::{Failure, FailureKind},
    memory::{Refusal, SlotMeter},
    sandbox::{
        capabilities::SlotState,
        instance::{Instance, begin_call, count_fuel},
        meter, trap,
    },
};

/// A memory of 4 GiB has more bytes than the length of a list can tell.
const MOST_PAGES: u32 = (1 << 16) - 1;
/// What `memory.grow` says when it does not.
const NOT_GROWN: u32 = u32::MAX;

/// Where the functions of a component's access are.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct MemoryExports {
    levels: Vec<LevelExports>,
}

#[derive(Debug, Clone)]
struct LevelExports {
    seek: ComponentExportIndex,
    get: ComponentExportIndex,
    set: ComponentExportIndex,
    slots: u32,
    memories: Vec<[ComponentExportIndex; 4]>,
}

impl MemoryExports {
    /// Finds them all in a component that was rewritten; none if one is missing.
    pub(in crate::sandbox) fn find(component: &Component, rewritten: &Rewritten) -> Option<Self> {
        let shape = &rewritten.shape;
        let mut exports = Self { levels: Vec::new() };
        if !shape.is_empty() {
            let at = component.get_export_index(None, INTERFACE)?;
            exports.level(component, &at, shape)?;
        }
        Some(exports)
    }

    fn level(
        &mut self,
        component: &Component,
        at: &ComponentExportIndex,
        shape: &Shape,
    ) -> Option<()> {
        let find = |name: &str| component.get_export_index(Some(at), name);
        if shape.memories > 0 || !shape.globals.is_empty() {
            let memory = |i: u32| {
                let find = |name: &str| find(&format!("{name}{i}"));
                Some([find("size")?, find("view")?, find("grow")?, find("write")?])
            };
            self.levels.push(LevelExports {
                seek: find("seek")?,
                get: find("get")?,
                set: find("set")?,
                slots: shape.slots(),
                memories: (0..shape.memories).map(memory).collect::<Option<_>>()?,
            });
        }
        for (i, child) in shape.children.iter().enumerate() {
            self.level(component, &find(&format!("child{i}"))?, child)?;
        }
        Some(())
    }
}

/// Access to the state of an instance.
pub(in crate::sandbox) struct MemoryAccess {
    levels: Vec<Level>,
    copies: Arc<Copies>,
    watch: Option<Arc<PageWatch>>,
    /// What is held for finding changes.
    held: Vec<Charged>,
    /// Whether there was a snapshot before, or a restore.
    known: bool,
}

struct Level {
    seek: TypedFunc<(u32,), ()>,
    get: TypedFunc<(u32,), (u64,)>,
    set: TypedFunc<(u32, u64), ()>,
    slots: u32,
    memories: Vec<Memory>,
}

struct Memory {
    calls: MemoryCalls,
    changes: Changes,
}

#[derive(Clone, Copy)]
struct MemoryCalls {
    size: TypedFunc<(), (u32,)>,
    view: TypedFunc<(), (WasmList<u8>,)>,
    grow: TypedFunc<(u32,), (u32,)>,
    write: TypedFunc<(&'static [u8],), ()>,
}

impl fmt::Debug for MemoryAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryAccess").field("known", &self.known).finish_non_exhaustive()
    }
}

impl MemoryAccess {
    /// Finds the functions of an instance.
    pub(in crate::sandbox) fn new(
        exports: &MemoryExports,
        store: &mut Store<SlotState>,
        instance: wasmtime::component::Instance,
        meter: Arc<SlotMeter>,
        watch: Option<Arc<PageWatch>>,
    ) -> wasmtime::Result<Self> {
        let mut levels = Vec::new();
        for level in &exports.levels {
            let mut memories = Vec::new();
            for [size, view, grow, write] in &level.memories {
                let calls = MemoryCalls {
                    size: instance.get_typed_func(&mut *store, size)?,
                    view: instance.get_typed_func(&mut *store, view)?,
                    grow: instance.get_typed_func(&mut *store, grow)?,
                    write: instance.get_typed_func(&mut *store, write)?,
                };
                memories.push(Memory { calls, changes: Changes::default() });
            }
            levels.push(Level {
                seek: instance.get_typed_func(&mut *store, level.seek)?,
                get: instance.get_typed_func(&mut *store, level.get)?,
                set: instance.get_typed_func(&mut *store, level.set)?,
                slots: level.slots,
                memories,
            });
        }
        let copies = Copies::new(meter);
        Ok(Self { levels, copies, watch, held: Vec::new(), known: false })
    }

    fn charge(&self, bytes: usize) -> Result<Charged, Failure> {
        self.copies.charge(bytes).map_err(|refused| no_room(&refused))
    }
}

fn no_room(refused: &Refusal) -> Failure {
    let what = format!(
        "the copy of its memory for a checkpoint (`state = \"memory\"`) asked for {refused}"
    );
    Failure::new(FailureKind::OutOfMemory, what)
}

fn bug(what: &str) -> Failure {
    Failure::new(FailureKind::HostBug, what)
}

impl Instance {
    /// Whether its memory can be saved.
    #[must_use]
    pub fn saves_memory(&self) -> bool {
        self.memory_access.is_some()
    }

    /// What of its memory changed since the last time; everything, the first time. To be
    /// called between two calls.
    ///
    /// # Errors
    /// If the guest holds handles of the host's, if the slot has no room for the copy, or
    /// as calls into the guest fail. The instance is done for then.
    pub async fn memory_delta(&mut self) -> Result<MemoryDelta, Failure> {
        let mut access = self
            .memory_access
            .take()
            .ok_or_else(|| bug("a memory was to be saved that cannot be reached"))?;
        self.check_handles()?;
        let delta = self.collect(&mut access).await?;
        access.known = true;
        self.memory_access = Some(access);
        Ok(delta)
    }

    /// Handles are numbers in the guest's memory and things in the host's tables; a
    /// restored guest would have the numbers without the things.
    fn check_handles(&self) -> Result<(), Failure> {
        if self.store.data().holds_handles() {
            return Err(Failure::new(
                FailureKind::BadArtifact,
                "its memory cannot be saved (`state = \"memory\"`) while it holds something of the \
                 host's, such as an open stream, file or request: drop it before the call returns, \
                 or export `snapshot` and `restore`",
            ));
        }
        Ok(())
    }

    async fn collect(&mut self, access: &mut MemoryAccess) -> Result<MemoryDelta, Failure> {
        let mut delta = MemoryDelta { complete: !access.known, ..MemoryDelta::default() };
        for i in 0..access.levels.len() {
            for m in 0..access.levels[i].memories.len() {
                let pages = self.changed_pages(access, (i, m), &mut delta.charged).await?;
                delta.memories.push(pages);
            }
            let level = &access.levels[i];
            let (get, slots) = (level.get, level.slots);
            for slot in 0..slots {
                let (value,) = self.access(&get, (slot,)).await?;
                delta.globals.push(value);
            }
        }
        Ok(delta)
    }

    async fn changed_pages(
        &mut self,
        access: &mut MemoryAccess,
        (level, memory): (usize, usize),
        charged: &mut Vec<Charged>,
    ) -> Result<MemoryPages, Failure> {
        let calls = access.levels[level].memories[memory].calls;
        let wasm_pages = self.size(&calls).await?;
        let mut pages = MemoryPages { wasm_pages, ..MemoryPages::default() };
        if wasm_pages == 0 {
            return Ok(pages);
        }
        let list = self.view(&calls).await?;
        let bytes = list.as_le_slice(&self.store);
        let watch = access.watch.clone();
        let changes = &mut access.levels[level].memories[memory].changes;
        let numbers = changes.find(bytes, watch.as_ref()).map_err(|error| {
            let what = format!("what was written to its memory cannot be found out: {error}");
            Failure::new(FailureKind::CheckpointFailure, what)
        })?;
        let kept = changes.grows_by(bytes);
        let copied = numbers.len() * PAGE;
        charged.push(access.charge(copied)?);
        let held = access.charge(kept)?;
        access.held.push(held);
        pages.bytes.reserve_exact(copied);
        huge::ask_for_room(&mut pages.bytes);
        for number in &numbers {
            let from = *number as usize * PAGE;
            pages.bytes.extend_from_slice(&bytes[from..from + PAGE]);
        }
        access.levels[level].memories[memory].changes.saved(bytes, &numbers);
        pages.numbers = numbers;
        Ok(pages)
    }

    /// The pages of a memory of that size that hold anything.
    async fn pages_not_empty(
        &mut self,
        calls: &MemoryCalls,
        wasm_pages: u32,
    ) -> Result<BTreeSet<u32>, Failure> {
        if wasm_pages == 0 {
            return Ok(BTreeSet::new());
        }
        let list = self.view(calls).await?;
        let bytes = list.as_le_slice(&self.store);
        Ok(not_empty(bytes, 0).into_iter().collect())
    }

    /// All of a memory. Nothing is copied, however long the list is.
    async fn view(&mut self, calls: &MemoryCalls) -> Result<WasmList<u8>, Failure> {
        let fuel = self.store.hostcall_fuel();
        self.store.set_hostcall_fuel(usize::MAX);
        let viewed = self.access(&calls.view, ()).await;
        self.store.set_hostcall_fuel(fuel);
        viewed.map(|(list,)| list)
    }

    async fn size(&mut self, calls: &MemoryCalls) -> Result<u32, Failure> {
        let (pages,) = self.access(&calls.size, ()).await?;
        if pages > MOST_PAGES {
            let what = "its memory has grown to 4 GiB, which cannot be saved (`state = \
                        \"memory\"`): lower the operator's `memory`";
            return Err(Failure::new(FailureKind::OutOfMemory, what));
        }
        Ok(pages)
    }

    /// A call into what was added. It is the guest's time, as `snapshot` would be.
    async fn access<P, R>(&mut self, function: &TypedFunc<P, R>, params: P) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        begin_call(&mut self.store, &self.clock);
        let deadline = self.store.data().deadline;
        let called = function.call_async(&mut self.store, params);
        let ended = meter::metered(called, &self.clock, &self.cpu, deadline).await;
        if self.fuel {
            count_fuel(&mut self.store, &self.cpu);
        }
        ended.map_err(|e| trap::classify(&e, self.store.data(), "memory snapshot"))
    }
}

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
        self.instance.check_handles()?;
        self.access.known = self.watch().await?;
        self.instance.memory_access = Some(self.access);
        Ok(self.instance)
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

/// Pages of WebAssembly are whole pages of ours.
const _: () = assert!(WASM_PAGE.is_multiple_of(PAGE));
