//! The fair gate: who may use the cores, for how long, and who goes next.
//!
//! There are as many permits as cores. A chain of subtasks takes a permit to be polled, and
//! gives it back when it has nothing to do or its turn is over; so **a permit is held
//! only by somebody who runs**, or who is about to because it was just granted. A turn is
//! over when a guest has reached the end of an epoch, and between two calls after as
//! long. The host's own work for a tenant (reading, grouping,
//! writing) is done within its turns and counts in its share: otherwise whoever makes
//! the host work hard would get more than its share of the cores.
//!
//! - [`policy`] decides, without clocks or threads.
//! - [`turn`] drives a future through its turns.
//!
//! Without contention a turn costs two looks at a clock and two short holds of a lock; no
//! queue, no system call, no wake-up.

pub mod policy;
pub mod turn;

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod turn_tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
    time::Duration,
};

use smallvec::SmallVec;

use crate::{
    clock::Stopwatch,
    config::job::CpuShare,
    ids::TenantId,
    metrics::GuestWork,
    sandbox::{CpuCap, CpuMeter},
};
use policy::{Policy, Runner, Shares, Tenant};
use turn::Turns;

/// The weight of a tenant of whom nothing is said.
pub const WEIGHT: u32 = 100;

/// What a tenant gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantShare {
    /// Its weight beside other tenants', 1 to [`policy::MOST_WEIGHT`].
    pub weight: u32,
    /// What its guests may use at most, in all; more than one core is possible.
    pub cap: Option<CpuShare>,
}

impl Default for TenantShare {
    fn default() -> Self {
        Self { weight: WEIGHT, cap: None }
    }
}

/// How a gate is set up.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// How many may run at once; as many as there are cores if not given.
    pub permits: Option<usize>,
    /// What goes first.
    pub policy: Policy,
    /// Tenants of whom something is to be said.
    pub tenants: BTreeMap<TenantId, TenantShare>,
    /// Whether there is a gate at all, and guest time is measured. Off, tenants are
    /// on their own; that is for measuring what the gate costs.
    pub on: bool,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self { permits: None, policy: Policy::Fair, tenants: BTreeMap::new(), on: true }
    }
}

/// What a tenant has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantUse {
    /// Who.
    pub tenant: TenantId,
    /// Its weight.
    pub weight: u32,
    /// How long its guests ran.
    pub guest: Duration,
    /// How long it had a permit: its guests, and the host's work for it.
    pub core: Duration,
}

/// The gate of a TaskManager.
#[derive(Debug)]
pub struct Gate {
    on: bool,
    permits: usize,
    clock: Stopwatch,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: GateSettings,
    shares: Shares,
    tenants: BTreeMap<TenantId, Account>,
    /// The tasks of the runners.
    wakers: Vec<Option<Waker>>,
    /// Who was granted a turn and is to be woken.
    granted: Vec<Runner>,
}

#[derive(Debug)]
struct Account {
    tenant: Tenant,
    share: TenantShare,
    guest: Arc<GuestWork>,
    core: Arc<GuestWork>,
    /// Of all its slots together.
    cap: Arc<CpuCap>,
}

impl Account {
    fn used_by(&self, tenant: &TenantId) -> TenantUse {
        TenantUse {
            tenant: tenant.clone(),
            weight: self.share.weight,
            guest: self.guest.total(),
            core: self.core.total(),
        }
    }
}

impl Gate {
    /// Makes one.
    #[must_use]
    pub fn new(settings: GateSettings) -> Arc<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let permits = settings.permits.unwrap_or_else(cores).max(1);
        let shares = Shares::new(settings.policy, permits);
        Arc::new(Self {
            on: settings.on,
            permits,
            clock: Stopwatch::start(),
            inner: Mutex::new(Inner {
                settings,
                shares,
                tenants: BTreeMap::new(),
                wakers: Vec::new(),
                granted: Vec::new(),
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many may run at once.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// How many permits nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.inner().shares.free()
    }

    /// Gives a tenant another weight or cap; both hold from the next turn on.
    pub fn set_share(&self, tenant: &TenantId, share: TenantShare) {
        let inner = &mut *self.inner();
        inner.settings.tenants.insert(tenant.clone(), share);
        if let Some(account) = inner.tenants.get_mut(tenant) {
            inner.shares.set_weight(account.tenant, share.weight);
            if account.share.cap != share.cap {
                account.cap.set(share.cap);
            }
            account.share = share;
        }
    }

    /// Makes something of a tenant's wait its turn: see [`Pass::turns`]. A higher
    /// priority goes first.
    #[must_use]
    pub fn enter(self: &Arc<Self>, tenant: &TenantId, priority: i32) -> Pass {
        let inner = &mut *self.inner();
        let account = inner.account(tenant);
        let (id, core) = (account.tenant, account.core.clone());
        let runner = inner.shares.join(id, priority);
        inner.wakers.resize(inner.wakers.len().max(runner.0 + 1), None);
        let flag = || AtomicBool::new(false);
        let (gate, rung, running, gone) = (self.clone(), flag(), flag(), flag());
        Pass { bell: Arc::new(Bell { gate, runner, rung, running, gone }), core }
    }

    /// Measures a slot of a tenant's, and caps it. `time` counts for the slot; none
    /// if the gate is off.
    #[must_use]
    pub fn meter(&self, tenant: &TenantId, cap: Option<CpuShare>) -> CpuMeter {
        let inner = &mut *self.inner();
        let account = inner.account(tenant);
        let own = cap.map(|cap| Arc::new(CpuCap::new(Some(cap))));
        // Also without a cap: it may get one while the slot is taken.
        let shared = (self.on || account.share.cap.is_some()).then(|| account.cap.clone());
        CpuMeter {
            work: self.on.then(|| Arc::new(GuestWork::part_of(account.guest.clone()))),
            caps: own.into_iter().chain(shared).collect(),
        }
    }

    /// What each tenant has used since the gate was made.
    #[must_use]
    pub fn usage(&self) -> Vec<TenantUse> {
        self.inner().tenants.iter().map(|(tenant, account)| account.used_by(tenant)).collect()
    }

    /// What one tenant has used; none if it never ran anything.
    #[must_use]
    pub fn usage_of(&self, tenant: &TenantId) -> Option<TenantUse> {
        self.inner().tenants.get(tenant).map(|account| account.used_by(tenant))
    }

    /// Changes who wants what, and wakes those whose turn it is then.
    fn change<T>(&self, change: impl FnOnce(&mut Inner, u64) -> T) -> T {
        let now = self.clock.nanos();
        let mut woken = SmallVec::<[Waker; 4]>::new();
        let result = {
            let inner = &mut *self.inner();
            let result = change(inner, now);
            while let Some(runner) = inner.shares.next(now) {
                inner.granted.push(runner);
            }
            woken.extend(inner.granted.drain(..).filter_map(|r| inner.wakers[r.0].clone()));
            result
        };
        // Without the lock: who is woken may want it.
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

impl Inner {
    fn account(&mut self, tenant: &TenantId) -> &mut Account {
        self.tenants.entry(tenant.clone()).or_insert_with(|| {
            let share = self.settings.tenants.get(tenant).copied().unwrap_or_default();
            Account {
                tenant: self.shares.add_tenant(share.weight),
                share,
                guest: Arc::default(),
                core: Arc::default(),
                cap: Arc::new(CpuCap::new(share.cap)),
            }
        })
    }
}

/// Somebody's right to wait for a turn. Dropping it gives back what it holds.
#[derive(Debug)]
pub struct Pass {
    bell: Arc<Bell>,
    core: Arc<GuestWork>,
}

/// What wakes somebody: it asks the gate for a turn at once, so that whoever has
/// something to do is in the queue before any thread has looked at it.
#[derive(Debug)]
struct Bell {
    gate: Arc<Gate>,
    runner: Runner,
    /// It was woken since its last turn began.
    rung: AtomicBool,
    /// It has its turn, and looks whether it was rung at the end of it.
    running: AtomicBool,
    /// It has left, and its place may be somebody else's. Written by whoever holds the
    /// gate's lock.
    gone: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        if !self.running.load(SeqCst) {
            self.gate.change(|inner, now| {
                if !self.gone.load(SeqCst) && inner.shares.want(self.runner, now) {
                    // A permit was free: whoever is granted one has to be polled.
                    inner.granted.push(self.runner);
                }
            });
        }
    }
}

impl Pass {
    /// Runs a future in turns.
    pub fn turns<F: Future + Unpin>(self, future: F) -> Turns<F> {
        Turns::new(self, future)
    }

    fn is_on(&self) -> bool {
        self.bell.gate.on
    }

    fn waker(&self) -> Waker {
        self.bell.clone().into()
    }

    /// Whether it may run now; if not, `task` is woken when it may.
    fn begin(&self, task: &Waker) -> bool {
        let bell = &*self.bell;
        bell.gate.change(|inner, now| {
            let known = &mut inner.wakers[bell.runner.0];
            if known.as_ref().is_none_or(|known| !known.will_wake(task)) {
                *known = Some(task.clone());
            }
            let granted = inner.shares.want(bell.runner, now);
            if granted {
                bell.rung.store(false, SeqCst);
                bell.running.store(true, SeqCst);
            }
            granted
        })
    }

    /// Ends a turn, after which there may be more to do.
    fn end(&self, ran: Duration, pending: bool) {
        let nanos = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        self.core.add(ran);
        let bell = &*self.bell;
        bell.gate.change(|inner, now| {
            // In this order: who rings after the second line sees the first, and asks
            // for a turn when it gets the lock.
            bell.running.store(false, SeqCst);
            if pending && bell.rung.load(SeqCst) {
                inner.shares.yields(bell.runner, nanos, now);
            } else {
                inner.shares.rest(bell.runner, nanos);
            }
        });
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let bell = &*self.bell;
        bell.gate.change(|inner, _| {
            bell.gone.store(true, SeqCst);
            inner.shares.part(bell.runner, 0);
            inner.wakers[bell.runner.0] = None;
        });
    }
}
