//! The meter of one slot: what it uses, part by part, against its limit and the
//! budgets above it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Serialize;

use super::{
    SEGMENT,
    budget::{Budget, Scope, Shortage, TenantBudget},
    time::ByteTime,
    whole_segments,
};
use crate::ids::TenantId;

/// What of a slot's limit is set aside for the batches of a call, at most.
const CALL_RESERVE: usize = 8 * SEGMENT;

/// What memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The guest's memories and tables.
    Guest,
    /// Keyed state.
    State,
    /// What waits in the input queues.
    Queued,
    /// The host's copies of the batches and states of the running call.
    Call,
    /// The host's copies of the guest's memory, for checkpoints.
    Copies,
}

/// What a slot uses, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The guest's memories and tables.
    pub guest: usize,
    /// Keyed state.
    pub state: usize,
    /// What waits in the input queues, as of the last event of the slot.
    pub queued: usize,
    /// The host's copies of the batches and states of the running call.
    pub call: usize,
    /// The host's copies of the guest's memory, for checkpoints.
    pub copies: usize,
}

impl Usage {
    /// All together.
    #[must_use]
    pub fn total(&self) -> usize {
        let parts = [self.guest, self.state, self.queued, self.call, self.copies];
        parts.into_iter().fold(0, usize::saturating_add)
    }

    fn part(&mut self, part: Part) -> &mut usize {
        match part {
            Part::Guest => &mut self.guest,
            Part::State => &mut self.state,
            Part::Queued => &mut self.queued,
            Part::Call => &mut self.call,
            Part::Copies => &mut self.copies,
        }
    }
}

/// A growth that was refused: the figures of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Bytes that were asked for.
    pub asked: usize,
    /// Which budget does not have them.
    pub scope: Scope,
    /// What is held of that budget.
    pub held: usize,
    /// Bytes of that budget.
    pub limit: usize,
    /// What the slot holds, with what is set aside for its buffers.
    pub slot_held: usize,
    /// The slot's own limit.
    pub slot_limit: usize,
    /// What the slot uses.
    pub usage: Box<Usage>,
    /// What is set aside for queues and calls, and counts even if it is unused.
    pub buffers: usize,
}

/// Reads on after "it asked for".
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, held, limit, slot_held, slot_limit, .. } = self;
        let Usage { guest, state, queued, call, copies } = *self.usage;
        let copies = match copies {
            0 => String::new(),
            bytes => format!(", copies for checkpoints {bytes}"),
        };
        let split = format!(
            "guest {guest}, keyed state {state}{copies}, queued {queued}, in the call {call}; \
             {} set aside for the last two",
            self.buffers
        );
        match &self.scope {
            Scope::Slot => write!(
                f,
                "{asked} bytes more while holding {held} of {limit} bytes ({split}); \
                 raise the operator's `memory`, or keep less in it"
            ),
            Scope::Tenant(tenant) => write!(
                f,
                "{asked} bytes more, which the budget of tenant `{tenant}` does not have: its \
                 slots hold {held} of {limit} bytes (quota `memory`), this one {slot_held} of \
                 {slot_limit} ({split}); lower what its jobs hold, or raise it with \
                 `cofferdam tenant set {tenant} --memory SIZE`"
            ),
            Scope::TenantState(tenant) => write!(
                f,
                "{asked} bytes more, which tenant `{tenant}` may not keep: its operators keep \
                 {held} of {limit} bytes of keyed state (quota `state`), this slot holds \
                 {slot_held} of {slot_limit} bytes ({split}); keep less, such as fewer keys or \
                 shorter windows, or raise it with `cofferdam tenant set {tenant} --state SIZE`"
            ),
            Scope::TaskManager => write!(
                f,
                "{asked} bytes more, which the TaskManager does not have: its slots hold {held} \
                 of {limit} bytes, this one {slot_held} of {slot_limit} ({split}); \
                 raise `--memory`, or run less at once"
            ),
        }
    }
}

/// Counts what a slot holds. Dropping it gives everything back.
#[derive(Debug)]
pub struct SlotMeter {
    above: TenantBudget,
    account: Mutex<Account>,
}

#[derive(Debug)]
struct Account {
    limit: usize,
    /// Set aside for queues and calls.
    buffers: usize,
    usage: Usage,
    /// Reserved above, in whole segments.
    reserved: usize,
    /// The most that was held; outlives the slot.
    peak: Arc<AtomicUsize>,
    /// What was reserved, and for how long; outlives the slot.
    time: Arc<ByteTime>,
}

/// A slot's account at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotFigures {
    pub(super) limit: usize,
    pub(super) reserved: usize,
    pub(super) held: usize,
    pub(super) peak: usize,
    pub(super) usage: Usage,
}

impl Account {
    /// What counts against the limit.
    fn held(&self, usage: &Usage) -> usize {
        let buffers = usage.queued.saturating_add(usage.call).max(self.buffers);
        let kept = usage.guest.saturating_add(usage.state).saturating_add(usage.copies);
        kept.saturating_add(buffers)
    }

    /// Uses so much from now on, if that may be.
    fn set(&mut self, usage: Usage, above: &TenantBudget) -> Result<(), Shortage> {
        let (before, held) = (self.held(&self.usage), self.held(&usage));
        // Less or the same is always possible, also above a lowered limit.
        if held > before && held > self.limit {
            return Err(Shortage { scope: Scope::Slot, held: before, limit: self.limit });
        }
        let more = usage.state.saturating_sub(self.usage.state);
        if more > 0 {
            above.state.reserve(more)?;
        }
        if let Err(shortage) = self.reserve(whole_segments(held), &above.memory) {
            above.state.release(more);
            return Err(shortage);
        }
        above.state.release(self.usage.state.saturating_sub(usage.state));
        self.usage = usage;
        self.peak.fetch_max(held, Ordering::Relaxed);
        Ok(())
    }

    fn reserve(&mut self, bytes: usize, above: &Budget) -> Result<(), Shortage> {
        if bytes > self.reserved {
            above.reserve(bytes - self.reserved)?;
            self.time.grow(bytes - self.reserved);
        } else if bytes < self.reserved {
            above.release(self.reserved - bytes);
            self.time.shrink(self.reserved - bytes);
        }
        self.reserved = bytes;
        Ok(())
    }

    fn refusal(&self, asked: usize, shortage: Shortage) -> Refusal {
        Refusal {
            asked,
            scope: shortage.scope,
            held: shortage.held,
            limit: shortage.limit,
            slot_held: self.held(&self.usage),
            slot_limit: self.limit,
            usage: Box::new(self.usage),
            buffers: self.buffers,
        }
    }
}

impl SlotMeter {
    /// A meter with no budget above it but the machine's, and nothing set aside:
    /// for an instance that runs outside of jobs.
    #[must_use]
    pub fn alone(limit: usize) -> Arc<Self> {
        let above = TenantBudget::new(&TenantId::default(), &Budget::root(usize::MAX));
        Arc::new(Self::empty(above, limit, 0, Arc::new(ByteTime::new())))
    }

    /// A meter below a tenant's budget, which sets `queues` bytes aside for the
    /// input queues, and something for the batches of a call. What is reserved is
    /// counted over time in `time`.
    pub(super) fn open(
        above: TenantBudget,
        limit: usize,
        queues: usize,
        time: Arc<ByteTime>,
    ) -> Result<Arc<Self>, Refusal> {
        let buffers = queues.saturating_add(CALL_RESERVE.min(limit / 8));
        let meter = Self::empty(above, limit, buffers, time);
        {
            let mut account = meter.lock();
            let taken = if buffers > limit {
                Err(Shortage { scope: Scope::Slot, held: 0, limit })
            } else {
                account.reserve(whole_segments(buffers), &meter.above.memory)
            };
            // Nothing is held yet, whatever is to be set aside.
            taken.map_err(|short| Refusal { slot_held: 0, ..account.refusal(buffers, short) })?;
            account.peak.fetch_max(buffers, Ordering::Relaxed);
        }
        Ok(Arc::new(meter))
    }

    fn empty(above: TenantBudget, limit: usize, buffers: usize, time: Arc<ByteTime>) -> Self {
        let (usage, peak) = (Usage::default(), Arc::default());
        let account = Account { limit, buffers, usage, reserved: 0, peak, time };
        Self { above, account: Mutex::new(account) }
    }

    /// The account is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's memories and tables grow by so many bytes.
    ///
    /// # Errors
    /// If they may not; then nothing has changed.
    pub fn grow_guest(&self, bytes: usize) -> Result<(), Refusal> {
        let mut account = self.lock();
        let mut usage = account.usage;
        usage.guest = usage.guest.saturating_add(bytes);
        account.set(usage, &self.above).map_err(|short| account.refusal(bytes, short))
    }

    /// The guest's memories and tables shrink by so many bytes.
    pub fn shrink_guest(&self, bytes: usize) {
        let mut account = self.lock();
        let mut usage = account.usage;
        usage.guest = usage.guest.saturating_sub(bytes);
        // Less is never refused.
        let _ = account.set(usage, &self.above);
    }

    /// Uses so many bytes for a part from now on.
    ///
    /// # Errors
    /// If that is more than before, and more than there may be; then the meter
    /// has not changed, and what is held has to go.
    pub fn set(&self, part: Part, bytes: usize) -> Result<(), Refusal> {
        let mut account = self.lock();
        let mut usage = account.usage;
        let before = std::mem::replace(usage.part(part), bytes);
        let asked = bytes.saturating_sub(before);
        account.set(usage, &self.above).map_err(|short| account.refusal(asked, short))
    }

    /// After an event: so much keyed state, so much in the queues, no call.
    /// Returns what the slot uses now.
    ///
    /// # Errors
    /// As [`set`](Self::set), with the part that is to blame.
    pub fn settle(&self, state: usize, queued: usize) -> Result<usize, (Part, Refusal)> {
        let mut account = self.lock();
        let before = account.usage;
        let after = Usage { state, queued, call: 0, ..before };
        account.set(after, &self.above).map_err(|short| {
            let grown = [(Part::State, state, before.state), (Part::Queued, queued, before.queued)]
                .map(|(part, now, then)| (now.saturating_sub(then), part));
            let (asked, part) = if grown[0].0 >= grown[1].0 { grown[0] } else { grown[1] };
            (part, account.refusal(asked, short))
        })?;
        Ok(after.total())
    }

    /// What the slot uses.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.lock().usage
    }

    /// The slot's limit in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.lock().limit
    }

    /// Sets the slot's limit. What is held stays held; if that is more, nothing
    /// grows any more.
    pub(super) fn set_limit(&self, bytes: usize) {
        self.lock().limit = bytes;
    }

    pub(super) fn peak(&self) -> Arc<AtomicUsize> {
        self.lock().peak.clone()
    }

    pub(super) fn figures(&self) -> SlotFigures {
        let account = self.lock();
        SlotFigures {
            limit: account.limit,
            reserved: account.reserved,
            held: account.held(&account.usage),
            peak: account.peak.load(Ordering::Relaxed),
            usage: account.usage,
        }
    }
}

impl Drop for SlotMeter {
    fn drop(&mut self) {
        let mut account = self.lock();
        self.above.state.release(account.usage.state);
        // To nothing: that is never refused.
        let _ = account.reserve(0, &self.above.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(root: &Arc<Budget>, limit: usize, queues: usize) -> Result<Arc<SlotMeter>, Refusal> {
        let above = TenantBudget::new(&TenantId::default(), root);
        SlotMeter::open(above, limit, queues, Arc::new(ByteTime::new()))
    }

    #[test]
    fn a_refusal_says_asked_held_limit_and_what_for() {
        let meter = SlotMeter::alone(100_000);
        meter.grow_guest(65_536).unwrap();
        meter.settle(30_000, 1_000).unwrap();
        let refused = meter.grow_guest(65_536).unwrap_err();
        assert_eq!(refused.scope, Scope::Slot);
        assert_eq!((refused.asked, refused.held, refused.limit), (65_536, 96_536, 100_000));
        let text = refused.to_string();
        for part in
            ["65536 bytes more", "96536 of 100000 bytes", "guest 65536", "keyed state 30000"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(meter.usage().guest, 65_536, "a refusal changes nothing");
    }

    #[test]
    fn what_is_held_for_a_guest_counts_against_it() {
        let meter = SlotMeter::alone(10 * SEGMENT);
        meter.settle(9 * SEGMENT, 0).unwrap();
        assert!(meter.grow_guest(2 * SEGMENT).is_err());
        meter.settle(SEGMENT, 0).unwrap();
        meter.grow_guest(2 * SEGMENT).unwrap();
        let (part, refused) = meter.settle(9 * SEGMENT, 10).unwrap_err();
        assert_eq!((part, refused.asked), (Part::State, 8 * SEGMENT));
    }

    #[test]
    fn a_full_slot_still_takes_its_next_batch() {
        let meter = open(&Budget::root(usize::MAX), 64 * SEGMENT, 4 * SEGMENT).unwrap();
        while meter.grow_guest(SEGMENT).is_ok() {}
        for _ in 0..3 {
            meter.set(Part::Call, 6 * SEGMENT).unwrap();
            meter.settle(0, 2 * SEGMENT).unwrap();
        }
        meter.set_limit(SEGMENT);
        meter.set(Part::Call, 6 * SEGMENT).unwrap();
        assert!(meter.set(Part::Call, 20 * SEGMENT).is_err());
    }

    #[test]
    fn a_slot_whose_queues_do_not_fit_is_not_opened() {
        let root = Budget::root(usize::MAX);
        let refused = open(&root, 1_000, 1_000).unwrap_err();
        assert_eq!((refused.scope, refused.slot_held), (Scope::Slot, 0));
        assert_eq!(root.reserved(), 0);
    }
}
