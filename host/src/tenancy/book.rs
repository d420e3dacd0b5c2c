//! Which artifacts the running jobs of each tenant use. A job is entered before it
//! takes slots, and dropping its entry gives back what it held.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::quotas::{self, Amounts, OverQuota, Quotas};
use crate::ids::TenantId;

/// Artifacts by digest, with the bytes of each.
pub type Artifacts = BTreeMap<String, u64>;

/// The book of all tenants of a TaskManager. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Book {
    tenants: Arc<Mutex<BTreeMap<TenantId, Tenant>>>,
}

#[derive(Debug, Default)]
struct Tenant {
    quotas: Quotas,
    /// Bytes of each artifact, and how many jobs use it.
    artifacts: BTreeMap<String, (u64, u64)>,
}

impl Tenant {
    fn held(&self) -> Amounts {
        Amounts {
            artifacts: self.artifacts.len() as u64,
            artifact_bytes: self.artifacts.values().map(|(bytes, _)| *bytes).sum(),
        }
    }

    /// What a job asks for beyond what is held: an artifact that another job of the
    /// tenant uses is not asked for again.
    fn asked(&self, needs: &Artifacts) -> Amounts {
        let fresh = needs.iter().filter(|(digest, _)| !self.artifacts.contains_key(*digest));
        let sizes: Vec<u64> = fresh.map(|(_, bytes)| *bytes).collect();
        Amounts { artifacts: sizes.len() as u64, artifact_bytes: sizes.iter().sum() }
    }
}

impl Book {
    /// The book is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, Tenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a tenant other quotas. Jobs that run stay, whatever they use.
    pub fn set_quotas(&self, tenant: &TenantId, quotas: &Quotas) {
        self.lock().entry(tenant.clone()).or_default().quotas = quotas.clone();
    }

    /// What a tenant's jobs use.
    #[must_use]
    pub fn held(&self, tenant: &TenantId) -> Amounts {
        self.lock().get(tenant).map(Tenant::held).unwrap_or_default()
    }

    /// Enters a job, if its tenant's quotas have what it uses.
    ///
    /// # Errors
    /// The quota that does not; then nothing was entered.
    pub fn enter(&self, tenant: &TenantId, uses: Artifacts) -> Result<EnteredJob, OverQuota> {
        let tenants = &mut *self.lock();
        let account = tenants.entry(tenant.clone()).or_default();
        quotas::check(tenant, &account.quotas, &account.held(), &account.asked(&uses))?;
        for (digest, bytes) in &uses {
            account.artifacts.entry(digest.clone()).or_insert((*bytes, 0)).1 += 1;
        }
        Ok(EnteredJob { book: self.clone(), tenant: tenant.clone(), uses })
    }
}

/// A job in the book, until it is dropped.
#[derive(Debug)]
pub struct EnteredJob {
    book: Book,
    tenant: TenantId,
    uses: Artifacts,
}

impl Drop for EnteredJob {
    fn drop(&mut self) {
        let tenants = &mut *self.book.lock();
        let Some(account) = tenants.get_mut(&self.tenant) else { return };
        for digest in self.uses.keys() {
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

    fn uses(artifacts: &[(&str, u64)]) -> Artifacts {
        artifacts.iter().map(|(digest, bytes)| ((*digest).to_owned(), *bytes)).collect()
    }

    #[test]
    fn an_artifact_that_two_jobs_use_counts_once_and_until_the_last_has_ended() {
        let (book, acme) = (Book::default(), TenantId::new("acme").unwrap());
        book.set_quotas(&acme, &Quotas { artifact_bytes: Some(100), ..Quotas::default() });
        let first = book.enter(&acme, uses(&[("a", 60)])).unwrap();
        let second = book.enter(&acme, uses(&[("a", 60), ("b", 40)])).unwrap();
        assert_eq!(book.held(&acme).artifact_bytes, 100);
        assert_eq!(book.enter(&acme, uses(&[("c", 1)])).unwrap_err().quota, Quota::ArtifactBytes);
        drop(first);
        assert_eq!((book.held(&acme).artifacts, book.held(&acme).artifact_bytes), (2, 100));
        let other = book.enter(&TenantId::default(), uses(&[("c", 1_000)])).unwrap();
        assert_eq!(book.held(&TenantId::default()).artifacts, 1, "others have quotas of their own");
        drop((second, other));
        assert_eq!(book.held(&acme), Amounts::default());
    }

    proptest! {
        #[test]
        fn no_history_exceeds_a_quota_and_all_is_given_back(
            steps in prop::collection::vec((prop::sample::subsequence(vec![0_usize, 1, 2, 3], 0..=4), any::<bool>()), 1..60),
            artifacts in 0_u32..5, bytes in 0_u64..350,
        ) {
            let (book, acme) = (Book::default(), TenantId::new("acme").unwrap());
            let quotas = Quotas {
                artifacts: Some(artifacts), artifact_bytes: Some(bytes), ..Quotas::default()
            };
            book.set_quotas(&acme, &quotas);
            let all = [("a", 10), ("b", 100), ("c", 150), ("d", 70)];
            let mut running: Vec<(EnteredJob, Vec<usize>)> = Vec::new();
            for (which, ends) in steps {
                if ends {
                    running.pop();
                } else {
                    let wanted: Vec<_> = which.iter().map(|i| all[*i]).collect();
                    running.extend(book.enter(&acme, uses(&wanted)).ok().map(|job| (job, which)));
                }
                let held = book.held(&acme);
                prop_assert!(held.artifacts <= u64::from(artifacts), "{held:?}");
                prop_assert!(held.artifact_bytes <= bytes, "{held:?}");
                let used = (0..4).filter(|i| running.iter().any(|(_, which)| which.contains(i)));
                let sum: u64 = used.map(|i| all[i].1).sum();
                prop_assert_eq!(held.artifact_bytes, sum);
            }
            running.clear();
            prop_assert_eq!(book.held(&acme), Amounts::default());
        }
    }
}
