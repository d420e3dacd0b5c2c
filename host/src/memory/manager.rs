//! The memory of a TaskManager: its budget, those of its tenants, and the jobs
//! that were let in. What runs now can be given other limits from here.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    budget::{Budget, Scope, TenantBudget},
    machine::this_machine,
    report::{LargestSlot, MemoryReport, SlotReport, TenantReport},
    slot::{Refusal, SlotMeter},
    time::ByteTime,
};
use crate::ids::{JobName, OperatorName, SubtaskIndex, TenantId};

/// The rule by which a job is let in. Under either, a slot that could never have
/// its limit is refused: one whose limit alone is more than a budget above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Admission {
    /// Limits of slots may together be more than the budget, since most slots
    /// take a fraction of theirs. Who grows when nothing is left is refused then.
    #[default]
    Overcommit,
    /// Limits of slots together fit into the budget, so that every slot can have
    /// its limit at any time.
    Strict,
}

/// A job, or a new limit, that is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// A slot could never have its limit.
    #[error(
        "a slot of `{operator}` may hold {limit} bytes, more than the {budget} bytes of the \
         {scope}; lower its `memory`, or raise the budget{}",
        option(scope)
    )]
    SlotTooLarge {
        /// The operator.
        operator: OperatorName,
        /// Its limit.
        limit: usize,
        /// Which budget is smaller.
        scope: Scope,
        /// Its bytes.
        budget: usize,
    },
    /// Under [`Admission::Strict`]: the limits do not fit.
    #[error(
        "its slots may hold {asked} bytes together, {promised} of the {budget} bytes of the \
         {scope} are promised to others, and admission is strict; lower the operators' `memory` \
         or the parallelism, or raise the budget{}",
        option(scope)
    )]
    DoesNotFit {
        /// The sum of the limits.
        asked: usize,
        /// What was promised before.
        promised: usize,
        /// Which budget.
        scope: Scope,
        /// Its bytes.
        budget: usize,
    },
}

fn option(scope: &Scope) -> String {
    match scope {
        Scope::TaskManager => " (--memory)".to_owned(),
        Scope::Tenant(tenant) => {
            format!(", its quota `memory`, with `cofferdam tenant set {tenant} --memory SIZE`")
        }
        Scope::Slot | Scope::TenantState(_) => String::new(),
    }
}

/// There is no such operator among the jobs that are let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownOperator {
    /// None of that name runs.
    #[error("no job `{0}` of this tenant with an operator `{1}` runs here")]
    Unknown(JobName, OperatorName),
    /// It runs, and may not have that limit.
    #[error(transparent)]
    Refused(#[from] NotAdmitted),
}

/// What an operator of a job was promised.
#[derive(Debug, Clone, Copy)]
struct Promise {
    /// For each slot, in bytes.
    limit: usize,
    slots: usize,
}

#[derive(Debug)]
struct Job {
    tenant: TenantId,
    name: JobName,
    promises: BTreeMap<OperatorName, Promise>,
    /// What runs, or ran.
    slots: BTreeMap<(OperatorName, SubtaskIndex), KnownSlot>,
}

#[derive(Debug)]
struct KnownSlot {
    meter: Weak<SlotMeter>,
    /// The most that it held, also after its end.
    peak: Arc<AtomicUsize>,
    /// What it had reserved over time, also before a restart.
    time: Arc<ByteTime>,
}

impl Job {
    fn promised(&self) -> usize {
        let sums = self.promises.values().map(|p| p.limit.saturating_mul(p.slots));
        sums.fold(0, usize::saturating_add)
    }

    /// The slots that are there now.
    fn slot_reports(&self) -> impl Iterator<Item = SlotReport> {
        self.slots.iter().filter_map(|((operator, subtask), slot)| {
            Some(SlotReport::new(self, operator, *subtask, slot.meter.upgrade()?.figures()))
        })
    }

    /// The most that each slot held, also of those that are gone.
    fn peaks(&self) -> impl Iterator<Item = LargestSlot> {
        self.slots.iter().map(|((operator, subtask), slot)| LargestSlot {
            operator: operator.clone(),
            subtask: *subtask,
            peak: slot.peak.load(Ordering::Relaxed),
            limit: self.promises.get(operator).map_or(0, |promise| promise.limit),
        })
    }
}

#[derive(Debug, Default)]
struct Book {
    tenants: BTreeMap<TenantId, TenantBudget>,
    jobs: BTreeMap<u64, Job>,
    next: u64,
    /// What each tenant that has jobs was promised: counted when that changes, since it is asked
    /// for much more often.
    promised: BTreeMap<TenantId, usize>,
}

impl Book {
    /// After a job came or went, or a limit changed.
    fn count_promises(&mut self) {
        self.promised.clear();
        for job in self.jobs.values() {
            let sum = self.promised.entry(job.tenant.clone()).or_default();
            *sum = sum.saturating_add(job.promised());
        }
    }

    fn promised_to(&self, tenant: &TenantId) -> usize {
        self.promised.get(tenant).copied().unwrap_or(0)
    }

    fn promised_to_all(&self) -> usize {
        self.promised.values().copied().fold(0, usize::saturating_add)
    }

    fn tenant_report(&self, id: &TenantId, budget: &TenantBudget) -> TenantReport {
        let limited = |budget: &Budget| Some(budget.limit()).filter(|limit| *limit != usize::MAX);
        TenantReport {
            tenant: id.clone(),
            limit: limited(&budget.memory),
            promised: self.promised_to(id),
            reserved: budget.memory.reserved(),
            peak: budget.memory.peak(),
            state_limit: limited(&budget.state),
            state: budget.state.reserved(),
        }
    }
}

/// The memory that the slots of a TaskManager share. Clones share it.
#[derive(Clone)]
pub struct TaskManagerMemory {
    root: Arc<Budget>,
    admission: Admission,
    book: Arc<Mutex<Book>>,
}

impl fmt::Debug for TaskManagerMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskManagerMemory").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Two are equal if they are the same memory.
impl PartialEq for TaskManagerMemory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }
}

impl Eq for TaskManagerMemory {}

impl TaskManagerMemory {
    /// So many bytes for all slots.
    #[must_use]
    pub fn new(limit: usize, admission: Admission) -> Self {
        Self { root: Budget::root(limit), admission, book: Arc::default() }
    }

    /// A share of what this machine or container has.
    #[must_use]
    pub fn of_this_machine(admission: Admission) -> Self {
        let machine = this_machine();
        tracing::info!(
            "slots may have {} bytes together, of {:?} ({})",
            machine.budget,
            machine.total,
            if machine.container { "the container's limit" } else { "the machine's memory" }
        );
        Self::new(machine.budget, admission)
    }

    /// The book is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes for all slots.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.root.limit()
    }

    /// Sets the bytes for all slots. If more are reserved, nothing grows until
    /// enough was given back; jobs that were let in stay.
    pub fn set_limit(&self, bytes: usize) {
        self.root.set_limit(bytes);
    }

    /// Sets the bytes for all slots of a tenant, which may be more than the
    /// TaskManager has. If more are reserved, as for [`set_limit`](Self::set_limit).
    pub fn set_tenant_limit(&self, tenant: &TenantId, bytes: usize) {
        self.tenant(&mut self.lock(), tenant).memory.set_limit(bytes);
    }

    /// Sets how much keyed state the operators of a tenant may keep together, in bytes.
    /// If they keep more, it stays, and none of it grows.
    pub fn set_tenant_state_limit(&self, tenant: &TenantId, bytes: usize) {
        self.tenant(&mut self.lock(), tenant).state.set_limit(bytes);
    }

    fn tenant(&self, book: &mut Book, tenant: &TenantId) -> TenantBudget {
        let new = || TenantBudget::new(tenant, &self.root);
        book.tenants.entry(tenant.clone()).or_insert_with(new).clone()
    }

    /// Whether `tenant` may be promised so much per slot of an operator, and so
    /// much beside `others` and what was promised already.
    fn check<'a>(
        &self,
        book: &Book,
        tenant: (&TenantId, &Budget),
        promises: impl Iterator<Item = (&'a OperatorName, usize)>,
        (asked, before): (usize, usize),
    ) -> Result<(), NotAdmitted> {
        let (id, budget) = tenant;
        let levels = [
            (Scope::Tenant(id.clone()), budget.limit(), book.promised_to(id)),
            (Scope::TaskManager, self.root.limit(), book.promised_to_all()),
        ];
        for (operator, limit) in promises {
            let smaller = levels.iter().find(|(_, budget, _)| limit > *budget);
            if let Some((scope, budget, _)) = smaller {
                let (operator, scope) = (operator.clone(), scope.clone());
                return Err(NotAdmitted::SlotTooLarge { operator, limit, scope, budget: *budget });
            }
        }
        if self.admission == Admission::Overcommit {
            return Ok(());
        }
        for (scope, budget, promised) in levels {
            let promised = promised.saturating_sub(before);
            if promised.saturating_add(asked) > budget {
                return Err(NotAdmitted::DoesNotFit { asked, promised, scope, budget });
            }
        }
        Ok(())
    }

    /// Lets a job in, of whose operators each has so many slots with a limit of
    /// so many bytes, or refuses it. What was promised is free again when the
    /// answer is dropped.
    ///
    /// # Errors
    /// As [`Admission`] says.
    pub fn admit(
        &self,
        tenant: &TenantId,
        job: &JobName,
        operators: impl IntoIterator<Item = (OperatorName, usize, u32)>,
    ) -> Result<AdmittedJob, NotAdmitted> {
        let promises = operators
            .into_iter()
            .map(|(name, limit, slots)| (name, Promise { limit, slots: slots as usize }))
            .collect();
        let job =
            Job { tenant: tenant.clone(), name: job.clone(), promises, slots: BTreeMap::new() };
        let mut book = self.lock();
        let budget = self.tenant(&mut book, tenant);
        let each = job.promises.iter().map(|(name, promise)| (name, promise.limit));
        self.check(&book, (tenant, &budget.memory), each, (job.promised(), 0))?;
        let id = book.next;
        book.next += 1;
        book.jobs.insert(id, job);
        book.count_promises();
        drop(book);
        Ok(AdmittedJob { memory: self.clone(), budget, id })
    }

    /// Gives every slot of an operator that runs another limit, now and after
    /// restarts. If a slot holds more already, it keeps that and grows no more.
    ///
    /// # Errors
    /// If there is no such operator, or the new limit is not to be had.
    pub fn set_operator_limit(
        &self,
        tenant: &TenantId,
        job: &JobName,
        operator: &OperatorName,
        bytes: usize,
    ) -> Result<(), UnknownOperator> {
        let mut book = self.lock();
        let mut found = false;
        let budget = self.tenant(&mut book, tenant);
        let ids: Vec<u64> = book.jobs.keys().copied().collect();
        for id in ids {
            let Some(entry) = book.jobs.get(&id) else { continue };
            if entry.tenant != *tenant || entry.name != *job {
                continue;
            }
            let Some(promise) = entry.promises.get(operator).copied() else { continue };
            found = true;
            if bytes > promise.limit {
                let asked = bytes.saturating_mul(promise.slots);
                let before = promise.limit.saturating_mul(promise.slots);
                let each = std::iter::once((operator, bytes));
                self.check(&book, (tenant, &budget.memory), each, (asked, before))?;
            }
            let Some(entry) = book.jobs.get_mut(&id) else { continue };
            entry.promises.insert(operator.clone(), Promise { limit: bytes, ..promise });
            let own = entry.slots.iter().filter(|((name, _), _)| name == operator);
            own.filter_map(|(_, slot)| slot.meter.upgrade()).for_each(|slot| slot.set_limit(bytes));
            book.count_promises();
        }
        drop(book);
        if found { Ok(()) } else { Err(UnknownOperator::Unknown(job.clone(), operator.clone())) }
    }

    /// All of it, with the slots of every job.
    #[must_use]
    pub fn report(&self) -> MemoryReport {
        let book = self.lock();
        let mut slots = Vec::new();
        for job in book.jobs.values() {
            slots.extend(job.slot_reports());
        }
        let used = slots.iter().map(|slot| slot.used).fold(0, usize::saturating_add);
        let largest_slot = largest(book.jobs.values().flat_map(Job::peaks));
        // Others may have a limit, and nothing that it could be compared with.
        let used_some = |id: &TenantId, budget: &TenantBudget| {
            budget.memory.peak() > 0 || book.promised.contains_key(id)
        };
        let known = book.tenants.iter().filter(|(id, budget)| used_some(id, budget));
        let tenants = known.map(|(id, budget)| book.tenant_report(id, budget)).collect();
        let report = MemoryReport::new(&self.root, book.promised_to_all(), used, tenants, slots);
        MemoryReport { largest_slot, ..report }
    }
}

/// Of slots and the most that each held, the one that held the most.
fn largest(slots: impl Iterator<Item = LargestSlot>) -> Option<LargestSlot> {
    // Of two that held the same, the first.
    slots.reduce(|most, slot| if slot.peak > most.peak { slot } else { most })
}

impl SlotReport {
    fn new(
        job: &Job,
        operator: &OperatorName,
        subtask: SubtaskIndex,
        figures: super::slot::SlotFigures,
    ) -> Self {
        let free = figures.limit.saturating_sub(figures.held);
        Self {
            tenant: job.tenant.clone(),
            job: job.name.clone(),
            operator: operator.clone(),
            subtask,
            limit: figures.limit,
            reserved: figures.reserved,
            used: figures.usage.total(),
            free,
            peak: figures.peak,
            utilisation: super::report::utilisation(figures.usage.total(), figures.limit),
            parts: figures.usage,
        }
    }
}

/// A job that was let in: what its operators were promised, until it is dropped.
#[derive(Debug)]
pub struct AdmittedJob {
    memory: TaskManagerMemory,
    budget: TenantBudget,
    id: u64,
}

impl AdmittedJob {
    /// Opens the meter of a slot, with `queues` bytes set aside for its inputs.
    /// Its limit is the operator's, as it is now; none for an operator that the
    /// job was not let in with.
    ///
    /// # Errors
    /// If a budget above it has not even what is set aside.
    pub fn open_slot(
        &self,
        operator: &OperatorName,
        subtask: SubtaskIndex,
        queues: usize,
    ) -> Result<Arc<SlotMeter>, Refusal> {
        let mut book = self.memory.lock();
        let job = book.jobs.get_mut(&self.id);
        let limit = job.as_ref().and_then(|job| job.promises.get(operator)).map_or(0, |p| p.limit);
        let key = (operator.clone(), subtask);
        let known = job.as_ref().and_then(|job| job.slots.get(&key)).map(|slot| slot.time.clone());
        let time = known.unwrap_or_else(|| Arc::new(ByteTime::new()));
        let meter = SlotMeter::open(self.budget.clone(), limit, queues, time.clone())?;
        if let Some(job) = job {
            let known = KnownSlot { meter: Arc::downgrade(&meter), peak: meter.peak(), time };
            if let Some(before) = job.slots.insert(key, known) {
                // The same slot before a restart.
                meter.peak().fetch_max(before.peak.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        Ok(meter)
    }

    /// What the slots of each operator had reserved over time, in bytes times
    /// nanoseconds, up to now; also slots that are gone.
    #[must_use]
    pub fn byte_nanos(&self) -> BTreeMap<OperatorName, u128> {
        let book = self.memory.lock();
        let mut sums = BTreeMap::new();
        let slots = book.jobs.get(&self.id).map(|job| &job.slots);
        for ((operator, _), slot) in slots.into_iter().flatten() {
            *sums.entry(operator.clone()).or_default() += slot.time.total();
        }
        sums
    }

    /// The slots of this job, and the memory that it shares with others. Costs the same however
    /// many others there are, since every job asks for it several times a second.
    #[must_use]
    pub fn report(&self) -> MemoryReport {
        let book = self.memory.lock();
        let job = book.jobs.get(&self.id);
        let slots: Vec<_> = job.into_iter().flat_map(Job::slot_reports).collect();
        let used = slots.iter().map(|slot| slot.used).fold(0, usize::saturating_add);
        let tenant = job.map(|job| book.tenant_report(&job.tenant, &self.budget));
        let tenants = tenant.into_iter().collect();
        let promised = book.promised_to_all();
        let report = MemoryReport::new(&self.memory.root, promised, used, tenants, slots);
        MemoryReport { largest_slot: largest(job.into_iter().flat_map(Job::peaks)), ..report }
    }

    /// Bytes that an input queue may take at most of a slot with such a limit: a
    /// quarter goes to all of them, so that most is the guest's.
    #[must_use]
    pub fn queue_share(limit: usize, channels: usize) -> usize {
        (limit / 4 / channels.max(1)).max(1)
    }
}

impl Drop for AdmittedJob {
    fn drop(&mut self) {
        let mut book = self.memory.lock();
        book.jobs.remove(&self.id);
        book.count_promises();
    }
}

/// For the model's tests: what the levels hold.
#[cfg(test)]
impl TaskManagerMemory {
    pub(super) fn sums(&self) -> (usize, BTreeMap<TenantId, usize>) {
        let book = self.lock();
        let tenants =
            book.tenants.iter().map(|(id, b)| (id.clone(), b.memory.reserved())).collect();
        (self.root.reserved(), tenants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Part, SEGMENT, whole_segments};

    fn operator(name: &str) -> OperatorName {
        OperatorName::new(name).unwrap()
    }

    fn job() -> JobName {
        JobName::new("j").unwrap()
    }

    fn admit(
        memory: &TaskManagerMemory,
        limit: usize,
        slots: u32,
    ) -> Result<AdmittedJob, NotAdmitted> {
        memory.admit(&TenantId::default(), &job(), [(operator("o"), limit, slots)])
    }

    #[test]
    fn strict_admission_counts_limits_and_forgets_those_of_jobs_that_are_gone() {
        let memory = TaskManagerMemory::new(1_000, Admission::Strict);
        let first = admit(&memory, 300, 2).unwrap();
        let refused = admit(&memory, 300, 2).unwrap_err();
        let (asked, promised, budget) = (600, 600, 1_000);
        let scope = Scope::TaskManager;
        assert_eq!(refused, NotAdmitted::DoesNotFit { asked, promised, scope, budget });
        assert!(refused.to_string().contains("(--memory)"), "{refused}");
        drop(first);
        admit(&memory, 500, 2).unwrap();
    }

    #[test]
    fn overcommit_lets_limits_exceed_the_budget_but_none_alone() {
        let memory = TaskManagerMemory::new(1_000, Admission::Overcommit);
        let _jobs = [admit(&memory, 900, 10).unwrap(), admit(&memory, 1_000, 1).unwrap()];
        assert_eq!(memory.report().promised, 10_000);
        let refused = admit(&memory, 1_001, 1).unwrap_err();
        assert!(matches!(refused, NotAdmitted::SlotTooLarge { limit: 1_001, .. }), "{refused}");
    }

    #[test]
    fn a_tenants_own_budget_counts_too() {
        let memory = TaskManagerMemory::new(1_000, Admission::Strict);
        memory.set_tenant_limit(&TenantId::default(), 100);
        let refused = admit(&memory, 60, 2).unwrap_err();
        assert!(refused.to_string().contains("tenant `default`"), "{refused}");
    }

    #[test]
    fn one_tenant_at_its_budget_leaves_the_others_alone() {
        let memory = TaskManagerMemory::new(100 * SEGMENT, Admission::Overcommit);
        let (hog, other) = (TenantId::new("hog").unwrap(), TenantId::new("other").unwrap());
        memory.set_tenant_limit(&hog, 20 * SEGMENT);
        let open = |tenant: &TenantId| {
            let operators = [(operator("o"), 20 * SEGMENT, 2)];
            let job = memory.admit(tenant, &job(), operators).unwrap();
            let slots = [0, 1].map(|i| job.open_slot(&operator("o"), SubtaskIndex(i), 0).unwrap());
            (job, slots)
        };
        let ((_a, hogs), (_b, others)) = (open(&hog), open(&other));
        while hogs[0].grow_guest(SEGMENT).is_ok() {}
        let refused = hogs[1].grow_guest(3 * SEGMENT).unwrap_err();
        assert_eq!(refused.scope, Scope::Tenant(hog));
        assert!(refused.to_string().contains("the budget of tenant `hog`"), "{refused}");
        others.iter().for_each(|slot| slot.grow_guest(10 * SEGMENT).unwrap());
        drop(hogs);
        assert_eq!(memory.report().tenants[0].reserved, 0);
    }

    #[test]
    fn keyed_state_has_a_quota_of_its_own_over_all_slots_of_a_tenant() {
        let memory = TaskManagerMemory::new(100 * SEGMENT, Admission::Overcommit);
        let (acme, other) = (TenantId::new("acme").unwrap(), TenantId::new("other").unwrap());
        memory.set_tenant_state_limit(&acme, 10_000);
        let open = |tenant: &TenantId| {
            let job = memory.admit(tenant, &job(), [(operator("o"), 20 * SEGMENT, 2)]).unwrap();
            let slots = [0, 1].map(|i| job.open_slot(&operator("o"), SubtaskIndex(i), 0).unwrap());
            (job, slots)
        };
        let ((_a, own), (_b, others)) = (open(&acme), open(&other));
        own[0].set(Part::State, 6_000).unwrap();
        own[1].settle(4_000, 0).unwrap();
        let refused = own[0].set(Part::State, 6_001).unwrap_err();
        assert_eq!((refused.scope.clone(), refused.asked), (Scope::TenantState(acme.clone()), 1));
        assert_eq!((refused.held, refused.limit), (10_000, 10_000));
        let said = refused.to_string();
        for part in ["tenant `acme`", "quota `state`", "cofferdam tenant set acme --state SIZE"] {
            assert!(said.contains(part), "{said}");
        }
        others[0].set(Part::State, 60_000).unwrap();
        own[1].settle(3_999, 0).unwrap();
        own[0].set(Part::State, 6_001).unwrap();
        let of = |tenant: &TenantId| {
            memory.report().tenants.iter().find(|t| t.tenant == *tenant).unwrap().clone()
        };
        assert_eq!((of(&acme).state, of(&acme).state_limit), (10_000, Some(10_000)));
        assert_eq!((of(&other).state, of(&other).state_limit), (60_000, None));
        // A limit that is lowered takes nothing away; a slot that goes gives its part back.
        memory.set_tenant_state_limit(&acme, 100);
        own[0].set(Part::State, 6_000).unwrap();
        assert!(own[0].set(Part::State, 6_001).is_err());
        drop(own);
        assert_eq!(of(&acme).state, 0);
    }

    #[test]
    fn state_that_the_budget_above_refuses_does_not_count_in_the_quota() {
        let memory = TaskManagerMemory::new(20 * SEGMENT, Admission::Overcommit);
        let admitted = admit(&memory, 20 * SEGMENT, 2).unwrap();
        let slots = [0, 1].map(|i| admitted.open_slot(&operator("o"), SubtaskIndex(i), 0).unwrap());
        slots[0].grow_guest(10 * SEGMENT).unwrap();
        let refused = slots[1].set(Part::State, 15 * SEGMENT).unwrap_err();
        assert_eq!(refused.scope, Scope::TaskManager);
        assert_eq!(memory.report().tenants[0].state, 0);
    }

    #[test]
    fn what_was_reserved_over_time_outlives_the_slot_and_adds_up_over_restarts() {
        let memory = TaskManagerMemory::new(100 * SEGMENT, Admission::Overcommit);
        let admitted = admit(&memory, 20 * SEGMENT, 1).unwrap();
        let mut last = 0;
        for _ in 0..3 {
            let slot = admitted.open_slot(&operator("o"), SubtaskIndex(0), 0).unwrap();
            slot.grow_guest(10 * SEGMENT).unwrap();
            drop(slot);
            let sum = admitted.byte_nanos()[&operator("o")];
            assert!(sum > last, "{sum}");
            assert_eq!(admitted.byte_nanos()[&operator("o")], sum, "nothing is held now");
            last = sum;
        }
    }

    #[test]
    fn a_new_limit_is_that_of_every_slot_of_the_operator_and_of_later_ones() {
        let memory = TaskManagerMemory::new(1 << 30, Admission::Strict);
        let admitted = admit(&memory, 10 * SEGMENT, 2).unwrap();
        let open = |i| admitted.open_slot(&operator("o"), SubtaskIndex(i), 0).unwrap();
        let slot = open(0);
        assert!(slot.grow_guest(15 * SEGMENT).is_err());
        let set =
            |bytes| memory.set_operator_limit(&TenantId::default(), &job(), &operator("o"), bytes);
        set(20 * SEGMENT).unwrap();
        slot.grow_guest(15 * SEGMENT).unwrap();
        assert_eq!((open(1).limit(), memory.report().promised), (20 * SEGMENT, 40 * SEGMENT));
        set(SEGMENT).unwrap();
        assert!(slot.grow_guest(1).is_err());
        assert_eq!(slot.usage().guest, 15 * SEGMENT);
        assert!(matches!(set(1 << 30), Err(UnknownOperator::Refused(_))));
        let unknown =
            memory.set_operator_limit(&TenantId::default(), &job(), &operator("x"), 1 << 20);
        assert!(matches!(unknown, Err(UnknownOperator::Unknown(..))));
    }

    #[test]
    fn the_report_adds_up() {
        let memory = TaskManagerMemory::new(100 * SEGMENT, Admission::Overcommit);
        let admitted = admit(&memory, 50 * SEGMENT, 1).unwrap();
        let slot = admitted.open_slot(&operator("o"), SubtaskIndex(0), 0).unwrap();
        slot.grow_guest(25 * SEGMENT).unwrap();
        let report = memory.report();
        assert_eq!(admitted.report(), report);
        let reserved = whole_segments(25 * SEGMENT + 50 * SEGMENT / 8);
        assert_eq!((report.reserved, report.used), (reserved, 25 * SEGMENT));
        assert_eq!(report.free, 100 * SEGMENT - reserved);
        assert!((report.utilisation - 25.0).abs() < 1e-9);
        assert!((report.slots[0].utilisation - 50.0).abs() < 1e-9);
        assert_eq!((report.segments.total, report.segments.reserved), (100, reserved / SEGMENT));
    }
}
