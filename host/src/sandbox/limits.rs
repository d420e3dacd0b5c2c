//! What a slot's linear memories and tables may hold together.
//!
//! wasmtime asks before every growth. A refusal makes the guest's
//! `memory.grow` fail; what the guest does then is its own affair, but if it
//! gives up, the failure is classified as out of memory, with these figures.

use wasmtime::ResourceLimiter;

/// What a refused growth would have needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) asked: usize,
    pub(super) held: usize,
    pub(super) limit: usize,
}

/// The limiter of one store.
#[derive(Debug)]
pub(super) struct SlotLimits {
    limit: usize,
    held: usize,
    /// The last growth that was refused since the call began.
    pub(super) refused: Option<Refusal>,
}

/// Table elements are pointers.
const TABLE_ELEMENT: usize = size_of::<usize>();

impl SlotLimits {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: 0, refused: None }
    }

    /// Bytes of linear memory and tables now.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let asked = desired.saturating_sub(current);
        let fits = self.held.checked_add(asked).is_some_and(|sum| sum <= self.limit);
        if !fits {
            self.refused = Some(Refusal { asked, held: self.held, limit: self.limit });
            return false;
        }
        // Past its own maximum the growth fails whatever we say.
        if maximum.is_none_or(|m| desired <= m) {
            self.held += asked;
        }
        true
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

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limits = SlotLimits::new(100_000);
        assert!(limits.memory_growing(0, 65_536, None).unwrap());
        assert!(limits.table_growing(0, 1_000, None).unwrap());
        assert_eq!(limits.held(), 73_536);
        assert!(!limits.memory_growing(65_536, 131_072, None).unwrap());
        let refused = limits.refused.unwrap();
        assert_eq!((refused.asked, refused.held, refused.limit), (65_536, 73_536, 100_000));
    }
}
