//! The same work in plain Rust, without sandbox, channels or checkpoints: what
//! the measures are held against.

use std::{collections::HashMap, hint::black_box, time::Duration};

use cofferdam::stream::{Batch, BatchBuilder};

use crate::machine::time;

/// Records a batch.
pub(crate) const RECORDS: usize = 1024;

/// Batches of 1,024 records with 11-byte keys and 100-byte values, the keys
/// drawn from `keys`.
pub(crate) fn batches(count: usize, keys: u64) -> Vec<Batch> {
    let mut next = 0x9e37_79b9_7f4a_7c15_u64;
    (0..count)
        .map(|_| {
            let mut builder = BatchBuilder::new();
            for i in 0..RECORDS {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let key = format!("key-{:07}", (next >> 33) % keys);
                let mut value = [b'v'; 100];
                value[0] = b'a' + u8::try_from((next >> 40) % 26).unwrap_or(0);
                let time = i64::try_from(i).unwrap_or(0);
                builder.push(Some(key.as_bytes()), &value, Some(time));
            }
            builder.take()
        })
        .collect()
}

/// Filters batches by the first byte of the value, record by record, into new
/// ones: what `keep-filter` does.
pub(crate) fn filter(batches: &[Batch], rounds: usize) -> Duration {
    let (took, ()) = time(|| {
        for _ in 0..rounds {
            for batch in batches {
                let mut kept = Vec::with_capacity(batch.len());
                for i in 0..batch.len() {
                    if batch.value(i).first().is_some_and(|byte| byte % 2 == 0) {
                        kept.push(u32::try_from(i).unwrap_or(0));
                    }
                }
                black_box(batch.gather(&kept));
            }
        }
    });
    took
}

/// Counts records by key in the standard library's hash map.
pub(crate) fn count(batches: &[Batch], rounds: usize) -> Duration {
    let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut round = || {
        for batch in batches {
            for i in 0..batch.len() {
                let key = batch.key(i);
                match counts.get_mut(key) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(key.to_vec(), 1);
                    }
                }
            }
        }
    };
    round();
    let (took, ()) = time(|| (0..rounds).for_each(|_| round()));
    black_box(counts.len());
    took
}
