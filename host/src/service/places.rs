//! How much of something each tenant may have under way at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::ids::TenantId;

type Held = Arc<Mutex<BTreeMap<TenantId, usize>>>;

/// Places, so many for each tenant.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    held: Held,
}

/// A place of a tenant, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Held, TenantId);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: Arc::default() }
    }

    /// A place for a tenant; none while it has as many as it may.
    pub(super) fn take(&self, tenant: &TenantId) -> Option<Place> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(tenant).copied().unwrap_or(0);
        if own >= self.most {
            return None;
        }
        held.insert(tenant.clone(), own + 1);
        Some(Place(self.held.clone(), tenant.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_one_tenants_are_not_anothers() {
        let places = Places::new(1);
        let (acme, other) = (TenantId::new("acme").unwrap(), TenantId::new("other").unwrap());
        let held = places.take(&acme);
        assert!(held.is_some() && places.take(&acme).is_none() && places.take(&other).is_some());
        drop(held);
        assert!(places.take(&acme).is_some());
        assert!(Places::new(0).take(&acme).is_none());
    }
}
