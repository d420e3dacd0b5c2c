//! One budget of the tree: a limit, and how much of it is reserved.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::ids::TenantId;

/// Whose budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A slot's: the operator's `memory`.
    Slot,
    /// A tenant's.
    Tenant(TenantId),
    /// What a tenant may keep as keyed state.
    TenantState(TenantId),
    /// That of all slots together.
    TaskManager,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot => f.write_str("slot"),
            Self::Tenant(tenant) => write!(f, "tenant `{tenant}`"),
            Self::TenantState(tenant) => write!(f, "keyed state of tenant `{tenant}`"),
            Self::TaskManager => f.write_str("TaskManager"),
        }
    }
}

/// A budget that does not have what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Which one.
    pub scope: Scope,
    /// Bytes that are reserved of it.
    pub held: usize,
    /// Bytes that it has.
    pub limit: usize,
}

/// A budget, below another one or at the top.
#[derive(Debug)]
pub(super) struct Budget {
    scope: Scope,
    limit: AtomicUsize,
    reserved: AtomicUsize,
    /// The most that was ever reserved.
    peak: AtomicUsize,
    parent: Option<Arc<Budget>>,
}

impl Budget {
    pub(super) fn root(limit: usize) -> Arc<Self> {
        Self::new(Scope::TaskManager, limit, None)
    }

    pub(super) fn tenant(tenant: TenantId, limit: usize, parent: &Arc<Self>) -> Arc<Self> {
        Self::new(Scope::Tenant(tenant), limit, Some(parent.clone()))
    }

    /// Stands by itself: what is kept as state is in the tenant's budget, too.
    pub(super) fn state(tenant: TenantId, limit: usize) -> Arc<Self> {
        Self::new(Scope::TenantState(tenant), limit, None)
    }

    fn new(scope: Scope, limit: usize, parent: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            scope,
            limit: AtomicUsize::new(limit),
            reserved: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            parent,
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// A limit below what is reserved stops growth and takes nothing away.
    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    pub(super) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Reserves here and above, or nowhere. On the way up what is reserved here
    /// may turn out not to be had; for that moment another slot of this budget
    /// may be refused what it could have had, but none is given too much.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), Shortage> {
        let limit = self.limit();
        let grown = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reserved| {
            reserved.checked_add(bytes).filter(|sum| *sum <= limit)
        });
        let before = match grown {
            Ok(before) => before,
            Err(held) => return Err(Shortage { scope: self.scope.clone(), held, limit }),
        };
        if let Some(parent) = &self.parent
            && let Err(shortage) = parent.reserve(bytes)
        {
            self.give_back(bytes);
            return Err(shortage);
        }
        self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back what was reserved here and above.
    pub(super) fn release(&self, bytes: usize) {
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
        self.give_back(bytes);
    }

    fn give_back(&self, bytes: usize) {
        let before = self.reserved.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "{} gave back {bytes} of {before} bytes", self.scope);
    }
}

/// The two budgets of a tenant. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct TenantBudget {
    /// All that its slots hold, below the TaskManager's.
    pub(super) memory: Arc<Budget>,
    /// What of it is keyed state.
    pub(super) state: Arc<Budget>,
}

impl TenantBudget {
    /// Without limits of its own.
    pub(super) fn new(tenant: &TenantId, parent: &Arc<Budget>) -> Self {
        Self {
            memory: Budget::tenant(tenant.clone(), usize::MAX, parent),
            state: Budget::state(tenant.clone(), usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_above_leaves_nothing_reserved_below() {
        let root = Budget::root(100);
        let tenant = Budget::tenant(TenantId::default(), usize::MAX, &root);
        tenant.reserve(60).unwrap();
        let short = tenant.reserve(50).unwrap_err();
        assert_eq!(short, Shortage { scope: Scope::TaskManager, held: 60, limit: 100 });
        assert_eq!((tenant.reserved(), root.reserved(), tenant.peak()), (60, 60, 60));
        tenant.release(60);
        assert_eq!((tenant.reserved(), root.reserved(), root.peak()), (0, 0, 60));
    }

    #[test]
    fn a_sum_that_overflows_is_refused() {
        let root = Budget::root(usize::MAX);
        root.reserve(10).unwrap();
        assert!(root.reserve(usize::MAX).is_err());
    }

    #[test]
    fn threads_together_never_get_more_than_there_is() {
        let root = Budget::root(1_000);
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|i| {
                    let tenant = TenantId::new(format!("t{i}")).unwrap();
                    let tenant = Budget::tenant(tenant, 400, &root);
                    let root = &root;
                    scope.spawn(move || {
                        let mut held = 0;
                        for n in 0..10_000_usize {
                            if tenant.reserve(n % 50).is_ok() {
                                held += n % 50;
                            }
                            assert!(tenant.reserved() <= 400 && root.reserved() <= 1_000);
                            if n % 7 == 0 {
                                tenant.release(held);
                                held = 0;
                            }
                        }
                        assert_eq!(tenant.reserved(), held);
                        held
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(root.reserved(), got);
    }
}
