//! The growth of a guest's memories and tables, charged to the meter of its slot.
//!
//! wasmtime asks before every growth. A refusal makes the guest's `memory.grow`
//! fail; what the guest does then is its own affair, but if it gives up, the
//! failure is classified as out of memory, with the figures of the refusal.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::memory::{Refusal, SlotMeter};

/// The limiter of one store. What it charged is given back when it is dropped.
#[derive(Debug)]
pub(super) struct SlotLimits {
    meter: Arc<SlotMeter>,
    /// Bytes that this store's guest has.
    held: usize,
    /// What the last growth was charged, as long as it may fail.
    last: usize,
    /// The last growth that was refused since the call began.
    pub(super) refused: Option<Refusal>,
}

/// Table elements are pointers.
const TABLE_ELEMENT: usize = size_of::<usize>();

impl SlotLimits {
    pub(super) fn new(meter: Arc<SlotMeter>) -> Self {
        Self { meter, held: 0, last: 0, refused: None }
    }

    /// Bytes of linear memory and tables now.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        self.last = 0;
        // Past its own maximum the growth fails whatever we say.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return true;
        }
        let asked = desired.saturating_sub(current);
        match self.meter.grow_guest(asked) {
            Ok(()) => {
                self.held += asked;
                self.last = asked;
                true
            }
            Err(refused) => {
                self.refused = Some(refused);
                false
            }
        }
    }

    /// A growth did not come about. Only what the system says counts: other
    /// reasons are also given for growths that we were never asked about, and a
    /// guest could have those follow real ones, to be charged for neither.
    fn failed(&mut self, error: &wasmtime::Error) {
        if error.downcast_ref::<std::io::Error>().is_some() {
            let charged = std::mem::take(&mut self.last);
            self.held -= charged;
            self.meter.shrink_guest(charged);
        }
    }
}

impl Drop for SlotLimits {
    fn drop(&mut self) {
        self.meter.shrink_guest(self.held);
    }
}

impl ResourceLimiter for SlotLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed(&error);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let meter = SlotMeter::alone(100_000);
        let mut limits = SlotLimits::new(meter.clone());
        assert!(limits.memory_growing(0, 65_536, None).unwrap());
        assert!(limits.table_growing(0, 1_000, None).unwrap());
        assert_eq!((limits.held(), meter.usage().guest), (73_536, 73_536));
        assert!(!limits.memory_growing(65_536, 131_072, None).unwrap());
        let refused = limits.refused.clone().unwrap();
        assert_eq!((refused.asked, refused.held, refused.limit), (65_536, 73_536, 100_000));
        drop(limits);
        assert_eq!(meter.usage().guest, 0);
    }

    #[test]
    fn what_the_system_refuses_is_not_charged_and_a_guest_cannot_have_real_growth_forgotten() {
        let meter = SlotMeter::alone(1 << 20);
        let mut limits = SlotLimits::new(meter.clone());
        assert!(limits.memory_growing(0, 65_536, None).unwrap());
        limits.memory_grow_failed(wasmtime::Error::msg("overflow")).unwrap();
        assert!(limits.memory_growing(65_536, 200_000, Some(70_000)).unwrap());
        assert_eq!(meter.usage().guest, 65_536);
        let refused = || wasmtime::Error::from(std::io::Error::from_raw_os_error(12));
        assert!(limits.memory_growing(65_536, 131_072, None).unwrap());
        limits.memory_grow_failed(refused()).unwrap();
        limits.memory_grow_failed(refused()).unwrap();
        assert_eq!(meter.usage().guest, 65_536);
    }
}
