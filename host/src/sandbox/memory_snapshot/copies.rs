//! What the host holds of a guest's memory for checkpoints, charged to its slot.

use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::{Part, Refusal, SlotMeter};

/// The account of one instance.
#[derive(Debug)]
pub(super) struct Copies {
    meter: Arc<SlotMeter>,
    held: Mutex<usize>,
}

impl Copies {
    pub(super) fn new(meter: Arc<SlotMeter>) -> Arc<Self> {
        Arc::new(Self { meter, held: Mutex::new(0) })
    }

    /// Charges for a copy that is about to be made.
    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charged, Refusal> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.meter.set(Part::Copies, *held + bytes)?;
        *held += bytes;
        Ok(Charged { copies: self.clone(), bytes })
    }
}

/// A copy that is charged for until this is dropped.
#[derive(Debug)]
pub(super) struct Charged {
    copies: Arc<Copies>,
    bytes: usize,
}

impl Drop for Charged {
    fn drop(&mut self) {
        let mut held = self.copies.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.saturating_sub(self.bytes);
        // Less is never refused.
        let _ = self.copies.meter.set(Part::Copies, *held);
    }
}
