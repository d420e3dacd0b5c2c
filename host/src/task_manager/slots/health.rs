//! Which slots can be used: a pure decision over crashes, probes and what people ask
//! for. Time comes in as an argument.
//!
//! ```text
//!            crashed 3 times within a minute
//!   good ─────────────────────────────────────▶ quarantined
//!    ▲ ◀──────────────────────────────────────────┘   a probe went well
//!    │ drained by somebody
//!    └──────────▶ drained ──▶ good again when somebody says so
//! ```

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ids::SlotId;

/// How many crashes within [`WITHIN`] put a slot into quarantine.
pub const CRASHES: usize = 3;
/// For how long a crash counts, in milliseconds.
pub const WITHIN: i64 = 60_000;

/// How a slot is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotCondition {
    /// It can be used.
    #[default]
    Good,
    /// Its instances crashed so often that it is suspect itself. It is not used until a
    /// probe in it has gone well.
    Quarantined,
    /// Somebody wants it empty.
    Drained,
}

impl SlotCondition {
    /// In one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Quarantined => "quarantined",
            Self::Drained => "drained",
        }
    }
}

#[derive(Debug, Default)]
struct Record {
    condition: SlotCondition,
    /// When its instances crashed, the earliest first.
    crashes: VecDeque<i64>,
}

/// The slots of a TaskManager, of which something is known.
#[derive(Debug, Default)]
pub struct Health {
    slots: BTreeMap<SlotId, Record>,
}

impl Health {
    /// How a slot is.
    #[must_use]
    pub fn condition(&self, slot: SlotId) -> SlotCondition {
        self.slots.get(&slot).map_or(SlotCondition::Good, |record| record.condition)
    }

    /// An instance in a slot crashed. Says how the slot is now.
    pub fn crashed(&mut self, slot: SlotId, now: i64) -> SlotCondition {
        let record = self.slots.entry(slot).or_default();
        // A clock that was set back must not make crashes last.
        record.crashes.retain(|at| (0..WITHIN).contains(&now.saturating_sub(*at)));
        record.crashes.push_back(now);
        if record.crashes.len() >= CRASHES && record.condition == SlotCondition::Good {
            record.condition = SlotCondition::Quarantined;
        }
        record.condition
    }

    /// A probe in a slot went well.
    pub fn passed(&mut self, slot: SlotId) {
        if self.condition(slot) == SlotCondition::Quarantined {
            self.slots.remove(&slot);
        }
    }

    /// Somebody wants a slot empty.
    pub fn drain(&mut self, slot: SlotId) {
        self.slots.entry(slot).or_default().condition = SlotCondition::Drained;
    }

    /// Somebody wants a slot used again, whatever it was.
    pub fn restore(&mut self, slot: SlotId) {
        self.slots.remove(&slot);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOT: SlotId = SlotId(3);

    #[test]
    fn crashes_close_together_put_a_slot_into_quarantine_until_a_probe_goes_well() {
        let mut health = Health::default();
        assert_eq!(health.crashed(SLOT, 0), SlotCondition::Good);
        assert_eq!(health.crashed(SLOT, 10), SlotCondition::Good);
        assert_eq!(health.crashed(SLOT, WITHIN - 1), SlotCondition::Quarantined);
        assert_eq!(health.condition(SlotId(4)), SlotCondition::Good);
        health.passed(SLOT);
        assert_eq!(health.condition(SLOT), SlotCondition::Good);
        assert_eq!(health.crashed(SLOT, WITHIN), SlotCondition::Good, "it counts from anew");
    }

    #[test]
    fn a_drained_slot_stays_so_until_somebody_says_otherwise() {
        let mut health = Health::default();
        health.drain(SLOT);
        health.passed(SLOT);
        assert_eq!(health.condition(SLOT), SlotCondition::Drained);
        (0..9).for_each(|at| assert_eq!(health.crashed(SLOT, at), SlotCondition::Drained));
        health.restore(SLOT);
        assert_eq!(health.condition(SLOT), SlotCondition::Good);
    }

    proptest! {
        /// A slot is in quarantine exactly from the first moment at which so many
        /// crashes lie within the time that they count for.
        #[test]
        fn quarantine_begins_with_the_crash_that_is_one_too_many(
            gaps in prop::collection::vec(0_i64..WITHIN, 1..12),
        ) {
            let mut health = Health::default();
            let (mut now, mut at, mut quarantined) = (0, Vec::new(), false);
            for gap in gaps {
                now += gap;
                at.push(now);
                let recent = at.iter().filter(|t| now - **t < WITHIN).count();
                quarantined |= recent >= CRASHES;
                let condition = health.crashed(SLOT, now);
                prop_assert_eq!(condition == SlotCondition::Quarantined, quarantined);
            }
        }
    }
}
