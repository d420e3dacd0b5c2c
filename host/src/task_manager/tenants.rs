//! Gives tenants their quotas: one call for all that holds them, and following a file
//! that changes. What a quota means is known where it is held.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    config::tenant::{Quotas, TenantSpec},
    ids::TenantId,
    task_manager::{TaskManager, gate::TenantShare, slots::TenantSlots},
    tenancy::{registry::Tenants, watch::Watch},
};

/// How often a file of tenants is looked at.
const PERIOD: Duration = Duration::from_millis(500);

impl TaskManager {
    /// Gives a tenant its quotas, as they are from now on. What its jobs hold they keep:
    /// a limit below that stops growth, and jobs that run are not ended. Slots, jobs and
    /// artifacts are for jobs that come; the others hold at once.
    pub fn set_quotas(&self, tenant: &TenantId, quotas: &Quotas) {
        let Quotas { cpu_weight: weight, cpu_cap: cap, slots, jobs, .. } = *quotas;
        self.slots.set_tenant(tenant, TenantSlots { weight, slots, jobs });
        self.gate.set_share(tenant, TenantShare { weight, cap });
        self.memory.set_tenant_limit(tenant, quotas.memory.unwrap_or(usize::MAX));
        self.memory.set_tenant_state_limit(tenant, quotas.state.unwrap_or(usize::MAX));
        self.book.set_quotas(tenant, quotas);
        self.ingest.set(tenant, quotas);
        self.disk.set_limit(tenant, quotas.disk);
    }
}

/// Keeps the quotas of a TaskManager's tenants as a file has them.
#[derive(Debug)]
pub struct Follower {
    task_manager: TaskManager,
    watch: Watch,
    known: BTreeMap<TenantId, TenantSpec>,
}

impl Follower {
    /// Gives every tenant its quotas, as they are now.
    #[must_use]
    pub fn start(task_manager: TaskManager, watch: Watch, tenants: &Tenants) -> Self {
        let mut follower = Self { task_manager, watch, known: BTreeMap::new() };
        for tenant in tenants.iter() {
            follower.task_manager.set_quotas(&tenant.name, &tenant.quotas);
            follower.known.insert(tenant.name.clone(), tenant.clone());
        }
        follower
    }

    /// Follows the file for as long as this is polled. A mistake in it is told, and
    /// changes nothing.
    pub async fn follow(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            // The file may be on a disk that takes its time.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(follower) => self = follower,
                // The runtime is going down.
                Err(_) => return,
            }
        }
    }

    /// Looks once, and carries out what has changed.
    pub fn look(&mut self) {
        let tenants = match self.watch.look() {
            None => return,
            Some(Ok(tenants)) => tenants,
            Some(Err(error)) => {
                tracing::warn!(
                    "the quotas stay as they are, since the tenants have mistakes:\n{error}"
                );
                return;
            }
        };
        for tenant in tenants.iter() {
            let before = self.known.insert(tenant.name.clone(), tenant.clone());
            if before.as_ref().map(|before| &before.quotas) != Some(&tenant.quotas) {
                self.task_manager.set_quotas(&tenant.name, &tenant.quotas);
                tracing::info!("tenant `{}` has other quotas: {:?}", tenant.name, tenant.quotas);
            }
            if before.is_some_and(|before| before.grants != tenant.grants) {
                let name = &tenant.name;
                tracing::info!("tenant `{name}` has other grants, for jobs that are started anew");
            }
        }
        let gone = self.known.keys().filter(|name| tenants.get(name).is_err());
        for name in gone.cloned().collect::<Vec<_>>() {
            tracing::warn!("tenant `{name}` was deleted; its jobs that run keep their quotas");
            self.known.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::job::CpuShare,
        ids::{JobName, OperatorName},
        task_manager::{
            TaskManagerSettings,
            slots::{Refused, Request},
        },
        tenancy::{
            disk::{Claim, Kept},
            registry::{Change, Changes, FILE, Registry},
        },
    };

    #[test]
    fn a_change_of_the_file_reaches_all_that_hold_quotas() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path());
        let acme = TenantId::new("acme").unwrap();
        registry.create(&acme, &Changes::default()).unwrap();
        let settings = TaskManagerSettings {
            slots: Some(8),
            memory: Some(1 << 30),
            cache_dir: None,
            ..TaskManagerSettings::default()
        };
        let task_manager = TaskManager::start(&settings).unwrap();
        let (watch, tenants) = Watch::start(registry.clone()).unwrap();
        let mut follower = Follower::start(task_manager.clone(), watch, &tenants);
        let meter = task_manager.gate.meter(&acme, None);
        let job = JobName::new("j").unwrap();
        let ask = |slots| {
            let (tenant, job) = (acme.clone(), job.clone());
            let request = Request { tenant, job, priority: 0, slots, preempts: false };
            task_manager.slots.ask(request).map(|_| ())
        };
        let admit = |bytes| {
            let operators = [(OperatorName::new("o").unwrap(), bytes, 1)];
            task_manager.memory.admit(&acme, &job, operators).map(|_| ())
        };
        let keep = |bytes| {
            let account = task_manager.disk.account(&acme, "j", Kept::Posted, "s");
            account.grow(bytes, Claim::Growth)
        };
        let enter = |bytes| {
            let uses = [("digest".to_owned(), bytes)].into_iter().collect();
            task_manager.book.enter(&acme, uses).map(|_| ())
        };
        let ingest = task_manager.ingest.of(&acme);
        assert!(ask(5).is_ok() && admit(1 << 20).is_ok() && enter(100).is_ok());
        assert_eq!(keep(100), Ok(()));
        let operators = [(OperatorName::new("o").unwrap(), 1 << 18, 1)];
        let _running = task_manager.memory.admit(&acme, &job, operators).unwrap();
        assert!(!ingest.is_slowed(ingest.read(1_000_000, 0)));

        let changes = Changes {
            slots: Change::Set(4),
            memory: Change::Set(1 << 19),
            state: Change::Set(77),
            artifact_bytes: Change::Set(99),
            disk: Change::Set(100),
            cpu_weight: Change::Set(300),
            cpu_cap: Change::Set(CpuShare(10)),
            ingest_records: Change::Set(10),
            ..Changes::default()
        };
        registry.change(&acme, &changes).unwrap();
        follower.look();
        assert!(matches!(ask(5), Err(Refused::SlotsQuota { limit: 4, .. })));
        assert!(admit(1 << 20).is_err() && enter(100).is_err());
        assert!(keep(101).is_err() && keep(50).is_ok());
        assert!(ingest.is_slowed(ingest.read(1_000_000, 0)));
        let report = task_manager.memory.report();
        let tenant = report.tenants.iter().find(|t| t.tenant == acme).unwrap();
        assert_eq!((tenant.limit, tenant.state_limit), (Some(1 << 19), Some(77)));
        let used = task_manager.gate.usage_of(&acme);
        assert_eq!(used.unwrap().weight, 300);
        // The slot was taken before there was a cap.
        meter.caps[0].spend(Duration::from_secs(1));
        assert!(meter.caps[0].rest() > Duration::from_secs(50));

        // A mistake changes nothing; what is taken out of the file is no limit.
        std::fs::write(dir.path().join(FILE), "[tenant.acme]\nslot = 1\n").unwrap();
        follower.look();
        assert!(ask(5).is_err());
        std::fs::write(dir.path().join(FILE), "[tenant.acme]\n").unwrap();
        follower.look();
        assert!(ask(5).is_ok() && admit(1 << 20).is_ok() && enter(100).is_ok());
        assert_eq!(meter.caps[0].rest(), Duration::ZERO);
    }
}
