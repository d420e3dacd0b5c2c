//! Who gets slots, which ones, and who waits for what: a pure decision over what is
//! held and asked for. No lock, no waker, no clock.
//!
//! A job gets all of its slots at once, or waits. Who waits is in an order:
//!
//! - [`Policy::Fair`]: the tenant that holds least, for its weight, goes first; within
//!   it the higher priority, then who came first.
//! - [`Policy::Priority`]: the highest priority goes first, whosever it is; among equals
//!   the tenant that holds least for its weight, then who came first.
//!
//! Whoever is first and does not find enough free slots holds up those behind it:
//! otherwise small jobs could keep a large one waiting for ever. Whoever waits for its own
//! tenant's quota holds up nobody.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::health::{Health, SlotCondition};
use crate::{
    ids::{JobName, SlotId, TenantId},
    task_manager::gate::{WEIGHT, policy::Policy},
};

/// Which of the free slots are given out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spread {
    /// Those with the lowest numbers, so that what was used before is used again and
    /// the rest is never touched.
    #[default]
    Pack,
    /// Those that were free the longest, so that work goes round all of them.
    Spread,
}

/// What a tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantSlots {
    /// Its weight beside other tenants'; at least 1.
    pub weight: u32,
    /// Slots at once; no limit if none.
    pub slots: Option<u32>,
    /// Jobs at once; no limit if none.
    pub jobs: Option<u32>,
}

impl Default for TenantSlots {
    fn default() -> Self {
        Self { weight: WEIGHT, slots: None, jobs: None }
    }
}

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose job it is.
    pub tenant: TenantId,
    /// The job.
    pub job: JobName,
    /// A higher one goes first.
    pub priority: i32,
    /// How many slots it needs, all at once.
    pub slots: u32,
    /// Whether jobs of lower priority are to be stopped for it: under
    /// [`Policy::Fair`] only those of its own tenant.
    pub preempts: bool,
}

/// A request that was made, as long as it waits or holds slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A request that can never be granted as things are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are not so many slots.
    #[error(
        "the job needs {asked} slots, one for each subtask of an operator, but there are {total}; \
         raise --slots or lower the parallelism"
    )]
    TooFew {
        /// How many it asks for.
        asked: u32,
        /// How many there are.
        total: u32,
    },
    /// Its tenant may not have so many.
    #[error(
        "the job needs {asked} slots, one for each subtask of an operator, but tenant `{tenant}` \
         may have {limit} (quota `slots`); lower the parallelism, or raise it with `cofferdam \
         tenant set {tenant} --slots {asked}`"
    )]
    SlotsQuota {
        /// Whose job it is.
        tenant: TenantId,
        /// How many it asks for.
        asked: u32,
        /// How many the tenant may have.
        limit: u32,
    },
    /// Its tenant may not run any job.
    #[error(
        "tenant `{tenant}` may run no job (quota `jobs` is 0); raise it with `cofferdam tenant set \
         {tenant} --jobs 1`"
    )]
    JobsQuota {
        /// Whose job it is.
        tenant: TenantId,
    },
}

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub enum Waiting {
    /// For slots that others hold.
    Slots {
        /// How many it needs.
        asked: u32,
        /// How many are free.
        free: u32,
        /// How many there are.
        total: u32,
        /// How many jobs go first.
        ahead: u32,
    },
    /// For slots of its own tenant's quota.
    SlotsQuota {
        /// Whose job it is.
        tenant: TenantId,
        /// How many it needs.
        asked: u32,
        /// How many the tenant holds.
        held: u32,
        /// How many it may have.
        limit: u32,
    },
    /// For its tenant to run fewer jobs.
    JobsQuota {
        /// Whose job it is.
        tenant: TenantId,
        /// How many jobs the tenant runs.
        held: u32,
        /// How many it may run.
        limit: u32,
    },
}

/// Reads on after "waits for".
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slots { asked, free, total, ahead } => {
                write!(f, "{asked} slots; {free} of {total} are free")?;
                match ahead {
                    0 => Ok(()),
                    1 => write!(f, ", and 1 job goes first"),
                    n => write!(f, ", and {n} jobs go first"),
                }
            }
            Self::SlotsQuota { tenant, asked, held, limit } => write!(
                f,
                "{asked} slots; tenant `{tenant}` holds {held} of the {limit} that it may have \
                 (quota `slots`)"
            ),
            Self::JobsQuota { tenant, held, limit } => write!(
                f,
                "another job of tenant `{tenant}` to end: {held} run, and it may run {limit} \
                 (quota `jobs`)"
            ),
        }
    }
}

#[derive(Debug)]
struct Entry {
    request: Request,
    /// The slots that it holds.
    slots: Vec<SlotId>,
    /// At which moment its slots were given out; 0 while it waits. A job without
    /// operators holds none.
    granted: u64,
    /// It was asked to give its slots back, for this one.
    asked_back_for: Option<Ticket>,
    /// Others were asked to give their slots back for it.
    claims: bool,
}

impl Entry {
    fn waits(&self) -> bool {
        self.granted == 0
    }
}

#[derive(Debug, Default)]
struct Held {
    slots: u32,
    jobs: u32,
}

/// The state of the decision.
#[derive(Debug)]
pub struct Queue {
    policy: Policy,
    spread: Spread,
    total: u32,
    /// Free slots, the first to be given out first: by when they became free (always 0
    /// if they are packed), then by number.
    free: BTreeSet<(u64, SlotId)>,
    /// Free slots that are not to be used.
    unusable: BTreeSet<SlotId>,
    health: Health,
    entries: BTreeMap<Ticket, Entry>,
    tenants: BTreeMap<TenantId, TenantSlots>,
    held: BTreeMap<TenantId, Held>,
    next_ticket: u64,
    /// Counts grants and returns.
    moment: u64,
}

impl Queue {
    /// So many free slots.
    #[must_use]
    pub fn new(total: u32, policy: Policy, spread: Spread) -> Self {
        Self {
            policy,
            spread,
            total,
            free: (0..total).map(|slot| (0, SlotId(slot))).collect(),
            unusable: BTreeSet::new(),
            health: Health::default(),
            entries: BTreeMap::new(),
            tenants: BTreeMap::new(),
            held: BTreeMap::new(),
            next_ticket: 0,
            moment: 0,
        }
    }

    /// How many slots there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.total
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> u32 {
        u32::try_from(self.free.len()).unwrap_or(u32::MAX)
    }

    /// How many slots and jobs a tenant has.
    #[must_use]
    pub fn held(&self, tenant: &TenantId) -> (u32, u32) {
        self.held.get(tenant).map_or((0, 0), |held| (held.slots, held.jobs))
    }

    /// Sets what a tenant may have, from the next grant on. Nothing is taken away.
    pub fn set_tenant(&mut self, tenant: &TenantId, slots: TenantSlots) {
        self.tenants.insert(tenant.clone(), slots);
    }

    fn tenant(&self, tenant: &TenantId) -> TenantSlots {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    /// What was asked for, as long as it waits or holds slots.
    #[must_use]
    pub fn request(&self, ticket: Ticket) -> Option<&Request> {
        self.entries.get(&ticket).map(|entry| &entry.request)
    }

    /// Takes a request in. Whether it is granted, [`grant`](Self::grant) says.
    ///
    /// # Errors
    /// If it could not even be granted if nobody else held anything.
    pub fn ask(&mut self, request: Request) -> Result<Ticket, Refused> {
        self.check(&request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let (slots, granted, asked_back_for, claims) = (Vec::new(), 0, None, false);
        self.entries.insert(ticket, Entry { request, slots, granted, asked_back_for, claims });
        Ok(ticket)
    }

    /// Whether a request could be granted if nobody else held anything.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, request: &Request) -> Result<(), Refused> {
        let asked = request.slots;
        if asked > self.total {
            return Err(Refused::TooFew { asked, total: self.total });
        }
        let may = self.tenant(&request.tenant);
        if let Some(limit) = may.slots.filter(|limit| asked > *limit) {
            return Err(Refused::SlotsQuota { tenant: request.tenant.clone(), asked, limit });
        }
        if may.jobs == Some(0) {
            return Err(Refused::JobsQuota { tenant: request.tenant.clone() });
        }
        Ok(())
    }

    /// A request is over: what it holds is free.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some(entry) = self.entries.remove(&ticket) else { return };
        if !entry.waits() {
            if let Some(held) = self.held.get_mut(&entry.request.tenant) {
                held.slots -= entry.request.slots;
                held.jobs -= 1;
            }
            self.moment += 1;
            entry.slots.into_iter().for_each(|slot| self.free_slot(slot));
        }
        // Who was asked to make room for it need not any more, but may have begun to.
    }

    /// A slot is empty: it is free, if it can be used.
    fn free_slot(&mut self, slot: SlotId) {
        if self.health.condition(slot) == SlotCondition::Good {
            let since = if self.spread == Spread::Spread { self.moment } else { 0 };
            self.free.insert((since, slot));
        } else {
            self.unusable.insert(slot);
        }
    }

    /// More slots, if there are fewer than that.
    pub fn grow(&mut self, total: u32) {
        for slot in self.total..total {
            self.free_slot(SlotId(slot));
        }
        self.total = self.total.max(total);
    }

    /// Gives one more slot to a request that holds some, to move something there; none
    /// if none is free. One of them is then [given back](Self::give_back).
    pub fn reserve(&mut self, ticket: Ticket) -> Option<SlotId> {
        let entry = self.entries.get_mut(&ticket).filter(|entry| !entry.waits())?;
        let (_, slot) = self.free.pop_first()?;
        entry.slots.push(slot);
        Some(slot)
    }

    /// A request does not use a slot any more that it held.
    pub fn give_back(&mut self, ticket: Ticket, slot: SlotId) {
        let Some(entry) = self.entries.get_mut(&ticket) else { return };
        let before = entry.slots.len();
        entry.slots.retain(|held| *held != slot);
        if entry.slots.len() < before {
            self.moment += 1;
            self.free_slot(slot);
        }
    }

    /// What is known of the slots. Those that were free are used again, or are not any
    /// more, as it is changed.
    pub fn change_health<T>(&mut self, slot: SlotId, change: impl FnOnce(&mut Health) -> T) -> T {
        let changed = change(&mut self.health);
        let was_free = self.unusable.remove(&slot) || {
            let before = self.free.len();
            self.free.retain(|(_, free)| *free != slot);
            self.free.len() < before
        };
        if was_free {
            self.free_slot(slot);
        }
        changed
    }

    /// How a slot is.
    #[must_use]
    pub fn condition(&self, slot: SlotId) -> SlotCondition {
        self.health.condition(slot)
    }

    /// Who is in front of whom.
    fn order(&self) -> Vec<Ticket> {
        let share = |tenant: &TenantId| {
            let (slots, _) = self.held(tenant);
            // Per weight, so scaled that it stays exact.
            u128::from(slots) * (1 << 40) / u128::from(self.tenant(tenant).weight.max(1))
        };
        let waiting = self.entries.iter().filter(|(_, entry)| entry.waits());
        let mut order: Vec<_> = waiting
            .map(|(ticket, entry)| {
                let Request { tenant, priority, .. } = &entry.request;
                let (share, priority) = (share(tenant), Reverse(*priority));
                let key = match self.policy {
                    Policy::Fair => (share, priority, 0),
                    Policy::Priority => (0, priority, share),
                };
                // What others were stopped for is not given to somebody else.
                (!entry.claims, key, *ticket)
            })
            .collect();
        order.sort();
        order.into_iter().map(|(_, _, ticket)| ticket).collect()
    }

    /// What of its tenant's quotas a request waits for.
    fn quota(&self, request: &Request) -> Option<Waiting> {
        let may = self.tenant(&request.tenant);
        let (slots, jobs) = self.held(&request.tenant);
        let (tenant, asked) = (request.tenant.clone(), request.slots);
        if let Some(limit) = may.jobs.filter(|limit| jobs >= *limit) {
            return Some(Waiting::JobsQuota { tenant, held: jobs, limit });
        }
        let limit = may.slots.filter(|limit| slots.saturating_add(asked) > *limit)?;
        Some(Waiting::SlotsQuota { tenant, asked, held: slots, limit })
    }

    /// Grants the first request that can be, if there is one.
    pub fn grant(&mut self) -> Option<(Ticket, Vec<SlotId>)> {
        let order = self.order();
        let first = order.into_iter().find(|t| self.quota(&self.entries[t].request).is_none())?;
        if self.entries[&first].request.slots > self.free() {
            return None;
        }
        self.moment += 1;
        let entry = self.entries.get_mut(&first)?;
        entry.slots = (0..entry.request.slots)
            .filter_map(|_| self.free.pop_first())
            .map(|(_, slot)| slot)
            .collect();
        entry.granted = self.moment;
        entry.claims = false;
        let held = self.held.entry(entry.request.tenant.clone()).or_default();
        held.slots += entry.request.slots;
        held.jobs += 1;
        Some((first, entry.slots.clone()))
    }

    /// What each request that waits is waiting for.
    #[must_use]
    pub fn waiting(&self) -> Vec<(Ticket, Waiting)> {
        let (free, total) = (self.free(), self.total);
        let mut ahead = 0;
        let mut waiting = Vec::new();
        for ticket in self.order() {
            let request = &self.entries[&ticket].request;
            let quota = self.quota(request);
            let asked = request.slots;
            waiting.push((
                ticket,
                quota.clone().unwrap_or(Waiting::Slots { asked, free, total, ahead }),
            ));
            if quota.is_none() {
                ahead += 1;
            }
        }
        waiting
    }

    /// Who is to give slots back, and for whom: the fewest jobs of lower priority, the
    /// lowest and latest first, whose slots are enough. Each is named once. To be
    /// asked when no request can be [granted](Self::grant).
    pub fn preempt(&mut self) -> Vec<(Ticket, Ticket)> {
        let mut found = Vec::new();
        for ticket in self.order() {
            let entry = &self.entries[&ticket];
            let under_way = self.entries.values().any(|e| e.asked_back_for == Some(ticket));
            if !entry.request.preempts || under_way {
                continue;
            }
            let victims = self.victims(ticket, &entry.request);
            for victim in &victims {
                if let Some(victim) = self.entries.get_mut(victim) {
                    victim.asked_back_for = Some(ticket);
                }
            }
            if !victims.is_empty()
                && let Some(entry) = self.entries.get_mut(&ticket)
            {
                entry.claims = true;
            }
            found.extend(victims.into_iter().map(|victim| (victim, ticket)));
        }
        found
    }

    /// Whom to stop for a request; nobody if that does not help.
    fn victims(&self, cause: Ticket, request: &Request) -> Vec<Ticket> {
        let quota = self.quota(request);
        let may = self.tenant(&request.tenant);
        let (held, jobs) = self.held(&request.tenant);
        // What is free already, or will be, is spoken for by those who were first.
        let coming: u32 = self
            .entries
            .values()
            .filter(|e| e.asked_back_for.is_some())
            .map(|e| e.request.slots)
            .sum();
        let claims = self.entries.iter().filter(|(t, e)| **t != cause && e.claims && e.waits());
        let claimed: u32 = claims.map(|(_, e)| e.request.slots).sum();
        let available = (self.free() + coming).saturating_sub(claimed);
        let mut slots = request.slots.saturating_sub(available);
        let mut least_jobs = 0;
        if quota.is_some() {
            let over = may.slots.map_or(0, |l| (held + request.slots).saturating_sub(l));
            slots = slots.max(over);
            least_jobs = may.jobs.map_or(0, |limit| (jobs + 1).saturating_sub(limit));
        }
        let own_only = quota.is_some() || self.policy == Policy::Fair;
        let mut candidates: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, e)| !e.waits() && e.asked_back_for.is_none())
            .filter(|(_, e)| e.request.priority < request.priority)
            .filter(|(_, e)| !own_only || e.request.tenant == request.tenant)
            .map(|(ticket, e)| (e.request.priority, Reverse(e.granted), *ticket, e.request.slots))
            .collect();
        candidates.sort_unstable();
        let mut victims: Vec<(Ticket, u32)> = Vec::new();
        let enough = |v: &[(Ticket, u32)]| {
            v.iter().map(|(_, slots)| slots).sum::<u32>() >= slots && v.len() >= least_jobs as usize
        };
        for (_, _, ticket, slots) in candidates {
            if enough(&victims) {
                break;
            }
            victims.push((ticket, slots));
        }
        if !enough(&victims) {
            return Vec::new();
        }
        // A large one may have made small ones before it needless.
        for i in (0..victims.len()).rev() {
            let without = victims.remove(i);
            if !enough(&victims) {
                victims.insert(i, without);
            }
        }
        victims.into_iter().map(|(ticket, _)| ticket).collect()
    }
}
