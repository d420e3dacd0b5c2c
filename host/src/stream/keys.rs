//! Key groups: which of an operator's subtasks owns a key.
//!
//! Flink's rule, so that state can be split and merged when the parallelism
//! changes: a key's murmur hash, modulo the number of key groups, is its key
//! group, and every subtask owns a contiguous range of key groups.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A key group, from 0 to the job's `max_parallelism` (excluded).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGroup(pub u16);

/// The greatest `max_parallelism`.
pub const MAX_KEY_GROUPS: u32 = 1 << 15;

/// MurmurHash3, x86 32-bit variant (Austin Appleby, public domain).
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the hash takes the length modulo 2^32")]
pub fn murmur3_32(key: &[u8], seed: u32) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mix = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let (blocks, tail) = key.as_chunks::<4>();
    let mut h = blocks.iter().fold(seed, |h, block| {
        (h ^ mix(u32::from_le_bytes(*block)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    if !tail.is_empty() {
        h ^= mix(tail.iter().rev().fold(0, |k, &byte| (k << 8) | u32::from(byte)));
    }
    h ^= key.len() as u32;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// How an operator's keys are divided among its subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyGroups {
    max_parallelism: u32,
    parallelism: u32,
}

impl KeyGroups {
    /// `parallelism` subtasks share `max_parallelism` key groups.
    ///
    /// # Panics
    /// Unless 1 ≤ parallelism ≤ max parallelism ≤ [`MAX_KEY_GROUPS`], which a
    /// job's plan has checked.
    #[must_use]
    pub fn new(max_parallelism: u32, parallelism: u32) -> Self {
        assert!((1..=max_parallelism).contains(&parallelism) && max_parallelism <= MAX_KEY_GROUPS);
        Self { max_parallelism, parallelism }
    }

    /// The number of key groups.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.max_parallelism
    }

    /// The key group of a key.
    #[must_use]
    pub fn group_of(&self, key: &[u8]) -> KeyGroup {
        let group = murmur3_32(key, 0) % self.max_parallelism;
        KeyGroup(u16::try_from(group).unwrap_or(u16::MAX))
    }

    /// The subtask that owns a key group.
    #[must_use]
    pub fn subtask_of(&self, group: KeyGroup) -> u32 {
        u32::from(group.0) * self.parallelism / self.max_parallelism
    }

    /// The key groups that a subtask owns.
    #[must_use]
    pub fn range_of(&self, subtask: u32) -> Range<u32> {
        let start = (subtask * self.max_parallelism).div_ceil(self.parallelism);
        let end = ((subtask + 1) * self.max_parallelism).div_ceil(self.parallelism);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn murmur3_gives_the_published_test_vectors() {
        for (key, seed, want) in [
            ("", 0, 0),
            ("", 1, 0x514e_28b7),
            ("test", 0, 0xba6b_d213),
            ("Hello, world!", 0, 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0, 0x2e4f_f723),
        ] {
            assert_eq!(murmur3_32(key.as_bytes(), seed), want, "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_group_has_exactly_one_owner(max in 1_u32..=1024, share in 0.0..1.0_f64) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
            let parallelism = ((f64::from(max) * share) as u32).max(1);
            let groups = KeyGroups::new(max, parallelism);
            let mut next = 0;
            for subtask in 0..parallelism {
                let range = groups.range_of(subtask);
                prop_assert_eq!(range.start, next);
                next = range.end;
                for group in range {
                    prop_assert_eq!(groups.subtask_of(KeyGroup(u16::try_from(group).unwrap())), subtask);
                }
            }
            prop_assert_eq!(next, max);
        }

        /// Flink's rules, said in another way: a subtask's groups are those of which it is the
        /// owner, and each key's new owner takes over the group that its old one had, whole.
        #[test]
        fn another_parallelism_divides_the_same_groups_among_others(
            keys in prop::collection::vec(any::<Vec<u8>>(), 1..20),
            max in 1_u32..=512, (before, after) in (1_u32..=512, 1_u32..=512),
        ) {
            let (before, after) =
                (KeyGroups::new(max, before.min(max)), KeyGroups::new(max, after.min(max)));
            for key in keys {
                let group = before.group_of(&key);
                prop_assert_eq!(after.group_of(&key), group, "a key's group never changes");
                for groups in [before, after] {
                    let owners: Vec<u32> = (0..groups.parallelism)
                        .filter(|subtask| groups.range_of(*subtask).contains(&u32::from(group.0)))
                        .collect();
                    prop_assert_eq!(owners, vec![groups.subtask_of(group)]);
                }
            }
            // Nobody has more than one group more than somebody else.
            let sizes = (0..after.parallelism).map(|subtask| after.range_of(subtask).len());
            let (least, most) = sizes.fold((usize::MAX, 0), |(l, m), n| (l.min(n), m.max(n)));
            prop_assert!(most - least <= 1, "{least} and {most}");
        }
    }
}
