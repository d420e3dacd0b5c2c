//! A guest for tests: counts by key in its own memory and saves that as a
//! snapshot. What keyed state in the host is for, done the other way.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cofferdam_sdk::{Batch, Context, Error, Outcome, Processor, Snapshot, json::Object};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Panics at this record (from 1), unless the instance was restored.
    crash_at: Option<u64>,
    /// Panics at every record with this text in its value.
    poison: Option<String>,
}

/// Counts by key in its own memory.
#[derive(Debug)]
pub struct StatefulCount {
    crash_at: Option<u64>,
    poison: Option<String>,
    seen: u64,
    counts: HashMap<Vec<u8>, u64>,
}

impl Processor for StatefulCount {
    fn open(ctx: &Context) -> Result<Self, Error> {
        let Config { crash_at, poison } = ctx.config()?;
        Ok(Self { crash_at, poison, seen: 0, counts: HashMap::new() })
    }

    fn process(&mut self, batch: &Batch, out: &mut Outcome) -> Result<(), Error> {
        let mut last = BTreeMap::new();
        for record in batch.records() {
            self.seen += 1;
            assert!(self.crash_at != Some(self.seen), "crash_at = {}, as configured", self.seen);
            if let Some(poison) = &self.poison {
                assert!(!record.value_str()?.contains(poison), "a poison record, as configured");
            }
            *self.counts.entry(record.key().to_vec()).or_default() += 1;
            last.insert(record.key(), record);
        }
        // In the order of the records, so that a replay emits the same.
        let rows: BTreeSet<u32> = last.values().map(|record| record.index()).collect();
        for row in rows {
            let record = batch.record(row as usize);
            out.emit(&record).value_with(|value| {
                let mut object = Object::begin(value);
                object.key("key", record.key()).int("count", self.counts[record.key()]);
                object.end();
            });
        }
        Ok(())
    }
}

impl Snapshot for StatefulCount {
    fn snapshot(&self) -> Result<Vec<u8>, Error> {
        let sorted: BTreeMap<_, _> = self.counts.iter().collect();
        let entries: Vec<_> = sorted.into_iter().collect();
        Ok(serde_json::to_vec(&(self.seen, entries))?)
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Error> {
        let (seen, entries): (u64, Vec<(Vec<u8>, u64)>) = serde_json::from_slice(state)?;
        self.seen = seen;
        self.counts = entries.into_iter().collect();
        self.crash_at = None;
        Ok(())
    }
}

cofferdam_sdk::export!(stateful: StatefulCount);

#[cfg(test)]
mod tests {
    use cofferdam_sdk::testing::Harness;
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_outlive_a_restart() {
        let mut harness = Harness::processor::<StatefulCount>(json!({})).unwrap();
        let answer = harness.send([("b", "", 0), ("a", "", 0), ("b", "", 0)]).unwrap();
        assert_eq!(answer.texts(0), [r#"{"key":"a","count":1}"#, r#"{"key":"b","count":2}"#]);
        harness.restart().unwrap();
        assert_eq!(harness.send([("b", "", 0)]).unwrap().texts(0), [r#"{"key":"b","count":3}"#]);
    }

    #[test]
    #[should_panic(expected = "crash_at = 2")]
    fn it_crashes_where_told() {
        let mut harness = Harness::processor::<StatefulCount>(json!({"crash_at": 2})).unwrap();
        let _ = harness.send([("b", "", 0), ("a", "", 0)]);
    }
}
