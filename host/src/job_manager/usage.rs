//! Records what a job uses: reads its counters as it runs, and has the ledger keep a
//! record for each part of it every [`INTERVAL`], and at its end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{
    clock::Clock,
    ids::{JobName, TenantId},
    job_manager::{
        deploy::Deployer,
        deployment::{DeployedRegion, Deployment},
        placement::Holding,
        plan::Plan,
        writer::Written,
    },
    metrics::Counters,
    sandbox::CpuMeter,
    tenancy::usage::{
        UsageRecord,
        ledger::Ledger,
        meter::{Reading, UsageMeter},
    },
    threads,
};

/// From one record of a part to the next: what is lost at most if the process is
/// killed.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// How many records are kept while the ledger cannot be written. Beyond that the
/// oldest go: memory must not be what a full disk fills up.
const MOST_UNWRITTEN: usize = 100_000;

/// The usage of one job, from its start in this process to its end.
#[derive(Debug)]
pub struct JobUsage {
    outbox: Arc<Outbox>,
    meter: UsageMeter,
    plan: Arc<Plan>,
    clock: Clock,
    /// Bytes that were written for checkpoints, by vertex; none for manifests.
    checkpoint_bytes: BTreeMap<Option<usize>, u64>,
    writing: Option<JoinHandle<()>>,
}

impl JobUsage {
    /// Of a job that begins now.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        tenant: TenantId,
        job: JobName,
        plan: Arc<Plan>,
        clock: Clock,
    ) -> Self {
        let meter = UsageMeter::new(tenant, job, clock.now_millis());
        Self {
            outbox: Arc::new(Outbox { ledger, inner: Mutex::default() }),
            meter,
            plan,
            clock,
            checkpoint_bytes: BTreeMap::new(),
            writing: None,
        }
    }

    /// The job was given slots.
    pub fn begin_slots(&mut self) {
        self.meter.begin_slots();
    }

    /// An attempt begins.
    pub fn begin_attempt(&mut self, deployment: &Deployment) {
        for (i, vertex) in self.plan.vertices.iter().enumerate() {
            let own = deployment.members.iter().filter(|(id, _)| id.vertex == i);
            let before =
                own.map(|(_, m)| m.counted_before).fold(Counters::default(), Counters::plus);
            self.meter.begin(&Some(vertex.name.clone()), before);
        }
    }

    /// A region goes on from a checkpoint, after what it did before was
    /// [observed](Self::observe).
    pub fn restart(&mut self, before: &Deployment, region: &DeployedRegion) {
        for (id, member) in &region.members {
            let part = Some(self.plan.vertices[id.vertex].name.clone());
            let counted = before.members.get(id).map(|m| m.metrics.counters());
            self.meter.set_back(&part, counted.unwrap_or_default(), member.counted_before);
        }
    }

    /// A checkpoint was written.
    pub fn add_checkpoint(&mut self, written: &Written) {
        let of_vertices: u64 = written.by_vertex.values().sum();
        let rest = (None, written.bytes.saturating_sub(of_vertices));
        let each = written.by_vertex.iter().map(|(vertex, bytes)| (Some(*vertex), *bytes));
        for (part, bytes) in each.chain([rest]) {
            *self.checkpoint_bytes.entry(part).or_default() += bytes;
        }
    }

    /// Reads all counters, and writes if it is time to.
    pub fn observe(&mut self, deployment: &Deployment, deployer: &Deployer, holding: &Holding) {
        let memory = holding.memory.byte_nanos();
        for (i, vertex) in self.plan.vertices.iter().enumerate() {
            let own = deployment.members.iter().filter(|(id, _)| id.vertex == i);
            let counters =
                own.map(|(_, m)| m.metrics.counters()).fold(Counters::default(), Counters::plus);
            let meters = || deployer.meters.iter().filter(|(id, _)| id.vertex == i).map(|(_, m)| m);
            let reading = Reading {
                cpu_nanos: meters().map(CpuMeter::total_nanos).sum(),
                fuel: meters().map(CpuMeter::total_fuel).sum(),
                memory_byte_nanos: memory.get(&vertex.name).copied().unwrap_or(0),
                counters,
                checkpoint_bytes: self.checkpoint_bytes.get(&Some(i)).copied().unwrap_or(0),
            };
            self.meter.observe(&Some(vertex.name.clone()), reading);
        }
        let checkpoint_bytes = self.checkpoint_bytes.get(&None).copied().unwrap_or(0);
        self.meter.observe(&None, Reading { checkpoint_bytes, ..Reading::default() });
        let due = i64::try_from(INTERVAL.as_millis()).unwrap_or(i64::MAX);
        let now = self.clock.now_millis();
        // Also if the clock was set back: the interval would not end for as long.
        if now.saturating_sub(self.meter.start()) >= due || now < self.meter.start() {
            self.outbox.put(self.meter.cut(now));
            self.write();
        }
    }

    /// Writes beside the job, unless that is going on: then it is done next time.
    fn write(&mut self) {
        if self.writing.as_ref().is_none_or(JoinHandle::is_finished) {
            let outbox = self.outbox.clone();
            self.writing = Some(threads::blocking(move || outbox.send()));
        }
    }

    /// The job's end: writes what is left, and waits for it.
    pub async fn finish(mut self) {
        if let Some(writing) = self.writing.take() {
            // If it panicked, what is left says so.
            let _ = writing.await;
        }
        self.outbox.put(self.meter.cut(self.clock.now_millis()));
        self.write();
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        let lost = self.outbox.lock().records.len();
        if lost > 0 {
            let path = self.outbox.ledger.path().display();
            tracing::error!("{lost} usage records could not be written to {path} and are lost");
        }
    }
}

/// Records on their way to the ledger.
#[derive(Debug)]
struct Outbox {
    ledger: Ledger,
    inner: Mutex<Unwritten>,
}

#[derive(Debug, Default)]
struct Unwritten {
    records: Vec<UsageRecord>,
    /// The last attempt failed, which was told.
    failed: bool,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Unwritten> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, records: Vec<UsageRecord>) {
        let unwritten = &mut *self.lock();
        unwritten.records.extend(records);
        let excess = unwritten.records.len().saturating_sub(MOST_UNWRITTEN);
        unwritten.records.drain(..excess);
    }

    /// Writes what there is. Blocks.
    fn send(&self) {
        let records = std::mem::take(&mut self.lock().records);
        let written = self.ledger.append(&records);
        let unwritten = &mut *self.lock();
        let Err(error) = written else {
            unwritten.failed = false;
            return;
        };
        unwritten.records.splice(..0, records);
        if !std::mem::replace(&mut unwritten.failed, true) {
            let path = self.ledger.path().display();
            tracing::error!("usage cannot be written to {path}, and is kept in memory: {error}");
        }
    }
}
