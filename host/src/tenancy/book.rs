//! What the running jobs of each tenant hold of what quotas count: slots, jobs,
//! artifacts. A job is entered before it takes anything, and dropping its entry
//! gives all of it back.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::quotas::{self, Amounts, OverQuota, Quotas};
use crate::ids::TenantId;

/// What a job asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Slots: one for each subtask of an operator.
    pub slots: u32,
    /// The artifacts that its operators run, by digest, with the bytes of each.
    pub artifacts: BTreeMap<String, u64>,
}

/// The book of all tenants of a TaskManager. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Book {
    tenants: Arc<Mutex<BTreeMap<TenantId, Tenant>>>,
}

#[derive(Debug, Default)]
struct Tenant {
    quotas: Quotas,
    jobs: u64,
    slots: u64,
    /// Bytes of each artifact, and how many jobs use it.
    artifacts: BTreeMap<String, (u64, u64)>,
}

impl Tenant {
    fn held(&self) -> Amounts {
        Amounts {
            slots: self.slots,
            jobs: self.jobs,
            artifacts: self.artifacts.len() as u64,
            artifact_bytes: self.artifacts.values().map(|(bytes, _)| *bytes).sum(),
        }
    }

    /// What a job asks for beyond what is held: an artifact that another job of the
    /// tenant uses is not asked for again.
    fn asked(&self, needs: &Needs) -> Amounts {
        let fresh =
            needs.artifacts.iter().filter(|(digest, _)| !self.artifacts.contains_key(*digest));
        let sizes: Vec<u64> = fresh.map(|(_, bytes)| *bytes).collect();
        Amounts {
            slots: u64::from(needs.slots),
            jobs: 1,
            artifacts: sizes.len() as u64,
            artifact_bytes: sizes.iter().sum(),
        }
    }
}

impl Book {
    /// The book is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a tenant other quotas. Jobs that run stay, whatever they hold.
    pub fn set_quotas(&self, tenant: &TenantId, quotas: &Quotas) {
        self.lock().entry(tenant.clone()).or_default().quotas = quotas.clone();
    }

    /// A tenant's quotas.
    #[must_use]
    pub fn quotas(&self, tenant: &TenantId) -> Quotas {
        self.lock().get(tenant).map(|tenant| tenant.quotas.clone()).unwrap_or_default()
    }

    /// What a tenant's jobs hold.
    #[must_use]
    pub fn held(&self, tenant: &TenantId) -> Amounts {
        self.lock().get(tenant).map(Tenant::held).unwrap_or_default()
    }

    /// Enters a job, if its tenant's quotas have what it needs.
    ///
    /// # Errors
    /// The quota that does not; then nothing was entered.
    pub fn enter(&self, tenant: &TenantId, needs: Needs) -> Result<EnteredJob, OverQuota> {
        let tenants = &mut *self.lock();
        let account = tenants.entry(tenant.clone()).or_default();
        quotas::check(tenant, &account.quotas, &account.held(), &account.asked(&needs))?;
        account.jobs += 1;
        account.slots += u64::from(needs.slots);
        for (digest, bytes) in &needs.artifacts {
            account.artifacts.entry(digest.clone()).or_insert((*bytes, 0)).1 += 1;
        }
        Ok(EnteredJob { book: self.clone(), tenant: tenant.clone(), needs })
    }
}

/// A job in the book, until it is dropped.
#[derive(Debug)]
pub struct EnteredJob {
    book: Book,
    tenant: TenantId,
    needs: Needs,
}

impl Drop for EnteredJob {
    fn drop(&mut self) {
        let tenants = &mut *self.book.lock();
        let Some(account) = tenants.get_mut(&self.tenant) else { return };
        account.jobs = account.jobs.saturating_sub(1);
        account.slots = account.slots.saturating_sub(u64::from(self.needs.slots));
        for digest in self.needs.artifacts.keys() {
            if let Some((_, users)) = account.artifacts.get_mut(digest) {
                *users -= 1;
                if *users == 0 {
                    account.artifacts.remove(digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tenancy::quotas::Quota;

    fn needs(slots: u32, artifacts: &[(&str, u64)]) -> Needs {
        let artifacts = artifacts.iter().map(|(digest, bytes)| ((*digest).to_owned(), *bytes));
        Needs { slots, artifacts: artifacts.collect() }
    }

    #[test]
    fn a_job_that_ends_gives_back_what_it_held() {
        let (book, acme) = (Book::default(), TenantId::new("acme").unwrap());
        book.set_quotas(&acme, &Quotas { slots: Some(4), jobs: Some(2), ..Quotas::default() });
        let first = book.enter(&acme, needs(3, &[("a", 10)])).unwrap();
        let refused = book.enter(&acme, needs(2, &[])).unwrap_err();
        assert_eq!((refused.quota, refused.held, refused.asked), (Quota::Slots, 3, 2));
        let _second = book.enter(&acme, needs(1, &[])).unwrap();
        assert_eq!(book.enter(&acme, needs(0, &[])).unwrap_err().quota, Quota::Jobs);
        drop(first);
        let _third = book.enter(&acme, needs(3, &[])).unwrap();
        let other = book.enter(&TenantId::default(), needs(100, &[])).unwrap();
        assert_eq!(book.held(&TenantId::default()).slots, 100, "others have quotas of their own");
        drop(other);
    }

    #[test]
    fn an_artifact_that_two_jobs_use_counts_once_and_until_the_last_has_ended() {
        let (book, acme) = (Book::default(), TenantId::new("acme").unwrap());
        book.set_quotas(&acme, &Quotas { artifact_bytes: Some(100), ..Quotas::default() });
        let first = book.enter(&acme, needs(1, &[("a", 60)])).unwrap();
        let second = book.enter(&acme, needs(1, &[("a", 60), ("b", 40)])).unwrap();
        assert_eq!(book.held(&acme).artifact_bytes, 100);
        assert_eq!(
            book.enter(&acme, needs(1, &[("c", 1)])).unwrap_err().quota,
            Quota::ArtifactBytes
        );
        drop(first);
        assert_eq!((book.held(&acme).artifacts, book.held(&acme).artifact_bytes), (2, 100));
        drop(second);
        assert_eq!(book.held(&acme), Amounts::default());
    }

    proptest! {
        #[test]
        fn no_history_exceeds_a_quota_and_all_is_given_back(
            steps in prop::collection::vec((0_u32..6, 0_usize..4, any::<bool>()), 1..60),
            slots in 0_u32..12, jobs in 0_u32..5, bytes in 0_u64..300,
        ) {
            let (book, acme) = (Book::default(), TenantId::new("acme").unwrap());
            let quotas = Quotas {
                slots: Some(slots), jobs: Some(jobs), artifact_bytes: Some(bytes), ..Quotas::default()
            };
            book.set_quotas(&acme, &quotas);
            let all = [("a", 10), ("b", 100), ("c", 150), ("d", 70)];
            let mut running = Vec::new();
            for (slots, artifacts, ends) in steps {
                if ends {
                    running.pop();
                } else {
                    running.extend(book.enter(&acme, needs(slots, &all[..artifacts])).ok());
                }
                let held = book.held(&acme);
                prop_assert!(held.slots <= u64::from(quotas.slots.unwrap()), "{:?}", held);
                prop_assert!(held.jobs <= u64::from(quotas.jobs.unwrap()), "{:?}", held);
                prop_assert!(held.artifact_bytes <= bytes, "{:?}", held);
                prop_assert_eq!(held.jobs, running.len() as u64);
            }
            running.clear();
            prop_assert_eq!(book.held(&acme), Amounts::default());
        }
    }
}
