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
    PAGE, Rewritten, WASM_PAGE,
    accessor::INTERFACE,
    changes::{Changes, not_empty},
    copies::{Charged, Copies},
    delta::{MemoryDelta, MemoryPages},
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
pub(super) const NOT_GROWN: u32 = u32::MAX;

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
    pub(super) levels: Vec<Level>,
    copies: Arc<Copies>,
    pub(super) watch: Option<Arc<PageWatch>>,
    /// What is held for finding changes.
    held: Vec<Charged>,
    /// Whether there was a snapshot before, or a restore.
    pub(super) known: bool,
}

pub(super) struct Level {
    pub(super) seek: TypedFunc<(u32,), ()>,
    get: TypedFunc<(u32,), (u64,)>,
    pub(super) set: TypedFunc<(u32, u64), ()>,
    pub(super) slots: u32,
    pub(super) memories: Vec<Memory>,
}

pub(super) struct Memory {
    pub(super) calls: MemoryCalls,
    pub(super) changes: Changes,
}

#[derive(Clone, Copy)]
pub(super) struct MemoryCalls {
    size: TypedFunc<(), (u32,)>,
    view: TypedFunc<(), (WasmList<u8>,)>,
    pub(super) grow: TypedFunc<(u32,), (u32,)>,
    pub(super) write: TypedFunc<(&'static [u8],), ()>,
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

pub(super) fn bug(what: &str) -> Failure {
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

    /// All of its memory, for another instance that goes on in its place. What the next
    /// [`memory_delta`](Self::memory_delta) holds does not depend on it.
    ///
    /// # Errors
    /// As [`memory_delta`](Self::memory_delta).
    pub async fn whole_memory(&mut self) -> Result<MemoryDelta, Failure> {
        let access = self
            .memory_access
            .take()
            .ok_or_else(|| bug("a memory was to be moved that cannot be reached"))?;
        let whole = self.copy_whole(&access).await;
        // Where there was no room for a copy, the memory can still be reached.
        self.memory_access = Some(access);
        whole
    }

    async fn copy_whole(&mut self, access: &MemoryAccess) -> Result<MemoryDelta, Failure> {
        self.check_handles()?;
        let mut whole = MemoryDelta { complete: true, ..MemoryDelta::default() };
        for i in 0..access.levels.len() {
            for m in 0..access.levels[i].memories.len() {
                let calls = access.levels[i].memories[m].calls;
                let wasm_pages = self.size(&calls).await?;
                let mut pages = MemoryPages { wasm_pages, ..MemoryPages::default() };
                if wasm_pages > 0 {
                    let list = self.view(&calls).await?;
                    let bytes = list.as_le_slice(&self.store);
                    let numbers = not_empty(bytes, 0);
                    whole.charged.push(access.charge(numbers.len() * PAGE)?);
                    pages.copy(bytes, numbers);
                }
                whole.memories.push(pages);
            }
            self.read_globals(&access.levels[i], &mut whole.globals).await?;
        }
        Ok(whole)
    }

    /// Handles are numbers in the guest's memory and things in the host's tables; a
    /// restored guest would have the numbers without the things.
    pub(super) fn check_handles(&self) -> Result<(), Failure> {
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
            self.read_globals(&access.levels[i], &mut delta.globals).await?;
        }
        Ok(delta)
    }

    async fn read_globals(&mut self, level: &Level, to: &mut Vec<u64>) -> Result<(), Failure> {
        for slot in 0..level.slots {
            let (value,) = self.access(&level.get, (slot,)).await?;
            to.push(value);
        }
        Ok(())
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
        pages.copy(bytes, numbers);
        access.levels[level].memories[memory].changes.saved(bytes, &pages.numbers);
        Ok(pages)
    }

    /// The pages of a memory of that size that hold anything.
    pub(super) async fn pages_not_empty(
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
    pub(super) async fn view(&mut self, calls: &MemoryCalls) -> Result<WasmList<u8>, Failure> {
        let fuel = self.store.hostcall_fuel();
        self.store.set_hostcall_fuel(usize::MAX);
        let viewed = self.access(&calls.view, ()).await;
        self.store.set_hostcall_fuel(fuel);
        viewed.map(|(list,)| list)
    }

    pub(super) async fn size(&mut self, calls: &MemoryCalls) -> Result<u32, Failure> {
        let (pages,) = self.access(&calls.size, ()).await?;
        if pages > MOST_PAGES {
            let what = "its memory has grown to 4 GiB, which cannot be saved (`state = \
                        \"memory\"`): lower the operator's `memory`";
            return Err(Failure::new(FailureKind::OutOfMemory, what));
        }
        Ok(pages)
    }

    /// A call into what was added. It is the guest's time, as `snapshot` would be.
    pub(super) async fn access<P, R>(
        &mut self,
        function: &TypedFunc<P, R>,
        params: P,
    ) -> Result<R, Failure>
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

/// Pages of WebAssembly are whole pages of ours.
const _: () = assert!(WASM_PAGE.is_multiple_of(PAGE));
