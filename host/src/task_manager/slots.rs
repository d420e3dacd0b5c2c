//! Slots: how many sandboxes may run at once.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::SlotId;

/// The slots of a TaskManager. Clones share them.
#[derive(Debug, Clone)]
pub struct Slots {
    taken: Arc<Mutex<Vec<bool>>>,
}

/// There is no free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {total} slots are taken")]
pub struct NoFreeSlot {
    /// How many there are.
    pub total: usize,
}

/// A slot that is held. Dropping it gives it back.
#[derive(Debug)]
pub struct SlotLease {
    slots: Slots,
    id: SlotId,
}

impl Slots {
    /// So many free slots.
    #[must_use]
    pub fn new(total: u32) -> Self {
        Self { taken: Arc::new(Mutex::new(vec![false; total as usize])) }
    }

    /// Takes the first free slot.
    ///
    /// # Errors
    /// If there is none.
    pub fn acquire(&self) -> Result<SlotLease, NoFreeSlot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let total = taken.len();
        let free = taken.iter().position(|t| !t).ok_or(NoFreeSlot { total })?;
        taken[free] = true;
        let id = SlotId(u32::try_from(free).unwrap_or(u32::MAX));
        Ok(SlotLease { slots: self.clone(), id })
    }

    /// How many are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|t| !**t).count()
    }
}

impl SlotLease {
    /// Which one.
    #[must_use]
    pub fn id(&self) -> SlotId {
        self.id
    }
}

impl Drop for SlotLease {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken[self.id.0 as usize] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_gives_its_slot_back() {
        let slots = Slots::new(2);
        let first = slots.acquire().unwrap();
        let second = slots.acquire().unwrap();
        assert_eq!((first.id(), second.id()), (SlotId(0), SlotId(1)));
        assert_eq!(slots.acquire().unwrap_err(), NoFreeSlot { total: 2 });
        drop(first);
        assert_eq!(slots.acquire().unwrap().id(), SlotId(0));
        assert_eq!(slots.free(), 1);
    }
}
