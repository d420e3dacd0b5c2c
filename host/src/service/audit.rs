//! The audit log: who changed what, and when. A call that is to change something is written down
//! before it is carried out, and again with what became of it before it is answered; so nothing
//! is changed that is not in the log, not even by a call that a power cut ended. Of each tenant so
//! many calls are kept as the configuration says; then the oldest goes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Service, access::Caller, error::ServiceError};
use crate::{
    ids::TenantId,
    registry::{
        Changes, Registry, RegistryError,
        records::{AuditRecord, Role},
    },
};

/// How much of a path is kept, in characters.
const LONGEST_PATH: usize = 500;

/// A call that is to change something.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose objects it is about, as far as it says.
    pub tenant: Option<TenantId>,
    /// What it does: `POST`.
    pub method: String,
    /// To what.
    pub path: String,
    /// What it is called by, here and in other logs.
    pub request: String,
}

/// Some calls, the newest first.
#[derive(Debug)]
pub struct AuditPage {
    /// They.
    pub calls: Vec<AuditRecord>,
    /// Whether there are more after them.
    pub more: bool,
}

/// Which calls are in the log.
#[derive(Debug)]
pub(super) struct Audit {
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    of: BTreeMap<Option<TenantId>, VecDeque<u64>>,
}

impl Audit {
    /// Blocks.
    pub(super) fn load(registry: &Registry, most: usize) -> Result<Self, RegistryError> {
        let mut kept = Kept::default();
        for record in registry.all::<AuditRecord>(&[])? {
            kept.next = kept.next.max(record.id + 1);
            // By their keys they come in order.
            kept.of.entry(record.tenant).or_default().push_back(record.id);
        }
        Ok(Self { kept: Mutex::new(kept), most })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a call of a tenant, and those that go to make room for it.
    fn take_number(&self, tenant: Option<&TenantId>) -> (u64, Vec<u64>) {
        let mut kept = self.lock();
        let number = kept.next;
        kept.next += 1;
        let own = kept.of.entry(tenant.cloned()).or_default();
        own.push_back(number);
        let over = own.len().saturating_sub(self.most);
        (number, own.drain(..over).collect())
    }
}

impl Service {
    /// Writes down that a call is to be carried out. It is durable when anything is that is
    /// changed in the registry after it. Blocks.
    ///
    /// # Errors
    /// If it cannot be written; then the call must not be carried out.
    pub fn audit_begin(&self, caller: &Caller, call: Call) -> Result<AuditRecord, ServiceError> {
        let Call { tenant, method, path, request } = call;
        let tenant = caller.tenant.clone().or(tenant);
        let (id, gone) = self.audit.take_number(tenant.as_ref());
        let record = AuditRecord {
            id,
            tenant,
            at: self.clock.now_millis(),
            token: caller.token,
            role: caller.role,
            method,
            path: path.chars().take(LONGEST_PATH).collect(),
            status: None,
            request,
        };
        let mut changes = Changes::new().put(&record);
        for id in gone {
            let [tenant, id] = AuditRecord::key_of(record.tenant.as_ref(), id);
            changes = changes.remove::<AuditRecord>(&[&tenant, &id]);
        }
        self.registry.note(changes)?;
        Ok(record)
    }

    /// Writes down what became of a call. Blocks.
    pub fn audit_end(&self, mut record: AuditRecord, status: u16) {
        record.status = Some(status);
        if let Err(error) = self.registry.change(Changes::new().put(&record)) {
            // What was done was done, and is answered.
            let AuditRecord { method, path, request, .. } = &record;
            tracing::error!(
                "{method} {path} ({request}), answered with {status}, is in the audit log \
                 without that: {error}"
            );
        }
    }

    /// The calls of a tenant, or of all, the newest first; from before the one of this number.
    /// Blocks.
    ///
    /// # Errors
    /// If the caller is no admin, or the tenant is not there for them.
    pub fn audited(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, ServiceError> {
        caller.require(Role::Admin)?;
        let only = match (tenant, &caller.tenant) {
            (None, None) => None,
            (named, _) => Some(caller.tenant(named)?),
        };
        if let Some(tenant) = &only {
            self.tenant(tenant)?;
        }
        let mut found: Vec<(u64, Option<TenantId>)> = Vec::new();
        for (tenant, numbers) in &self.audit.lock().of {
            if only.is_none() || *tenant == only {
                let numbers = numbers.iter().filter(|id| before.is_none_or(|before| **id < before));
                // Of each no more than all that is wanted.
                found.extend(numbers.rev().take(limit + 1).map(|id| (*id, tenant.clone())));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        let more = found.len() > limit;
        let mut calls = Vec::new();
        for (id, tenant) in found.into_iter().take(limit) {
            let [tenant, id] = AuditRecord::key_of(tenant.as_ref(), id);
            // It may have made room for another meanwhile.
            calls.extend(self.registry.get::<AuditRecord>(&[&tenant, &id])?);
        }
        Ok(AuditPage { calls, more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_makes_room_at_its_own_cost() {
        let audit = Audit { kept: Mutex::default(), most: 2 };
        let (acme, other) = (TenantId::new("acme").unwrap(), TenantId::default());
        assert_eq!(audit.take_number(Some(&acme)), (0, vec![]));
        assert_eq!(audit.take_number(Some(&acme)), (1, vec![]));
        assert_eq!(audit.take_number(Some(&other)), (2, vec![]));
        assert_eq!(audit.take_number(None), (3, vec![]));
        assert_eq!(audit.take_number(Some(&acme)), (4, vec![0]));
        assert_eq!(audit.take_number(Some(&acme)), (5, vec![1]));
    }
}
