//! Snapshots of real instances, against instances that were left alone.

mod exclusions;
mod rounds;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{MemoryDelta, MemoryPages, PAGE};
use crate::{
    config::job::Grant,
    failure::Failure,
    ids::TenantId,
    memory::SlotMeter,
    sandbox::{Artifact, CpuMeter, Instance, LogBudget, Sandbox, SandboxConfig, SlotSettings},
};

const GRANTS: [Grant; 3] = [Grant::Log, Grant::Config, Grant::Metrics];

/// State in as many places as there can be.
const NASTY: &str = include_str!("nasty.wat");

fn sandbox() -> Sandbox {
    Sandbox::new(&SandboxConfig::uncached(4)).unwrap()
}

fn settings(memory: usize) -> SlotSettings {
    SlotSettings {
        memory: SlotMeter::alone(memory),
        deadline: Duration::from_secs(10),
        operator: Arc::from("op"),
        tenant: TenantId::default(),
        subtask: 0,
        parallelism: 1,
        inputs: 1,
        outputs: 1,
        config: Arc::default(),
        metrics: Arc::default(),
        cpu: CpuMeter::default(),
        log: LogBudget::default(),
        folders: Arc::default(),
        http_hosts: Arc::default(),
        http_roots: Arc::default(),
    }
}

/// What deltas add up to, as whoever keeps snapshots has it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Image {
    memories: Vec<(u32, BTreeMap<u32, Vec<u8>>)>,
    globals: Vec<u64>,
}

impl Image {
    fn take(&mut self, delta: &MemoryDelta) {
        if delta.complete {
            *self = Self::default();
        }
        self.memories.resize(delta.memories.len(), Default::default());
        for ((size, pages), MemoryPages { wasm_pages, .. }) in
            self.memories.iter_mut().zip(&delta.memories)
        {
            let _ = pages;
            *size = *wasm_pages;
        }
        for ((_, pages), changed) in self.memories.iter_mut().zip(&delta.memories) {
            pages.extend(changed.iter().map(|(number, page)| (number, page.to_vec())));
        }
        self.globals.clone_from(&delta.globals);
    }

    /// A fresh instance with all of it.
    async fn restore(
        &self,
        artifact: &Artifact,
        settings: &SlotSettings,
    ) -> Result<Instance, Failure> {
        self.restore_with(artifact, settings, &self.globals).await
    }

    async fn restore_with(
        &self,
        artifact: &Artifact,
        settings: &SlotSettings,
        globals: &[u64],
    ) -> Result<Instance, Failure> {
        let mut restoring = artifact.restore_memory(settings).await?;
        let sizes: Vec<u32> = self.memories.iter().map(|(size, _)| *size).collect();
        restoring.grow(&sizes).await?;
        for (memory, (_, pages)) in self.memories.iter().enumerate() {
            for (number, page) in pages {
                let at = number * u32::try_from(PAGE).unwrap();
                restoring.write(memory, at, page).await?;
            }
        }
        restoring.finish(globals).await
    }
}
