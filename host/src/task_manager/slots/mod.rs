//! The slots of a TaskManager: how many sandboxes there may be at once, and whose they
//! are. [`queue`] decides who gets which, [`health`] which can be used; here is who waits
//! for the decision.

pub mod health;
pub mod queue;
#[cfg(test)]
mod queue_tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    ids::{JobName, SlotId, TenantId},
    task_manager::gate::policy::Policy,
};
use health::{Health, SlotCondition};
use queue::{Queue, Ticket};
pub use queue::{Refused, Request, Spread, TenantSlots, Waiting};

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Waiting(Waiting),
    /// It holds these.
    Granted(Arc<[SlotId]>),
    /// It holds these, and is asked to give them back.
    AskedBack(Arc<[SlotId]>, AskedBackFor),
}

/// For whom a job is asked to give its slots back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedBackFor {
    /// Whose job it is.
    pub tenant: TenantId,
    /// The job.
    pub job: JobName,
    /// Its priority.
    pub priority: i32,
}

impl AskedBackFor {
    fn of(request: &Request) -> Self {
        let Request { tenant, job, priority, .. } = request.clone();
        Self { tenant, job, priority }
    }
}

/// The slots of a TaskManager. Clones share them.
#[derive(Debug, Clone)]
pub struct Slots {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    places: BTreeMap<Ticket, watch::Sender<Standing>>,
}

impl Inner {
    /// Grants what can be granted, asks back what is to be, and says to those who wait
    /// what they wait for.
    fn settle(&mut self) {
        while let Some((ticket, slots)) = self.queue.grant() {
            self.tell(ticket, Standing::Granted(slots.into()));
        }
        for (victim, by) in self.queue.preempt() {
            let (Some(place), Some(by)) = (self.places.get(&victim), self.queue.request(by)) else {
                continue;
            };
            place.send_if_modified(|standing| {
                let Standing::Granted(slots) = standing else { return false };
                *standing = Standing::AskedBack(slots.clone(), AskedBackFor::of(by));
                true
            });
        }
        for (ticket, waiting) in self.queue.waiting() {
            self.tell(ticket, Standing::Waiting(waiting));
        }
    }

    fn tell(&self, ticket: Ticket, now: Standing) {
        if let Some(place) = self.places.get(&ticket) {
            place.send_if_modified(|standing| {
                let news = *standing != now;
                *standing = now;
                news
            });
        }
    }
}

impl Slots {
    /// So many free slots, given out by a policy.
    #[must_use]
    pub fn new(total: u32, policy: Policy, spread: Spread) -> Self {
        let queue = Queue::new(total, policy, spread);
        Self { inner: Arc::new(Mutex::new(Inner { queue, places: BTreeMap::new() })) }
    }

    /// The queue is whole at every step, and nothing panics on the way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for slots, for as long as the answer lives.
    ///
    /// # Errors
    /// If that can never be granted as things are.
    pub fn ask(&self, request: Request) -> Result<Place, Refused> {
        let mut inner = self.lock();
        let ticket = inner.queue.ask(request)?;
        let (free, total) = (inner.queue.free(), inner.queue.total());
        // Until it is settled, a few lines below.
        let standing = Standing::Waiting(Waiting::Slots { asked: 0, free, total, ahead: 0 });
        let (place, standing) = watch::channel(standing);
        inner.places.insert(ticket, place);
        inner.settle();
        drop(inner);
        Ok(Place { slots: self.clone(), ticket, standing })
    }

    /// Whether a request could be granted if nobody else held anything.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, request: &Request) -> Result<(), Refused> {
        self.lock().queue.check(request)
    }

    /// Sets what a tenant may have. Those who wait may be granted what they wait for
    /// at once; nothing is taken away.
    pub fn set_tenant(&self, tenant: &TenantId, slots: TenantSlots) {
        let mut inner = self.lock();
        inner.queue.set_tenant(tenant, slots);
        inner.settle();
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.lock().queue.total()
    }

    /// More slots, if there are fewer than that. Who waits may be granted them.
    pub fn grow(&self, total: u32) {
        let mut inner = self.lock();
        inner.queue.grow(total);
        inner.settle();
    }

    /// How each slot is, by number.
    #[must_use]
    pub fn conditions(&self) -> Vec<SlotCondition> {
        let inner = self.lock();
        (0..inner.queue.total()).map(|slot| inner.queue.condition(SlotId(slot))).collect()
    }

    /// An instance in a slot crashed at a moment, in milliseconds. Says whether the slot is
    /// in quarantine from now on.
    #[must_use]
    pub fn crashed(&self, slot: SlotId, now: i64) -> bool {
        self.change(slot, |health| {
            let before = health.condition(slot);
            let after = health.crashed(slot, now);
            after == SlotCondition::Quarantined && before != after
        })
    }

    /// A probe in a slot went well: it can be used again, if it was in quarantine.
    pub fn passed(&self, slot: SlotId) {
        self.change(slot, |health| health.passed(slot));
    }

    /// Whatever leaves the slot, nothing enters it any more. False if there is no such.
    #[must_use]
    pub fn drain(&self, slot: SlotId) -> bool {
        slot.0 < self.total() && {
            self.change(slot, |health| health.drain(slot));
            true
        }
    }

    /// The slot is used again, whatever it was. False if there is no such.
    #[must_use]
    pub fn restore(&self, slot: SlotId) -> bool {
        slot.0 < self.total() && {
            self.change(slot, |health| health.restore(slot));
            true
        }
    }

    fn change<T>(&self, slot: SlotId, change: impl FnOnce(&mut Health) -> T) -> T {
        let mut inner = self.lock();
        let changed = inner.queue.change_health(slot, change);
        inner.settle();
        changed
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.lock().queue.free()
    }
}

/// A place in the queue, and then the slots that it was waited for. Dropping it gives
/// them back.
#[derive(Debug)]
pub struct Place {
    slots: Slots,
    ticket: Ticket,
    standing: watch::Receiver<Standing>,
}

impl Place {
    /// How the request stands now. A change after this is told by
    /// [`changed`](Self::changed).
    pub fn standing(&mut self) -> Standing {
        self.standing.borrow_and_update().clone()
    }

    /// Waits until the request stands otherwise than when it was last looked at.
    pub async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            // Its other end lives as long as this one.
            std::future::pending::<()>().await;
        }
    }

    /// One more slot, to move an instance there; none if none is free. One is to be
    /// [given back](Self::give_back) then.
    pub fn reserve(&self) -> Option<SlotId> {
        self.slots.lock().queue.reserve(self.ticket)
    }

    /// Gives one of its slots back.
    pub fn give_back(&self, slot: SlotId) {
        let mut inner = self.slots.lock();
        inner.queue.give_back(self.ticket, slot);
        inner.settle();
    }

    /// Waits until its slots are asked back. Safe to cancel.
    pub async fn asked_back(&mut self) -> AskedBackFor {
        loop {
            if let Standing::AskedBack(_, by) = self.standing() {
                return by;
            }
            self.changed().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        inner.queue.leave(self.ticket);
        inner.places.remove(&self.ticket);
        inner.settle();
    }
}
