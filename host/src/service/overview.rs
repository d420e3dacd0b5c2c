//! The server as a whole: its jobs by state, its slots, its memory and its cores. A tenant sees
//! its own part; whoever runs the server, all of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    Service, access::Caller, conditions::Condition, error::ServiceError, jobs::JobWord,
    running::Entry,
};
use crate::{
    config::{
        server::{ServerSpec, TenantLimits},
        server_view::Setting,
    },
    ids::{JobId, JobName, SlotId, TenantId},
    job_manager::control::{Answer, Ask},
    memory::MemoryReport,
    registry::records::Role,
    task_manager::slots::health::SlotCondition,
};

/// The server at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// This program's version.
    pub version: &'static str,
    /// Whether every job that is to run was started again.
    pub ready: bool,
    /// How many of the caller's jobs are in each state that any is in.
    pub jobs: BTreeMap<&'static str, usize>,
    /// How many slots there are.
    pub slots_total: u32,
    /// How many of them are free, and can be used.
    pub slots_free: u32,
    /// What is not as it should be: of the server, and of the caller's jobs.
    pub conditions: Vec<Condition>,
}

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotSeen {
    /// Its number.
    pub slot: SlotId,
    /// How it is.
    pub condition: SlotCondition,
    /// The job that holds it, if the caller may see that.
    pub job: Option<JobId>,
    /// What that is called.
    pub name: Option<JobName>,
    /// Whose it is.
    pub tenant: Option<TenantId>,
}

/// A slot that is to be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrainedSlot {
    /// Which.
    pub slot: SlotId,
    /// What was in it, if that went to another slot: the subtask.
    pub moved: Option<String>,
    /// To which slot.
    pub to: Option<SlotId>,
}

/// The TaskManager.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskManagerView {
    /// How many slots there are.
    pub slots_total: u32,
    /// How many of them are free.
    pub slots_free: u32,
    /// Its memory, by tenant and by slot.
    pub memory: MemoryReport,
    /// The cores, by tenant.
    pub cpu: Vec<CpuUse>,
}

/// What a tenant has had of the cores since the server was started, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CpuUse {
    /// Who.
    pub tenant: TenantId,
    /// Its weight, where cores are short.
    pub weight: u32,
    /// How long its guests ran.
    pub guest_millis: u64,
    /// How long it had a core: its guests, and the host's work for it.
    pub core_millis: u64,
}

/// How the server is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigView {
    /// Where it listens.
    pub listen: String,
    /// How long jobs may take for their final checkpoints, in milliseconds.
    pub shutdown_timeout_millis: u64,
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// How long a client may take for a request's head, or a piece of its body.
    pub read_timeout_millis: u64,
    /// Whether who comes from this machine needs no token.
    pub open_on_loopback: bool,
    /// The longest upload, in bytes.
    pub max_artifact: usize,
    /// Bytes of all artifacts that a tenant may keep.
    pub max_storage: u64,
    /// How many subtasks a job may have.
    pub max_subtasks: u32,
    /// How many jobs of a tenant may run or wait at once.
    pub max_live: u32,
    /// How many jobs of a tenant that have ended are remembered.
    pub history: u32,
    /// Which TCP ports operators may reach at all.
    pub ports: Vec<u16>,
    /// How often each tenant may ask, and addresses may guess.
    pub limits: LimitsView,
    /// How many calls of a tenant the audit log keeps.
    pub audit_keep: usize,
    /// With which certificate connections are encrypted, if they are.
    pub tls: Option<TlsView>,
    /// Every key with what holds, by table; null where nothing does, or what is made of the
    /// machine. Without what is secret.
    pub settings: BTreeMap<&'static str, BTreeMap<String, Value>>,
}

/// How often somebody may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitsView {
    /// Requests a second, for long.
    pub requests_per_second: u32,
    /// How many at once, after a while without.
    pub burst: u32,
    /// Tokens that open nothing, of an address; no limit if 0.
    pub failed_tokens_per_minute: u32,
    /// What is otherwise for a tenant.
    pub tenants: BTreeMap<TenantId, TenantLimitsView>,
}

/// What is otherwise for a tenant; null where nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantLimitsView {
    /// Requests a second, for long.
    pub requests_per_second: Option<u32>,
    /// How many at once, after a while without.
    pub burst: Option<u32>,
    /// The longest upload, in bytes.
    pub max_artifact: Option<usize>,
}

/// A certificate. Where its secret key is, is not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsView {
    /// Its file.
    pub certificate: String,
}

impl LimitsView {
    fn of(spec: &ServerSpec) -> Self {
        let view = |own: &TenantLimits| TenantLimitsView {
            requests_per_second: own.requests_per_second,
            burst: own.burst,
            max_artifact: own.max_artifact,
        };
        let tenants = spec.tenant_limits.iter().map(|(name, own)| (name.clone(), view(own)));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is read from a whole number"
        )]
        let requests_per_second = spec.requests.a_second as u32;
        Self {
            requests_per_second,
            burst: spec.requests.burst,
            failed_tokens_per_minute: spec.failed_tokens_per_minute,
            tenants: tenants.collect(),
        }
    }
}

/// As `cofferdam config show` has them, but for where the secret key is.
fn settings(spec: &ServerSpec) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
    let mut shown: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for Setting { table, key, value, .. } in spec.settings() {
        if (table, key.as_str()) != ("tls", "key") {
            let value = serde_json::to_value(value).unwrap_or_default();
            shown.entry(table).or_default().insert(key, value);
        }
    }
    shown
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Caller {
    /// That they run the server: an admin of every tenant.
    pub(super) fn require_server(&self) -> Result<(), ServiceError> {
        self.require(Role::Admin)?;
        match &self.tenant {
            None => Ok(()),
            Some(tenant) => Err(ServiceError::OfTenant(tenant.clone())),
        }
    }
}

impl Service {
    /// The server at a glance; of jobs, those of the caller.
    #[must_use]
    pub fn overview(&self, caller: &Caller) -> Overview {
        let mut jobs = BTreeMap::new();
        for entry in self.jobs.all(|record| caller.sees(&record.tenant)) {
            *jobs.entry(JobWord::of(&entry).word()).or_default() += 1;
        }
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            ready: self.is_ready(),
            jobs,
            slots_total: self.task_manager.slots.total(),
            slots_free: self.task_manager.slots.free(),
            conditions: self.conditions(caller),
        }
    }

    /// How the server is configured.
    ///
    /// # Errors
    /// If the caller does not run the server.
    pub fn configured(&self, caller: &Caller) -> Result<ConfigView, ServiceError> {
        caller.require_server()?;
        let ServerSpec { ports, .. } = &self.spec;
        Ok(ConfigView {
            listen: self.spec.listen.to_string(),
            shutdown_timeout_millis: millis(self.spec.shutdown_timeout),
            max_connections: self.spec.max_connections,
            read_timeout_millis: millis(self.spec.read_timeout),
            open_on_loopback: self.spec.open_on_loopback,
            max_artifact: self.spec.max_artifact,
            max_storage: self.spec.max_storage,
            max_subtasks: self.spec.max_subtasks,
            max_live: self.spec.max_live,
            history: self.spec.history,
            ports: ports.clone(),
            limits: LimitsView::of(&self.spec),
            audit_keep: self.spec.audited_calls,
            tls: self
                .spec
                .tls
                .as_ref()
                .map(|files| TlsView { certificate: files.certificate.display().to_string() }),
            settings: settings(&self.spec),
        })
    }

    /// Who holds which slot.
    fn holders(&self) -> HashMap<SlotId, Entry> {
        let mut holders = HashMap::new();
        for entry in self.jobs.all(|record| record.ended.is_none()) {
            let Some(live) = &entry.live else { continue };
            let slots = live.status.borrow().placement.slots.clone();
            holders.extend(slots.into_iter().map(|slot| (slot, entry.clone())));
        }
        holders
    }

    /// The slots: all of them for whoever runs the server, else those that the caller's jobs hold.
    #[must_use]
    pub fn slots(&self, caller: &Caller) -> Vec<SlotSeen> {
        let mut holders = self.holders();
        let seen = (0..).map(SlotId).zip(self.task_manager.slots.conditions());
        let seen = seen.map(|(slot, condition)| {
            let record = holders.remove(&slot).map(|entry| entry.record);
            SlotSeen {
                slot,
                condition,
                job: record.as_ref().map(|record| record.id),
                name: record.as_ref().map(|record| record.name.clone()),
                tenant: record.map(|record| record.tenant.clone()),
            }
        });
        let own = |seen: &SlotSeen| seen.tenant.as_ref().is_some_and(|tenant| caller.sees(tenant));
        seen.filter(|seen| caller.tenant.is_none() || own(seen)).collect()
    }

    /// Has a slot be empty: what is in it goes to another one, and nothing enters it any more.
    ///
    /// # Errors
    /// If the caller does not run the server, there is no such slot, or what is in it cannot go
    /// anywhere yet: then it goes as soon as it can.
    pub async fn drain_slot(
        self: &Arc<Self>,
        caller: &Caller,
        slot: SlotId,
    ) -> Result<DrainedSlot, ServiceError> {
        caller.require_server()?;
        if !self.task_manager.slots.drain(slot) {
            return Err(no_slot(slot));
        }
        let holder = self.holders().remove(&slot);
        let Some(entry) = holder.filter(|entry| JobWord::of(entry) == JobWord::Running) else {
            return Ok(DrainedSlot { slot, moved: None, to: None });
        };
        let service = self.clone();
        Self::bounded("draining the slot", async move {
            match service.ask(&entry, Ask::DrainSlot { slot }).await? {
                Answer::Drained { moved, .. } => {
                    let (moved, to) = moved.map(|moved| (moved.subtask, moved.to)).unzip();
                    Ok(DrainedSlot { slot, moved, to })
                }
                answer => Err(super::control::strange(&answer)),
            }
        })
        .await
    }

    /// Has a slot be used again that was drained or is in quarantine.
    ///
    /// # Errors
    /// If the caller does not run the server, or there is no such slot.
    pub fn restore_slot(&self, caller: &Caller, slot: SlotId) -> Result<DrainedSlot, ServiceError> {
        caller.require_server()?;
        match self.task_manager.slots.restore(slot) {
            true => Ok(DrainedSlot { slot, moved: None, to: None }),
            false => Err(no_slot(slot)),
        }
    }

    /// The TaskManager's memory and cores; of tenants and slots, the caller's.
    #[must_use]
    pub fn task_manager_view(&self, caller: &Caller) -> TaskManagerView {
        let mut memory = self.task_manager.memory.report();
        memory.tenants.retain(|tenant| caller.sees(&tenant.tenant));
        memory.slots.retain(|slot| caller.sees(&slot.tenant));
        if caller.tenant.is_some() {
            // It may be another tenant's.
            memory.largest_slot = None;
        }
        let mut cpu: Vec<CpuUse> = self
            .task_manager
            .gate
            .usage()
            .into_iter()
            .filter(|used| caller.sees(&used.tenant))
            .map(|used| CpuUse {
                tenant: used.tenant,
                weight: used.weight,
                guest_millis: millis(used.guest),
                core_millis: millis(used.core),
            })
            .collect();
        cpu.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        TaskManagerView {
            slots_total: self.task_manager.slots.total(),
            slots_free: self.task_manager.slots.free(),
            memory,
            cpu,
        }
    }
}

fn no_slot(slot: SlotId) -> ServiceError {
    ServiceError::NotFound(format!("slot `{slot}`"))
}
