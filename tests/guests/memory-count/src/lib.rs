//! A guest for tests and measurements: counts by key in its own memory, and has no way
//! to say what it knows. Its memory has to be saved for it.

use std::collections::HashMap;

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, json::Object};
use serde::Deserialize;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Holds so many MiB besides, all written to.
    #[serde(default)]
    ballast: usize,
    /// Writes to so many pages of that at each batch, here and there.
    #[serde(default)]
    touch: usize,
    /// Panics at every record with this key: a poison record.
    trap_on: Option<String>,
    /// Panics at the record that would be the how many-th of its key: what it remembers
    /// is to blame.
    trap_at_count: Option<u64>,
}

/// Counts by key in its own memory.
#[derive(Debug)]
pub struct MemoryCount {
    counts: HashMap<Vec<u8>, u64>,
    ballast: Vec<u8>,
    touch: usize,
    trap_on: Option<String>,
    trap_at_count: Option<u64>,
    /// Where it wrote last.
    at: usize,
}

impl Processor for MemoryCount {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { ballast, touch, trap_on, trap_at_count } = ctx.config()?;
        let ballast =
            (0..ballast * MIB).map(|i| u8::try_from(i / PAGE % 251).unwrap_or(0) + 1).collect();
        Ok(Self { counts: HashMap::new(), ballast, touch, trap_on, trap_at_count, at: 0 })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        let pages = self.ballast.len() / PAGE;
        for _ in 0..self.touch.min(pages) {
            // A step that has no divisor in common with the number of pages.
            self.at = (self.at + 40_503) % pages;
            let byte = &mut self.ballast[self.at * PAGE + 17];
            *byte = byte.wrapping_add(1);
        }
        for record in batch.records() {
            let poison = self.trap_on.as_ref().is_some_and(|key| key.as_bytes() == record.key());
            assert!(!poison, "trap_on, as configured");
            let count = self.counts.entry(record.key().to_vec()).or_default();
            *count += 1;
            let count = *count;
            assert!(self.trap_at_count != Some(count), "trap_at_count, as configured");
            out.emit(&record).value_with(|value| {
                let mut object = Object::begin(value);
                object.key("key", record.key()).int("count", count);
                object.end();
            });
        }
        Ok(())
    }
}

cofferdam_sdk::export!(processor: MemoryCount);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;

    use super::*;

    #[test]
    fn every_record_says_how_often_its_key_came() {
        let config = serde_json::json!({"ballast": 1, "touch": 3});
        let mut harness = Harness::processor::<MemoryCount>(config).unwrap();
        let answer = harness.send([("b", "", 0), ("a", "", 0), ("b", "", 0)]).unwrap();
        let count = |key: &str, n: u32| format!(r#"{{"key":"{key}","count":{n}}}"#);
        assert_eq!(answer.texts(0), [count("b", 1), count("a", 1), count("b", 2)]);
    }
}
